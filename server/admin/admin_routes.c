/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin interface's routes: one table, the match of a request against it, and the shapes of the
 * answers. admin_peers.c calls it with requests that were read whole, admin_desk.c's threads run
 * the handlers that it names. It touches no socket.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/admin_internal.h"
#include "server/base/check.h"
#include "server/base/octets.h"

enum access { ANYBODY, SHOPS, OPERATORS };
enum wait { AT_ONCE, WAITS };

/* In a pattern `*` stands for one segment: first the issuer's id, then the account. Segments are
 * percent-decoded after the split, so that an account's name may hold a slash. */
static const struct admin_route {
    enum http_method method;
    enum access access;              /* who may call it, beside operators */
    enum wait wait;                  /* WAITS: it may block, so the desk runs it */
    enum ledger_operation operation; /* for admin_account_change; of no meaning to the others */
    const char *pattern;
    void (*handle)(struct node *node, const struct admin_request *request,
                   struct admin_answer *answer);
} routes[] = {
    {HTTP_GET, ANYBODY, AT_ONCE, LEDGER_OPEN, "/v1/openapi.json", admin_openapi},
    {HTTP_GET, OPERATORS, AT_ONCE, LEDGER_OPEN, "/v1/health", admin_health},
    {HTTP_GET, SHOPS, WAITS, LEDGER_OPEN, "/v1/accounts/*/*", admin_account_show},
    {HTTP_PUT, SHOPS, WAITS, LEDGER_OPEN, "/v1/accounts/*/*", admin_account_change},
    {HTTP_POST, SHOPS, WAITS, LEDGER_TOP_UP, "/v1/accounts/*/*/top-up", admin_account_change},
    {HTTP_POST, OPERATORS, WAITS, LEDGER_ADJUST, "/v1/accounts/*/*/adjust", admin_account_change},
    {HTTP_POST, SHOPS, WAITS, LEDGER_SUSPEND, "/v1/accounts/*/*/suspend", admin_account_change},
    {HTTP_POST, SHOPS, WAITS, LEDGER_ACTIVATE, "/v1/accounts/*/*/activate", admin_account_change},
    {HTTP_PUT, SHOPS, WAITS, LEDGER_LIMIT, "/v1/accounts/*/*/limits", admin_account_change},
    {HTTP_POST, SHOPS, WAITS, LEDGER_OPEN, "/v1/accounts/*/*/revoke", admin_account_revoke},
    {HTTP_GET, SHOPS, WAITS, LEDGER_OPEN, "/v1/accounts/*/*/usage", admin_account_usage},
    {HTTP_POST, SHOPS, WAITS, LEDGER_OPEN, "/v1/links/revoke", admin_link_revoke},
    {HTTP_POST, OPERATORS, WAITS, LEDGER_OPEN, "/v1/links/explain", admin_link_explain},
    {HTTP_GET, SHOPS, WAITS, LEDGER_OPEN, "/v1/events", admin_events},
};
#define ROUTES_COUNT (sizeof(routes) / sizeof(routes[0]))
#define SEGMENTS_MAX 2

/* ---- answers ---- */

const char *admin_status_phrase(unsigned status)
{
    switch (status) {
    case 201:
        return "Created";
    case 202:
        return "Accepted";
    case 401:
        return "Unauthorized";
    case 409:
        return "Conflict";
    case 411:
        return "Length Required";
    case 422:
        return "Unprocessable Content";
    case 507:
        return "Insufficient Storage"; /* RFC 4918 11.5 */
    default:
        return http_status_phrase(status);
    }
}

void admin_answer_json(struct admin_answer *answer, unsigned status, json_t *value)
{
    static const char no_memory[] =
        "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,"
        "\"reason\":\"no_memory\",\"detail\":\"no memory\"}";
    free(answer->body);
    answer->status = status;
    answer->body = value != NULL ? json_dumps(value, JSON_COMPACT) : NULL;
    json_decref(value);
    if (answer->body == NULL) {
        answer->status = 503;
        answer->problem = true;
        answer->body = strdup(no_memory);
    }
    answer->length = answer->body != NULL ? strlen(answer->body) : 0;
}

