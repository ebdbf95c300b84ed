/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the heads of responses into the worker's scratch, but those of refusals
 * (response_refusal.c). The step ANSWER calls it. It decides nothing and sends nothing.
 */
#include "server/delivery/response.h"

#include "server/config/content_types.h"
#include "server/link/token_cache.h"
#include "storage/media/media.h"

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
void response_write_origin(const struct worker *worker, const struct exchange *exchange,
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
    if (exchange->origin == NULL)
        return;
    write_text(out, "Access-Control-Allow-Origin: ");
    write_text(out, exchange->origin);
    if (exchange->origin[0] != '*')
        write_text(out, "\r\nAccess-Control-Allow-Credentials: true");
    write_text(out, "\r\nAccess-Control-Expose-Headers: Accept-Ranges, Content-Disposition, "
                    "Content-Length, Content-Range, ETag, Retry-After\r\n");
}

/* RFC 9111 5.2.2: the link is one client's own, so no shared cache may keep the answer, and no
 * cache may keep it past the link's exp. */
static void write_caching(const struct worker *worker, const struct exchange *exchange,
                          struct writer *out)
{
    int64_t left = exchange->link->token->exp - worker->now_s;
    uint64_t age = worker->node->config->cache_max_age_s;
    /*
     * RFC 9111 4.3.4: a 304 freshens a stored answer, so an unknown standing must not prolong it.
     */
    if (left <= 0 || exchange->standing_unknown)
        age = 0;
    else if ((uint64_t)left < age)
        age = (uint64_t)left;
    write_text(out, "Cache-Control: private, max-age=");
    write_number(out, age);
    write_text(out, "\r\n");
}

static void write_disposition(const struct exchange *exchange, struct writer *out)
{
    char value[HTTP_DISPOSITION_SIZE];
    const char *kind = "attachment", *filename = exchange->link->token->filename;
    if (filename[0] == '\0') {
        /* The file is played, and saved under its own name: without one the browser would take the
         * end of the URL, which may be the token. */
        kind = "inline";
        filename = strrchr(exchange->file->path, '/') + 1;
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

static void write_part(const struct worker *worker, const struct exchange *exchange, unsigned index,
                       struct writer *out)
{
    const struct multipart *parts = exchange->parts;
    write_text(out, "\r\n--");
    write_text(out, parts->boundary);
    if (index == parts->count) {
        write_text(out, "--\r\n");
        return;
    }
    write_text(out, "\r\nContent-Type: ");
    write_text(out, content_type(worker, exchange->file));
    write_text(out, "\r\n");
    write_content_range(out, parts->part[index].first, parts->part[index].last,
                        exchange->file->size);
    write_text(out, "\r\n");
}

/* The length of the whole content: the parts, and the lines before, between and after them. */
static uint64_t parts_length(const struct worker *worker, const struct exchange *exchange,
                             const struct writer *behind)
{
    uint64_t length = exchange->body_length;
    for (unsigned i = 0; i <= exchange->parts->count; i++) {
        struct writer out = *behind; /* measured where there is room, and overwritten later */
        write_part(worker, exchange, i, &out);
        length += (uint64_t)(out.at - behind->at);
    }
    return length;
}

static void begin_part(const struct worker *worker, struct exchange *exchange, struct writer *out)
{
    struct multipart *parts = exchange->parts;
    unsigned index = parts->next;
    write_part(worker, exchange, index, out);
    if (index == parts->count)
        return;
    parts->next++;
    exchange->offset = parts->part[index].first;
    exchange->left = parts->part[index].last - parts->part[index].first + 1;
    check(exchange->left_after >= exchange->left);
    exchange->left_after -= exchange->left;
}

size_t response_part(struct worker *worker, struct exchange *exchange)
{
    struct writer out = writer_begin(worker);
    begin_part(worker, exchange, &out);
    return writer_length(worker, &out);
}

/* ---- heads ---- */

size_t response_file(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    const struct media_file *file = exchange->file;
    struct writer out = writer_begin(worker);
    framing_begin_response(worker, connection, &out, exchange->status);
    write_text(&out, "Content-Type: ");
    if (exchange->parts != NULL) {
        write_text(&out, "multipart/byteranges; boundary=");
        write_text(&out, exchange->parts->boundary);
    } else {
        write_text(&out, content_type(worker, file));
    }
    write_text(&out, "\r\nContent-Length: ");
    write_number(&out, exchange->parts != NULL ? parts_length(worker, exchange, &out)
                                               : exchange->body_length);
    write_text(&out, "\r\nAccept-Ranges: bytes\r\n");
    if (exchange->status == 206 && exchange->parts == NULL) /* RFC 9110 15.3.7.1 */
        write_content_range(&out, exchange->offset, exchange->offset + exchange->body_length - 1,
                            file->size);
    write_validators(worker, file, &out);
    write_disposition(exchange, &out);
    write_caching(worker, exchange, &out);
    response_write_origin(worker, exchange, &out);
    write_text(&out, "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\r\n");
    if (exchange->parts != NULL)
        begin_part(worker, exchange, &out);
    return writer_length(worker, &out);
}

size_t response_not_modified(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    struct writer out = writer_begin(worker);
    framing_begin_response(worker, connection, &out, 304);
    write_validators(worker, exchange->file, &out);
    write_caching(worker, exchange, &out);
    response_write_origin(worker, exchange, &out);
    write_text(&out, "\r\n");
    return writer_length(worker, &out);
}

size_t response_redirect(struct worker *worker, struct connection *connection)
{
    const struct exchange *exchange = &connection->exchange;
    const struct http_text *target = &exchange->head->target;
    struct writer out = writer_begin(worker);
    framing_begin_response(worker, connection, &out, 308);
    write_text(&out, "Location: ");
    write_text(&out, worker->node->config->public_origin);
    write_bytes(&out, target->data, target->length);
    write_text(&out, "\r\nContent-Length: 0\r\nCache-Control: no-store\r\n"
                     "Referrer-Policy: no-referrer\r\n");
    response_write_origin(worker, exchange, &out);
    write_text(&out, "\r\n");
    return writer_length(worker, &out);
}

size_t response_options(struct worker *worker, struct connection *connection)
{
    const struct exchange *exchange = &connection->exchange;
    struct writer out = writer_begin(worker);
    framing_begin_response(worker, connection, &out, 204);
    write_text(&out, "Allow: GET, HEAD, OPTIONS\r\n"); /* RFC 9110 9.3.7 */
    response_write_origin(worker, exchange, &out);
    const char *allowed = worker->node->config->cors_allow_headers;
    if (exchange->origin != NULL && exchange->head->preflight_method.data != NULL) {
        write_text(&out, "Access-Control-Allow-Methods: GET, HEAD\r\n");
        if (allowed[0] != '\0') {
            write_text(&out, "Access-Control-Allow-Headers: ");
            write_text(&out, allowed);
            write_text(&out, "\r\n");
        }
        write_text(&out, "Access-Control-Max-Age: 86400\r\n");
    }
    write_text(&out, "\r\n");
    return writer_length(worker, &out);
}
