/*
 * The heads of responses and the bodies of refusals, written into the worker's scratch. It decides
 * no status and sends nothing itself (transfer.c does).
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "server/check.h"
#include "server/connection.h"
#include "storage/media/media.h"

#define RETRY_AFTER_S 1

/* Appends to the scratch; a head is far below its size, so running out is a programmer's error. */
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

static void write_date(struct worker *worker, struct writer *out)
{
    if (worker->date_s != worker->now_s) {
        char date[HTTP_DATE_SIZE];
        http_date_write(worker->now_s, date);
        snprintf(worker->date_line, sizeof(worker->date_line), "Date: %s\r\n", date);
        worker->date_s = worker->now_s;
    }
    write_text(out, worker->date_line);
}

static void write_status(struct worker *worker, struct connection *connection, struct writer *out,
                         unsigned status)
{
    connection->status = (uint16_t)status;
    count(&worker->stats.responses[status / 100], 1);
    write_text(out, "HTTP/1.1 ");
    write_number(out, status);
    write_text(out, " ");
    write_text(out, http_status_phrase(status));
    write_text(out, "\r\n");
    write_date(worker, out);
    if (!connection->keep_alive || worker->stopping) {
        connection->keep_alive = false;
        write_text(out, "Connection: close\r\n");
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
static void write_validators(struct writer *out, const struct media_file *file)
{
    char date[HTTP_DATE_SIZE];
    http_date_write(file->mtime_s, date);
    write_text(out, "Last-Modified: ");
    write_text(out, date);
    write_text(out, "\r\n");
    if (file->etag[0] != '\0') {
        write_text(out, "ETag: ");
        write_text(out, file->etag);
        write_text(out, "\r\n");
    }
}

static const char *content_type(const struct media_file *file)
{
    static const struct {
        const char *extension, *type;
    } types[] = {
        {".mp3", "audio/mpeg"}, /* RFC 3003 */
        {".m4a", "audio/mp4"},   {".ogg", "audio/ogg"}, {".opus", "audio/ogg"},
        {".flac", "audio/flac"}, {".wav", "audio/wav"}, {".m3u8", "application/vnd.apple.mpegurl"},
    };
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
        size_t length = strlen(types[i].extension);
        if (file->path_length > length &&
            strcasecmp(file->path + file->path_length - length, types[i].extension) == 0)
            return types[i].type;
    }
    return "application/octet-stream";
}

void response_start(struct worker *worker, struct connection *connection)
{
    const struct media_file *file = connection->file;
    struct writer out = begin(worker);
    connection_set_state(connection, CONNECTION_SENDING);
    write_status(worker, connection, &out, connection->status);
    write_text(&out, "Content-Type: ");
    write_text(&out, content_type(file));
    write_text(&out, "\r\nContent-Length: ");
    write_number(&out, connection->body_length);
    write_text(&out, "\r\nAccept-Ranges: bytes\r\n");
    if (connection->status == 206) { /* RFC 9110 14.4 */
        write_text(&out, "Content-Range: bytes ");
        write_number(&out, connection->offset);
        write_text(&out, "-");
        write_number(&out, connection->offset + connection->body_length - 1);
        write_text(&out, "/");
        write_number(&out, file->size);
        write_text(&out, "\r\n");
    }
    write_validators(&out, file);
    /* The link is the client's own: no shared cache may keep what it opens. */
    write_text(&out, "Cache-Control: private\r\nX-Content-Type-Options: nosniff\r\n"
                     "Referrer-Policy: no-referrer\r\n\r\n");
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
    write_validators(&out, connection->file);
    write_text(&out, "Cache-Control: private\r\n\r\n");
    transfer_plain(worker, connection, length_of(worker, &out));
}

/* RFC 9457: a problem of one of the table's reasons. Its texts need no JSON escapes: they are ours.
 */
static size_t problem_write(char *out, size_t size, enum refusal refusal)
{
    int length =
        snprintf(out, size,
                 "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"reason\":\"%s\","
                 "\"detail\":\"%s\"}\n",
                 http_status_phrase(refusal_status(refusal)), refusal_status(refusal),
                 refusal_name(refusal), refusal_text(refusal));
    check(length > 0 && (size_t)length < size);
    return (size_t)length;
}

void response_refuse(struct worker *worker, struct connection *connection, enum refusal refusal)
{
    char body[512];
    size_t body_length = problem_write(body, sizeof(body), refusal);
    unsigned status = refusal_status(refusal);
    struct writer out = begin(worker);
    request_log_refusal(worker, connection, refusal);
    connection_set_state(connection, CONNECTION_SENDING);
    if (refusal_closes(refusal))
        connection->keep_alive = false;
    write_status(worker, connection, &out, status);
    write_text(&out, "Content-Type: application/problem+json\r\nContent-Length: ");
    write_number(&out, body_length);
    write_text(&out, "\r\nCache-Control: no-store\r\n");
    if (status == 405)
        write_text(&out, "Allow: GET, HEAD\r\n"); /* RFC 9110 10.2.1 */
    if (status == 503 || status == 429) {
        write_text(&out, "Retry-After: "); /* RFC 9110 10.2.3 */
        write_number(&out, RETRY_AFTER_S);
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
