/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate ledger status`: says what a running node has journalled, and what of it is not in Redis yet.
 * tollgate_main calls it. It asks the node, never Redis, and changes nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/base/byte_count.h"
#include "server/command/cli.h"
#include "server/command/command_admin.h"

static error_t parse(int key, char *argument, struct argp_state *state)
{
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = state->input;
        return 0;
    case ARGP_KEY_ARG:
        cli_surplus(state, argument, "config", NULL);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {CLI_LOCATION_CHILD, {0}};
static const struct argp status_argp = {
    .parser = parse,
    .doc =
        "Shows what the journals of a running node hold, and what of it is not in Redis yet: for "
        "each lane its state, instance and lease, its segments and records, how many records "
        "and accounts are unposted and since when; and the accounts that are set aside. Exits "
        "with 0 where all lanes are ready, no account is set aside and no segment stays that "
        "should "
        "have left the journal, 1 where not, 69 where no node answers. What waits is not a fault: "
        "usage is posted each "
        "post_interval_ms."
        "\v"
        "Wait until all is posted, with jq:\n"
        "  until tollgate ledger status --json |\n"
        "      jq -e 'all(.lanes[]; .unposted == 0)'; do sleep 1; done\n",
    .children = children,
};

static void print_state(const json_t *row)
{
    const char *text = command_text(row, "text");
    for (const char *at = command_text(row, "state"); *at != '\0'; at++)
        putchar(*at == '_' ? ' ' : *at);
    if (text[0] != '\0')
        fputs(": ", stdout);
    command_print_text(stdout, text);
    putchar('\n');
}

static void print_lane(const json_t *row)
{
    char bytes[BYTE_COUNT_SIZE];
    byte_count_write(command_number(row, "bytes"), bytes);
    printf("%s (%sinstance %s, lease %" PRIdMAX "): ", command_text(row, "lane"),
           json_is_true(json_object_get(row, "own")) ? "" : "of an earlier process, ",
           command_text(row, "instance"), (intmax_t)command_number(row, "lease"));
    print_state(row);
    printf("  segments %" PRIdMAX ", records on disk %" PRIdMAX " (%s), accounts %" PRIdMAX "\n",
           (intmax_t)command_number(row, "segments"), (intmax_t)command_number(row, "records"),
           bytes, (intmax_t)command_number(row, "accounts"));
    if (command_number(row, "first_segment") > 1)
        printf("  those before segment %" PRIdMAX " have left the journal\n",
               (intmax_t)command_number(row, "first_segment"));
    if (command_text(row, "retention")[0] != '\0') {
        fputs("  ", stdout);
        command_print_text(stdout, command_text(row, "retention"));
        putchar('\n');
    }
    printf("  posted %" PRIdMAX ", unposted %" PRIdMAX, (intmax_t)command_number(row, "posted"),
           (intmax_t)command_number(row, "unposted"));
    if (command_number(row, "unposted") > 0)
        printf(" of %" PRIdMAX " accounts, since %s",
               (intmax_t)command_number(row, "accounts_unposted"),
               command_text(row, "unposted_since"));
    putchar('\n');
}

static void print_names(const char *title, const json_t *names)
{
    size_t index;
    const json_t *name;
    printf("%s", title);
    json_array_foreach(names, index, name)
    {
        fputs(index > 0 ? ", " : " ", stdout);
        command_print_text(stdout, json_string_value(name));
    }
    putchar('\n');
}

static void print_answer(const json_t *answer)
{
    const json_t *redis = json_object_get(answer, "redis"), *row;
    size_t index;
    printf("node %s, Redis at ", command_text(answer, "node"));
    command_print_text(stdout, command_text(redis, "address"));
    if (strstr(command_text(redis, "address"), command_text(redis, "in_force")) == NULL) {
        fputs(", now ", stdout);
        command_print_text(stdout, command_text(redis, "in_force"));
    }
    puts(json_is_true(json_object_get(redis, "up")) ? "" : ": not connected");
    json_array_foreach(json_object_get(answer, "lanes"), index, row)
    {
        print_lane(row);
    }
    if (json_is_true(json_object_get(answer, "data_lost")))
        print_names("Redis has lost data; these nodes have still to replay theirs:",
                    json_object_get(answer, "data_awaited_from"));
    if (command_number(answer, "accounts_set_aside") > 0) {
        printf("accounts set aside %" PRIdMAX,
               (intmax_t)command_number(answer, "accounts_set_aside"));
        print_names(", the first:", json_object_get(answer, "set_aside"));
    }
}

static bool is_well(const json_t *answer)
{
    const json_t *row;
    size_t index;
    bool is_well = command_number(answer, "accounts_set_aside") == 0;
    json_array_foreach(json_object_get(answer, "lanes"), index, row)
    {
        is_well = is_well && strcmp(command_text(row, "state"), "ready") == 0 &&
                  command_text(row, "retention")[0] == '\0';
    }
    return is_well;
}

int command_ledger_status(int argc, char **argv)
{
    struct cli_location location = {0};
    json_t *answer = NULL;
    unsigned status = 0;
    cli_parse(&status_argp, argc, argv, &location);
    int code = command_call(argv[0], &location, "GET", "/v1/ledger", NULL, &status, &answer);
    if (code == EX_OK && status >= 300)
        code = command_refused(argv[0], status, answer);
    else if (code == EX_OK && cli_wants_json())
        code = cli_print_json(argv[0], answer);
    else if (code == EX_OK)
        print_answer(answer);
    if (code == EX_OK && !is_well(answer))
        code = CLI_EXIT_NO;
    json_decref(answer);
    return code;
}
