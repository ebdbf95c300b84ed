/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to a connection: completions of its operations on the ring, bytes of its peer, the
 * end of its peer. Each comes to the driver. It decides nothing about a request.
 */
#include "server/delivery/events.h"

#include <errno.h>
#include <unistd.h>

#include "server/base/check.h"
#include "server/base/log.h"
#include "server/delivery/driver.h"
#include "server/delivery/framing.h"
#include "server/delivery/inquiry.h"
#include "server/delivery/inspection.h"
#include "server/delivery/transfer.h"

/* ---- the peer's bytes ---- */

/* The peer has ended its side: what it asked for is still answered, then the connection ends. */
static void peer_ended(struct worker *worker, struct connection *connection)
{
    connection->peer_ended = true;
    if (stream_interrupt(&connection->stream, false))
        count_tls_failure(&worker->stats, TLS_FAILURE_other);
    if ((connection->state == STATE_HEAD && !framing_is_held_back(connection)) ||
        connection->state == STATE_LINGER)
        driver_run(worker, connection);
}

/* Counts what the stream has found out beside the bytes. */
static void note(struct worker *worker, struct connection *connection,
                 const struct stream_input *input)
{
    struct worker_stats *stats = &worker->stats;
    count(&stats->tls_handshakes, input->is_ready);
    count(&stats->tls_resumed, input->is_resumed);
    count(&stats->tls_kernel, input->is_kernel);
    if (input->failure != TLS_FAILURE_COUNT)
        count_tls_failure(stats, input->failure);
    if (input->wants_room)
        connection_await_room(worker, connection);
}

/* Does what the stream says. True where there may be more. */
static bool take_word(struct worker *worker, struct connection *connection, enum stream_word word,
                      const struct stream_input *input)
{
    switch (word) {
    case STREAM_BYTES:
        driver_input(worker, connection, input->plain, input->plain_length);
        return true;
    case STREAM_TAKEN:
        break;
    case STREAM_ENDED:
        peer_ended(worker, connection);
        break;
    case STREAM_FAILED:
        log_debug("TLS: %s: %s",
                  input->failure == TLS_FAILURE_after_handshake ? "a session ended"
                                                                : "a handshake failed",
                  input->why);
        driver_apply(worker, connection, STEP_CLOSE);
        break;
    case STREAM_BROKEN:
        driver_cut(worker, connection, NULL);
        break;
    case STREAM_NOT_TLS:
        /* Plain HTTP gets one answer that says so, or the redirect; anything else ends the
         * connection. */
        stream_leave_tls(&connection->stream);
        connection->unencrypted = true;
        driver_input(worker, connection, input->plain, input->plain_length);
        break;
    }
    return false;
}

static void read_stream(struct worker *worker, struct connection *connection, const char *data,
                        size_t length)
{
    struct stream *stream = &connection->stream;
    struct stream_input input;
    bool more = true;
    stream_take(&input, data, length);
    /* Nothing is read any more once the node has ended its side. */
    while (more && driver_is_open(connection) && connection->state != STATE_LINGER) {
        enum stream_word word = stream->transport->read(&worker->streams, stream, &input);
        if (stream->tls != NULL)
            note(worker, connection, &input);
        more = take_word(worker, connection, word, &input);
    }
}

/* Reads the header of a proxy, which comes before TLS. What follows it goes to the session. */
static void received_before_tls(struct worker *worker, struct connection *connection,
                                const char *data, size_t length)
{
    size_t used;
    if (!connection_input_append(worker, connection, data, length)) {
        driver_cut(worker, connection, NULL);
        return;
    }
    if (connection_client_header(worker->node, connection, connection->input,
                                 connection->input_length, &used) != REFUSAL_NONE) {
        driver_apply(worker, connection, STEP_CLOSE); /* no session exists that could carry why */
        return;
    }
    if (used == 0)
        return;
    size_t behind = length - (connection->input_length - used);
    check(connection->input_length >= used && behind <= length);
    connection_input_drop(worker, connection, connection->input_length);
    if (behind < length)
        read_stream(worker, connection, data + behind, length - behind);
}

static void received_bytes(struct worker *worker, struct connection *connection, const char *data,
                           size_t length)
{
    if (connection->expects_proxy && connection->stream.tls != NULL)
        received_before_tls(worker, connection, data, length);
    else
        read_stream(worker, connection, data, length);
}

/* ---- completions ---- */

