/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handles a whole head: takes the steps, in this order, that find its client, its link
 * (request_link.c), its file (request_file.c) and its bytes (request_bytes.c), and refuses it at
 * the first that fails. Called by connection_input.c. It sends only through response.c, and grants
 * nothing: admission.c comes after it.
 */
#include <errno.h>
#include <string.h>

#include "server/access_log/access_log.h"
#include "server/base/log.h"
#include "server/delivery/request_internal.h"
#include "server/delivery/standing.h"
#include "server/link/token_cache.h"
#include "storage/media/media.h"

#define LOGGED_PATH_MAX 256

/* The path that was asked for, without its query: from the head that is being read, else from the
 * file that was found. The log strikes out a token in the path. */
static struct http_text path_of(const struct worker *worker, const struct connection *connection)
{
    struct http_text path = worker->target;
    if (path.data == NULL && connection->file != NULL)
        path = (struct http_text){connection->file->path, connection->file->path_length};
    if (path.data == NULL || path.length == 0)
        path = (struct http_text){"-", 1};
    const char *query = memchr(path.data, '?', path.length);
    if (query != NULL && path.data == worker->target.data)
        path.length = (size_t)(query - path.data);
    return path;
}

void request_log_refusal(const struct worker *worker, const struct connection *connection,
                         enum refusal refusal)
{
    const struct token *token = connection->link != NULL ? connection->link->token : NULL;
    const struct http_text path = path_of(worker, connection);
    char client[CLIENT_ADDRESS_TEXT];
    client_address_write(&connection->client, client);
    log_info("refused: status=%u reason=%s s-uri-signing=%03u client=%s issuer=%s kid=%s jti=%s "
             "path=%.*s",
             refusal_status(refusal), refusal_name(refusal), refusal_uri_signing(refusal), client,
             token != NULL ? token->issuer_id : "-", token != NULL ? token->kid : "-",
             token != NULL && token->jti[0] != '\0' ? token->jti : "-",
             (int)(path.length < LOGGED_PATH_MAX ? path.length : LOGGED_PATH_MAX), path.data);
}

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

/* Selects the bytes by preconditions and range: RFC 9110 13 and 14. */
static enum http_selection select_bytes(const struct worker *worker,
                                        const struct connection *connection,
                                        const struct http_head *head, struct http_ranges *ranges)
{
    const struct media_file *file = connection->file;
    const struct http_validators validators = {
        .etag = file->etag,
        .modified_s = file->changed_s,
        .size = file->size,
        .now_s = worker->now_s,
    };
    return http_select(head, &validators, ranges);
}

static bool brings_bytes(const struct connection *connection, enum http_selection selection)
{
    return !connection->head_only && connection->file->size > 0 &&
           (selection == HTTP_WHOLE || selection == HTTP_PART || selection == HTTP_PARTS);
}

/* Returns true where the head must wait for Redis to say whether its link was revoked. Else sets
 * *refusal where it was. */
static bool await_standing(struct worker *worker, struct connection *connection,
                           enum refusal *refusal)
{
    enum standing standing = standing_of(worker, connection);
    if (standing == STANDING_UNKNOWN && standing_ask(worker, connection))
        return true;
    if (standing == STANDING_REVOKED)
        *refusal = REFUSAL_LINK_REVOKED;
    connection->standing_unknown = standing == STANDING_UNKNOWN;
    return false;
}

/* Finds the file and selects its bytes: sets *selection with *ranges, or *refusal. */
static enum request_outcome find_bytes(struct worker *worker, struct connection *connection,
                                       const struct http_head *head,
                                       const struct token_request *wanted,
                                       enum http_selection *selection, struct http_ranges *ranges,
                                       enum refusal *refusal)
{
    int status = 0;
    if (connection->file == NULL) /* else it was opened for this head */
        status = media_cache_get(worker->files, wanted->path, wanted->path_length, worker->now_ms,
                                 &connection->file);
    if (status == -EAGAIN)
        status = request_open_file(worker, connection, wanted);
    if (status == -EAGAIN)
        return REQUEST_AGAIN;
    if (status != 0) {
        *refusal = request_refusal_of_file(status);
        return REQUEST_TAKEN;
    }
    if (connection->file->etag[0] == '\0' && request_await_hash(worker, connection, head))
        return REQUEST_AGAIN;
    *selection = select_bytes(worker, connection, head, ranges);
    if (!brings_bytes(connection, *selection) && await_standing(worker, connection, refusal))
        return REQUEST_AGAIN;
    return REQUEST_TAKEN;
}

