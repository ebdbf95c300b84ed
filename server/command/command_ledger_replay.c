/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate ledger replay [STATE_DIR]`: opens the ledger on a dead node's directory, or on one that it makes of an
 * archive, posts what Redis lacks, and closes it. tollgate_main calls it. It serves nothing. The lock and the lease keep it from a directory whose
 * node, or a copy of it, still runs.
 */
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/command/cli.h"
#include "server/command/command_admin.h"
#include "server/command/command_lanes.h"
#include "server/command/command_ledger.h"
#include "server/command/command_node.h"
#include "storage/ledger/restore.h"
#include "storage/ledger/verify.h"

#define TIMEOUT_S 600
#define LEASE_MS  3000
#define CLOSE_MS  5000

enum { OPTION_TIMEOUT = 256, OPTION_INTO_EMPTY };

struct arguments {
    struct cli_location location;
    const char *archive;   /* borrows argv; NULL: not given */
    const char *directory; /* borrows argv; NULL: not given */
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
        state->child_inputs[1] = &arguments->archive;
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
        if (arguments->directory == NULL && arguments->archive == NULL)
            cli_usage(
                state,
                "the directory is missing; name the dead node's state directory, or where that is "
                "lost its archive, with --archive DIRECTORY");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {CLI_CONFIG_CHILD, COMMAND_ARCHIVE_CHILD, {0}};
static const struct argp replay_argp = {
    .options = options,
    .parser = parse,
    .args_doc = "[STATE_DIR]",
    .doc =
        "Posts what the journals of a dead node's state directory hold and the Redis of the "
        "configuration lacks, and leaves them where they are. Serves nothing, and needs no running "
        "node. What Redis has already is not posted again. A directory whose node runs is refused, "
        "and so is one of which a copy runs anywhere. Exits with 1 where it is refused, or an "
        "account "
        "is set aside, and with 69 where Redis cannot be asked or lacks something after the "
        "timeout. Segments that have left the journals are read in the archive, that of the "
        "configuration "
        "or --archive. Without STATE_DIR all journals of the archive are posted, each as a node's "
        "that is "
        "gone."
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
        "So is a node's own directory, while the node is stopped, where Redis lost data that has "
        "left "
        "the journal; and an archive, where the directory itself is lost:\n"
        "  tollgate ledger replay state --archive /archive/tollgate\n"
        "  tollgate ledger replay --archive /archive/tollgate --into-empty\n"
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
    opening->archive = command_archive(arguments->archive, config);
    opening->reads_archive = true;
    opening->event = say;
    opening->event_context = (void *)(uintptr_t)command;
    int result = ledger_open(out, opening, error, sizeof(error));
    if (result == 0)
        return EX_OK;
    return cli_fail(result == -EALREADY || result == -EBADMSG ? CLI_EXIT_NO : EX_NOINPUT, command,
                    "%s", error);
}

/* What was posted of a directory, or of a journal of the archive. */
struct done {
    const char *what; /* borrows */
    unsigned lanes;
    uint64_t records;
};

static void tell_done(json_t *rows, const char *key, const struct done *done)
{
    if (rows == NULL)
        printf("%s: all that its %u lane%s hold%s is in Redis; %" PRIu64 " records were posted\n",
               done->what, done->lanes, done->lanes == 1 ? "" : "s", done->lanes == 1 ? "s" : "",
               done->records);
    else
        (void)json_array_append_new(rows, json_pack("{s:s, s:i, s:b, s:I}", key, done->what,
                                                    "lanes", (int)done->lanes, "posted", true,
                                                    "records_posted", (json_int_t)done->records));
}

/* Posts what the directory holds, and says in `done` how much that was. */
static int replay(const char *command, const struct arguments *arguments,
                  const struct config *config, struct done *done)
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
    done->records = stats.records_posted;
    done->lanes = lanes.count;
    int64_t left = ledger_close(&ledger, CLOSE_MS);
    if (code == EX_OK && left != 0)
        code = cli_fail(EX_UNAVAILABLE, command, "%s: Redis was lost at the end; run this again",
                        arguments->directory);
    return code;
}

static int replay_directory(const char *command, const struct arguments *arguments,
                            const struct config *config)
{
    struct done done = {.what = arguments->directory};
    json_t *rows = cli_wants_json() ? json_array() : NULL;
    int code = replay(command, arguments, config, &done);
    if (code == EX_OK)
        tell_done(rows, "state_dir", &done);
    if (code == EX_OK && rows != NULL)
        code = cli_print_json(command, json_array_get(rows, 0));
    json_decref(rows);
    return code;
}

/* ---- an archive alone ---- */

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

/* Makes a state directory of the journal, for as long as that is posted. */
static int replay_archived(const char *command, const struct arguments *arguments,
                           const struct config *config, const struct ledger_archived *archived,
                           json_t *rows)
{
    char directory[PATH_MAX], error[1200];
    const char *temporary = getenv("TMPDIR");
    struct arguments own = *arguments;
    struct done done = {.what = archived->instance};
    snprintf(directory, sizeof(directory), "%s/tollgate-replay-XXXXXX",
             temporary != NULL && temporary[0] != '\0' ? temporary : "/tmp");
    if (mkdtemp(directory) == NULL)
        return cli_fail(EX_CANTCREAT, command, "%s: %s; name another directory by TMPDIR",
                        directory, strerrordesc_np(errno));
    own.directory = directory;
    int code =
        ledger_archive_restore(arguments->archive, archived, directory, error, sizeof(error)) == 0
            ? replay(command, &own, config, &done)
            : cli_fail(EX_NOINPUT, command, "%s", error);
    if (code == EX_OK)
        tell_done(rows, "instance", &done);
    (void)nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return code;
}

static int replay_archive(const char *command, const struct arguments *arguments,
                          const struct config *config)
{
    struct ledger_archived *archived;
    int count = ledger_archive_list(arguments->archive, &archived);
    json_t *rows = cli_wants_json() ? json_array() : NULL;
    int code = count < 0 ? cli_fail(EX_NOINPUT, command, "%s: %s; name the directory of an archive",
                                    arguments->archive, strerrordesc_np(-count))
               : count == 0
                   ? cli_fail(EX_NOINPUT, command,
                              "%s has no segments (INSTANCE-00000001.seg.zst); name the directory "
                              "of an archive",
                              arguments->archive)
                   : EX_OK;
    for (int i = 0; i < count; i++) {
        int one = replay_archived(command, arguments, config, &archived[i], rows);
        code = code == EX_OK ? one : code;
    }
    if (rows != NULL && json_array_size(rows) > 0) {
        json_t *value = json_pack("{s:s, s:O}", "archive", arguments->archive, "journals", rows);
        int printed = cli_print_json(command, value);
        json_decref(value);
        code = printed != EX_OK ? printed : code;
    }
    json_decref(rows);
    free(archived);
    return code;
}

int command_ledger_replay(int argc, char **argv)
{
    struct arguments arguments = {.timeout_s = TIMEOUT_S};
    struct config *config = NULL;
    cli_parse(&replay_argp, argc, argv, &arguments);
    int code = cli_config_load(argv[0], &arguments.location, &config);
    if (code == EX_OK)
        code = arguments.directory != NULL ? replay_directory(argv[0], &arguments, config)
                                           : replay_archive(argv[0], &arguments, config);
    config_destroy(&config);
    return code;
}
