/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate node retire STATE_DIR`: moves a stopped node's lanes into this node's state directory, and waits
 * until the running node has posted what they hold. tollgate_main calls it; ledger_retire moves.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "server/base/byte_count.h"
#include "server/base/clock.h"
#include "server/command/cli.h"
#include "server/command/command_admin.h"
#include "server/command/command_lanes.h"
#include "server/command/command_node.h"

#define TIMEOUT_S 600

enum { OPTION_TIMEOUT = 256 };

struct arguments {
    struct cli_location location;
    const char *directory; /* borrows argv */
    int64_t timeout_s;
};

static const struct argp_option options[] = {
    {"timeout", OPTION_TIMEOUT, "DURATION", 0,
     "How long to wait until this node has posted all of it (default: 10m)", 0},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->location;
        return 0;
    case OPTION_TIMEOUT:
        arguments->timeout_s = cli_duration(state, "--timeout", argument);
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->directory != NULL)
            cli_surplus(state, argument, NULL, "is a second directory; retire one at a time");
        arguments->directory = argument;
        return 0;
    case ARGP_KEY_END:
        if (arguments->directory == NULL)
            cli_usage(state, "the directory is missing; name the stopped node's state directory");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {CLI_CONFIG_CHILD, {0}};
static const struct argp retire_argp = {
    .options = options,
    .parser = parse,
    .args_doc = "STATE_DIR",
    .doc =
        "Retires a node that has stopped and will not come back: moves the lanes of its state "
        "directory STATE_DIR into that of this node, which posts what is left in them, and has "
        "them "
        "for a Redis that loses its data. Their instances stay, so nothing is billed twice, and "
        "nothing in Redis is deleted. Run it as the user of both nodes, or as root. It may be "
        "interrupted and run again, also to hear once more that all is posted. Exits with 1 where "
        "STATE_DIR is in use, a copy of one that is in use, older than Redis, damaged, or not of "
        "this Redis, or an account is set aside, and with 69 "
        "where the node does not run or Redis lacks something after the timeout."
        "\v"
        "The node runs, and takes the lanes within seconds; one that does not run takes them when "
        "it "
        "starts:\n"
        "  tollgate node retire /mnt/old/state --config /etc/tollgate/tollgate.yaml\n"
        "\n"
        "On the same file system the lanes are renamed. Otherwise they are copied, the copies are "
        "verified, and the originals stay as STATE_DIR/.retired-INSTANCE. STATE_DIR may be deleted "
        "once the command has ended with 0.\n",
    .children = children,
};

static void draw_copy(void *context, const char *lane, uint64_t copied)
{
    char bytes[BYTE_COUNT_SIZE], line[96];
    (void)context;
    byte_count_write((int64_t)copied, bytes);
    snprintf(line, sizeof(line), "%s: %s", lane, bytes);
    node_progress(copied > 0 ? line : "");
}

static int move(const char *command, const char *directory, const char *state_dir,
                struct ledger_retirement *out)
{
    char error[1200];
    *out = (struct ledger_retirement){.progress = draw_copy};
    int result = ledger_retire(directory, state_dir, out, error, sizeof(error));
    node_progress("");
    switch (result) {
    case 0:
        return EX_OK;
    case -EALREADY:
    case -EEXIST:
    case -EBADMSG:
        return cli_fail(CLI_EXIT_NO, command, "%s", error);
    case -EINVAL:
        return cli_fail(EX_USAGE, command, "%s", error);
    case -ENOENT:
        return cli_fail(EX_NOINPUT, command, "%s", error);
    case -EACCES:
    case -EPERM:
        return cli_fail(EX_NOPERM, command, "%s", error);
    default:
        return cli_fail(EX_IOERR, command, "%s", error);
    }
}

static int print_done(const char *command, const struct arguments *arguments,
                      const struct ledger_retirement *moved, const json_t *answer)
{
    if (cli_wants_json()) {
        json_t *value = json_pack("{s:s, s:s, s:i, s:i, s:b}", "node", command_text(answer, "node"),
                                  "retired", arguments->directory, "lanes", (int)moved->count,
                                  "moved", (int)moved->moved, "posted", true);
        int code = cli_print_json(command, value);
        json_decref(value);
        return code;
    }
    printf(
        "%s: %u lane%s of it %s node %s's, and all that they hold is in Redis; it may be deleted\n",
        arguments->directory, moved->count, moved->count == 1 ? "" : "s",
        moved->count == 1 ? "is" : "are", command_text(answer, "node"));
    return EX_OK;
}

static int fail(const char *command, const struct arguments *arguments,
                const struct node_rest *rest)
{
    char text[NODE_SENTENCE_BYTES + 512];
    snprintf(text, sizeof(text),
             "the lanes of %s are this node's, but not all of it is in Redis: %s%s; %s",
             arguments->directory, rest->sentence,
             rest->missing > 0 ? " the node has not opened them" : "",
             rest->only_aside ? "release each, and run this again"
                              : "see the node's log, and run this again");
    return cli_fail(rest->only_aside ? CLI_EXIT_NO : EX_UNAVAILABLE, command, "%s", text);
}

/* Waits until the running node has posted what the lanes hold. */
static int await_posts(const char *command, struct arguments *arguments,
                       const struct ledger_retirement *moved)
{
    const struct node_lanes lanes = {moved->instances, moved->count};
    uint64_t until_ms = clock_monotonic_ms() + (uint64_t)arguments->timeout_s * 1000;
    for (;;) {
        json_t *answer = NULL;
        struct node_rest rest;
        char line[80];
        int code = node_call(command, &arguments->location, NULL, &answer);
        node_rest_read(answer, &lanes, &rest);
        bool is_over = code != EX_OK || rest.is_posted;
        bool in_vain = !is_over && (rest.only_aside || clock_monotonic_ms() >= until_ms);
        snprintf(line, sizeof(line), "%" PRIdMAX " records to post", (intmax_t)rest.unposted);
        node_progress(is_over || in_vain ? "" : line);
        if (is_over && code == EX_OK)
            code = print_done(command, arguments, moved, answer);
        else if (in_vain)
            code = fail(command, arguments, &rest);
        json_decref(answer);
        if (is_over || in_vain)
            return code;
        node_pause();
    }
}

static int retire(const char *command, struct arguments *arguments, const struct config *config)
{
    struct redis_address address;
    struct ledger_options redis;
    struct ledger_retirement moved;
    struct command_lanes lanes = {.directory = arguments->directory, .taker = config->state_dir};
    int code = command_redis_options(command, config, &address, &redis);
    if (code == EX_OK) {
        code = command_know_lanes(command, &redis, &lanes);
        command_redis_forget(&address);
    }
    if (code == EX_OK)
        code = move(command, arguments->directory, config->state_dir, &moved);
    return code == EX_OK ? await_posts(command, arguments, &moved) : code;
}

int command_node_retire(int argc, char **argv)
{
    struct arguments arguments = {.timeout_s = TIMEOUT_S};
    struct config *config = NULL;
    cli_parse(&retire_argp, argc, argv, &arguments);
    int code = cli_config_load(argv[0], &arguments.location, &config);
    if (code == EX_OK)
        code = retire(argv[0], &arguments, config);
    config_destroy(&config);
    return code;
}
