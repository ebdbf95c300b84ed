/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The step LINK: finds the client of a request, validates its method, and finds and validates its
 * link (request_link.c). It waits for nothing, and knows no file.
 */
#include <string.h>

#include "server/access_log/access_log.h"
#include "server/delivery/request_internal.h"
#include "server/link/token_cache.h"

static enum refusal validate_method(const struct http_head *head)
{
    switch (head->method) {
    case HTTP_GET:
    case HTTP_HEAD:
        break;
    case HTTP_POST:
    case HTTP_PUT:
    case HTTP_OPTIONS: /* answered before */
    case HTTP_OTHER_KNOWN:
        return REFUSAL_METHOD_NOT_ALLOWED; /* RFC 9110 15.5.6 */
    case HTTP_UNKNOWN:
        return REFUSAL_METHOD_UNKNOWN; /* RFC 9110 15.6.2 */
    }
    /* RFC 9110 9.3.1: content in a GET has no meaning; it is not read, and the connection ends. */
    return head->has_body ? REFUSAL_BODY_REFUSED : REFUSAL_NONE;
}

/*
 * The configured origin of the issuer that equals the page's (`sent`), or NULL. `issuer` is NULL
 * for a refusal that knows no issuer: then any issuer's origin will do. A page of one shop may not
 * read what another has sold.
 */
static const char *origin_find(const struct config *config, const struct http_text *sent,
                               const char *issuer)
{
    for (unsigned i = 0; i < config->issuers_count; i++) {
        if (issuer != NULL && strcmp(config->issuers[i].id, issuer) != 0)
            continue;
        for (unsigned j = 0; j < config->issuers[i].origins_count; j++) {
            const char *origin = config->issuers[i].origins[j];
            if (strcmp(origin, "*") == 0 ||
                (strlen(origin) == sent->length && memcmp(origin, sent->data, sent->length) == 0))
                return origin;
        }
    }
    return NULL;
}

static const char *origin_of(const struct worker *worker, const struct http_text *sent,
                             const char *issuer)
{
    if (sent->data == NULL || !worker->has_origins)
        return NULL; /* nearly all requests */
    return origin_find(worker->node->config, sent, issuer);
}

/* Whether a person will read the answer: the browser navigates to it, by Sec-Fetch-Mode, or else by
 * Accept. */
static bool is_navigation(const struct http_head *head)
{
    static const char navigate[] = "navigate";
    const struct http_text *mode = &head->fetch_mode;
    if (mode->data != NULL)
        return mode->length == sizeof(navigate) - 1 &&
               memcmp(mode->data, navigate, mode->length) == 0;
    return head->accept.data != NULL &&
           memmem(head->accept.data, head->accept.length, "text/html", 9) != NULL;
}

/* Answers a request to which its link does not matter. STEP_NEXT where it does. */
static enum step_outcome answer_without_link(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    const struct http_head *head = exchange->head;
    bool redirects = worker->redirects && validate_method(head) == REFUSAL_NONE;
    bool is_plain = connection->stream.tls == NULL && connection->inquiry == NULL;
    enum step_outcome outcome = STEP_ANSWER;
    if (!connection_client_request(worker->node, connection, head)) {
        exchange->refusal = REFUSAL_ADDRESS_EXHAUSTED;
        outcome = STEP_REFUSE;
    } else if (connection->unencrypted) {
        count_tls_failure(&worker->stats, TLS_FAILURE_plain_http);
        exchange->answer = ANSWER_REDIRECT;
        exchange->refusal = REFUSAL_PLAIN_HTTP;
        outcome = redirects ? STEP_ANSWER : STEP_REFUSE;
    } else if (head->method == HTTP_OPTIONS) {
        exchange->answer = ANSWER_OPTIONS;
    } else if (redirects && is_plain) {
        exchange->answer = ANSWER_REDIRECT;
    } else {
        return STEP_NEXT;
    }
    access_begin(worker, connection, head, NULL);
    return outcome;
}

enum step_outcome step_link(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    const struct http_head *head = exchange->head;
    exchange->head_only = head->method == HTTP_HEAD;
    exchange->origin = origin_of(worker, &head->origin, NULL);
    exchange->navigation = is_navigation(head);
    enum step_outcome outcome = answer_without_link(worker, connection);
    if (outcome != STEP_NEXT)
        return outcome;

    worker->wanted = (struct token_request){0};
    enum refusal refusal = validate_method(head);
    if (refusal == REFUSAL_NONE)
        refusal = request_find_link(worker, connection);
    if (exchange->link != NULL)
        exchange->origin = origin_of(worker, &head->origin, exchange->link->token->issuer_id);
    access_begin(worker, connection, head, &worker->wanted);
    if (refusal == REFUSAL_NONE)
        refusal = refusal_of_verdict(
            token_validate(worker->trust, exchange->link->token, &worker->wanted, worker->now_s));
    if (refusal == REFUSAL_PATH_INVALID) {
        token_path_fault_write(&worker->target, worker->fault);
        exchange->why = worker->fault;
    }
    exchange->refusal = refusal;
    return refusal == REFUSAL_NONE ? STEP_NEXT : STEP_REFUSE;
}
