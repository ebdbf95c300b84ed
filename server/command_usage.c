/*
 * `tollgate usage ISSUER/NAME`: what an account received, by day and file, with totals. It asks a
 * running node, which first posts what it has not posted yet, so the figures are complete. It
 * changes nothing.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "server/byte_count.h"
#include "server/cli.h"
#include "server/command_admin.h"

#define DAY_S    86400
#define DAYS_MAX 400 /* of one question; the node's own bound */

enum { OPTION_FROM = 256, OPTION_TO, OPTION_JSON };

struct arguments {
    struct cli_location location;
    struct account_name name;
    const char *from, *to; /* borrow argv */
    bool json;
};

static const struct argp_option options[] = {
    {"from", OPTION_FROM, "DAY", 0, "The first day, as 2026-11-01 (UTC); else 29 days before --to",
     0},
    {"to", OPTION_TO, "DAY", 0, "The last day, inclusive; else today. 400 days at most", 0},
    {"json", OPTION_JSON, NULL, 0, "Print the node's answer as JSON", 0},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->name;
        state->child_inputs[1] = &arguments->location;
        return 0;
    case OPTION_FROM:
        arguments->from = argument;
        return 0;
    case OPTION_TO:
        arguments->to = argument;
        return 0;
    case OPTION_JSON:
        arguments->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0) {
            argp_error(state, "%s: one account at a time", argument);
        }
        arguments->name.both = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {ACCOUNT_NAME_CHILD, CLI_LOCATION_CHILD, {0}};
static const struct argp usage_argp = {
    .options = options,
    .parser = parse,
    .args_doc = "ISSUER/NAME",
    .doc = "Prints what an account received, by day and file: bytes that the clients' own systems "
           "acknowledged, and responses."
           "\v"
           "The bill of November:\n"
           "  tollgate usage shop/alice --from 2026-11-01 --to 2026-11-30\n",
    .children = children,
};

/* Only digits and dashes go into the target; what is no day is refused before. */
static bool looks_like_day(const char *text)
{
    if (strlen(text) != strlen("2026-11-23")) {
        return false;
    }
    for (size_t i = 0; text[i] != '\0'; i++) {
        if (i == 4 || i == 7 ? text[i] != '-' : isdigit((unsigned char)text[i]) == 0) {
            return false;
        }
    }
    return true;
}

/* Days since 1970; -1 where the calendar has no such day, or one before that. */
static int64_t day_number(const char *text)
{
    struct tm date = {0};
    char again[16];
    const char *end = strptime(text, "%Y-%m-%d", &date);
    if (end == NULL || *end != '\0') {
        return -1;
    }
    time_t seconds = timegm(&date); /* turns the 30th of February into a day of March */
    if (seconds < 0 || strftime(again, sizeof again, "%Y-%m-%d", &date) == 0 ||
        strcmp(again, text) != 0) {
        return -1;
    }
    return seconds / DAY_S;
}

static int make_query(const char *command, const struct arguments *arguments, char *out,
                      size_t size)
{
    const char *const days[] = {arguments->from, arguments->to};
    static const char *const names[] = {"from", "to"};
    int64_t numbers[] = {-1, time(NULL) / DAY_S};
    int length = snprintf(out, size, "/usage");
    for (size_t i = 0; i < 2; i++) {
        if (days[i] == NULL) {
            continue;
        }
        if (!looks_like_day(days[i])) {
            return cli_fail(EX_USAGE, command, "--%s %s: write the day as 2026-11-23", names[i],
                            days[i]);
        }
        numbers[i] = day_number(days[i]);
        if (numbers[i] < 0) {
            return cli_fail(EX_DATAERR, command, "--%s %s: the calendar has no such day", names[i],
                            days[i]);
        }
        length += snprintf(out + length, size - (size_t)length, "%c%s=%s",
                           strchr(out, '?') == NULL ? '?' : '&', names[i], days[i]);
    }
    if (days[0] != NULL && numbers[0] > numbers[1]) {
        return cli_fail(EX_DATAERR, command, "--from %s is after %s%s; give the earlier day first",
                        days[0], days[1] != NULL ? "--to " : "",
                        days[1] != NULL ? days[1] : "today");
    }
    if (days[0] != NULL && numbers[1] - numbers[0] >= DAYS_MAX) {
        return cli_fail(EX_DATAERR, command,
                        "--from %s: more than %d days before --to; ask for a year at a time",
                        days[0], DAYS_MAX);
    }
    return EX_OK;
}

static void print_row(const char *day, const json_t *row, int bytes_width, const char *file)
{
    char text[BYTE_COUNT_SIZE];
    json_int_t bytes = command_number(row, "bytes");
    byte_count_write(bytes, text);
    printf("%-10s  %*" PRIdMAX "  %9s  %9" PRIdMAX "  ", day, bytes_width, (intmax_t)bytes, text,
           (intmax_t)command_number(row, "responses"));
    command_print_text(stdout, file);
    putchar('\n');
}

static void print_table(const json_t *answer)
{
    const json_t *totals = json_object_get(answer, "totals");
    const json_t *rows = json_object_get(answer, "rows");
    /* No row has more digits than the total. */
    int width = snprintf(NULL, 0, "%" PRIdMAX, (intmax_t)command_number(totals, "bytes"));
    width = width > 5 ? width : 5;
    printf("%-10s  %*s  %9s  %9s  %s\n", "DAY", width, "BYTES", "", "RESPONSES", "FILE");
    size_t index;
    const json_t *row;
    json_array_foreach(rows, index, row)
    {
        print_row(command_text(row, "day"), row, width, command_text(row, "file"));
    }
    char span[64];
    (void)snprintf(span, sizeof span, "%s to %s", command_text(answer, "from"),
                   command_text(answer, "to"));
    print_row("total", totals, width, span);
}

int command_usage(int argc, char **argv)
{
    struct arguments arguments = {0};
    cli_parse(&usage_argp, argc, argv, &arguments);
    char query[64];
    char target[ACCOUNT_TARGET_SIZE];
    int code = account_name_settle(argv[0], &arguments.name);
    if (code == EX_OK) {
        code = make_query(argv[0], &arguments, query, sizeof query);
    }
    if (code != EX_OK) {
        return code;
    }
    account_name_target(&arguments.name, query, target);
    json_t *answer = NULL;
    unsigned status = 0;
    code = command_call(argv[0], &arguments.location, "GET", target, NULL, &status, &answer);
    if (code == EX_OK && status != 200) {
        char whose[LEDGER_ISSUER_MAX + LEDGER_ACCOUNT_MAX + 64];
        (void)snprintf(whose, sizeof whose, "%s: %s/%s", argv[0], arguments.name.issuer,
                       arguments.name.account);
        code = command_refused(whose, status, answer);
    } else if (code == EX_OK && arguments.json) {
        code = command_print_json(argv[0], answer);
    } else if (code == EX_OK) {
        print_table(answer);
    }
    json_decref(answer);
    return code;
}
