/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin interface's routes: one table, and the match of a request against it. admin_peers.c
 * calls it with requests that were read whole, admin_desk.c's threads run the handlers that it
 * names. It touches no socket, and no handler calls it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/admin_internal.h"
#include "server/base/check.h"
#include "server/base/octets.h"

enum callers { ANYBODY, SHOPS, OPERATORS };
enum wait { AT_ONCE, WAITS };

/* In a pattern `*` stands for one segment: first the issuer's id, then the account. Segments are
 * percent-decoded after the split, so that an account's name may hold a slash. */
static const struct admin_route {
    enum http_method method;
    enum callers callers;            /* who may call it, beside operators */
    enum wait wait;                  /* WAITS: it may block, so the desk runs it */
    enum ledger_operation operation; /* for admin_account_change; of no meaning to the others */
    const char *pattern;
    void (*handle)(struct node *node, const struct admin_request *request,
                   struct admin_answer *answer);
} routes[] = {
    {HTTP_GET, ANYBODY, AT_ONCE, LEDGER_OPEN, "/v1/openapi.json", admin_openapi},
    {HTTP_GET, OPERATORS, AT_ONCE, LEDGER_OPEN, "/v1/health", admin_health},
    {HTTP_GET, OPERATORS, WAITS, LEDGER_OPEN, "/v1/debug/connections", admin_connections},
    {HTTP_GET, OPERATORS, WAITS, LEDGER_OPEN, "/v1/nodes", admin_nodes_list},
    {HTTP_GET, OPERATORS, WAITS, LEDGER_OPEN, "/v1/node", admin_node_show},
    {HTTP_PUT, OPERATORS, WAITS, LEDGER_OPEN, "/v1/node", admin_node_change},
    {HTTP_GET, OPERATORS, WAITS, LEDGER_OPEN, "/v1/ledger", admin_ledger},
    {HTTP_GET, SHOPS, WAITS, LEDGER_OPEN, "/v1/accounts/*/*", admin_account_show},
    {HTTP_PUT, SHOPS, WAITS, LEDGER_OPEN, "/v1/accounts/*/*", admin_account_change},
    {HTTP_POST, SHOPS, WAITS, LEDGER_TOP_UP, "/v1/accounts/*/*/top-up", admin_account_change},
    {HTTP_POST, OPERATORS, WAITS, LEDGER_ADJUST, "/v1/accounts/*/*/adjust", admin_account_change},
    {HTTP_POST, SHOPS, WAITS, LEDGER_SUSPEND, "/v1/accounts/*/*/suspend", admin_account_change},
    {HTTP_POST, SHOPS, WAITS, LEDGER_ACTIVATE, "/v1/accounts/*/*/activate", admin_account_change},
    {HTTP_PUT, SHOPS, WAITS, LEDGER_LIMIT, "/v1/accounts/*/*/limits", admin_account_change},
    {HTTP_POST, SHOPS, WAITS, LEDGER_OPEN, "/v1/accounts/*/*/revoke", admin_account_revoke},
    {HTTP_POST, OPERATORS, WAITS, LEDGER_OPEN, "/v1/accounts/*/*/release", admin_account_release},
    {HTTP_GET, SHOPS, WAITS, LEDGER_OPEN, "/v1/accounts/*/*/usage", admin_account_usage},
    {HTTP_POST, SHOPS, WAITS, LEDGER_OPEN, "/v1/links/revoke", admin_link_revoke},
    {HTTP_POST, OPERATORS, WAITS, LEDGER_OPEN, "/v1/links/explain", admin_link_explain},
    {HTTP_GET, SHOPS, WAITS, LEDGER_OPEN, "/v1/events", admin_events},
};
#define ROUTES_COUNT (sizeof(routes) / sizeof(routes[0]))
#define SEGMENTS_MAX 2

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
    if (request->is_operator || route->callers == ANYBODY) {
        return true;
    }
    if (request->shop[0] == '\0') {
        answer->challenge = true;
        admin_answer_problem(answer, ADMIN_SECRET_UNKNOWN, NULL,
                             "send Authorization: Bearer and the issuer's secret, a line of its "
                             "admin_secret_file");
        return false;
    }
    if (route->callers == OPERATORS) {
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
