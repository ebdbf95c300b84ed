/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate ledger replay STATE_DIR`: opens the ledger on a dead node's directory, posts what Redis lacks, and
 * closes it. tollgate_main calls it. It serves nothing. The lock and the lease keep it from a directory whose
 * node, or a copy of it, still runs.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/command/cli.h"
#include "server/command/command_admin.h"
#include "server/command/command_lanes.h"
#include "server/command/command_node.h"
#include "storage/ledger/verify.h"

#define TIMEOUT_S 600
#define LEASE_MS  3000
#define CLOSE_MS  5000

enum { OPTION_TIMEOUT = 256, OPTION_INTO_EMPTY };

struct arguments {
    struct cli_location location;
    const char *directory; /* borrows argv */
    int64_t timeout_s;
    bool into_empty;
};

static const struct argp_option options[] = {
    {"into-empty", OPTION_INTO_EMPTY, NULL, 0,
     "Post a journal that Redis does not know, because its data is lost", 0},
    {"timeout", OPTION_TIMEOUT, "DURATION", 0, "How long to go on (default: 10m)", 0},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->location;
        return 0;
    case OPTION_INTO_EMPTY:
        arguments->into_empty = true;
        return 0;
    case OPTION_TIMEOUT:
        arguments->timeout_s = cli_duration(state, "--timeout", argument);
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->directory != NULL)
            cli_surplus(state, argument, NULL, "is a second directory; replay one at a time");
        arguments->directory = argument;
        return 0;
    case ARGP_KEY_END:
        if (arguments->directory == NULL)
            cli_usage(state, "the directory is missing; name the dead node's state directory");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {CLI_CONFIG_CHILD, {0}};
static const struct argp replay_argp = {
    .options = options,
    .parser = parse,
    .args_doc = "STATE_DIR",
    .doc =
        "Posts what the journals of a dead node's state directory hold and the Redis of the "
        "configuration lacks, and leaves them where they are. Serves nothing, and needs no running "
        "node. What Redis has already is not posted again. A directory whose node runs is refused, "
        "and so is one of which a copy runs anywhere. Exits with 1 where it is refused, or an "
        "account "
        "is set aside, and with 69 where Redis cannot be asked or lacks something after the "
        "timeout."
        "\v"
        "What a node had not posted when its machine died, from the disk that was saved:\n"
        "  tollgate ledger replay /mnt/saved/state --config tollgate.yaml\n"
        "\n"
        "A Redis that knows neither a lease nor a watermark of a journal is taken for another one, "
        "and "
        "refused, since a journal that is posted to a Redis which it does not belong to bills "
        "accounts "
        "twice. Where the data of the right one is lost, say so:\n"
        "  tollgate ledger replay /mnt/saved/state --into-empty\n"
        "\n"
        "The node of the directory may start again later. A node that is gone for good had better "
        "be "
        "retired: `tollgate node retire`.\n",
    .children = children,
};

static void say(void *context, enum ledger_event event, const char *kind, const char *text)
{
    (void)kind;
    if (event != LEDGER_EVENT_INFO) {
        node_progress("");
        cli_warn(context, "%s", text);
    }
}

/* What is left of the lanes. */
struct rest {
    unsigned lanes, posted, aside;
    uint64_t unposted;
    char sentence[700];
};

static void look(void *context, const struct ledger_lane *lane)
{
    struct rest *rest = context;
    rest->lanes++;
    rest->posted += lane->is_posted;
    rest->unposted += lane->unposted;
    rest->aside += lane->aside > 0 && lane->unposted == 0;
    if (!lane->is_posted && rest->sentence[0] == '\0')
        snprintf(rest->sentence, sizeof(rest->sentence),
                 "%s: %" PRIu64 " records not posted, %" PRIu64 " accounts set aside%s%s",
                 lane->name, lane->unposted, lane->aside, lane->text[0] != '\0' ? ": " : "",
                 lane->text);
}

/* Posts until nothing is left, or nothing can be done about what is. */
static int post_all(const char *command, struct ledger *ledger, const struct arguments *arguments)
{
    uint64_t until_ms = clock_monotonic_ms() + (uint64_t)arguments->timeout_s * 1000;
    for (;;) {
        struct rest rest = {0};
        char line[80];
        ledger_post_all_soon(ledger);
        ledger_each_lane(ledger, look, &rest);
        snprintf(line, sizeof(line), "%" PRIu64 " records to post", rest.unposted);
        node_progress(rest.posted == rest.lanes ? "" : line);
        if (rest.posted == rest.lanes)
            return EX_OK;
        bool is_refused = ledger_state(ledger) >= LEDGER_FAILED;
        bool only_aside = rest.aside > 0 && rest.posted + rest.aside == rest.lanes;
        if (is_refused || only_aside || clock_monotonic_ms() >= until_ms) {
            node_progress("");
            return cli_fail(is_refused || only_aside ? CLI_EXIT_NO : EX_UNAVAILABLE, command, "%s",
                            rest.sentence);
        }
        node_pause();
    }
}

static int open_ledger(const char *command, const struct arguments *arguments,
                       const struct config *config, const char *name,
                       struct ledger_options *opening, struct ledger **out)
{
    char error[600];
    opening->state_dir = arguments->directory;
    opening->node = name;
    opening->segment_bytes = config->journal_segment_bytes;
    opening->post_interval_ms = 0;
    opening->mark_ms = (uint32_t)config->journal_mark_ms;
    opening->downloads_max = (uint32_t)config->windows_max;
    opening->accounts_max = (uint32_t)config->accounts_max;
    opening->lease_ms = LEASE_MS;
    opening->data_lost_wait_ms = (uint32_t)config->data_lost_wait_ms;
    opening->event = say;
    opening->event_context = (void *)(uintptr_t)command;
    int result = ledger_open(out, opening, error, sizeof(error));
    if (result == 0)
        return EX_OK;
    return cli_fail(result == -EALREADY || result == -EBADMSG ? CLI_EXIT_NO : EX_NOINPUT, command,
                    "%s", error);
}

static int print_done(const char *command, const struct arguments *arguments, unsigned lanes,
                      const struct ledger_stats *stats)
{
    if (!cli_wants_json()) {
        printf("%s: all that its %u lane%s hold%s is in Redis; %" PRIu64 " records were posted\n",
               arguments->directory, lanes, lanes == 1 ? "" : "s", lanes == 1 ? "s" : "",
               stats->records_posted);
        return EX_OK;
    }
    json_t *value =
        json_pack("{s:s, s:i, s:b, s:I}", "state_dir", arguments->directory, "lanes", (int)lanes,
                  "posted", true, "records_posted", (json_int_t)stats->records_posted);
    int code = cli_print_json(command, value);
    json_decref(value);
    return code;
}

static int replay(const char *command, const struct arguments *arguments,
                  const struct config *config)
{
    struct redis_address address;
    struct ledger_options ledger_options;
    struct ledger_verification first = {0};
    struct ledger *ledger = NULL;
    struct command_lanes lanes = {.directory = arguments->directory,
                                  .into_empty = arguments->into_empty};
    char error[600];
    int code = command_redis_options(command, config, &address, &ledger_options);
    if (code != EX_OK)
        return code;
    /* Opening makes a lane-a where there is none. */
    if (ledger_verify(arguments->directory, 0, &first, error, sizeof(error)) == -ENOENT)
        code = cli_fail(EX_NOINPUT, command,
                        "%s has no journal in lane-a; name the state directory of a dead node",
                        arguments->directory);
    if (code == EX_OK)
        code = command_know_lanes(command, &ledger_options, &lanes);
    if (code == EX_OK)
        code = open_ledger(command, arguments, config, lanes.name, &ledger_options, &ledger);
    command_redis_forget(&address);
    if (code != EX_OK)
        return code;
    struct ledger_stats stats;
    code = post_all(command, ledger, arguments);
    ledger_stats(ledger, &stats);
    int64_t left = ledger_close(&ledger, CLOSE_MS);
    if (code == EX_OK && left != 0)
        code = cli_fail(EX_UNAVAILABLE, command, "%s: Redis was lost at the end; run this again",
                        arguments->directory);
    return code == EX_OK ? print_done(command, arguments, lanes.count, &stats) : code;
}

int command_ledger_replay(int argc, char **argv)
{
    struct arguments arguments = {.timeout_s = TIMEOUT_S};
    struct config *config = NULL;
    cli_parse(&replay_argp, argc, argv, &arguments);
    int code = cli_config_load(argv[0], &arguments.location, &config);
    if (code == EX_OK)
        code = replay(argv[0], &arguments, config);
    config_destroy(&config);
    return code;
}