/* The receive has ended. `result`: bytes, 0 at the stream's end, or a negative errno. */
static void receive_ended(struct worker *worker, struct connection *connection, int result)
{
    connection->receiving = false;
    driver_completed(worker, connection);
    if (!driver_is_open(connection))
        return;
    if (result > 0 || result == -ENOBUFS || result == -ECANCELED) {
        if (!connection_has_input_enough(worker, connection))
            connection_receive(worker, connection);
    } else if (result == 0) {
        peer_ended(worker, connection);
    } else {
        /* A reset: acknowledgements can still be read, but no more will come. */
        connection->peer_ended = true;
        if (stream_interrupt(&connection->stream, false))
            count_tls_failure(&worker->stats, TLS_FAILURE_other);
        driver_cut(worker, connection, NULL);
    }
}

static void on_receive(struct worker *worker, struct connection *connection, int result,
                       unsigned flags)
{
    if (flags & IORING_CQE_F_BUFFER) {
        unsigned buffer = flags >> IORING_CQE_BUFFER_SHIFT;
        check(buffer < WORKER_BUFFERS);
        char *data = worker->buffer_memory + (size_t)buffer * WORKER_BUFFER_SIZE;
        if (result > 0 && driver_is_open(connection))
            received_bytes(worker, connection, data, (size_t)result);
        io_uring_buf_ring_add(worker->buffers, data, WORKER_BUFFER_SIZE, (unsigned short)buffer,
                              io_uring_buf_ring_mask(WORKER_BUFFERS), 0);
        io_uring_buf_ring_advance(worker->buffers, 1);
    }
    if ((flags & IORING_CQE_F_MORE) == 0)
        receive_ended(worker, connection, result);
    else if (driver_is_open(connection) && connection_has_input_enough(worker, connection))
        connection_pause(worker, connection);
}

static void on_open(struct worker *worker, struct connection *connection, int result)
{
    bool is_open = driver_is_open(connection);
    if (!is_open && result >= 0)
        close(result);
    connection->opened = result;
    driver_completed(worker, connection);
    if (is_open)
        driver_run(worker, connection);
}

static void on_room(struct worker *worker, struct connection *connection)
{
    struct stream *stream = &connection->stream;
    connection->polling = false;
    driver_completed(worker, connection);
    if (!driver_is_open(connection))
        return;
    if (connection->state == STATE_SEND && connection->exchange.waiting == WAIT_ROOM) {
        driver_run(worker, connection);
        return;
    }
    /* Sends the rest of a handshake or an alert, also for a connection that waits for something
     * else. */
    int status = stream->transport->flush(&worker->streams, stream, false);
    if (status == -EAGAIN)
        connection_await_room(worker, connection);
    else if (status != 0)
        driver_cut(worker, connection, NULL);
    else
        read_stream(worker, connection, NULL, 0);
}

static void on_warmed(struct worker *worker, struct connection *connection, int result)
{
    media_file_drop(worker->files, &connection->warming);
    driver_completed(worker, connection);
    if (connection->state == STATE_SEND && connection->exchange.waiting == WAIT_DISK)
        driver_apply(worker, connection, transfer_warmed(worker, connection, result));
}

void events_completed(struct worker *worker, struct connection *connection,
                      enum operation operation, int result, unsigned flags)
{
    check(connection->magic == CONNECTION_MAGIC);
    switch (operation) {
    case OPERATION_RECEIVE:
        on_receive(worker, connection, result, flags);
        break;
    case OPERATION_OPEN:
        on_open(worker, connection, result);
        break;
    case OPERATION_WRITABLE:
        on_room(worker, connection);
        break;
    case OPERATION_WARM:
        on_warmed(worker, connection, result);
        break;
    case OPERATION_IGNORED:
    case OPERATION_ACCEPT:
    case OPERATION_WAKE:
    case OPERATION_TICK:
    case OPERATION_REDIS_READABLE:
    case OPERATION_REDIS_WRITABLE:
        check(false);
    }
}

/* ---- inquiries ---- */

static void take_inquiry(struct worker *worker, struct inquiry *inquiry)
{
    struct inspection *inspection = inquiry_inspection(inquiry);
    if (worker->stopping) {
        inquiry_cancel(&inquiry);
    } else if (inspection != NULL) {
        inspection_fill(inspection, worker);
        inquiry_answer(&inquiry, REFUSAL_NONE);
    } else {
        driver_inquire(worker, inquiry);
    }
}

void events_take_inquiries(struct worker *worker)
{
    struct inquiry *inquiry = inquiry_take(worker);
    while (inquiry != NULL) {
        struct inquiry *next = inquiry_next(inquiry);
        take_inquiry(worker, inquiry);
        inquiry = next;
    }
}
