/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin interface's usage of an account, by day and file or by month and file. The desk's threads
 * call it; they may block in the ledger for some seconds. It reads the request strictly, asks the ledger,
 * and writes the ledger's rows as they come.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/admin/admin_internal.h"

#define USAGE_DAYS_DEFAULT 30
#define USAGE_ROWS_MAX     200000 /* of an answer without pages; a longer one is refused */
#define USAGE_PAGE_DEFAULT 1000
#define USAGE_PAGE_MAX     10000
#define DAY_S              86400
#define DATE_SIZE          11 /* "2026-11-23" and NUL */

/* ---- dates ---- */

/* What usage is asked by. */
struct unit {
    const char *member, *format; /* of a row; for strptime */
    size_t length;               /* of a date */
};
static const struct unit day_unit = {"day", "%Y-%m-%d", 10}, month_unit = {"month", "%Y-%m", 7};

static void write_date(const struct unit *unit, time_t when, char out[static DATE_SIZE])
{
    struct tm parts;
    (void)gmtime_r(&when, &parts);
    (void)strftime(out, DATE_SIZE, unit == &month_unit ? "%Y-%m" : "%Y-%m-%d", &parts);
}

/* Reads "2026-11-23" or "2026-11", a date that exists, into the second at which it begins (UTC). 0 or
 * -EINVAL. */
static int read_date(const struct unit *unit, struct http_text text, time_t *out)
{
    char date[DATE_SIZE];
    if (text.length != unit->length) {
        return -EINVAL;
    }
    memcpy(date, text.data, text.length);
    date[text.length] = '\0';
    struct tm parts = {.tm_mday = 1};
    char back[DATE_SIZE];
    char *end = strptime(date, unit->format, &parts);
    if (end == NULL || *end != '\0') {
        return -EINVAL;
    }
    *out = timegm(&parts);
    /* strptime accepts " 1" and the 31st of any month; only a real date is written back the same. */
    write_date(unit, *out, back);
    return strcmp(date, back) == 0 ? 0 : -EINVAL;
}

struct dates {
    const struct unit *unit;
    time_t from, to;
    char from_text[DATE_SIZE], to_text[DATE_SIZE];
};

/* Without from and to, the last 30 days; with one of them as a month, that month alone, or all since. */
static bool read_dates(const struct admin_request *request, struct dates *dates,
                       struct admin_answer *answer)
{
    struct http_text from = admin_query_value(request->query, "from");
    struct http_text to = admin_query_value(request->query, "to");
    const char *wrong = NULL;
    bool is_month = (from.data != NULL ? from : to).length == month_unit.length;
    dates->unit = is_month ? &month_unit : &day_unit;
    dates->to = time(NULL) / DAY_S * DAY_S;
    if (to.data != NULL && read_date(dates->unit, to, &dates->to) != 0) {
        wrong = "to";
    }
    dates->from = dates->to - (is_month ? 0 : (time_t)(USAGE_DAYS_DEFAULT - 1) * DAY_S);
    if (wrong == NULL && from.data != NULL &&
        (read_date(dates->unit, from, &dates->from) != 0 || dates->from > dates->to)) {
        wrong = "from";
    }
    if (wrong != NULL) {
        admin_answer_problem(
            answer, ADMIN_DAYS_INVALID, wrong,
            "from and to are UTC days, as in from=2026-11-01&to=2026-11-30, or months, "
            "as in from=2026-10&to=2026-11, and from is not later than to");
        return false;
    }
    write_date(dates->unit, dates->from, dates->from_text);
    write_date(dates->unit, dates->to, dates->to_text);
    return true;
}

/* yyyymmdd or yyyymm */
static uint32_t date_number(const char date[static DATE_SIZE])
{
    uint32_t month = (uint32_t)(strtoul(date, NULL, 10) * 100 + strtoul(date + 5, NULL, 10));
    return date[7] == '\0' ? month : month * 100 + (uint32_t)strtoul(date + 8, NULL, 10);
}

/* ---- the rows ---- */

/* The part of the usage that is asked for: all of it, or one page. */
struct part {
    bool is_page;
    uint32_t rows_max;
    char cursor[LEDGER_USAGE_CURSOR_MAX];
};

