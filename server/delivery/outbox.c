/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads and small bodies on their way to a stream, and what it did not take of them. See outbox.h.
 * The response's claim has paid for each byte of a body before it is handed over.
 */
#include "server/delivery/outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "server/delivery/admission.h"
#include "server/delivery/delivery.h"
#include "server/delivery/limits.h"

#define BODY_SMALL_MAX ((size_t)16 * 1024) /* bodies up to here travel with their head */

enum step_outcome outbox_failed(struct worker *worker, struct connection *connection, int error)
{
    struct exchange *exchange = &connection->exchange;
    switch (error) {
    case -EAGAIN:
        connection_await_room(worker, connection);
        exchange->waiting = WAIT_ROOM;
        connection->deadline_ms = worker->now_ms + worker->node->config->stall_timeout_ms;
        return STEP_WAIT;
    case -ENOBUFS: /* each tick tries again; the tick ends a connection that stalls, too */
        exchange->waiting = WAIT_ACKNOWLEDGED;
        connection_join(worker, connection, LIST_RATED);
        return STEP_WAIT;
    case -EPROTO: /* only the session is over: TCP works, so bytes sent before are waited for */
        return STEP_CLOSE;
    default:
        return STEP_CUT;
    }
}

/* Keeps a copy of `data`, the bytes that the stream did not take; the first `head` of them are not
 * billed. */
static bool keep(struct exchange *exchange, const char *data, size_t length, size_t head)
{
    check(exchange->output == NULL && length <= WORKER_SCRATCH_SIZE);
    exchange->output = malloc(length);
    if (exchange->output == NULL)
        return false;
    memcpy(exchange->output, data, length);
    exchange->output_length = (uint32_t)length;
    exchange->output_sent = 0;
    exchange->output_head = (uint32_t)head;
    return true;
}

/* How many of the `sent` bytes that follow the first `before` belong to the body, which begins
 * after `head` bytes. */
static uint64_t body_part(size_t before, size_t sent, size_t head)
{
    size_t after = before + sent;
    if (after <= head)
        return 0;
    return before >= head ? sent : after - head;
}

enum step_outcome outbox_send(struct worker *worker, struct connection *connection, size_t length,
                              size_t head, bool more)
{
    struct stream *stream = &connection->stream;
    const char *data = worker->scratch;
    ssize_t sent = stream->transport->send(&worker->streams, stream, data, length, more);
    if (sent < 0 && sent != -EAGAIN && sent != -ENOBUFS)
        return outbox_failed(worker, connection, (int)sent);
    size_t taken = sent > 0 ? (size_t)sent : 0;
    metering_handed(worker, connection, taken, body_part(0, taken, head));
    if (taken == length ||
        keep(&connection->exchange, data + taken, length - taken, head > taken ? head - taken : 0))
        return STEP_NEXT;
    return STEP_CUT;
}

enum step_outcome outbox_drain(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    struct stream *stream = &connection->stream;
    const bool more = exchange->left > 0;
    while (exchange->output != NULL) {
        uint32_t before = exchange->output_sent;
        ssize_t sent = stream->transport->send(&worker->streams, stream, exchange->output + before,
                                               exchange->output_length - before, more);
        if (sent < 0)
            return outbox_failed(worker, connection, (int)sent);
        metering_handed(worker, connection, (uint64_t)sent,
                        body_part(before, (size_t)sent, exchange->output_head));
        exchange->output_sent += (uint32_t)sent;
        if (exchange->output_sent == exchange->output_length) {
            free(exchange->output);
            exchange->output = NULL;
        }
    }
    int status = stream->transport->flush(&worker->streams, stream, more);
    return status == 0 ? STEP_NEXT : outbox_failed(worker, connection, status);
}

/* ---- a body's beginning ---- */

/* Reads the next `length` bytes without waiting for the disk. False where they are not in memory. */
static bool read_small(const struct exchange *exchange, char *out, size_t length)
{
    const char *bytes = media_file_bytes(exchange->file);
    if (bytes == NULL)
        return media_file_read(exchange->file, out, length, exchange->offset) == (ssize_t)length;
    check(exchange->offset + length <= exchange->file->size);
    memcpy(out, bytes + exchange->offset, length);
    return true;
}

/* Reads a small body behind its head in the scratch, and pays for it. Its length; 0 where it is not
 * in memory, too long, or short of funds. */
static size_t take_small(struct worker *worker, struct connection *connection, size_t head_length)
{
    struct exchange *exchange = &connection->exchange;
    size_t length = (size_t)exchange->left;
    if (exchange->left > BODY_SMALL_MAX || head_length + length >= WORKER_SCRATCH_SIZE ||
        !read_small(exchange, worker->scratch + head_length, length))
        return 0;
    if (!admission_is_valid(worker, connection)) /* a later part of several */
        return 0;
    uint64_t rated = limits_take(worker, exchange, length);
    uint64_t paid = rated == length ? claim_pay(&exchange->claim, exchange->window, length) : 0;
    if (paid < length) {
        claim_refund(&exchange->claim, exchange->window, paid);
        limits_give(exchange, rated);
        return 0;
    }
    exchange->offset += length;
    exchange->left = 0;
    return length;
}

enum step_outcome outbox_begin_body(struct worker *worker, struct connection *connection,
                                    size_t head_length)
{
    media_reader_begin(&connection->exchange.reader);
    if (metering_begin(worker, connection, head_length) != 0)
        return STEP_CUT;
    size_t length = take_small(worker, connection, head_length);
    return outbox_send(worker, connection, head_length + length, head_length, length == 0);
}
