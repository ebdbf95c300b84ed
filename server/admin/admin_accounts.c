/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin interface's accounts: showing and changing them, and their usage. The desk's threads
 * call it; they may block in the ledger for some seconds. It decides nothing about money: it reads
 * the request strictly, asks the ledger, and puts the ledger's answer into words.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/admin/admin_internal.h"
#include "server/base/check.h"

#define USAGE_DAYS_DEFAULT 30
#define USAGE_ROWS_MAX     200000 /* of an answer without pages; a longer one is refused */
#define USAGE_PAGE_DEFAULT 1000
#define USAGE_PAGE_MAX     10000
#define DAY_S              86400
#define DAY_SIZE           11 /* "2026-11-23" and NUL */

/* ---- showing ---- */

static json_t *view_json(const struct admin_request *request,
                         const struct ledger_account_view *view)
{
    bool prepaid = view->plan == LEDGER_PREPAID;
    json_t *out =
        json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "issuer", request->issuer, "account",
                  request->account, "plan", prepaid ? "prepaid" : "postpaid", "status",
                  view->status == LEDGER_ACTIVE ? "active" : "suspended", "balance",
                  (json_int_t)view->balance, "reserved", (json_int_t)view->reserved, "used",
                  (json_int_t)view->used, "revision", (json_int_t)view->revision);
    (void)json_object_set_new(out, "limits",
                              json_pack("{s:I, s:I, s:I}", "rate", (json_int_t)view->rate,
                                        "max_bytes", (json_int_t)view->max_bytes, "max_conns",
                                        (json_int_t)view->max_conns));
    (void)json_object_set_new(out, "revoked_before",
                              json_integer((json_int_t)view->revoked_before));
    /* The bytes that can still be granted. A postpaid account has no such bound. */
    json_t *available = prepaid
                            ? json_integer((json_int_t)view->balance - (json_int_t)view->reserved)
                            : json_null();
    (void)json_object_set_new(out, "available", available);
    return out;
}

void admin_account_show(struct node *node, const struct admin_request *request,
                        struct admin_answer *answer)
{
    struct ledger_account_view view = {0};
    int failure = ledger_account_show(node->ledger, request->issuer, request->account, &view);
    if (failure == 0 && !view.exists) {
        failure = -ENOENT;
    }
    if (failure != 0) {
        admin_answer_account_errno(node, request, failure, answer);
        return;
    }
    admin_answer_json(answer, 200, view_json(request, &view));
}

/* ---- changing ---- */

struct change {
    const char *plan, *transaction; /* borrow from the body */
    json_int_t bytes;               /* or the rate */
    json_int_t max_bytes, max_conns;
    bool allow_negative;
};

#define BYTES_MAX  (LEDGER_AMOUNT_MAX - 1)
#define FORM_OPEN  "{\"plan\":\"prepaid|postpaid\",\"bytes\":N,\"transaction\":\"ID\"}"
#define FORM_MONEY "{\"bytes\":N,\"transaction\":\"ID\"}"
#define FORM_ADJUST                                                                                \
    "{\"bytes\":N,\"transaction\":\"ID\"}, and \"allow_negative\":true where the balance may "     \
    "fall "                                                                                        \
    "below zero"
#define FORM_STATE "{\"transaction\":\"ID\"}, or nothing"
#define FORM_LIMITS                                                                                \
    "{\"rate\":BYTES_PER_SECOND,\"max_bytes\":N,\"max_conns\":N}; a limit that is left out, or "   \
    "is 0, does not apply"

/* Reads the members that the operation knows. */
static bool read_operation(json_t *body, enum ledger_operation operation, struct change *change,
                           struct admin_answer *answer)
{
    json_int_t least = operation == LEDGER_OPEN ? 0 : operation == LEDGER_TOP_UP ? 1 : -BYTES_MAX;
    const struct admin_member plan = {
        .name = "plan", .kind = ADMIN_MEMBER_TEXT, .text = &change->plan};
    const struct admin_member transaction = {.name = "transaction",
                                             .kind = ADMIN_MEMBER_TEXT,
                                             .required = operation != LEDGER_SUSPEND &&
                                                         operation != LEDGER_ACTIVATE,
                                             .text = &change->transaction};
    const struct admin_member bytes = {.name = "bytes",
                                       .kind = ADMIN_MEMBER_NUMBER,
                                       .required = operation != LEDGER_OPEN,
                                       .low = least,
                                       .high = BYTES_MAX,
                                       .number = &change->bytes};
    const struct admin_member open[] = {plan, bytes, transaction};
    const struct admin_member money[] = {bytes, transaction};
    const struct admin_member adjustment[] = {
        bytes,
        transaction,
        {.name = "allow_negative", .kind = ADMIN_MEMBER_TRUTH, .truth = &change->allow_negative}};
    const struct admin_member limits[] = {
        {.name = "rate", .kind = ADMIN_MEMBER_NUMBER, .high = BYTES_MAX, .number = &change->bytes},
        {.name = "max_bytes",
         .kind = ADMIN_MEMBER_NUMBER,
         .high = BYTES_MAX,
         .number = &change->max_bytes},
        {.name = "max_conns",
         .kind = ADMIN_MEMBER_NUMBER,
         .high = UINT32_MAX,
         .number = &change->max_conns}};
    switch (operation) {
    case LEDGER_OPEN:
        return admin_read_members(body, open, 3, FORM_OPEN, answer);
    case LEDGER_TOP_UP:
        return admin_read_members(body, money, 2, FORM_MONEY, answer);
    case LEDGER_ADJUST:
        return admin_read_members(body, adjustment, 3, FORM_ADJUST, answer);
    case LEDGER_SUSPEND:
    case LEDGER_ACTIVATE:
        return admin_read_members(body, &transaction, 1, FORM_STATE, answer);
    case LEDGER_LIMIT:
        return admin_read_members(body, limits, 3, FORM_LIMITS, answer);
    case LEDGER_REVOKE_LINK:
    case LEDGER_REVOKE_BEFORE:
        break; /* admin_links.c's */
    }
    check(false);
    return false;
}

