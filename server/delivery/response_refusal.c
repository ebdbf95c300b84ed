/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the refusal of a request into the worker's scratch: a problem (RFC 9457), the page that a
 * person sees in a browser, or the way to the shop's own page. The step ANSWER calls it. It decides
 * no status and sends nothing.
 */
#include <stdio.h>
#include <string.h>

#include "server/access_log/access_log.h"
#include "server/base/log.h"
#include "server/delivery/response.h"
#include "server/link/token_cache.h"
#include "server/link/verifications.h"
#include "storage/media/media.h"

#define RETRY_AFTER_S        1
#define RETRY_AFTER_SPREAD_S 5
#define LOGGED_PATH_MAX      256

/* The path that was asked for, without its query: from the head, while it is there, else from the
 * file that was found. The log strikes out a token in the path. */
static struct http_text path_of(const struct exchange *exchange)
{
    struct http_text path = {0};
    if (exchange->head != NULL) {
        path = exchange->head->target;
        const char *query = memchr(path.data, '?', path.length);
        if (query != NULL)
            path.length = (size_t)(query - path.data);
    } else if (exchange->file != NULL) {
        path = (struct http_text){exchange->file->path, exchange->file->path_length};
    }
    return path.length > 0 ? path : (struct http_text){"-", 1};
}

static void log_refusal(const struct connection *connection, enum refusal refusal)
{
    const struct exchange *exchange = &connection->exchange;
    const struct token *token = exchange->link != NULL ? exchange->link->token : NULL;
    const struct http_text path = path_of(exchange);
    char client[CLIENT_ADDRESS_TEXT];
    client_address_write(&connection->client, client);
    log_info("refused: status=%u reason=%s s-uri-signing=%03u client=%s issuer=%s kid=%s jti=%s "
             "path=%.*s",
             refusal_status(refusal), refusal_name(refusal), refusal_uri_signing(refusal), client,
             token != NULL ? token->issuer_id : "-", token != NULL ? token->kid : "-",
             token != NULL && token->jti[0] != '\0' ? token->jti : "-",
             (int)(path.length < LOGGED_PATH_MAX ? path.length : LOGGED_PATH_MAX), path.data);
}

/* RFC 9457: writes a refusal as a problem. The texts of the refusal table need no JSON escapes. */
static size_t problem_write(char *out, size_t size, enum refusal refusal, const char *detail)
{
    int length =
        snprintf(out, size,
                 "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"reason\":\"%s\","
                 "\"detail\":\"%s\",\"listener\":\"%s\"}\n",
                 http_status_phrase(refusal_status(refusal)), refusal_status(refusal),
                 refusal_name(refusal), detail, refusal_listener(refusal));
    check(length > 0 && (size_t)length < size);
    return (size_t)length;
}

/* Writes the page that a person sees in a browser in place of the file. */
static size_t page_write(char *out, size_t size, enum refusal refusal)
{
    int length =
        snprintf(out, size,
                 "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
                 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                 "<title>This file cannot be sent</title>\n<style>:root{color-scheme:light dark}"
                 "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:18vh "
                 "auto;padding:0 1.5rem}"
                 "h1{font-size:1.5rem}p.code{opacity:.7;font-size:.9rem}</style>\n"
                 "<h1>This file cannot be sent</h1>\n<p>%s</p>\n"
                 "<p class=\"code\">Code for the shop: %u <code>%s</code></p>\n</html>\n",
                 refusal_listener(refusal), refusal_status(refusal), refusal_name(refusal));
    check(length > 0 && (size_t)length < size);
    return (size_t)length;
}

/* The shop's own page for refusals (refusal_url), for a browser whose link is authentic, so that
 * its issuer is known; "" for none. */
static const char *refusal_url(const struct worker *worker, const struct exchange *exchange)
{
    const struct config *config = worker->node->config;
    if (!exchange->navigation || exchange->link == NULL)
        return "";
    for (unsigned i = 0; i < config->issuers_count; i++) {
        if (strcmp(config->issuers[i].id, exchange->link->token->issuer_id) == 0)
            return config->issuers[i].refusal_url;
    }
    return "";
}

