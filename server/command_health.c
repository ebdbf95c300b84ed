/*
 * `tollgate health`: whether a node may serve, and why not. 0 where it is ready, 1 where it is not,
 * 69 where none answers: what a supervisor or a load balancer's check needs. It changes nothing.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "server/byte_count.h"
#include "server/cli.h"
#include "server/command_admin.h"

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

static void print_health(const json_t *answer, bool ready)
{
    const json_t *ledger = json_object_get(answer, "ledger");
    const json_t *redis = json_object_get(answer, "redis");
    bool starting = json_is_true(json_object_get(answer, "starting"));
    bool stopping = json_is_true(json_object_get(answer, "stopping"));
    printf("%-12s %s, tollgate %s, up %" PRIdMAX " s", "node", command_text(answer, "node"),
           command_text(answer, "version"), (intmax_t)command_number(answer, "uptime_s"));
    if (ledger != NULL) {
        printf(", %" PRIdMAX " workers", (intmax_t)command_number(answer, "workers"));
    }
    printf("\n%-12s %s\n", "ready",
           ready      ? "yes"
           : stopping ? "no, stopping"
           : starting ? "no, starting"
                      : "no");
    if (ledger == NULL) { /* it is being opened, or closed */
        return;
    }
    printf("%-12s %s", "ledger", command_text(ledger, "state"));
    if (command_text(ledger, "text")[0] != '\0') {
        fputs(": ", stdout);
        command_print_text(stdout, command_text(ledger, "text"));
    }
    printf(", %" PRIdMAX " records to post\n",
           (intmax_t)command_number(ledger, "records_unposted"));
    printf("%-12s %s, %s\n", "redis", json_is_true(json_object_get(redis, "up")) ? "up" : "down",
           command_text(redis, "address"));
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
    /* 503 is an answer here, and has the same body. */
    bool is_health = json_is_boolean(json_object_get(answer, "ready"));
    bool ready = status == 200;
    if (!is_health) {
        code = command_refused(argv[0], status, answer);
    } else if (cli_wants_json()) {
        code = cli_print_json(argv[0], answer);
    } else {
        print_health(answer, ready);
    }
    json_decref(answer);
    return code != EX_OK ? code : ready ? EX_OK : CLI_EXIT_NO;
}