/* Begins the answer to a head whose link is not looked up. */
static void begin_without_link(struct worker *worker, struct connection *connection,
                               const struct http_head *head)
{
    access_begin(worker, connection, head, NULL);
    count(&worker->stats.requests, 1);
}

/* Answers a head to which its link does not matter. False where it does. */
static bool answer_without_link(struct worker *worker, struct connection *connection,
                                const struct http_head *head)
{
    bool redirects = worker->redirects && validate_method(head) == REFUSAL_NONE;
    if (!connection_client_request(worker->node, connection, head)) {
        begin_without_link(worker, connection, head);
        response_refuse(worker, connection, REFUSAL_ADDRESS_EXHAUSTED);
    } else if (connection->unencrypted) {
        connection->keep_alive = false;
        begin_without_link(worker, connection, head);
        count_tls_failure(&worker->stats, TLS_FAILURE_plain_http);
        if (redirects)
            response_redirect(worker, connection, head);
        else
            response_refuse(worker, connection, REFUSAL_PLAIN_HTTP);
    } else if (head->method == HTTP_OPTIONS) {
        begin_without_link(worker, connection, head);
        response_options(worker, connection, head);
    } else if (redirects && connection->tls == NULL && connection->inquiry == NULL) {
        begin_without_link(worker, connection, head);
        response_redirect(worker, connection, head);
    } else {
        return false;
    }
    return true;
}

/* Takes from the head how its answer is to be framed, and who may read it. */
static void take_manner(struct worker *worker, struct connection *connection,
                        const struct http_head *head)
{
    /*
     * RFC 9112 9.3: this server never reads content, so a connection must end after a request that
     * has some: the content's bytes would be taken for the next request, perhaps another client's
     * behind a proxy.
     */
    connection->keep_alive = head->keep_alive && !head->has_body;
    connection->is_http_1_0 = head->minor == 0;
    connection->head_only = head->method == HTTP_HEAD;
    connection->origin = origin_of(worker, &head->origin, NULL);
    connection->navigation = is_navigation(head);
    connection->standing_unknown = false;
}

static enum request_outcome take(struct worker *worker, struct connection *connection,
                                 const struct http_head *head)
{
    /* 9 KiB that request_target_read fills; zeroing them would cost more than parsing. */
    struct token_target target;
    struct token_request wanted = {0};
    enum http_selection selection = HTTP_WHOLE;
    struct http_ranges ranges;
    take_manner(worker, connection, head);
    token_entry_drop(&connection->link);
    if (answer_without_link(worker, connection, head))
        return REQUEST_TAKEN;

    enum refusal refusal = validate_method(head);
    if (refusal == REFUSAL_NONE)
        refusal = request_find_link(worker, connection, head, &target, &wanted);
    if (connection->link != NULL)
        connection->origin = origin_of(worker, &head->origin, connection->link->token->issuer_id);
    access_begin(worker, connection, head, &wanted);
    if (refusal == REFUSAL_NONE)
        refusal = refusal_of_verdict(
            token_validate(worker->trust, connection->link->token, &wanted, worker->now_s));
    if (refusal == REFUSAL_NONE && find_bytes(worker, connection, head, &wanted, &selection,
                                              &ranges, &refusal) == REQUEST_AGAIN)
        return REQUEST_AGAIN;
    count(&worker->stats.requests, connection->inquiry == NULL);
    if (refusal == REFUSAL_PATH_INVALID) {
        char why[TOKEN_PATH_FAULT_SIZE];
        token_path_fault_write(&target, why);
        response_refuse_because(worker, connection, refusal, why);
    } else if (refusal != REFUSAL_NONE) {
        response_refuse(worker, connection, refusal);
    } else {
        request_answer(worker, connection, selection, &ranges);
    }
    return REQUEST_TAKEN;
}

enum request_outcome request_begin(struct worker *worker, struct connection *connection,
                                   const struct http_head *head)
{
    worker->target = head->target;
    enum request_outcome outcome = take(worker, connection, head);
    worker->target = (struct http_text){0};
    return outcome;
}