/*
 * Where Redis is away, all clients are refused within moments, and must not all come back together:
 * who is told what depends on when, and on which connection.
 */
static uint64_t retry_after_s(const struct worker *worker, const struct connection *connection,
                              enum refusal refusal)
{
    if (refusal == REFUSAL_TOO_MANY_BAD_SIGNATURES)
        return verifications_retry_s(worker->node->verifications);
    if (refusal != REFUSAL_REDIS_UNAVAILABLE)
        return RETRY_AFTER_S;
    uint64_t chance = (worker->now_ms << 20) + connection->index + connection->generation;
    chance = (chance ^ chance >> 31) * UINT64_C(0x9e3779b97f4a7c15);
    return 1 + (chance >> 33) % RETRY_AFTER_SPREAD_S;
}

/* RFC 9110 15.4.4: See Other. */
static size_t redirect(struct worker *worker, struct connection *connection, const char *url,
                       enum refusal refusal)
{
    struct writer out = writer_begin(worker);
    framing_begin_response(worker, connection, &out, 303);
    write_text(&out, "Location: ");
    write_text(&out, url);
    write_text(&out, strchr(url, '?') != NULL ? "&reason=" : "?reason=");
    write_text(&out, refusal_name(refusal));
    write_text(&out, "\r\nContent-Length: 0\r\nCache-Control: no-store\r\n"
                     "Referrer-Policy: no-referrer\r\n\r\n");
    return writer_length(worker, &out);
}

/* Writes the fields that only some statuses have. */
static void write_fields(const struct worker *worker, const struct connection *connection,
                         struct writer *out, enum refusal refusal)
{
    unsigned status = refusal_status(refusal);
    if (status == 405)
        write_text(out, "Allow: GET, HEAD, OPTIONS\r\n"); /* RFC 9110 10.2.1 */
    if (status == 503 || status == 429) {
        write_text(out, "Retry-After: "); /* RFC 9110 10.2.3 */
        write_number(out, retry_after_s(worker, connection, refusal));
        write_text(out, "\r\n");
    }
    if (status == 416) { /* RFC 9110 15.5.17 */
        write_text(out, "Content-Range: bytes */");
        write_number(out, connection->exchange.file->size);
        write_text(out, "\r\n");
    }
}

size_t response_refusal(struct worker *worker, struct connection *connection)
{
    char body[1536];
    struct exchange *exchange = &connection->exchange;
    enum refusal refusal = exchange->refusal;
    const char *detail = exchange->why != NULL ? exchange->why : refusal_text(refusal);
    size_t body_length = exchange->navigation ? page_write(body, sizeof(body), refusal)
                                              : problem_write(body, sizeof(body), refusal, detail);
    unsigned status = refusal_status(refusal);
    struct writer out = writer_begin(worker);
    log_refusal(connection, refusal);
    access_begin(worker, connection, NULL, NULL);
    access_refused(connection, refusal);
    if (refusal_closes(refusal))
        connection->keep_alive = false;
    const char *url = refusal_url(worker, exchange);
    if (url[0] != '\0')
        return redirect(worker, connection, url, refusal);
    framing_begin_response(worker, connection, &out, status);
    write_text(&out, exchange->navigation
                         ? "Content-Type: text/html; charset=utf-8\r\nContent-Security-Policy: "
                           "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
                           "\r\nContent-Length: "
                         : "Content-Type: application/problem+json\r\nContent-Length: ");
    write_number(&out, body_length);
    write_text(&out, "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
                     "Referrer-Policy: no-referrer\r\n");
    response_write_origin(worker, exchange, &out);
    write_fields(worker, connection, &out, refusal);
    write_text(&out, "\r\n");
    if (!exchange->head_only)
        write_bytes(&out, body, body_length);
    return writer_length(worker, &out);
}
