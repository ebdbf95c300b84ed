/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client sends: receives it on the ring, keeps what cannot be handled yet, and hands each
 * whole head to request.c, one after the other. Called by the worker's loop, and through the
 * transports, which take TLS off first. It decides nothing about a request; only heads that are
 * malformed, too large or late are refused here.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "server/delivery/connection.h"
#include "server/http/http_content.h"

/* ---- the bytes that wait ---- */

/* Accounts for `input`, which has `size` bytes allocated now. */
static void input_resized(struct worker *worker, struct connection *connection, size_t size)
{
    worker->input_bytes += size - connection->input_size;
    connection->input_size = (uint32_t)size;
}

static bool input_append(struct worker *worker, struct connection *connection, const char *data,
                         size_t length)
{
    size_t needed = connection->input_length + length;
    if (needed > connection->input_size) {
        size_t size = connection->input_size == 0 ? 1024 : connection->input_size;
        while (size < needed)
            size *= 2;
        char *input = worker->input_bytes + size - connection->input_size > WORKER_INPUT_MAX
                          ? NULL
                          : realloc(connection->input, size);
        if (input == NULL)
            return false;
        connection->input = input;
        input_resized(worker, connection, size);
    }
    memcpy(connection->input + connection->input_length, data, length);
    connection->input_length += (uint32_t)length;
    return true;
}

void connection_input_free(struct worker *worker, struct connection *connection)
{
    free(connection->input);
    connection->input = NULL;
    connection->input_length = 0;
    input_resized(worker, connection, 0);
}

static void input_consume(struct worker *worker, struct connection *connection, size_t length)
{
    connection->input_length -= (uint32_t)length;
    memmove(connection->input, connection->input + length, connection->input_length);
    if (connection->input_length == 0)
        connection_input_free(worker, connection); /* an idle connection keeps no buffer */
}

/* A client that pipelines faster than it is answered is not read from while more than the longest
 * head waits. */
static bool has_input_enough(const struct worker *worker, const struct connection *connection)
{
    return connection->input_length > worker->node->config->head_bytes_max;
}

/* ---- heads ---- */

/* Answers a head that is malformed or too large, or has not come in time. Where TLS is spoken,
 * plain HTTP is told so and anything else is not answered. */
static void refuse_head(struct worker *worker, struct connection *connection, const char *data,
                        size_t length, enum refusal refusal)
{
    if (connection->unencrypted) {
        bool is_http = http_head_is_begun(data, length);
        count_tls_failure(&worker->stats, is_http ? TLS_FAILURE_plain_http : TLS_FAILURE_other);
        if (!is_http) {
            connection_close(worker, connection, false);
            return;
        }
        refusal = REFUSAL_PLAIN_HTTP;
    }
    connection->keep_alive = connection->head_only = connection->navigation = false;
    connection->origin = NULL;
    response_refuse(worker, connection, refusal);
}

/* Handles the heads at the start of `data`, as many as can be answered now. Returns how many bytes
 * are done with. */
static size_t consume(struct worker *worker, struct connection *connection, const char *data,
                      size_t length)
{
    size_t used = 0;
    const size_t head_max = worker->node->config->head_bytes_max;
    if (connection->expects_proxy && connection->tls == NULL) {
        used = connection_client_header(worker, connection, data, length);
        if (used == 0)
            return 0;
    }
    while (connection->state == CONNECTION_READING && used < length) {
        struct http_head head;
        enum refusal refusal = REFUSAL_HEAD_MALFORMED;
        enum http_head_status status = http_head_parse(data + used, length - used, &head, &refusal);
        if (status == HTTP_HEAD_COMPLETE && !connection->unencrypted)
            status = http_content_skip(data + used, length - used, &head, &refusal);
        size_t size = status == HTTP_HEAD_COMPLETE ? head.length : length - used;
        if (status != HTTP_HEAD_REFUSED && size > head_max) {
            status = HTTP_HEAD_REFUSED;
            refusal = REFUSAL_HEAD_TOO_LARGE;
        }
        if (status == HTTP_HEAD_PARTIAL)
            break;
        if (connection->delivery_count >= METERING_QUEUE_MAX && metering_read(worker, connection) &&
            connection->delivery_count >= METERING_QUEUE_MAX)
            break; /* the tick reads on when the peer has acknowledged */
        if (status == HTTP_HEAD_REFUSED) {
            count(&worker->stats.requests, connection->inquiry == NULL);
            refuse_head(worker, connection, data + used, length - used, refusal);
            return length;
        }
        if (request_begin(worker, connection, &head) == REQUEST_AGAIN)
            break;
        used += size;
    }
    return used;
}