static bool read_members(json_t *body, enum ledger_operation operation, struct change *change,
                         struct admin_answer *answer)
{
    if (!read_operation(body, operation, change, answer)) {
        return false;
    }
    if (change->plan != NULL && strcmp(change->plan, "prepaid") != 0 &&
        strcmp(change->plan, "postpaid") != 0) {
        admin_answer_problem(answer, ADMIN_PLAN_INVALID, "plan",
                             "plan must be prepaid or postpaid");
        return false;
    }
    if (change->transaction != NULL && !ledger_transaction_is_valid(change->transaction)) {
        admin_answer_problem(answer, ADMIN_OUT_OF_BOUNDS, "transaction",
                             "transaction must be 1 to %d of A-Z a-z 0-9 . _ : -; nothing was done",
                             LEDGER_TRANSACTION_MAX);
        return false;
    }
    return true;
}

static void answer_change(const struct admin_request *request, const struct change *change,
                          int result, bool repeated, const struct ledger_account_view *view,
                          struct admin_answer *answer)
{
    json_t *value;
    if (result == 0) {
        value = view_json(request, view);
        (void)json_object_set_new(value, "repeated", json_boolean(repeated));
    } else {
        value = json_pack("{s:s, s:s, s:b, s:s}", "issuer", request->issuer, "account",
                          request->account, "pending", true, "detail",
                          "journalled, and will be posted once Redis answers; it cannot be lost");
    }
    if (change->transaction != NULL) {
        (void)json_object_set_new(value, "transaction", json_string(change->transaction));
    }
    unsigned done = request->operation == LEDGER_OPEN ? 201 : 200;
    admin_answer_json(answer, result == 0 ? done : 202, value);
}

static void answer_overtaken(const struct ledger_account_view *view, struct admin_answer *answer)
{
    admin_answer_problem(
        answer, ADMIN_OPERATION_OVERTAKEN, NULL,
        "the order is in the journal, but a later one, given to another node, counts: the account "
        "is %s and %s, with rate %llu, max_bytes %llu and max_conns %u; order again if that is not "
        "what is wanted",
        view->plan == LEDGER_PREPAID ? "prepaid" : "postpaid",
        view->status == LEDGER_ACTIVE ? "active" : "suspended", (unsigned long long)view->rate,
        (unsigned long long)view->max_bytes, view->max_conns);
}

void admin_account_change(struct node *node, const struct admin_request *request,
                          struct admin_answer *answer)
{
    bool may_be_empty =
        request->operation == LEDGER_SUSPEND || request->operation == LEDGER_ACTIVATE;
    json_t *body = admin_read_json(request, may_be_empty, answer);
    struct change change = {0};
    if (body != NULL && read_members(body, request->operation, &change, answer)) {
        bool postpaid = change.plan != NULL && strcmp(change.plan, "postpaid") == 0;
        struct ledger_request asked = {.operation = request->operation,
                                       .issuer = request->issuer,
                                       .account = request->account,
                                       .plan = postpaid ? LEDGER_POSTPAID : LEDGER_PREPAID,
                                       .amount = change.bytes,
                                       .max_bytes = (uint64_t)change.max_bytes,
                                       .max_conns = (uint32_t)change.max_conns,
                                       .allow_negative = change.allow_negative,
                                       .transaction = change.transaction};
        struct ledger_account_view view = {0};
        bool repeated = false;
        int result = ledger_account_change(node->ledger, &asked, &repeated, &view);
        admin_log_change(request, &asked, NULL, result, repeated);
        if (result == 0 || result == -EINPROGRESS) {
            answer_change(request, &change, result, repeated, &view, answer);
        } else if (result == -EDOM) {
            admin_answer_problem(answer, ADMIN_BALANCE_NEGATIVE, "bytes",
                                 "the balance of %lld bytes would fall below zero; take away less, "
                                 "or allow it: \"allow_negative\":true, or --allow-negative",
                                 (long long)view.balance);
        } else if (result == -ECANCELED) {
            answer_overtaken(&view, answer);
        } else {
            admin_answer_account_errno(node, request, result, answer);
        }
    }
    json_decref(body);
}