/* Without limit and cursor the answer is whole or refused: a shop that does not know of pages must
 * not take the first one for the bill. */
static bool read_part(const struct admin_request *request, struct part *part,
                      struct admin_answer *answer)
{
    struct http_text limit = admin_query_value(request->query, "limit");
    struct http_text cursor = admin_query_value(request->query, "cursor");
    part->is_page = limit.data != NULL || cursor.data != NULL;
    part->rows_max = part->is_page ? USAGE_PAGE_DEFAULT : USAGE_ROWS_MAX + 1;
    part->cursor[0] = '\0';
    if (limit.data != NULL) {
        char number[8] = "";
        if (limit.length < sizeof(number)) {
            memcpy(number, limit.data, limit.length);
        }
        part->rows_max = (uint32_t)strtoul(number, NULL, 10);
        if (strspn(number, "0123456789") != limit.length || part->rows_max < 1 ||
            part->rows_max > USAGE_PAGE_MAX) {
            admin_answer_problem(answer, ADMIN_LIMIT_INVALID, "limit", "limit must be 1 to %d",
                                 USAGE_PAGE_MAX);
            return false;
        }
    }
    if (cursor.data != NULL) {
        bool fits = cursor.length > 0 && cursor.length < sizeof(part->cursor);
        (void)snprintf(part->cursor, sizeof(part->cursor), "%.*s", fits ? (int)cursor.length : 1,
                       fits ? cursor.data : "?");
    }
    return true;
}

/* Rows are written as they come, because a JSON tree of many rows needs ten times their text. */
struct report {
    FILE *out;
    const struct unit *unit;
    size_t rows;
    uint64_t bytes, responses;
    bool too_many;
};

static json_t *file_json(const char *file, bool *encoded)
{
    json_t *value = json_string(file);
    *encoded = value == NULL;
    if (value == NULL) {
        /* A name on disk is any bytes. One that is not UTF-8 is percent-encoded, and marked so. */
        char text[3 * LEDGER_FILE_MAX + 1];
        if (token_path_encode(file, strlen(file), text, sizeof(text)) >= 0) {
            value = json_string(text);
        }
    }
    return value;
}

static int write_row(void *context, const struct ledger_usage_row *row)
{
    struct report *report = context;
    if (report->rows == USAGE_ROWS_MAX) { /* never in a page: USAGE_PAGE_MAX is less */
        report->too_many = true;
        return -E2BIG;
    }
    bool encoded = false;
    /* A month whose files have ended has one row, without a file. */
    json_t *file = row->file[0] != '\0' ? file_json(row->file, &encoded) : json_null();
    char date[40];
    uint32_t month = report->unit == &month_unit ? row->date : row->date / 100;
    int length = snprintf(date, sizeof(date), "%04u-%02u", month / 100, month % 100);
    if (report->unit == &day_unit) {
        (void)snprintf(date + length, sizeof(date) - (size_t)length, "-%02u", row->date % 100);
    }
    json_t *value =
        json_pack("{s:s, s:o, s:I, s:I}", report->unit->member, date, "file", file, "bytes",
                  (json_int_t)row->bytes, "responses", (json_int_t)row->responses);
    if (encoded) {
        (void)json_object_set_new(value, "file_encoded", json_true());
    }
    int failed = report->rows > 0 ? fputc(',', report->out) == EOF : 0;
    if (value == NULL || failed != 0 || json_dumpf(value, report->out, JSON_COMPACT) != 0) {
        json_decref(value);
        return -ENOMEM;
    }
    json_decref(value);
    report->rows++;
    report->bytes += row->bytes;
    report->responses += row->responses;
    return 0;
}