/*
 * Sets how long the peer has for what comes next. A head's time runs from its first byte (on a new
 * connection: from the accept). Further bytes do not extend it, or a peer that sends a byte now and
 * then could hold its place for ever.
 */
static void set_reading_deadline(struct worker *worker, struct connection *connection)
{
    if (connection->state != CONNECTION_READING)
        return;
    const struct config *config = worker->node->config;
    if (connection->input_length > 0 && !connection->in_head) {
        connection->in_head = true;
        connection->deadline_ms = worker->now_ms + config->head_timeout_ms;
    } else if (connection->input_length == 0 && connection->first_done) {
        connection->in_head = false;
        connection->deadline_ms = worker->now_ms + config->idle_timeout_ms;
    }
}

/* Whether heads wait in `input` until the peer has acknowledged more. metering_tick reads on. */
static bool is_held_back(const struct connection *connection)
{
    return connection->state == CONNECTION_READING && connection->input_length > 0 &&
           connection->delivery_count >= METERING_QUEUE_MAX;
}

void connection_peer_ended(struct worker *worker, struct connection *connection)
{
    connection->peer_ended = true;
    tls_session_interrupted(worker, connection, TLS_FAILURE_other);
    if (is_held_back(connection))
        return;
    if (connection->state == CONNECTION_READING || connection->state == CONNECTION_LINGERING) {
        if (metering_read(worker, connection))
            connection_set_state(connection, CONNECTION_LINGERING);
        else
            connection_close(worker, connection, false);
    }
}

void connection_input_late(struct worker *worker, struct connection *connection)
{
    if (is_held_back(connection)) {
        return; /* metering_tick applies the stall timeout */
    } else if (connection->expects_proxy && connection->input_length > 0) {
        connection_client_late(worker->node, connection);
        connection_close(worker, connection, false);
    } else if (connection->input_length > 0) {
        refuse_head(worker, connection, connection->input, connection->input_length,
                    REFUSAL_HEAD_TIMEOUT);
    } else if (connection->deliveries == NULL) {
        tls_session_interrupted(worker, connection, TLS_FAILURE_timed_out);
        connection_close(worker, connection, false);
    }
}

void connection_resume(struct worker *worker, struct connection *connection)
{
    if (connection->state != CONNECTION_READING)
        return;
    if (connection->input_length > 0) {
        size_t used = consume(worker, connection, connection->input, connection->input_length);
        if (connection->state == CONNECTION_CLOSING || connection->state == CONNECTION_FREE)
            return;
        if (used > 0)
            input_consume(worker, connection, used);
    }
    if (connection->state != CONNECTION_READING)
        return;
    set_reading_deadline(worker, connection);
    if (connection->peer_ended)
        connection_peer_ended(worker, connection);
    else
        connection_receive(worker, connection);
}

void connection_resume_if_alive(struct worker *worker, uint32_t index, uint32_t generation)
{
    struct connection *connection = &worker->connections[index];
    if (connection->generation == generation)
        connection_resume(worker, connection);
}

void connection_input(struct worker *worker, struct connection *connection, const char *data,
                      size_t length)
{
    size_t used = 0;
    if (connection->state == CONNECTION_LINGERING)
        return; /* the answer said Connection: close; later requests are ignored */
    if (connection->input_length == 0) {
        used = consume(worker, connection, data, length);
        if (connection->state == CONNECTION_CLOSING || connection->state == CONNECTION_FREE)
            return;
    }
    if (used < length && !input_append(worker, connection, data + used, length - used)) {
        transfer_cut(worker, connection, "clients sent requests faster than they read the answers");
        return;
    }
    if (used == 0 && connection->input_length > length) {
        connection_resume(worker, connection);
        return;
    }
    set_reading_deadline(worker, connection);
}

