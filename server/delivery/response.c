/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the heads of responses and the bodies of refusals into the worker's scratch. Called by
 * request*.c, admission.c, connection*.c and transfer.c; it decides no status and sends nothing
 * itself (transfer.c does).
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "server/access_log/access_log.h"
#include "server/base/check.h"
#include "server/config/content_types.h"
#include "server/delivery/connection.h"
#include "server/link/token_cache.h"
#include "server/link/verifications.h"
#include "storage/media/media.h"

#define RETRY_AFTER_S        1
#define RETRY_AFTER_SPREAD_S 5

/* Appends to the scratch; a head is far smaller than that, so running out of room is a programmer's
 * error. */
struct writer {
    char *at, *end;
};

static void write_bytes(struct writer *out, const char *data, size_t length)
{
    check((size_t)(out->end - out->at) > length);
    memcpy(out->at, data, length);
    out->at += length;
}

static void write_text(struct writer *out, const char *text)
{
    write_bytes(out, text, strlen(text));
}

/* Decimal digits without printf: four of them in each head, on the hot path. */
static void write_number(struct writer *out, uint64_t number)
{
    char digits[20];
    size_t length = 0;
    do {
        digits[sizeof(digits) - ++length] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    write_bytes(out, digits + sizeof(digits) - length, length);
}

const char *response_date_line(struct worker *worker)
{
    if (worker->date_s != worker->now_s) {
        char date[HTTP_DATE_SIZE];
        http_date_write(worker->now_s, date);
        snprintf(worker->date_line, sizeof(worker->date_line), "Date: %s\r\n", date);
        worker->date_s = worker->now_s;
    }
    return worker->date_line;
}

static void write_status(struct worker *worker, struct connection *connection, struct writer *out,
                         unsigned status)
{
    connection->status = (uint16_t)status;
    access_answered(worker, connection);
    count_response(&worker->stats, status);
    write_text(out, "HTTP/1.1 ");
    write_number(out, status);
    write_text(out, " ");
    write_text(out, http_status_phrase(status));
    write_text(out, "\r\n");
    write_text(out, response_date_line(worker));
    /* An answer is counted when its status line is written, which may be after disk or Redis have
     * answered. */
    connection->answers++;
    if (!connection->keep_alive || worker->stopping ||
        connection->answers >= worker->node->config->requests_max) {
        connection->keep_alive = false;
        write_text(out, "Connection: close\r\n");
    } else if (connection->is_http_1_0) {
        /* RFC 9112 9.3, C.2.2: without it the client takes the connection's end for the body's. */
        write_text(out, "Connection: keep-alive\r\n");
    }
}

static struct writer begin(struct worker *worker)
{
    return (struct writer){worker->scratch, worker->scratch + sizeof(worker->scratch)};
}

static size_t length_of(const struct worker *worker, const struct writer *out)
{
    return (size_t)(out->at - worker->scratch);
}

/* RFC 9110 8.8: validators; a file that is not hashed yet has no tag. */
static void write_validators(const struct worker *worker, const struct media_file *file,
                             struct writer *out)
{
    char date[HTTP_DATE_SIZE];
    if (http_last_modified_write(file->mtime_s, file->changed_s, worker->now_s, date)) {
        write_text(out, "Last-Modified: ");
        write_text(out, date);
        write_text(out, "\r\n");
    }
    if (file->etag[0] != '\0') {
        write_text(out, "ETag: ");
        write_text(out, file->etag);
        write_text(out, "\r\n");
    }
}

/*
 * The Fetch standard's CORS: a page of the origin may read the answer, refusals too, and the fields
 * of its head that a player needs. Pages of a named origin (not "*") may send a cookie, which may
 * carry the token.
 */
static void write_origin(const struct worker *worker, const struct connection *connection,
                         struct writer *out)
{
    const char *policy = worker->node->config->cross_origin_resource_policy;
    if (policy[0] != '\0') { /* the Fetch standard, 3.7 */
        write_text(out, "Cross-Origin-Resource-Policy: ");
        write_text(out, policy);
        write_text(out, "\r\n");
    }
    if (!worker->has_origins)
        return;
    /* RFC 9110 12.5.5: the answer would differ for another page. */
    write_text(out, "Vary: Origin\r\n");
    if (connection->origin == NULL)
        return;
    write_text(out, "Access-Control-Allow-Origin: ");
    write_text(out, connection->origin);
    if (connection->origin[0] != '*')
        write_text(out, "\r\nAccess-Control-Allow-Credentials: true");
    write_text(out, "\r\nAccess-Control-Expose-Headers: Accept-Ranges, Content-Disposition, "
                    "Content-Length, Content-Range, ETag, Retry-After\r\n");
}

/* RFC 9111 5.2.2: the link is one client's own, so no shared cache may keep the answer, and no
 * cache may keep it past the link's exp. */
static void write_caching(const struct worker *worker, const struct connection *connection,
                          struct writer *out)
{
    int64_t left = connection->link->token->exp - worker->now_s;
    uint64_t age = worker->node->config->cache_max_age_s;
    /*
     * RFC 9111 4.3.4: a 304 freshens a stored answer, so an unknown standing must not prolong it.
     */
    if (left <= 0 || connection->standing_unknown)
        age = 0;
    else if ((uint64_t)left < age)
        age = (uint64_t)left;
    write_text(out, "Cache-Control: private, max-age=");
    write_number(out, age);
    write_text(out, "\r\n");
}

static void write_disposition(const struct connection *connection, struct writer *out)
{
    char value[HTTP_DISPOSITION_SIZE];
    const char *kind = "attachment", *filename = connection->link->token->filename;
    if (filename[0] == '\0') {
        /* The file is played, and saved under its own name: without one the browser would take the
         * end of the URL, which may be the token. */
        kind = "inline";
        filename = strrchr(connection->file->path, '/') + 1;
    }
    write_text(out, "Content-Disposition: ");
    write_bytes(out, value, http_disposition_write(kind, filename, value));
    write_text(out, "\r\n");
}

static const char *content_type(const struct worker *worker, const struct media_file *file)
{
    const char *type =
        content_types_find(worker->node->content_types, file->path, file->path_length);
    return type != NULL ? type : worker->node->config->content_type;
}

static void write_content_range(struct writer *out, uint64_t first, uint64_t last, uint64_t size)
{
    write_text(out, "Content-Range: bytes ");
    write_number(out, first);
    write_text(out, "-");
    write_number(out, last);
    write_text(out, "/");
    write_number(out, size);
    write_text(out, "\r\n");
}

/* ---- several ranges: RFC 9110 14.6 ---- */

static void write_part(const struct worker *worker, const struct connection *connection,
                       unsigned index, struct writer *out)
{
    const struct multipart *parts = connection->parts;
    write_text(out, "\r\n--");
    write_text(out, parts->boundary);
    if (index == parts->count) {
        write_text(out, "--\r\n");
        return;
    }
    write_text(out, "\r\nContent-Type: ");
    write_text(out, content_type(worker, connection->file));
    write_text(out, "\r\n");
    write_content_range(out, parts->part[index].first, parts->part[index].last,
                        connection->file->size);
    write_text(out, "\r\n");
}

/* The length of the whole content: the parts, and the lines before, between and after them. */
static uint64_t parts_length(const struct worker *worker, const struct connection *connection,
                             const struct writer *behind)
{
    uint64_t length = connection->body_length;
    for (unsigned i = 0; i <= connection->parts->count; i++) {
        struct writer out = *behind; /* measured where there is room, and overwritten later */
        write_part(worker, connection, i, &out);
        length += (uint64_t)(out.at - behind->at);
    }
    return length;
}

static void begin_part(const struct worker *worker, struct connection *connection,
                       struct writer *out)
{
    struct multipart *parts = connection->parts;
    unsigned index = parts->next;
    write_part(worker, connection, index, out);
    if (index == parts->count)
        return;
    parts->next++;
    connection->offset = parts->part[index].first;
    connection->left = parts->part[index].last - parts->part[index].first + 1;
    check(connection->left_after >= connection->left);
    connection->left_after -= connection->left;
}

size_t response_part(struct worker *worker, struct connection *connection)
{
    struct writer out = begin(worker);
    begin_part(worker, connection, &out);
    return length_of(worker, &out);
}

/* Answers an inquiry in place of a response, and ends its connection. False where the connection
 * belongs to a client. */
static bool tell_inquiry(struct worker *worker, struct connection *connection, enum refusal refusal)
{
    if (connection->inquiry == NULL)
        return false;
    inquiry_answer(&connection->inquiry, refusal);
    connection_close(worker, connection, false);
    return true;
}

void response_start(struct worker *worker, struct connection *connection)
{
    if (tell_inquiry(worker, connection, REFUSAL_NONE))
        return;
    const struct media_file *file = connection->file;
    struct writer out = begin(worker);
    connection_set_state(connection, CONNECTION_SENDING);
    write_status(worker, connection, &out, connection->status);
    write_text(&out, "Content-Type: ");
    if (connection->parts != NULL) {
        write_text(&out, "multipart/byteranges; boundary=");
        write_text(&out, connection->parts->boundary);
    } else {
        write_text(&out, content_type(worker, file));
    }
    write_text(&out, "\r\nContent-Length: ");
    write_number(&out, connection->parts != NULL ? parts_length(worker, connection, &out)
                                                 : connection->body_length);
    write_text(&out, "\r\nAccept-Ranges: bytes\r\n");
    if (connection->status == 206 && connection->parts == NULL) /* RFC 9110 15.3.7.1 */
        write_content_range(&out, connection->offset,
                            connection->offset + connection->body_length - 1, file->size);
    write_validators(worker, file, &out);
    write_disposition(connection, &out);
    write_caching(worker, connection, &out);
    write_origin(worker, connection, &out);
    write_text(&out, "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\r\n");
    if (connection->parts != NULL)
        begin_part(worker, connection, &out);
    if (connection->head_only || connection->body_length == 0)
        transfer_plain(worker, connection, length_of(worker, &out));
    else
        transfer_begin(worker, connection, length_of(worker, &out));
}

void response_not_modified(struct worker *worker, struct connection *connection)
{
    struct writer out = begin(worker);
    connection_set_state(connection, CONNECTION_SENDING);
    write_status(worker, connection, &out, 304);
    write_validators(worker, connection->file, &out);
    write_caching(worker, connection, &out);
    write_origin(worker, connection, &out);
    write_text(&out, "\r\n");
    transfer_plain(worker, connection, length_of(worker, &out));
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
static const char *refusal_url(const struct worker *worker, const struct connection *connection)
{
    const struct config *config = worker->node->config;
    if (!connection->navigation || connection->link == NULL)
        return "";
    for (unsigned i = 0; i < config->issuers_count; i++) {
        if (strcmp(config->issuers[i].id, connection->link->token->issuer_id) == 0)
            return config->issuers[i].refusal_url;
    }
    return "";
}

/* RFC 9110 15.4.4: See Other. */
static void redirect(struct worker *worker, struct connection *connection, const char *url,
                     enum refusal refusal)
{
    struct writer out = begin(worker);
    write_status(worker, connection, &out, 303);
    write_text(&out, "Location: ");
    write_text(&out, url);
    write_text(&out, strchr(url, '?') != NULL ? "&reason=" : "?reason=");
    write_text(&out, refusal_name(refusal));
    write_text(&out, "\r\nContent-Length: 0\r\nCache-Control: no-store\r\n"
                     "Referrer-Policy: no-referrer\r\n\r\n");
    transfer_plain(worker, connection, length_of(worker, &out));
}

void response_redirect(struct worker *worker, struct connection *connection,
                       const struct http_head *head)
{
    struct writer out = begin(worker);
    connection_set_state(connection, CONNECTION_SENDING);
    write_status(worker, connection, &out, 308);
    write_text(&out, "Location: ");
    write_text(&out, worker->node->config->public_origin);
    write_bytes(&out, head->target.data, head->target.length);
    write_text(&out, "\r\nContent-Length: 0\r\nCache-Control: no-store\r\n"
                     "Referrer-Policy: no-referrer\r\n");
    write_origin(worker, connection, &out);
    write_text(&out, "\r\n");
    transfer_plain(worker, connection, length_of(worker, &out));
}

void response_options(struct worker *worker, struct connection *connection,
                      const struct http_head *head)
{
    struct writer out = begin(worker);
    connection_set_state(connection, CONNECTION_SENDING);
    write_status(worker, connection, &out, 204);
    write_text(&out, "Allow: GET, HEAD, OPTIONS\r\n"); /* RFC 9110 9.3.7 */
    write_origin(worker, connection, &out);
    const char *allowed = worker->node->config->cors_allow_headers;
    if (connection->origin != NULL && head->preflight_method.data != NULL) {
        write_text(&out, "Access-Control-Allow-Methods: GET, HEAD\r\n");
        if (allowed[0] != '\0') {
            write_text(&out, "Access-Control-Allow-Headers: ");
            write_text(&out, allowed);
            write_text(&out, "\r\n");
        }
        write_text(&out, "Access-Control-Max-Age: 86400\r\n");
    }
    write_text(&out, "\r\n");
    transfer_plain(worker, connection, length_of(worker, &out));
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

void response_refuse(struct worker *worker, struct connection *connection, enum refusal refusal)
{
    response_refuse_because(worker, connection, refusal, refusal_text(refusal));
}

void response_refuse_because(struct worker *worker, struct connection *connection,
                             enum refusal refusal, const char *detail)
{
    char body[1536];
    if (tell_inquiry(worker, connection, refusal))
        return;
    size_t body_length = connection->navigation
                             ? page_write(body, sizeof(body), refusal)
                             : problem_write(body, sizeof(body), refusal, detail);
    unsigned status = refusal_status(refusal);
    struct writer out = begin(worker);
    request_log_refusal(worker, connection, refusal);
    access_begin(worker, connection, NULL, NULL);
    access_refused(connection, refusal);
    connection_set_state(connection, CONNECTION_SENDING);
    if (refusal_closes(refusal))
        connection->keep_alive = false;
    const char *url = refusal_url(worker, connection);
    if (url[0] != '\0') {
        redirect(worker, connection, url, refusal);
        return;
    }
    write_status(worker, connection, &out, status);
    write_text(&out, connection->navigation
                         ? "Content-Type: text/html; charset=utf-8\r\nContent-Security-Policy: "
                           "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
                           "\r\nContent-Length: "
                         : "Content-Type: application/problem+json\r\nContent-Length: ");
    write_number(&out, body_length);
    write_text(&out, "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
                     "Referrer-Policy: no-referrer\r\n");
    write_origin(worker, connection, &out);
    if (status == 405)
        write_text(&out, "Allow: GET, HEAD, OPTIONS\r\n"); /* RFC 9110 10.2.1 */
    if (status == 503 || status == 429) {
        write_text(&out, "Retry-After: "); /* RFC 9110 10.2.3 */
        write_number(&out, retry_after_s(worker, connection, refusal));
        write_text(&out, "\r\n");
    }
    if (status == 416) { /* RFC 9110 15.5.17 */
        write_text(&out, "Content-Range: bytes */");
        write_number(&out, connection->file->size);
        write_text(&out, "\r\n");
    }
    write_text(&out, "\r\n");
    if (!connection->head_only)
        write_bytes(&out, body, body_length);
    transfer_plain(worker, connection, length_of(worker, &out));
}
