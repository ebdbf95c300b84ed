/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides from a parsed head which token, which file and which bytes a request is for. It judges in
 * this order: method, target, token, file, preconditions and range; admission.c comes after it.
 * Called by connection.c; it sends only through response.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "server/access_log/access_log.h"
#include "server/base/check.h"
#include "server/base/log.h"
#include "server/delivery/connection.h"
#include "server/delivery/standing.h"
#include "server/link/request_target.h"
#include "server/link/target_cache.h"
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

/*
 * RFC 6265 4.2.1: cookie-pairs separated by "; ", in one Cookie line or in several, as proxies
 * forward HTTP/2 (RFC 9113 8.2.3). Returns how many have the name; *out is the value of the first.
 */
static unsigned cookie_of(const struct http_head *head, const char *name, struct http_text *out)
{
    unsigned found = 0;
    size_t name_length = strlen(name);
    struct http_text line = head->cookie;
    do {
        const char *at = line.data, *end = at + line.length;
        while (at != NULL && at < end) {
            const char *semicolon = memchr(at, ';', (size_t)(end - at));
            const char *stop = semicolon != NULL ? semicolon : end;
            while (at < stop && *at == ' ')
                at++;
            if ((size_t)(stop - at) > name_length && memcmp(at, name, name_length) == 0 &&
                at[name_length] == '=' && found++ == 0) {
                out->data = at + name_length + 1;
                out->length = (size_t)(stop - out->data);
            }
            at = stop + 1;
        }
    } while (http_head_next(head, "cookie", &line));
    return found;
}

/* A token in the URL goes before one in Authorization: Bearer, and that before a cookie. Two
 * cookies of the name are refused: which one is meant is not known. */
static enum refusal find_token(struct worker *worker, const struct http_head *head,
                               const struct token_target *target, struct http_text *out)
{
    if (target->package != NULL) {
        *out = (struct http_text){target->package, target->package_length};
        return REFUSAL_NONE;
    }
    if (http_bearer(head, out))
        return REFUSAL_NONE;
    switch (cookie_of(head, worker->node->config->token_attribute, out)) {
    case 0:
        return refusal_of_verdict(REFUSED_TOKEN_MISSING);
    case 1:
        return REFUSAL_NONE;
    default:
        return refusal_of_verdict(REFUSED_TOKEN_AMBIGUOUS);
    }
}

/*
 * Counts a failed verification and closes the connection after VERIFICATIONS_CLOSE of them, so that
 * a client that guesses must connect again. A connection of a forwarding proxy stays open: it
 * carries other clients, who did nothing wrong.
 */
static enum refusal refuse_signature(struct worker *worker, struct connection *connection,
                                     enum token_effort effort)
{
    count(effort == TOKEN_VERIFIED ? &worker->stats.tokens_failed : &worker->stats.tokens_unchecked,
          1);
    if (!connection->forwards && ++connection->failed_verifications >= VERIFICATIONS_CLOSE)
        connection->keep_alive = false;
    return effort == TOKEN_UNVERIFIED ? REFUSAL_TOO_MANY_BAD_SIGNATURES
                                      : refusal_of_verdict(REFUSED_BAD_SIGNATURE);
}

/* Finds the token that the request carries and verifies its signature; the entry goes to
 * connection->link. */
