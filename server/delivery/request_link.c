/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which link a request carries: finds its token in the target, the Authorization field or a cookie,
 * and has its signature verified, once for each distinct target and token. Called by request.c. It
 * never says that the link grants the path now: token_validate does, at each request.
 */
#include <string.h>

#include "server/delivery/request_internal.h"
#include "server/link/request_target.h"
#include "server/link/target_cache.h"
#include "server/link/token_cache.h"

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
 * exchange->link. */
static enum refusal identify(struct worker *worker, struct connection *connection,
                             const struct token_target *target)
{
    struct http_text jws = {0};
    struct exchange *exchange = &connection->exchange;
    enum refusal refusal = find_token(worker, exchange->head, target, &jws);
    if (refusal != REFUSAL_NONE)
        return refusal;
    int status;
    enum token_effort effort;
    const struct token_asker asker = {connection_client_asker(worker->node, connection),
                                      worker->now_ms};
    enum token_verdict verdict =
        token_cache_get(worker->tokens, worker->trust, jws.data, jws.length, &asker,
                        &exchange->link, &effort, &status);
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

enum refusal request_find_link(struct worker *worker, struct connection *connection)
{
    uint64_t hash;
    struct exchange *exchange = &connection->exchange;
    const struct http_head *head = exchange->head;
    struct token_target *target = &worker->target;
    const struct target_memo *memo = target_cache_find(
        worker->targets, worker->trust, head->target.data, head->target.length, &hash);
    if (memo != NULL) {
        token_cache_touch(worker->tokens, memo->entry);
        exchange->link = memo->entry;
        exchange->link->references++;
        count(&worker->stats.tokens_remembered, 1);
        worker->wanted =
            (struct token_request){memo->path, memo->path_length, memo->uri, memo->uri_length};
        return REFUSAL_NONE;
    }
    enum refusal refusal = request_target_read(head, worker->node->config->token_attribute, target);
    if (refusal != REFUSAL_NONE)
        return refusal;
    worker->wanted =
        (struct token_request){target->path, target->path_length, target->uri, target->uri_length};
    refusal = identify(worker, connection, target);
    if (refusal != REFUSAL_NONE)
        return refusal;
    if (target->package != NULL) /* a token from a field does not belong to the target */
        target_cache_put(worker->targets, hash, head->target.data, head->target.length, target,
                         exchange->link);
    return REFUSAL_NONE;
}