static int write_report(struct node *node, const struct admin_request *request,
                        const struct dates *dates, const struct part *part, struct report *report)
{
    const struct ledger_usage_ask ask = {.issuer = request->issuer,
                                         .account = request->account,
                                         .from = date_number(dates->from_text),
                                         .to = date_number(dates->to_text),
                                         .rows_max = part->rows_max,
                                         .cursor = part->cursor};
    struct ledger_usage_page page = {.row = write_row, .context = report};
    json_t *account = json_string(request->account);
    if (account == NULL) {
        return -ENOMEM;
    }
    (void)fprintf(report->out, "{\"issuer\":\"%s\",\"account\":", request->issuer);
    (void)json_dumpf(account, report->out, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(account);
    (void)fprintf(report->out, ",\"from\":\"%s\",\"to\":\"%s\",\"rows\":[", dates->from_text,
                  dates->to_text);
    int failure = ledger_usage(node->ledger, &ask, &page);
    (void)fprintf(report->out, "],\"totals\":{\"bytes\":%llu,\"responses\":%llu,\"rows\":%zu}",
                  (unsigned long long)report->bytes, (unsigned long long)report->responses,
                  report->rows);
    if (part->is_page && page.next[0] != '\0') {
        (void)fprintf(report->out, ",\"next\":\"%s\"", page.next);
    } else if (part->is_page) {
        (void)fputs(",\"next\":null", report->out);
    } else if (page.next[0] != '\0') {
        report->too_many = true;
    }
    (void)fputc('}', report->out);
    return failure;
}

static int find_account(struct node *node, const struct admin_request *request)
{
    struct ledger_account_view view = {0};
    int failure = ledger_account_show(node->ledger, request->issuer, request->account, &view);
    return failure == 0 && !view.exists ? -ENOENT : failure;
}

static void answer_ended(struct admin_answer *answer)
{
    char first[DATE_SIZE], month[DATE_SIZE];
    time_t kept = time(NULL) - (time_t)LEDGER_DAYS_KEPT * DAY_S;
    write_date(&day_unit, kept, first);
    write_date(&month_unit, kept, month);
    admin_answer_problem(answer, ADMIN_USAGE_ENDED, "from",
                         "usage by day is kept for %d days; ask from %s on, or by month, as in "
                         "from=%s&to=%s",
                         LEDGER_DAYS_KEPT, first, month, month);
}

static void answer_failure(struct node *node, const struct admin_request *request, int failure,
                           struct admin_answer *answer)
{
    if (failure == -EINVAL) {
        admin_answer_problem(answer, ADMIN_OUT_OF_BOUNDS, "from",
                             "usage spans %d days or months at most; ask with a later from, and "
                             "again for those before",
                             LEDGER_USAGE_DATES_MAX);
    } else if (failure == -ENODATA) {
        answer_ended(answer);
    } else if (failure == -E2BIG) {
        admin_answer_problem(answer, ADMIN_ROWS_TOO_MANY, NULL,
                             "the usage has more rows than fit in one answer (%d); ask for pages, "
                             "with limit=%d, and then with the `next` of each answer as cursor=",
                             USAGE_ROWS_MAX, USAGE_PAGE_DEFAULT);
    } else {
        admin_answer_account_errno(node, request, failure, answer);
    }
}

void admin_account_usage(struct node *node, const struct admin_request *request,
                         struct admin_answer *answer)
{
    struct dates dates;
    struct part part;
    static const char *const parameters[] = {"from", "to", "limit", "cursor"};
    if (!admin_validate_parameters(request, parameters, 4, answer) ||
        !read_dates(request, &dates, answer) || !read_part(request, &part, answer)) {
        return;
    }
    int failure = find_account(node, request);
    if (failure != 0) {
        admin_answer_errno(answer, failure);
        return;
    }
    char *text = NULL;
    size_t length = 0;
    struct report report = {.out = open_memstream(&text, &length), .unit = dates.unit};
    if (report.out == NULL) {
        admin_answer_errno(answer, -ENOMEM);
        return;
    }
    failure = write_report(node, request, &dates, &part, &report);
    bool short_of_memory = ferror(report.out) != 0;
    if (fclose(report.out) != 0 || short_of_memory) {
        failure = -ENOMEM;
    }
    if (failure != 0 || report.too_many) {
        free(text);
        answer_failure(node, request, report.too_many ? -E2BIG : failure, answer);
        return;
    }
    answer->status = 200;
    answer->body = text;
    answer->length = length;
}