void connection_unencrypted(struct worker *worker, struct connection *connection, const char *data,
                            size_t length)
{
    tls_session_end(connection);
    connection->transport = &transport_plain;
    connection->unencrypted = true;
    connection_input(worker, connection, data, length);
}

/* ---- the receive ---- */

void connection_receive(struct worker *worker, struct connection *connection)
{
    if (connection->receiving || connection->peer_ended || has_input_enough(worker, connection))
        return;
    struct io_uring_sqe *sqe = worker_sqe(worker);
    io_uring_prep_recv_multishot(sqe, connection->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = WORKER_BUFFER_GROUP;
    sqe->user_data = operation_data(OPERATION_RECEIVE, connection->generation, connection->index);
    connection->receiving = true;
    connection->receive_pausing = false;
    connection->in_flight++;
}

/* Reads the header of a proxy, which comes before TLS. What follows it goes to the session. */
static void received_before_tls(struct worker *worker, struct connection *connection,
                                const char *data, size_t length)
{
    if (!input_append(worker, connection, data, length)) {
        connection_close(worker, connection, true);
        return;
    }
    size_t used =
        connection_client_header(worker, connection, connection->input, connection->input_length);
    if (used == 0)
        return;
    char *input = connection->input;
    size_t left = connection->input_length - used;
    connection->input = NULL;
    connection->input_length = 0;
    input_resized(worker, connection, 0);
    if (left > 0)
        connection->transport->receive(worker, connection, input + used, left);
    free(input);
}

static void received_bytes(struct worker *worker, struct connection *connection, const char *data,
                           size_t length)
{
    if (connection->expects_proxy && connection->tls != NULL)
        received_before_tls(worker, connection, data, length);
    else
        connection->transport->receive(worker, connection, data, length);
}

static void receive_pause(struct worker *worker, struct connection *connection)
{
    if (connection->receive_pausing)
        return;
    connection->receive_pausing = true;
    struct io_uring_sqe *sqe = worker_sqe(worker);
    io_uring_prep_cancel64(
        sqe, operation_data(OPERATION_RECEIVE, connection->generation, connection->index), 0);
    sqe->user_data = operation_data(OPERATION_IGNORED, 0, 0);
}

void connection_received(struct connection *connection, struct worker *worker, int result,
                         unsigned flags)
{
    bool more = (flags & IORING_CQE_F_MORE) != 0;
    if (flags & IORING_CQE_F_BUFFER) {
        unsigned buffer = flags >> IORING_CQE_BUFFER_SHIFT;
        check(buffer < WORKER_BUFFERS);
        char *data = worker->buffer_memory + (size_t)buffer * WORKER_BUFFER_SIZE;
        if (result > 0 && connection->state != CONNECTION_CLOSING)
            received_bytes(worker, connection, data, (size_t)result);
        io_uring_buf_ring_add(worker->buffers, data, WORKER_BUFFER_SIZE, (unsigned short)buffer,
                              io_uring_buf_ring_mask(WORKER_BUFFERS), 0);
        io_uring_buf_ring_advance(worker->buffers, 1);
    }
    if (more) {
        if (connection->state != CONNECTION_CLOSING && has_input_enough(worker, connection))
            receive_pause(worker, connection);
        return;
    }
    connection->receiving = false;
    if (connection->state == CONNECTION_CLOSING) {
        connection_completed(worker, connection);
        return;
    }
    connection_completed(worker, connection);
    if (result > 0 || result == -ENOBUFS || result == -ECANCELED) {
        connection_receive(worker, connection);
        return;
    }
    if (result == 0) {
        connection_peer_ended(worker, connection);
    } else {
        /* A reset: TCP_INFO can still be read, but nothing more will be acknowledged. */
        connection->peer_ended = true;
        tls_session_interrupted(worker, connection, TLS_FAILURE_other);
        connection_close(worker, connection, true);
    }
}