/* ---- usage ---- */

static void write_day(time_t when, char out[static DAY_SIZE])
{
    struct tm day;
    (void)gmtime_r(&when, &day);
    (void)strftime(out, DAY_SIZE, "%Y-%m-%d", &day);
}

/* Reads "2026-11-23", a day that exists, into the second at which it begins (UTC). 0 or -EINVAL. */
static int read_day(struct http_text text, time_t *out)
{
    char day[DAY_SIZE];
    if (text.length != DAY_SIZE - 1) {
        return -EINVAL;
    }
    memcpy(day, text.data, DAY_SIZE - 1);
    day[DAY_SIZE - 1] = '\0';
    struct tm parts = {0};
    char back[DAY_SIZE];
    char *end = strptime(day, "%Y-%m-%d", &parts);
    if (end == NULL || *end != '\0') {
        return -EINVAL;
    }
    *out = timegm(&parts);
    /* strptime accepts " 1" and the 31st of any month; only a real day is written back the same. */
    write_day(*out, back);
    return strcmp(day, back) == 0 ? 0 : -EINVAL;
}

struct days {
    time_t from, to;
    char from_text[DAY_SIZE], to_text[DAY_SIZE];
};

static bool read_days(const struct admin_request *request, struct days *days,
                      struct admin_answer *answer)
{
    struct http_text from = admin_query_value(request->query, "from");
    struct http_text to = admin_query_value(request->query, "to");
    const char *wrong = NULL;
    days->to = time(NULL) / DAY_S * DAY_S;
    if (to.data != NULL && read_day(to, &days->to) != 0) {
        wrong = "to";
    }
    days->from = days->to - (time_t)(USAGE_DAYS_DEFAULT - 1) * DAY_S;
    if (wrong == NULL && from.data != NULL &&
        (read_day(from, &days->from) != 0 || days->from > days->to)) {
        wrong = "from";
    }
    if (wrong != NULL) {
        admin_answer_problem(answer, ADMIN_DAYS_INVALID, wrong,
                             "from and to are UTC days, as in from=2026-11-01&to=2026-11-30, and "
                             "from is not later than to");
        return false;
    }
    write_day(days->from, days->from_text);
    write_day(days->to, days->to_text);
    return true;
}

static uint32_t day_number(const char day[static DAY_SIZE])
{
    return (uint32_t)(strtoul(day, NULL, 10) * 10000 + strtoul(day + 5, NULL, 10) * 100 +
                      strtoul(day + 8, NULL, 10));
}

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
    json_t *file = file_json(row->file, &encoded);
    char day[32];
    (void)snprintf(day, sizeof(day), "%04u-%02u-%02u", row->day / 10000, row->day / 100 % 100,
                   row->day % 100);
    json_t *value = json_pack("{s:s, s:o, s:I, s:I}", "day", day, "file", file, "bytes",
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
                        const struct days *days, const struct part *part, struct report *report)
{
    const struct ledger_usage_ask ask = {.issuer = request->issuer,
                                         .account = request->account,
                                         .day_from = day_number(days->from_text),
                                         .day_to = day_number(days->to_text),
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
    (void)fprintf(report->out, ",\"from\":\"%s\",\"to\":\"%s\",\"rows\":[", days->from_text,
                  days->to_text);
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

void admin_account_usage(struct node *node, const struct admin_request *request,
                         struct admin_answer *answer)
{
    struct days days;
    struct part part;
    static const char *const parameters[] = {"from", "to", "limit", "cursor"};
    if (!admin_validate_parameters(request, parameters, 4, answer) ||
        !read_days(request, &days, answer) || !read_part(request, &part, answer)) {
        return;
    }
    int failure = find_account(node, request);
    if (failure != 0) {
        admin_answer_errno(answer, failure);
        return;
    }
    char *text = NULL;
    size_t length = 0;
    struct report report = {.out = open_memstream(&text, &length)};
    if (report.out == NULL) {
        admin_answer_errno(answer, -ENOMEM);
        return;
    }
    failure = write_report(node, request, &days, &part, &report);
    bool short_of_memory = ferror(report.out) != 0;
    if (fclose(report.out) != 0 || short_of_memory) {
        failure = -ENOMEM;
    }
    if (failure != 0 || report.too_many) {
        free(text);
        if (failure == -EINVAL) {
            admin_answer_problem(answer, ADMIN_OUT_OF_BOUNDS, "from",
                                 "usage spans %d days at most; ask with a later from, and again "
                                 "for the days before",
                                 LEDGER_USAGE_DAYS_MAX);
        } else if (report.too_many) {
            admin_answer_problem(
                answer, ADMIN_ROWS_TOO_MANY, NULL,
                "the usage has more rows than fit in one answer (%d); ask for pages, with "
                "limit=%d, and then with the `next` of each answer as cursor=",
                USAGE_ROWS_MAX, USAGE_PAGE_DEFAULT);
        } else {
            admin_answer_account_errno(node, request, failure, answer);
        }
        return;
    }
    answer->status = 200;
    answer->body = text;
    answer->length = length;
}
