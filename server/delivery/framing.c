/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The framing of HTTP/1.1: finds the next head in what a client has sent, and writes the lines with
 * which a head of ours begins. See framing.h. It decides nothing about a request; only heads that are
 * malformed, too large or late are refused here.
 */
#include "server/delivery/framing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/access_log/access_log.h"
#include "server/delivery/delivery.h"
#include "server/http/http_content.h"

/* ---- heads ---- */

/* A head with its bytes. */
struct http_kept {
    struct http_head head;
    char bytes[];
};

int framing_keep_head(struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    const struct http_head *head = exchange->head;
    if (exchange->kept != NULL)
        return 0;
    const char *from = connection->unread - head->length; /* it was the last to be taken */
    struct http_kept *kept = malloc(sizeof(*kept) + head->length);
    if (kept == NULL)
        return -ENOMEM;
    memcpy(kept->bytes, from, head->length);
    kept->head = *head;
    http_head_move(&kept->head, from, kept->bytes);
    exchange->kept = kept;
    exchange->head = &kept->head;
    return 0;
}

/* Takes `length` bytes of what may be read. */
static void take(struct connection *connection, size_t length)
{
    connection->unread += length;
    connection->unread_length -= length;
}

/* Answers a head that is malformed or too large, or has not come in time. Where TLS is spoken, plain
 * HTTP is told so and anything else is not answered. */
static enum step_outcome refuse(struct worker *worker, struct connection *connection,
                                enum refusal refusal)
{
    if (connection->unencrypted) {
        bool is_http = http_head_is_begun(connection->unread, connection->unread_length);
        count_tls_failure(&worker->stats, is_http ? TLS_FAILURE_plain_http : TLS_FAILURE_other);
        if (!is_http)
            return STEP_CLOSE;
        refusal = REFUSAL_PLAIN_HTTP;
    }
    take(connection, connection->unread_length);
    connection->keep_alive = false;
    connection->exchange.refusal = refusal;
    return STEP_REFUSE;
}

/*
 * Sets how long the peer has for what comes next. A head's time runs from its first byte (on a new
 * connection: from the accept). Further bytes do not extend it, or a peer that sends a byte now and
 * then could hold its place for ever.
 */
static void set_deadline(struct worker *worker, struct connection *connection)
{
    const struct config *config = worker->node->config;
    if (connection->unread_length > 0 && !connection->in_head) {
        connection->in_head = true;
        connection->deadline_ms = worker->now_ms + config->head_timeout_ms;
    } else if (connection->unread_length == 0 && connection->answers > 0) {
        connection->in_head = false;
        connection->deadline_ms = worker->now_ms + config->idle_timeout_ms;
    }
}

/* Waits for more of a head, unless the peer has ended its side. */
static enum step_outcome await_head(struct worker *worker, struct connection *connection)
{
    if (connection->peer_ended) {
        connection->keep_alive = false;
        return STEP_DONE;
    }
    set_deadline(worker, connection);
    connection_receive(worker, connection);
    connection->exchange.waiting = WAIT_HEAD;
    return STEP_WAIT;
}

bool framing_is_held_back(const struct connection *connection)
{
    return connection->state == STATE_HEAD && connection->exchange.waiting == WAIT_ACKNOWLEDGED;
}

/* Reads the header of a proxy, which comes before the first head. */
static enum step_outcome read_proxy_header(struct worker *worker, struct connection *connection)
{
    size_t used;
    enum refusal refusal = connection_client_header(worker->node, connection, connection->unread,
                                                    connection->unread_length, &used);
    if (refusal != REFUSAL_NONE)
        return refuse(worker, connection, refusal);
    take(connection, used);
    return used > 0 ? STEP_NEXT : await_head(worker, connection);
}

