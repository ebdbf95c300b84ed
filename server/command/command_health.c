/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate health`: says whether a node may serve, and why not. tollgate_main calls it. It exits
 * with 0 where the node is ready, 1 where it is not, 69 where none answers, as a supervisor or a
 * load balancer's check needs it. It changes nothing.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "server/base/byte_count.h"
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
static const struct argp health_argp = {
    .parser = parse,
    .doc = "Shows the health of a running node. Exits with 0 where it is ready to serve, 1 where "
           "it is "
           "not, 69 where no node answers."
           "\v"
           "Wait until a node is ready:\n"
           "  until tollgate health --config tollgate.yaml >/dev/null 2>&1; do sleep 1; done\n",
    .children = children,
};

static void print_traffic(const json_t *traffic)
{
    char acknowledged[BYTE_COUNT_SIZE];
    json_int_t bytes = command_number(traffic, "bytes_acknowledged");
    byte_count_write(bytes, acknowledged);
    printf("%-12s %" PRIdMAX " open, %" PRIdMAX " accepted\n", "connections",
           (intmax_t)command_number(traffic, "connections_open"),
           (intmax_t)command_number(traffic, "connections_accepted"));
    printf("%-12s %" PRIdMAX "; 2xx %" PRIdMAX ", 3xx %" PRIdMAX ", 4xx %" PRIdMAX ", 5xx %" PRIdMAX
           "\n",
           "requests", (intmax_t)command_number(traffic, "requests"),
           (intmax_t)command_number(traffic, "responses_2xx"),
           (intmax_t)command_number(traffic, "responses_3xx"),
           (intmax_t)command_number(traffic, "responses_4xx"),
           (intmax_t)command_number(traffic, "responses_5xx"));
    printf("%-12s %" PRIdMAX " bytes acknowledged (%s)\n", "delivered", (intmax_t)bytes,
           acknowledged);
}

/* Prints "ready no: Redis at 10.0.0.5:6379: Connection refused". */
static void print_verdict(const json_t *answer, const char *name, const char *text_name)
{
    bool is_so = json_is_true(json_object_get(answer, name));
    printf("%-12s %s", name, is_so ? "yes" : "no: ");
    if (!is_so)
        command_print_text(stdout, command_text(answer, text_name));
    fputc('\n', stdout);
}

/* Prints "ledger catching up, 4 records to post (Redis at 10.0.0.5:6379: Connection refused)". */
static void print_ledger(const json_t *ledger)
{
    const char *state = command_text(ledger, "state"), *text = command_text(ledger, "text");
    intmax_t unposted = (intmax_t)command_number(ledger, "records_unposted");
    printf("%-12s %s, %" PRIdMAX " record%s to post", "ledger",
           strcmp(state, "catching_up") == 0 ? "catching up" : state, unposted,
           unposted == 1 ? "" : "s");
    if (text[0] != '\0') {
        fputs(" (", stdout);
        command_print_text(stdout, text);
        fputc(')', stdout);
    }
    fputc('\n', stdout);
    if (command_text(ledger, "retention")[0] != '\0') {
        printf("%-12s ", "journal");
        command_print_text(stdout, command_text(ledger, "retention"));
        fputc('\n', stdout);
    }
    size_t i;
    const json_t *account;
    json_array_foreach(json_object_get(ledger, "set_aside"), i, account)
    {
        printf("%-12s ", "set aside");
        command_print_text(stdout, json_string_value(account));
        fputs(" (what Redis holds of it is damaged, or lacks what has left the journal)\n", stdout);
    }
}

static void print_health(const json_t *answer)
{
    const json_t *ledger = json_object_get(answer, "ledger");
    const json_t *redis = json_object_get(answer, "redis");
    bool redis_up = json_is_true(json_object_get(redis, "up"));
    printf("%-12s %s, tollgate %s, up %" PRIdMAX " s", "node", command_text(answer, "node"),
           command_text(answer, "version"), (intmax_t)command_number(answer, "uptime_s"));
    if (ledger != NULL) {
        printf(", %" PRIdMAX " workers", (intmax_t)command_number(answer, "workers"));
    }
    fputc('\n', stdout);
    print_verdict(answer, "ready", "ready_text");
    print_verdict(answer, "granting", "granting_text");
    if (json_is_true(json_object_get(answer, "continues")))
        printf("%-12s yes: for %" PRIdMAX " s without Redis, and %" PRIdMAX " s more at most\n",
               "continues", (intmax_t)command_number(answer, "continues_s"),
               (intmax_t)command_number(answer, "continues_left_s"));
    print_verdict(answer, "alive", "alive_text");
    if (ledger == NULL) { /* the node is starting or stopping, so there is no more to show */
        return;
    }
    print_ledger(ledger);
    printf("%-12s %s, %s\n", "redis", redis_up ? "up" : "down", command_text(redis, "address"));
    print_traffic(json_object_get(answer, "traffic"));
}

int command_health(int argc, char **argv)
{
    struct arguments arguments = {0};
    cli_parse(&health_argp, argc, argv, &arguments);
    json_t *answer = NULL;
    unsigned status = 0;
    int code = command_call_health(argv[0], &arguments.location, &status, &answer);
    if (code != EX_OK) {
        return code;
    }
    /* A 503 with `ready` is the health of a node that is not ready, not a refusal. */
    bool is_health = json_is_boolean(json_object_get(answer, "ready"));
    bool ready = status == 200;
    if (!is_health) {
        code = command_refused(argv[0], status, answer);
    } else if (cli_wants_json()) {
        code = cli_print_json(argv[0], answer);
    } else {
        print_health(answer);
    }
    json_decref(answer);
    return code != EX_OK ? code : ready ? EX_OK : CLI_EXIT_NO;
}
