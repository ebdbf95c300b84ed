/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate node list`: each node that Redis knows, its lanes, their leases and what they have to post.
 * tollgate_main calls it. It asks a running node, never Redis.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/command/cli.h"
#include "server/command/command_admin.h"

struct arguments {
    struct cli_location location;
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->location;
        return 0;
    case ARGP_KEY_ARG:
        cli_surplus(state, argument, "config", NULL);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {CLI_LOCATION_CHILD, {0}};
static const struct argp list_argp = {
    .parser = parse,
    .doc =
        "Shows each node that renewed its lease in this Redis within the last 30 days, through a "
        "running node: its name, and of each of its lanes the instance under which Redis knows "
        "it, whether a process holds its lease, when that was renewed last, and what was not "
        "posted then, and which version of the functions in Redis it calls. Of other nodes that is "
        "what they told Redis a second before at most; one "
        "that was killed may have more on its disk."
        "\v"
        "  tollgate node list\n"
        "\n"
        "A lease is `held` by a process that runs, `returned` by one that ended in order, and "
        "`run out` where it was killed or cannot reach Redis. What such a node has on its disk "
        "comes in when it starts again, or with `tollgate node retire` and `tollgate ledger "
        "replay`.\n",
    .children = children,
};

static void print_count(const json_t *lane, const char *member, const char *what)
{
    const json_t *count = json_object_get(lane, member);
    if (json_is_integer(count))
        printf(", %" PRIdMAX " %s", (intmax_t)json_integer_value(count), what);
    else
        printf(", %s unknown", what);
}

static void print_lane(const json_t *lane)
{
    char seen[COMMAND_TIME_SIZE];
    const char *lease = command_text(lane, "lease"), *name = command_text(lane, "lane");
    command_write_time(command_number(lane, "seen_ms") / 1000, seen);
    printf("  %-7s %s  lease %s", name[0] != '\0' ? name : "lane", command_text(lane, "instance"),
           strcmp(lease, "run_out") == 0 ? "run out" : lease);
    printf(", seen %s", seen);
    print_count(lane, "unposted", "to post");
    print_count(lane, "set_aside", "set aside");
    if (json_is_integer(json_object_get(lane, "functions")))
        printf(", functions %" PRIdMAX, (intmax_t)command_number(lane, "functions"));
    if (command_text(lane, "text")[0] != '\0') {
        fputs(" (", stdout);
        command_print_text(stdout, command_text(lane, "text"));
        fputc(')', stdout);
    }
    fputc('\n', stdout);
}

static void print_nodes(const json_t *answer)
{
    size_t i, j;
    const json_t *node, *lane;
    json_array_foreach(json_object_get(answer, "nodes"), i, node)
    {
        command_print_text(stdout, command_text(node, "node"));
        puts(json_is_true(json_object_get(node, "own")) ? " (this node)" : "");
        json_array_foreach(json_object_get(node, "lanes"), j, lane)
        {
            print_lane(lane);
        }
    }
}

int command_node_list(int argc, char **argv)
{
    struct arguments arguments = {0};
    json_t *answer = NULL;
    unsigned status = 0;
    cli_parse(&list_argp, argc, argv, &arguments);
    int code =
        command_call(argv[0], &arguments.location, "GET", "/v1/nodes", NULL, &status, &answer);
    if (code == EX_OK && status != 200)
        code = command_refused(argv[0], status, answer);
    else if (code == EX_OK && cli_wants_json())
        code = cli_print_json(argv[0], answer);
    else if (code == EX_OK)
        print_nodes(answer);
    json_decref(answer);
    return code;
}