/* Parses the head at the start of what may be read, and the content behind it, if it has any. */
static enum http_head_status parse(const struct worker *worker, struct connection *connection,
                                   struct http_head *head, enum refusal *refusal)
{
    const char *data = connection->unread;
    size_t length = connection->unread_length;
    enum http_head_status status = http_head_parse(data, length, head, refusal);
    if (status == HTTP_HEAD_COMPLETE && !connection->unencrypted)
        status = http_content_skip(data, length, head, refusal);
    if (status != HTTP_HEAD_REFUSED && (status == HTTP_HEAD_COMPLETE ? head->length : length) >
                                           worker->node->config->head_bytes_max) {
        status = HTTP_HEAD_REFUSED;
        *refusal = REFUSAL_HEAD_TOO_LARGE;
    }
    return status;
}

/* A client that pipelines and does not acknowledge waits at METERING_QUEUE_MAX. */
static bool has_too_many(struct worker *worker, struct connection *connection)
{
    return connection->delivery_count >= METERING_QUEUE_MAX && metering_read(worker, connection) &&
           connection->delivery_count >= METERING_QUEUE_MAX;
}

enum step_outcome step_head(struct worker *worker, struct connection *connection)
{
    struct http_head *head = &worker->head;
    enum refusal refusal = REFUSAL_HEAD_MALFORMED;
    if (connection->expects_proxy && connection->unread_length > 0) {
        enum step_outcome outcome = read_proxy_header(worker, connection);
        if (outcome != STEP_NEXT)
            return outcome;
    }
    if (connection->unread_length == 0)
        return await_head(worker, connection);
    enum http_head_status status = parse(worker, connection, head, &refusal);
    if (status == HTTP_HEAD_PARTIAL)
        return await_head(worker, connection);
    if (has_too_many(worker, connection)) {
        connection->exchange.waiting = WAIT_ACKNOWLEDGED; /* the tick goes on */
        return STEP_WAIT;
    }
    count(&worker->stats.requests, connection->inquiry == NULL);
    if (status == HTTP_HEAD_REFUSED)
        return refuse(worker, connection, refusal);
    take(connection, head->length);
    connection->in_head = false; /* the next one has its own time */
    connection->exchange.head = head;
    connection->exchange.waiting = WAIT_NONE;
    /*
     * RFC 9112 9.3: this server never reads content, so a connection must end after a request that
     * has some: the content's bytes would be taken for the next request, perhaps another client's
     * behind a proxy.
     */
    connection->keep_alive = head->keep_alive && !head->has_body && !connection->unencrypted;
    connection->is_http_1_0 = head->minor == 0;
    return STEP_NEXT;
}

enum step_outcome framing_late(struct worker *worker, struct connection *connection)
{
    if (framing_is_held_back(connection))
        return STEP_WAIT; /* the tick applies the stall timeout */
    if (connection->expects_proxy && connection->input_length > 0) {
        connection_client_late(worker->node, connection);
        return STEP_CLOSE;
    }
    if (connection->input_length > 0) {
        connection->unread = connection->input;
        connection->unread_length = connection->input_length;
        return refuse(worker, connection, REFUSAL_HEAD_TIMEOUT);
    }
    if (connection->deliveries != NULL)
        return STEP_WAIT;
    if (stream_interrupt(&connection->stream, true))
        count_tls_failure(&worker->stats, TLS_FAILURE_timed_out);
    return STEP_CLOSE;
}

/* ---- responses ---- */

const char *framing_date_line(struct worker *worker)
{
    if (worker->date_s != worker->now_s) {
        char date[HTTP_DATE_SIZE];
        http_date_write(worker->now_s, date);
        snprintf(worker->date_line, sizeof(worker->date_line), "Date: %s\r\n", date);
        worker->date_s = worker->now_s;
    }
    return worker->date_line;
}

void framing_begin_response(struct worker *worker, struct connection *connection,
                            struct writer *out, unsigned status)
{
    connection->exchange.status = (uint16_t)status;
    access_answered(worker, connection);
    count_response(&worker->stats, status);
    write_text(out, "HTTP/1.1 ");
    write_number(out, status);
    write_text(out, " ");
    write_text(out, http_status_phrase(status));
    write_text(out, "\r\n");
    write_text(out, framing_date_line(worker));
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