#define DETAIL_SIZE 1024

static void answer_problem(struct admin_answer *answer, unsigned status, const char *reason,
                           const char *member, const char *detail)
{
    answer->problem = true;
    answer->reason = reason;
    /* A detail may quote the request, and JSON cannot hold bytes that are not UTF-8. */
    json_t *text = json_string(detail);
    if (text == NULL) {
        text = json_string("the request is not UTF-8");
    }
    json_t *value = json_pack("{s:s, s:s, s:i, s:o, s:s}", "type", "about:blank", "title",
                              admin_status_phrase(status), "status", (int)status, "detail", text,
                              "reason", reason);
    if (member != NULL) {
        (void)json_object_set_new(value, "member", json_string(member));
    }
    admin_answer_json(answer, status, value);
}

void admin_answer_problem(struct admin_answer *answer, enum admin_reason reason, const char *member,
                          const char *format, ...)
{
    char detail[DETAIL_SIZE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(detail, sizeof(detail), format, arguments);
    va_end(arguments);
    answer->retry_after_s = admin_reason_retry_after_s(reason);
    answer_problem(answer, admin_reason_status(reason), admin_reason_name(reason), member, detail);
}

void admin_answer_refusal(struct admin_answer *answer, unsigned status, enum refusal refusal,
                          const char *member, const char *format, ...)
{
    char detail[DETAIL_SIZE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(detail, sizeof(detail), format, arguments);
    va_end(arguments);
    answer_problem(answer, status, refusal_name(refusal), member, detail);
}

void admin_answer_errno(struct admin_answer *answer, int failure)
{
    static const struct {
        int failure;
        enum admin_reason reason;
        const char *member, *text;
    } table[] = {
        {-EEXIST, ADMIN_ACCOUNT_OPEN, NULL, "the account is open already; top it up instead"},
        {-ENOENT, ADMIN_ACCOUNT_UNKNOWN, NULL, "no such account; open it first"},
        {-ENOTUNIQ, ADMIN_TRANSACTION_REUSED, "transaction",
         "the transaction id was used with another operation or amount; use a new id for a new "
         "payment"},
        {-EINVAL, ADMIN_OUT_OF_BOUNDS, NULL,
         "a name or a number of the call is out of its bounds; nothing was done"},
        {-EOVERFLOW, ADMIN_TOTAL_TOO_LARGE, "bytes",
         "the account's total would exceed 2^53 - 1 bytes"},
        {-EAGAIN, ADMIN_REDIS_UNAVAILABLE, NULL, "Redis cannot be asked now; nothing was done"},
        {-ETIMEDOUT, ADMIN_REDIS_UNAVAILABLE, NULL, "Redis did not answer in time; ask again"},
        {-ENOSPC, ADMIN_JOURNAL_FULL, NULL, "the journal has no room; nothing was done"},
        {-ESTALE, ADMIN_CURSOR_OUTDATED, "cursor",
         "the cursor is not the `next` of an answer about these days, or Redis was replaced since "
         "then; begin again without a cursor"},
        {-EUSERS, ADMIN_ACCOUNTS_FULL, NULL,
         "the node has reached accounts_max; nothing was done; raise accounts_max in the node's "
         "configuration"},
        {-EDQUOT, ADMIN_ISSUER_ACCOUNTS_FULL, NULL,
         "the issuer has reached accounts_per_issuer_max on this node (auto: its share of "
         "accounts_max); nothing was done; raise accounts_per_issuer_max in the node's "
         "configuration"},
        {-EIO, ADMIN_JOURNAL_FAILED, NULL,
         "the journal cannot be written; nothing was done; free or replace the disk and restart"},
        {-ENOMEM, ADMIN_NO_MEMORY, NULL, "no memory; nothing was done"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].failure == failure) {
            admin_answer_problem(answer, table[i].reason, table[i].member, "%s", table[i].text);
            return;
        }
    }
    admin_answer_problem(answer, ADMIN_UNEXPECTED, NULL, "the ledger failed: %s",
                         strerrordesc_np(-failure));
}

void admin_answer_stopping(struct admin_answer *answer)
{
    admin_answer_problem(answer, ADMIN_NODE_STOPPING, NULL,
                         "the node is stopping; nothing was done, ask again");
}

/* ---- matching ---- */

/* Whether the path matches the pattern. `stars` receives the segments that stand at the stars. */
static bool path_matches(const char *pattern, struct http_text path,
                         struct http_text stars[static SEGMENTS_MAX], size_t *count)
{
    const char *at = path.data;
    const char *end = path.data + path.length;
    *count = 0;
    for (; *pattern != '\0'; pattern++) {
        if (*pattern == '*') {
            const char *slash = memchr(at, '/', (size_t)(end - at));
            const char *stop = slash != NULL ? slash : end;
            check(*count < SEGMENTS_MAX);
            stars[(*count)++] = (struct http_text){at, (size_t)(stop - at)};
            at = stop;
        } else if (at == end || *at++ != *pattern) {
            return false;
        }
    }
    return at == end;
}

/* Percent-decodes into `out` (a C string). 0, -EINVAL (bad escape, NUL, empty) or -ENAMETOOLONG. */
static int decode_segment(struct http_text text, char *out, size_t size)
{
    size_t length = 0;
    for (size_t i = 0; i < text.length; i++) {
        char byte = text.data[i];
        if (byte == '%') {
            int high = i + 2 < text.length ? octet_hex_value(text.data[i + 1]) : -1;
            int low = i + 2 < text.length ? octet_hex_value(text.data[i + 2]) : -1;
            if (high < 0 || low < 0 || (high == 0 && low == 0)) {
                return -EINVAL;
            }
            byte = (char)(high * 16 + low);
            i += 2;
        }
        if (length + 1 >= size) {
            return -ENAMETOOLONG;
        }
        out[length++] = byte;
    }
    out[length] = '\0';
    return length > 0 ? 0 : -EINVAL;
}

static bool is_utf8(const char *text)
{
    json_t *value = json_string(text);
    json_decref(value);
    return value != NULL;
}

/* Names the known issuers: a misspelt issuer must not be answered like an unknown account. */
static void answer_unknown_issuer(const struct config *config, const char *issuer,
                                  struct admin_answer *answer)
{
    char known[512] = "";
    size_t length = 0;
    for (unsigned i = 0; i < config->issuers_count && length < sizeof(known); i++) {
        int written = snprintf(known + length, sizeof(known) - length, "%s%s", i == 0 ? "" : ", ",
                               config->issuers[i].id);
        length += written > 0 ? (size_t)written : 0;
    }
    admin_answer_problem(answer, ADMIN_ISSUER_UNKNOWN, "issuer",
                         "no issuer %s is configured; this node knows: %s%s", issuer, known,
                         length >= sizeof(known) ? " ..." : "");
}

bool admin_issuer_is_known(const struct node *node, const char *issuer, struct admin_answer *answer)
{
    for (unsigned i = 0; i < node->config->issuers_count; i++) {
        if (strcmp(node->config->issuers[i].id, issuer) == 0) {
            return true;
        }
    }
    answer_unknown_issuer(node->config, issuer, answer);
    return false;
}

static bool take_names(const struct node *node, const struct http_text *stars,
                       struct admin_request *request, struct admin_answer *answer)
{
    int failure = decode_segment(stars[0], request->issuer, sizeof(request->issuer));
    if (failure != 0 || !is_utf8(request->issuer)) {
        admin_answer_problem(answer, ADMIN_ISSUER_UNKNOWN, "issuer",
                             "an issuer's id is [a-z0-9-]{1,32}, as configured");
        return false;
    }
    if (!request->is_operator && strcmp(request->issuer, request->shop) != 0) {
        admin_answer_problem(
            answer, ADMIN_ISSUER_FORBIDDEN, "issuer",
            "this secret belongs to issuer %s and reaches only the accounts of that issuer",
            request->shop);
        return false;
    }
    if (!admin_issuer_is_known(node, request->issuer, answer)) {
        return false;
    }
    failure = decode_segment(stars[1], request->account, sizeof(request->account));
    if (failure != 0 || !is_utf8(request->account) ||
        !token_text_is_plain(request->account, strlen(request->account), LEDGER_ACCOUNT_MAX)) {
        admin_answer_problem(answer, ADMIN_ACCOUNT_INVALID, "account",
                             "an account has 1 to %d bytes of UTF-8, percent-encoded in the path, "
                             "without control characters",
                             LEDGER_ACCOUNT_MAX);
        return false;
    }
    return true;
}

/* Whether the caller, operator, shop or neither, may use the route; else makes the answer. */
static bool is_allowed(const struct admin_route *route, const struct admin_request *request,
                       struct admin_answer *answer)
{
    if (request->is_operator || route->access == ANYBODY) {
        return true;
    }
    if (request->shop[0] == '\0') {
        answer->challenge = true;
        admin_answer_problem(answer, ADMIN_SECRET_UNKNOWN, NULL,
                             "send Authorization: Bearer and the issuer's secret, a line of its "
                             "admin_secret_file");
        return false;
    }
    if (route->access == OPERATORS) {
        admin_answer_problem(answer, ADMIN_OPERATORS_ONLY, NULL,
                             "this is for operators, on the node's own socket");
        return false;
    }
    return true;
}

/* The class whose share of the desk's threads does the call. */
static unsigned class_of(const struct config *config, const struct admin_request *request)
{
    for (unsigned i = 0; !request->is_operator && i < config->issuers_count; i++) {
        if (strcmp(config->issuers[i].id, request->shop) == 0) {
            return ADMIN_OPERATORS + 1 + i;
        }
    }
    check(request->is_operator); /* is_allowed has made sure that a shop is a known issuer */
    return ADMIN_OPERATORS;
}

static bool is_serving(struct node *node, struct admin_answer *answer)
{
    enum node_phase phase = node_phase_hold(node);
    node_phase_release(node);
    if (phase == NODE_STARTING) {
        admin_answer_problem(answer, ADMIN_NODE_STARTING, NULL,
                             "the node is starting; nothing was done, ask again");
        return false;
    }
    if (phase == NODE_ENDING || atomic_load(&node->stopping)) {
        admin_answer_stopping(answer);
        return false;
    }
    return true;
}

bool admin_route(struct node *node, struct admin_call *call)
{
    struct admin_request *request = &call->request;
    struct admin_answer *answer = &call->answer;
    const char *allow = NULL;
    for (size_t i = 0; i < ROUTES_COUNT; i++) {
        struct http_text stars[SEGMENTS_MAX];
        size_t count;
        if (!path_matches(routes[i].pattern, request->path, stars, &count)) {
            continue;
        }
        if (routes[i].method != request->method) {
            /* RFC 9110 15.5.6: a 405 names what is allowed. The only two methods that share a path
             * in the table are GET and PUT. */
            const char *method = routes[i].method == HTTP_GET   ? "GET"
                                 : routes[i].method == HTTP_PUT ? "PUT"
                                                                : "POST";
            allow = allow != NULL ? "GET, PUT" : method;
            continue;
        }
        request->operation = routes[i].operation;
        if (!is_allowed(&routes[i], request, answer) ||
            (count > 0 && !take_names(node, stars, request, answer))) {
            return false;
        }
        if (routes[i].wait == AT_ONCE) {
            routes[i].handle(node, request, answer);
            return false;
        }
        call->route = &routes[i];
        call->class = class_of(node->config, request);
        return is_serving(node, answer);
    }
    answer->allow = allow;
    if (allow != NULL) {
        admin_answer_problem(answer, ADMIN_METHOD_NOT_ALLOWED, NULL, "this route allows %s", allow);
    } else {
        admin_answer_problem(answer, ADMIN_ROUTE_UNKNOWN, NULL,
                             "there is no such route; /v1/openapi.json describes them all");
    }
    return false;
}

void admin_route_run(struct node *node, struct admin_call *call)
{
    call->route->handle(node, &call->request, &call->answer);
}