static enum refusal identify(struct worker *worker, struct connection *connection,
                             const struct http_head *head, const struct token_target *target)
{
    struct http_text jws = {0};
    enum refusal refusal = find_token(worker, head, target, &jws);
    if (refusal != REFUSAL_NONE)
        return refusal;
    int status;
    enum token_effort effort;
    const struct token_asker asker = {connection_client_asker(worker->node, connection),
                                      worker->now_ms};
    enum token_verdict verdict =
        token_cache_get(worker->tokens, worker->trust, jws.data, jws.length, &asker,
                        &connection->link, &effort, &status);
    if (verdict == REFUSED_BAD_SIGNATURE)
        return refuse_signature(worker, connection, effort);
    if (verdict != TOKEN_OK)
        return refusal_of_verdict(verdict);
    if (status != 0)
        return REFUSAL_NODE_BUSY;
    count(effort == TOKEN_REMEMBERED ? &worker->stats.tokens_remembered
                                     : &worker->stats.tokens_verified,
          1);
    return REFUSAL_NONE;
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

/* Sets connection->link to the link that the request carries, and *wanted to what it asks for. The
 * texts of *wanted live in *target or in the worker's target cache until the next request. */
static enum refusal find_link(struct worker *worker, struct connection *connection,
                              const struct http_head *head, struct token_target *target,
                              struct token_request *wanted)
{
    uint64_t hash;
    const struct target_memo *memo = target_cache_find(
        worker->targets, worker->trust, head->target.data, head->target.length, &hash);
    if (memo != NULL) {
        token_cache_touch(worker->tokens, memo->entry);
        connection->link = memo->entry;
        connection->link->references++;
        count(&worker->stats.tokens_remembered, 1);
        *wanted =
            (struct token_request){memo->path, memo->path_length, memo->uri, memo->uri_length};
        return REFUSAL_NONE;
    }
    enum refusal refusal = request_target_read(head, worker->node->config->token_attribute, target);
    if (refusal != REFUSAL_NONE)
        return refusal;
    *wanted =
        (struct token_request){target->path, target->path_length, target->uri, target->uri_length};
    refusal = identify(worker, connection, head, target);
    if (refusal != REFUSAL_NONE)
        return refusal;
    if (target->package != NULL) /* a token from a field does not belong to the target */
        target_cache_put(worker->targets, hash, head->target.data, head->target.length, target,
                         connection->link);
    return REFUSAL_NONE;
}

/* Finds the file of the verified path. -EAGAIN: the ring is opening it, and the same head must be
 * given again. */
static int find_file(struct worker *worker, struct connection *connection,
                     const struct token_request *wanted)
{
    if (connection->file != NULL)
        return 0; /* opened for this head */
    int status = media_cache_get(worker->files, wanted->path, wanted->path_length, worker->now_ms,
                                 &connection->file);
    if (status != -EAGAIN)
        return status;
    /* The name outlives this call: the ring reads it while the head waits. */
    char *name = strndup(wanted->path, wanted->path_length);
    if (name == NULL)
        return -ENOMEM;
    check(connection->output == NULL);
    connection->output = name;
    struct io_uring_sqe *sqe = worker_sqe(worker);
    /* The kernel only reads open_how; liburing's prototype has no const. */
    struct open_how *how = (struct open_how *)(uintptr_t)media_open_how(worker->node->media);
    io_uring_prep_openat2(sqe, media_root_fd(worker->node->media), media_relative_path(name), how);
    sqe->user_data = operation_data(OPERATION_OPEN, connection->generation, connection->index);
    connection->in_flight++;
    connection_set_state(connection, CONNECTION_OPENING);
    return -EAGAIN;
}

static enum refusal refusal_of_file(int status)
{
    switch (status) {
    case -ENOENT:
        return REFUSAL_FILE_NOT_FOUND;
    case -EMFILE:
    case -ENFILE:
    case -ENOMEM:
        return REFUSAL_NODE_BUSY;
    default:
        return REFUSAL_FILE_UNREADABLE;
    }
}

void request_opened(struct worker *worker, struct connection *connection, int result)
{
    char path[MEDIA_PATH_MAX + 1];
    check(connection->state == CONNECTION_OPENING && connection->output != NULL);
    size_t length = strlen(connection->output);
    check(length <= MEDIA_PATH_MAX);
    memcpy(path, connection->output, length + 1);
    free(connection->output);
    connection->output = NULL;
    int status =
        media_cache_admit(worker->files, path, length, worker->now_ms, result, &connection->file);
    connection_set_state(connection, CONNECTION_READING);
    if (status == 0 || status == -ENOENT) {
        connection_resume(worker, connection); /* -ENOENT is remembered: the head finds it again */
        return;
    }
    /* The cache does not remember this error, so reading the head again would open the file again
     * without end: the request is refused here and the connection ends. */
    connection->keep_alive = false;
    response_refuse(worker, connection, refusal_of_file(status));
}

/* Prepares a multipart answer. False without memory, or without randomness for a boundary that the
 * file is unlikely to contain. */
static bool select_parts(struct connection *connection, const struct http_ranges *ranges)
{
    uint64_t random;
    struct multipart *parts = malloc(sizeof(*parts));
    if (parts == NULL || getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        free(parts);
        return false;
    }
    *parts = (struct multipart){.count = ranges->count};
    memcpy(parts->part, ranges->range, sizeof(parts->part));
    snprintf(parts->boundary, sizeof(parts->boundary), "%016llx", (unsigned long long)random);
    connection->body_length = 0;
    for (unsigned i = 0; i < parts->count; i++)
        connection->body_length += parts->part[i].last - parts->part[i].first + 1;
    /* The first part begins with the head and is subtracted from left_after then. */
    connection->left = 0;
    connection->left_after = connection->body_length;
    connection->parts = parts;
    connection->status = 206;
    return true;
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

static void answer(struct worker *worker, struct connection *connection,
                   enum http_selection selection, const struct http_ranges *ranges)
{
    const struct media_file *file = connection->file;
    /* After exp a download may be resumed, not begun. */
    if (selection == HTTP_WHOLE && !connection->head_only &&
        token_is_resuming(connection->link->token, worker->now_s)) {
        response_refuse(worker, connection, refusal_of_verdict(REFUSED_EXPIRED));
        return;
    }
    switch (selection) {
    case HTTP_WHOLE:
        connection->status = 200;
        connection->offset = 0;
        connection->left = connection->body_length = file->size;
        admission_begin(worker, connection);
        break;
    case HTTP_PART:
        connection->status = 206;
        connection->offset = ranges->range[0].first;
        connection->left = connection->body_length =
            ranges->range[0].last - ranges->range[0].first + 1;
        admission_begin(worker, connection);
        break;
    case HTTP_PARTS:
        if (select_parts(connection, ranges))
            admission_begin(worker, connection);
        else
            response_refuse(worker, connection, REFUSAL_NODE_BUSY);
        break;
    case HTTP_NOT_MODIFIED:
        response_not_modified(worker, connection);
        break;
    case HTTP_UNSATISFIABLE:
        response_refuse(worker, connection, REFUSAL_RANGE_NOT_SATISFIABLE);
        break;
    case HTTP_PRECONDITION_FAILED:
        response_refuse(worker, connection, REFUSAL_PRECONDITION_FAILED);
        break;
    case HTTP_TAG_UNKNOWN:
        response_refuse(worker, connection, REFUSAL_FILE_NOT_HASHED);
        break;
    }
}

/*
 * Returns true where the head asks about an entity tag and must wait for the hash of its file:
 * once, and no longer than hash_wait_ms. Without the hash a right tag would be taken for a wrong
 * one, and the whole file would be sent, and billed, to a client that has it already.
 */
static bool await_hash(struct worker *worker, struct connection *connection,
                       const struct http_head *head)
{
    if (connection->file->etag[0] != '\0' || connection->hash_ticket != 0 ||
        !http_asks_for_tag(head) || worker->node->config->hash_wait_ms == 0)
        return false;
    connection->hash_until_ms = worker->now_ms + worker->node->config->hash_wait_ms;
    connection->hash_ticket =
        media_file_hash_first(worker->files, connection->file, connection->hash_until_ms);
    if (connection->hash_ticket == 0)
        return false;
    connection_set_state(connection, CONNECTION_PREPARING);
    connection_link(worker, connection, LINK_HASHING);
    return true;
}

/* Finds the file and selects its bytes: sets *selection with *ranges, or *refusal. */
static enum request_outcome find_bytes(struct worker *worker, struct connection *connection,
                                       const struct http_head *head,
                                       const struct token_request *wanted,
                                       enum http_selection *selection, struct http_ranges *ranges,
                                       enum refusal *refusal)
{
    int status = find_file(worker, connection, wanted);
    if (status == -EAGAIN)
        return REQUEST_AGAIN;
    if (status != 0) {
        *refusal = refusal_of_file(status);
        return REQUEST_TAKEN;
    }
    if (await_hash(worker, connection, head))
        return REQUEST_AGAIN;
    *selection = select_bytes(worker, connection, head, ranges);
    if (!brings_bytes(connection, *selection) && await_standing(worker, connection, refusal))
        return REQUEST_AGAIN;
    return REQUEST_TAKEN;
}

void request_retry_hashing(struct worker *worker)
{
    struct connection *connection = worker->hashing.first;
    while (connection != NULL) {
        struct connection *next = connection->next[LINK_HASHING];
        /* The ticket is asked first: once the hashing is through, the tag can be learnt. */
        bool through = media_hash_is_through(worker->node->media, connection->hash_ticket);
        media_file_learn(worker->files, connection->file);
        if (through || connection->file->etag[0] != '\0' ||
            worker->now_ms >= connection->hash_until_ms) {
            connection_unlink(worker, connection, LINK_HASHING);
            connection_set_state(connection, CONNECTION_READING);
            connection_resume(worker, connection);
        }
        connection = next;
    }
}

/*
 * The configured origin of the issuer that equals the page's (`sent`), or NULL. `issuer` is NULL
 * for a refusal that knows no issuer: then any issuer's origin will do. A page of one shop may not
 * read what another has sold.
 */
static const char *origin_of(const struct worker *worker, const struct http_text *sent,
                             const char *issuer)
{
    const struct config *config = worker->node->config;
    if (sent->data == NULL || !worker->has_origins)
        return NULL;
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

static enum request_outcome take(struct worker *worker, struct connection *connection,
                                 const struct http_head *head)
{
    /* 9 KiB that request_target_read fills; zeroing them would cost more than parsing. */
    struct token_target target;
    struct token_request wanted = {0};
    enum http_selection selection = HTTP_WHOLE;
    struct http_ranges ranges;
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
    token_entry_drop(&connection->link);

    if (!connection_client_request(worker->node, connection, head)) {
        access_begin(worker, connection, head, NULL);
        count(&worker->stats.requests, 1);
        response_refuse(worker, connection, REFUSAL_ADDRESS_EXHAUSTED);
        return REQUEST_TAKEN;
    }
    if (connection->unencrypted) {
        connection->keep_alive = false;
        access_begin(worker, connection, head, NULL);
        count(&worker->stats.requests, 1);
        count_tls_failure(&worker->stats, TLS_FAILURE_plain_http);
        if (worker->redirects && validate_method(head) == REFUSAL_NONE)
            response_redirect(worker, connection, head);
        else
            response_refuse(worker, connection, REFUSAL_PLAIN_HTTP);
        return REQUEST_TAKEN;
    }
    if (head->method == HTTP_OPTIONS) {
        access_begin(worker, connection, head, NULL);
        count(&worker->stats.requests, 1);
        response_options(worker, connection, head);
        return REQUEST_TAKEN;
    }
    enum refusal refusal = validate_method(head);
    if (refusal == REFUSAL_NONE && worker->redirects && connection->tls == NULL &&
        connection->inquiry == NULL) {
        count(&worker->stats.requests, 1);
        access_begin(worker, connection, head, NULL);
        response_redirect(worker, connection, head);
        return REQUEST_TAKEN;
    }
    if (refusal == REFUSAL_NONE)
        refusal = find_link(worker, connection, head, &target, &wanted);
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
        answer(worker, connection, selection, &ranges);
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
