/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate node drain`: has a running node take no new download, waits until those under way have ended
 * and all is posted, and says that the node may go. tollgate_main calls it. It stops no node.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "server/base/clock.h"
#include "server/command/cli.h"
#include "server/command/command_admin.h"
#include "server/command/command_node.h"

#define TIMEOUT_S 600

enum { OPTION_TIMEOUT = 256, OPTION_CANCEL };

struct arguments {
    struct cli_location location;
    int64_t timeout_s;
    bool cancel;
};

static const struct argp_option options[] = {
    {"timeout", OPTION_TIMEOUT, "DURATION", 0,
     "How long to wait for downloads and for Redis (default: 10m); the node stays drained", 0},
    {"cancel", OPTION_CANCEL, NULL, 0, "Take new downloads again", 0},
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
    case OPTION_CANCEL:
        arguments->cancel = true;
        return 0;
    case ARGP_KEY_ARG:
        cli_surplus(state, argument, "config", NULL);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {CLI_LOCATION_CHILD, {0}};
static const struct argp drain_argp = {
    .options = options,
    .parser = parse,
    .doc =
        "Drains a running node before it goes: it takes no new download (503, node_draining), and "
        "is not ready, so that balancers turn away from it; those under way end, and may be "
        "resumed; all that its journals hold is posted. Waits for that, and says that the node "
        "may go. It may be run again, and then says the same. Exits with 1 where downloads are "
        "still under way after the timeout, or an account is set aside, and with 69 where Redis "
        "lacks something all the same."
        "\v"
        "Drain the node, and stop it:\n"
        "  tollgate node drain && systemctl stop tollgate\n"
        "\n"
        "Have it go on instead:\n"
        "  tollgate node drain --cancel\n"
        "\n"
        "A restart takes new downloads again, too: that a node is drained is not kept anywhere.\n",
    .children = children,
};

static void draw(json_int_t downloads, const struct node_rest *rest)
{
    char line[160];
    snprintf(line, sizeof(line), "%" PRIdMAX " downloads under way, %" PRIdMAX " records to post",
             (intmax_t)downloads, (intmax_t)rest->unposted);
    node_progress(line);
}

static int print_done(const char *command, const json_t *answer, bool cancel)
{
    if (cli_wants_json())
        return cli_print_json(command, answer);
    command_print_text(stdout, command_text(answer, "node"));
    puts(cancel ? ": takes new downloads again"
                : ": no download is under way, and all that it holds is in Redis; it may go");
    return EX_OK;
}

static int fail(const char *command, const json_t *answer, json_int_t downloads,
                const struct node_rest *rest)
{
    char text[NODE_SENTENCE_BYTES + 512];
    int code = downloads > 0 || rest->only_aside ? CLI_EXIT_NO : EX_UNAVAILABLE;
    if (downloads > 0)
        snprintf(text, sizeof(text),
                 "%" PRIdMAX " downloads are still under way%s%s; wait with a longer --timeout, or "
                 "stop the node, which lets them end until stop_timeout_ms",
                 (intmax_t)downloads, rest->is_posted ? "" : ", and ", rest->sentence);
    else if (rest->only_aside)
        snprintf(
            text, sizeof(text),
            "%s; the node must not go before each is released, as its journal alone holds what "
            "they owe",
            rest->sentence);
    else
        snprintf(
            text, sizeof(text),
            "%s; `tollgate health` says whether Redis can be asked; the node stays drained: run "
            "this again, or with --cancel",
            rest->sentence);
    return cli_fail_with(code, command, json_pack("{s:O}", "state", answer), text);
}

static int drain(const char *command, const struct arguments *arguments, const json_t *body)
{
    static const struct node_lanes all = {NULL, 0};
    uint64_t until_ms = clock_monotonic_ms() + (uint64_t)arguments->timeout_s * 1000;
    for (;;) {
        json_t *answer = NULL;
        struct node_rest rest;
        int code = node_call(command, &arguments->location, body, &answer);
        json_int_t downloads = command_number(answer, "downloads");
        bool is_over =
            code != EX_OK || arguments->cancel || json_is_true(json_object_get(answer, "may_go"));
        node_rest_read(answer, &all, &rest);
        if (!is_over)
            draw(downloads, &rest);
        bool in_vain =
            !is_over && ((downloads == 0 && rest.only_aside) || clock_monotonic_ms() >= until_ms);
        if (is_over || in_vain)
            node_progress("");
        if (is_over && code == EX_OK)
            code = print_done(command, answer, arguments->cancel);
        else if (in_vain)
            code = fail(command, answer, downloads, &rest);
        json_decref(answer);
        if (is_over || in_vain)
            return code;
        node_pause();
    }
}

int command_node_drain(int argc, char **argv)
{
    struct arguments arguments = {.timeout_s = TIMEOUT_S};
    cli_parse(&drain_argp, argc, argv, &arguments);
    json_t *body = json_pack("{s:b}", "draining", !arguments.cancel);
    int code = drain(argv[0], &arguments, body);
    json_decref(body);
    return code;
}
