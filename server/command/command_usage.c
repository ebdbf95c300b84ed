/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate usage ISSUER/NAME`: prints what an account received, by day or month and file, with totals. It
 * asks a running node, which first posts the usage that it has not posted yet, so the figures are
 * complete. It reads page by page, so that the node never holds more than one, and sorts the rows
 * here. It changes no account.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/base/byte_count.h"
#include "server/command/cli.h"
#include "server/command/command_admin.h"

#define DAY_S        86400
#define DATES_MAX    400 /* the node's bound on one question, in days or months */

#define PAGE_ROWS    5000
#define ATTEMPTS_MAX 3 /* readings; one begins again where the node calls its cursor outdated */

enum { OPTION_FROM = 256, OPTION_TO };

struct arguments {
    struct cli_location location;
    struct account_name name;
    const char *from, *to; /* borrow argv */
};

static const struct argp_option options[] = {
    {"from", OPTION_FROM, "DAY", 0,
     "The first day, as 2026-11-01 (UTC), or month, as 2026-11; else 29 days before --to, or the "
     "month "
     "of --to",
     0},
    {"to", OPTION_TO, "DAY", 0, "The last day or month, inclusive; else today, or this month", 0},
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
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {ACCOUNT_NAME_CHILD, CLI_LOCATION_CHILD, {0}};
static const struct argp usage_argp = {
    .options = options,
    .parser = parse,
    .args_doc = "ISSUER/NAME",
    .doc =
        "Prints what an account received, by day and file, or by month and file: bytes that the "
        "clients' own systems acknowledged, and responses."
        "\v"
        "The bill of November:\n"
        "  tollgate usage shop/alice --from 2026-11 --to 2026-11\n"
        "Its days:\n"
        "  tollgate usage shop/alice --from 2026-11-01 --to 2026-11-30\n"
        "\n"
        "Days are kept for 70 days, the files of a month for 13 months after it; what was received "
        "in a month altogether is kept for ever.\n",
    .children = children,
};

/* The date is put into the request target unescaped, so only digits and dashes may pass. */
static bool looks_like_date(const char *text)
{
    size_t length = strlen(text);
    if (length != strlen("2026-11-23") && length != strlen("2026-11")) {
        return false;
    }
    for (size_t i = 0; text[i] != '\0'; i++) {
        if (i == 4 || i == 7 ? text[i] != '-' : isdigit((unsigned char)text[i]) == 0) {
            return false;
        }
    }
    return true;
}

static bool is_month(const char *date)
{
    return strlen(date) == strlen("2026-11");
}

/* Days or months since 1970; -1 for one that the calendar does not have, or one before 1970. */
static int64_t date_number(const char *text)
{
    struct tm date = {.tm_mday = 1};
    char again[16];
    const char *format = is_month(text) ? "%Y-%m" : "%Y-%m-%d";
    const char *end = strptime(text, format, &date);
    if (end == NULL || *end != '\0') {
        return -1;
    }
    time_t seconds = timegm(&date); /* turns the 30th of February into a day of March */
    if (seconds < 0 ||
        strftime(again, sizeof(again), is_month(text) ? "%Y-%m" : "%Y-%m-%d", &date) == 0 ||
        strcmp(again, text) != 0) {
        return -1;
    }
    return is_month(text) ? (date.tm_year - 70) * 12 + date.tm_mon : seconds / DAY_S;
}

/* Today or this month. */
static int64_t number_now(bool is_of_month)
{
    time_t now = time(NULL);
    struct tm date;
    (void)gmtime_r(&now, &date);
    return is_of_month ? (date.tm_year - 70) * 12 + date.tm_mon : now / DAY_S;
}

static int make_query(const char *command, const struct arguments *arguments, char *out,
                      size_t size)
{
    const char *const dates[] = {arguments->from, arguments->to};
    static const char *const names[] = {"from", "to"};
    bool by_month =
        (dates[0] != NULL || dates[1] != NULL) && is_month(dates[0] != NULL ? dates[0] : dates[1]);
    const char *unit = by_month ? "month" : "day";
    int64_t numbers[] = {-1, number_now(by_month)};
    int length = snprintf(out, size, "/usage");
    for (size_t i = 0; i < 2; i++) {
        if (dates[i] == NULL) {
            continue;
        }
        if (!looks_like_date(dates[i])) {
            return cli_fail(
                EX_USAGE, command,
                "--%s %s is not a date; write a day as 2026-11-23, or a month as 2026-11", names[i],
                dates[i]);
        }
        if (is_month(dates[i]) != by_month) {
            return cli_fail(
                EX_USAGE, command,
                "--from %s and --to %s are not of one kind; give two days or two months", dates[0],
                dates[1]);
        }
        numbers[i] = date_number(dates[i]);
        if (numbers[i] < 0) {
            return cli_fail(EX_USAGE, command,
                            "--%s %s is not a %s of the calendar; give one that is", names[i],
                            dates[i], unit);
        }
        length += snprintf(out + length, size - (size_t)length, "%c%s=%s",
                           strchr(out, '?') == NULL ? '?' : '&', names[i], dates[i]);
    }
    if (dates[0] != NULL && numbers[0] > numbers[1]) {
        return cli_fail(EX_USAGE, command, "--from %s is after %s%s; give the earlier %s first",
                        dates[0], dates[1] != NULL ? "--to " : "",
                        dates[1] != NULL ? dates[1] : "today", unit);
    }
    if (dates[0] != NULL && numbers[1] - numbers[0] >= DATES_MAX) {
        return cli_fail(EX_USAGE, command,
                        "--from %s is more than %d %ss before --to; ask for fewer at a time",
                        dates[0], DATES_MAX, unit);
    }
    return EX_OK;
}

/* ---- the rows ---- */

struct row {
    char date[16];
    char *file; /* owns; "": all files together, of a month whose files are not kept any more */
    bool encoded;
    json_int_t bytes, responses;
};

struct report {
    char issuer[LEDGER_ISSUER_MAX + 1];
    char account[LEDGER_ACCOUNT_MAX + 1];
    char from[16], to[16];
    struct row *rows; /* owns */
    size_t count, room;
    json_int_t bytes, responses;
};

static void report_clear(struct report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        free(report->rows[i].file);
    }
    free(report->rows);
    *report = (struct report){0};
}

/* The member of a row that has its date. */
static const char *report_unit(const struct report *report)
{
    return is_month(report->from) ? "month" : "day";
}

static bool add_row(struct report *report, const json_t *value)
{
    if (report->count == report->room) {
        size_t room = report->room == 0 ? 256 : report->room * 2;
        struct row *rows = realloc(report->rows, room * sizeof(*rows));
        if (rows == NULL) {
            return false;
        }
        report->rows = rows;
        report->room = room;
    }
    struct row *row = &report->rows[report->count];
    *row = (struct row){.file = strdup(command_text(value, "file")),
                        .encoded = json_is_true(json_object_get(value, "file_encoded")),
                        .bytes = command_number(value, "bytes"),
                        .responses = command_number(value, "responses")};
    (void)snprintf(row->date, sizeof(row->date), "%s", command_text(value, report_unit(report)));
    report->count += row->file != NULL ? 1 : 0;
    return row->file != NULL;
}

static bool add_page(struct report *report, const json_t *answer)
{
    (void)snprintf(report->issuer, sizeof(report->issuer), "%s", command_text(answer, "issuer"));
    (void)snprintf(report->account, sizeof(report->account), "%s", command_text(answer, "account"));
    (void)snprintf(report->from, sizeof(report->from), "%s", command_text(answer, "from"));
    (void)snprintf(report->to, sizeof(report->to), "%s", command_text(answer, "to"));
    size_t index;
    const json_t *row;
    json_array_foreach(json_object_get(answer, "rows"), index, row)
    {
        if (!add_row(report, row)) {
            return false;
        }
    }
    return true;
}

static int by_date_and_file(const void *a, const void *b)
{
    const struct row *left = a;
    const struct row *right = b;
    int order = strcmp(left->date, right->date);
    if (order == 0) {
        order = strcmp(left->file, right->file);
    }
    return order != 0 ? order : (int)left->encoded - (int)right->encoded;
}

/* Sorts the rows by date and file. A row that two pages hold counts once, with the larger totals:
 * those are the later ones. */
static void report_settle(struct report *report)
{
    size_t kept = 0;
    if (report->count > 0) {
        qsort(report->rows, report->count, sizeof(*report->rows), by_date_and_file);
    }
    for (size_t i = 0; i < report->count; i++) {
        struct row *row = &report->rows[i];
        struct row *last = kept > 0 ? &report->rows[kept - 1] : NULL;
        if (last == NULL || by_date_and_file(last, row) != 0) {
            report->rows[kept++] = *row;
            continue;
        }
        last->bytes = row->bytes > last->bytes ? row->bytes : last->bytes;
        last->responses = row->responses > last->responses ? row->responses : last->responses;
        free(row->file);
    }
    report->count = kept;
    for (size_t i = 0; i < kept; i++) {
        report->bytes += report->rows[i].bytes;
        report->responses += report->rows[i].responses;
    }
}

/* ---- asking ---- */

/* Reads all pages. *status and *answer are those of the last request: the last page, or the refusal
 * that ended the reading. */
static int read_pages(const char *command, const struct arguments *arguments, const char *query,
                      struct report *report, unsigned *status, json_t **answer)
{
    char next[LEDGER_USAGE_CURSOR_MAX] = "";
    for (;;) {
        char page_query[160];
        char target[ACCOUNT_TARGET_SIZE];
        /* Later pages name the dates of the first answer: by default the last one is today's, which
         * may have ended meanwhile. */
        int length = next[0] == '\0' ? snprintf(page_query, sizeof(page_query), "%s", query)
                                     : snprintf(page_query, sizeof(page_query),
                                                "/usage?from=%s&to=%s", report->from, report->to);
        (void)snprintf(page_query + length, sizeof(page_query) - (size_t)length, "%climit=%d%s%s",
                       strchr(page_query, '?') == NULL ? '?' : '&', PAGE_ROWS,
                       next[0] != '\0' ? "&cursor=" : "", next);
        account_name_target(&arguments->name, page_query, target);
        json_decref(*answer);
        *answer = NULL;
        int code = command_call(command, &arguments->location, "GET", target, NULL, status, answer);
        if (code != EX_OK || *status != 200) {
            return code;
        }
        if (!add_page(report, *answer)) {
            return cli_fail(EX_SOFTWARE, command, "out of memory");
        }
        (void)snprintf(next, sizeof(next), "%s", command_text(*answer, "next"));
        if (next[0] == '\0') {
            return EX_OK;
        }
    }
}

static int read_report(const char *command, const struct arguments *arguments, const char *query,
                       struct report *report)
{
    json_t *answer = NULL;
    unsigned status = 0;
    int code = EX_OK;
    for (int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        report_clear(report);
        code = read_pages(command, arguments, query, report, &status, &answer);
        bool is_outdated = code == EX_OK && status == 409 &&
                           strcmp(command_text(answer, "reason"), "cursor_outdated") == 0;
        if (!is_outdated) {
            break;
        }
    }
    if (code == EX_OK && status != 200) {
        code = account_refused(command, &arguments->name, status, answer);
    }
    json_decref(answer);
    report_settle(report);
    return code;
}

/* ---- printing ---- */

static void print_row(const char *date, json_int_t bytes, json_int_t responses, int bytes_width,
                      const char *file)
{
    char text[BYTE_COUNT_SIZE];
    byte_count_write(bytes, text);
    printf("%-10s  %*" PRIdMAX "  %9s  %9" PRIdMAX "  ", date, bytes_width, (intmax_t)bytes, text,
           (intmax_t)responses);
    command_print_text(stdout, file);
    putchar('\n');
}

static void print_table(const struct report *report)
{
    /* No row has more digits than the total. */
    int width = snprintf(NULL, 0, "%" PRIdMAX, (intmax_t)report->bytes);
    width = width > 5 ? width : 5;
    printf("%-10s  %*s  %9s  %9s  %s\n", is_month(report->from) ? "MONTH" : "DAY", width, "BYTES",
           "", "RESPONSES", "FILE");
    for (size_t i = 0; i < report->count; i++) {
        const struct row *row = &report->rows[i];
        print_row(row->date, row->bytes, row->responses, width,
                  row->file[0] != '\0' ? row->file : "(all files)");
    }
    char span[64];
    (void)snprintf(span, sizeof(span), "%s to %s", report->from, report->to);
    print_row("total", report->bytes, report->responses, width, span);
}

/* NULL: null. */
static void print_json_text(const char *text)
{
    json_t *value = text != NULL ? json_string(text) : json_null();
    (void)json_dumpf(value, stdout, JSON_ENCODE_ANY);
    json_decref(value);
}

/* Prints what the node would answer in one piece. It is written row by row, because a tree of JSON
 * values would take ten times the memory of its text. */
static void print_json(const struct report *report)
{
    printf("{\n  \"issuer\": \"%s\",\n  \"account\": ", report->issuer);
    print_json_text(report->account);
    printf(",\n  \"from\": \"%s\",\n  \"to\": \"%s\",\n  \"rows\": [", report->from, report->to);
    for (size_t i = 0; i < report->count; i++) {
        const struct row *row = &report->rows[i];
        printf("%s\n    {\n      \"%s\": \"%s\",\n      \"file\": ", i > 0 ? "," : "",
               report_unit(report), row->date);
        print_json_text(row->file[0] != '\0' ? row->file : NULL);
        printf(",\n      \"bytes\": %" PRIdMAX ",\n      \"responses\": %" PRIdMAX "%s\n    }",
               (intmax_t)row->bytes, (intmax_t)row->responses,
               row->encoded ? ",\n      \"file_encoded\": true" : "");
    }
    printf("%s],\n  \"totals\": {\n    \"bytes\": %" PRIdMAX ",\n    \"responses\": %" PRIdMAX
           ",\n    \"rows\": %zu\n  }\n}\n",
           report->count > 0 ? "\n  " : "", (intmax_t)report->bytes, (intmax_t)report->responses,
           report->count);
}

int command_usage(int argc, char **argv)
{
    struct arguments arguments = {0};
    cli_parse(&usage_argp, argc, argv, &arguments);
    char query[64];
    struct report report = {0};
    int code = account_name_settle(argv[0], &arguments.name);
    if (code == EX_OK) {
        code = make_query(argv[0], &arguments, query, sizeof(query));
    }
    if (code == EX_OK) {
        code = read_report(argv[0], &arguments, query, &report);
    }
    if (code == EX_OK && cli_wants_json()) {
        print_json(&report);
    } else if (code == EX_OK) {
        print_table(&report);
    }
    report_clear(&report);
    return code;
}
