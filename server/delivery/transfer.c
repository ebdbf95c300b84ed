/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hands bytes to the transport: a small body in one send with its head, a larger one from its file
 * in chunks. The calls are inline on the non-blocking socket, with a one-shot poll when it is full;
 * transfer_disk.c first has a chunk brought that is not in the page cache. Called by response.c,
 * admission.c, metering.c and the worker's loop. It never hands a byte of a body to the kernel that
 * the response's claim has not paid for.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "server/base/check.h"
#include "server/base/log.h"
#include "server/delivery/connection.h"
#include "server/link/token_cache.h"
#include "storage/media/media.h"

#define BODY_SMALL_MAX ((size_t)16 * 1024) /* bodies up to here travel with their head */
/* Bytes a connection may send before the others have their turn. */
#define TURN_MAX       ((size_t)2048 * 1024)

void transfer_cut(struct worker *worker, struct connection *connection, const char *why)
{
    if (connection->state == CONNECTION_SENDING) {
        const struct token *token = connection->link != NULL ? connection->link->token : NULL;
        count(&worker->stats.transfers_cut, 1);
        log_info("cut: %s; issuer=%s jti=%s path=%s sent=%llu of=%llu", why,
                 token != NULL ? token->issuer_id : "-",
                 token != NULL && token->jti[0] != '\0' ? token->jti : "-",
                 connection->file != NULL ? connection->file->path : "-",
                 (unsigned long long)(connection->body_length - connection->left),
                 (unsigned long long)connection->body_length);
    }
    connection_close(worker, connection, true);
}

void transfer_await_room(struct worker *worker, struct connection *connection)
{
    if (connection->polling)
        return;
    struct io_uring_sqe *sqe = worker_sqe(worker);
    io_uring_prep_poll_add(sqe, connection->fd, POLLOUT);
    sqe->user_data = operation_data(OPERATION_WRITABLE, connection->generation, connection->index);
    connection->in_flight++;
    connection->polling = true;
}

static void wait_writable(struct worker *worker, struct connection *connection)
{
    transfer_await_room(worker, connection);
    connection->waiting = WAIT_WRITABLE;
    connection->deadline_ms = worker->now_ms + worker->node->config->stall_timeout_ms;
}

/* Each tick tries again. metering_tick ends a connection that stalls, as acknowledgements are
 * outstanding. */
static void wait_acknowledged(struct worker *worker, struct connection *connection)
{
    connection->waiting = WAIT_ACKNOWLEDGED;
    connection_join(worker, connection, LIST_RATED);
}

static void wait_rate(struct worker *worker, struct connection *connection)
{
    connection->waiting = WAIT_RATE;
    connection_join(worker, connection, LIST_RATED);
}

/* Waits for what the transport's error names. False where waiting does not help. */
static bool wait_for(struct worker *worker, struct connection *connection, int error)
{
    if (error == -EAGAIN)
        wait_writable(worker, connection);
    else if (error == -ENOBUFS)
        wait_acknowledged(worker, connection);
    else
        return false;
    return true;
}

/* Closes a connection whose transport can send no more. After -EPROTO only the session is over: TCP
 * still works, so bytes sent before are waited for. */
static void close_broken(struct worker *worker, struct connection *connection, int error)
{
    connection_close(worker, connection, error != -EPROTO);
}

/* Keeps a copy of `data`, the bytes that the socket did not take; the first `head` of them are not
 * billed. */
static bool output_keep(struct connection *connection, const char *data, size_t length, size_t head)
{
    check(connection->output == NULL && length <= WORKER_SCRATCH_SIZE);
    connection->output = malloc(length);
    if (connection->output == NULL)
        return false;
    memcpy(connection->output, data, length);
    connection->output_length = (uint32_t)length;
    connection->output_sent = 0;
    connection->output_head = (uint32_t)head;
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

/* Sends `length` bytes, of which the first `head` are not billed. False: the connection is gone. */
static bool send_or_keep(struct worker *worker, struct connection *connection, const char *data,
                         size_t length, size_t head, bool more)
{
    ssize_t sent = connection->transport->send(worker, connection, data, length, more);
    if (sent < 0 && sent != -EAGAIN && sent != -ENOBUFS) {
        close_broken(worker, connection, (int)sent);
        return false;
    }
    size_t taken = sent > 0 ? (size_t)sent : 0;
    metering_handed(worker, connection, taken, body_part(0, taken, head));
    if (taken == length)
        return true;
    if (output_keep(connection, data + taken, length - taken, head > taken ? head - taken : 0))
        return true;
    connection_close(worker, connection, true);
    return false;
}

/* Sends the kept bytes. True once neither `output` nor the transport holds any; else the connection
 * waits or is gone. */
static bool drain(struct worker *worker, struct connection *connection)
{
    const struct transport *transport = connection->transport;
    while (connection->output != NULL) {
        uint32_t before = connection->output_sent;
        ssize_t sent = transport->send(worker, connection, connection->output + before,
                                       connection->output_length - before, connection->left > 0);
        if (sent < 0) {
            if (!wait_for(worker, connection, (int)sent))
                close_broken(worker, connection, (int)sent);
            return false;
        }
        metering_handed(worker, connection, (uint64_t)sent,
                        body_part(before, (size_t)sent, connection->output_head));
        connection->output_sent += (uint32_t)sent;
        if (connection->output_sent == connection->output_length) {
            free(connection->output);
            connection->output = NULL;
        }
    }
    int status = transport->flush(worker, connection, connection->left > 0);
    if (status != 0 && !wait_for(worker, connection, status))
        close_broken(worker, connection, status);
    return status == 0;
}

static void finish(struct worker *worker, struct connection *connection);

/* Begins the next part of a multipart answer, or writes the closing boundary. */
static void begin_part(struct worker *worker, struct connection *connection)
{
    size_t length = response_part(worker, connection);
    metering_done(connection);
    if (connection->left > 0) {
        connection->deliveries_last->part = true;
        transfer_begin(worker, connection, length);
        return;
    }
    connection->parts->next++; /* nothing comes after it */
    if (send_or_keep(worker, connection, worker->scratch, length, length, false) &&
        drain(worker, connection))
        finish(worker, connection);
}

static void finish(struct worker *worker, struct connection *connection)
{
    if (connection->parts != NULL && connection->parts->next <= connection->parts->count) {
        begin_part(worker, connection);
        return;
    }
    if (connection->deliveries_last != NULL && !connection->deliveries_last->done)
        metering_done(connection);
    connection_responded(worker, connection);
    if (connection->state != CONNECTION_FREE && connection->state != CONNECTION_CLOSING &&
        connection->delivery_count >= METERING_QUEUE_READ)
        (void)metering_read(worker, connection);
}

void transfer_plain(struct worker *worker, struct connection *connection, size_t length)
{
    connection->left = connection->left_after = 0;
    free(connection->parts); /* set where a refusal takes the place of several ranges */
    connection->parts = NULL;
    if (send_or_keep(worker, connection, worker->scratch, length, length, false) &&
        drain(worker, connection))
        finish(worker, connection);
}

void transfer_tick(struct worker *worker)
{
    struct connection *connection = worker->rated.first;
    while (connection != NULL) {
        struct connection *next = connection->next[LIST_RATED];
        uint32_t index = connection->index, generation = connection->generation;
        connection_leave(worker, connection, LIST_RATED);
        if (connection->waiting == WAIT_RATE || connection->waiting == WAIT_ACKNOWLEDGED)
            transfer_run(worker, connection);
        connection_resume_if_alive(worker, index, generation);
        connection = next;
    }
}

/* ---- bodies ---- */

/*
 * Reads the next `length` bytes without waiting for the disk. False where they are not in memory.
 */
static bool read_small(struct connection *connection, char *out, size_t length)
{
    const char *bytes = media_file_bytes(connection->file);
    if (bytes == NULL)
        return media_file_read(connection->file, out, length, connection->offset) ==
               (ssize_t)length;
    check(connection->offset + length <= connection->file->size);
    memcpy(out, bytes + connection->offset, length);
    return true;
}

/* Sends a small body together with its head, which lies before it in the scratch. False, and
 * nothing was sent, where it is not in memory, too long, or short of funds. */
static bool send_small(struct worker *worker, struct connection *connection, size_t head_length)
{
    size_t length = (size_t)connection->left;
    if (length > BODY_SMALL_MAX || head_length + length >= WORKER_SCRATCH_SIZE ||
        !read_small(connection, worker->scratch + head_length, length))
        return false;
    if (!admission_is_valid(worker, connection)) /* a later part of several */
        return false;
    uint64_t rated = limits_take(worker, connection, length);
    uint64_t paid = rated == length ? claim_pay(&connection->claim, connection->window, length) : 0;
    if (paid < length) {
        claim_refund(&connection->claim, connection->window, paid);
        limits_give(connection, rated);
        return false;
    }
    connection->offset += length;
    connection->left = 0;
    if (send_or_keep(worker, connection, worker->scratch, head_length + length, head_length,
                     false) &&
        drain(worker, connection))
        finish(worker, connection);
    return true;
}

void transfer_begin(struct worker *worker, struct connection *connection, size_t head_length)
{
    media_reader_begin(&connection->reader);
    if (metering_begin(worker, connection, head_length) != 0) {
        connection_close(worker, connection, true);
        return;
    }
    if (send_small(worker, connection, head_length))
        return;
    if (send_or_keep(worker, connection, worker->scratch, head_length, head_length, true))
        transfer_run(worker, connection);
}

/* Sends one chunk. Returns its bytes; 0 where the connection now waits or is gone. */
static uint64_t send_chunk(struct worker *worker, struct connection *connection)
{
    const struct transport *transport = connection->transport;
    uint64_t most = transfer_is_cold(worker, connection) && transport->chunk_max > MEDIA_BRING_MAX
                        ? MEDIA_BRING_MAX
                        : transport->chunk_max;
    uint64_t want = connection->left < most ? connection->left : most;
    limits_learn(worker, connection);
    uint64_t rated = limits_take(worker, connection, want);
    if (rated == 0) {
        wait_rate(worker, connection);
        return 0;
    }
    uint64_t paid = claim_pay(&connection->claim, connection->window, rated);
    if (paid == 0) {
        limits_give(connection, rated);
        admission_more(worker, connection);
        return 0;
    }
    uint64_t cold_from = connection->reader.cold_from;
    ssize_t sent = transport->send_file(worker, connection, (size_t)paid);
    if (connection->reader.cold_from != cold_from && sent != -ENODATA)
        transfer_warm_ahead(worker, connection);
    uint64_t taken = sent > 0 ? (uint64_t)sent : 0;
    limits_give(connection, rated - taken);
    claim_refund(&connection->claim, connection->window, paid - taken);
    if (taken > 0) {
        connection->offset += taken;
        connection->left -= taken;
        media_reader_sent(&connection->reader);
        metering_handed(worker, connection, taken, taken);
        /* The response has used up its part of a rate: it waits for the next tick, so that the
         * other sharers get theirs. */
        if (rated < want && connection->left > 0) {
            wait_rate(worker, connection);
            return 0;
        }
        return taken;
    }
    if (sent == 0)
        transfer_cut(worker, connection, "the file was truncated while it was sent");
    else if (sent == -ENODATA)
        transfer_warm(worker, connection);
    else if (sent == -EPROTO || sent == -EPIPE || sent == -ECONNRESET || sent == -ENOTCONN)
        close_broken(worker, connection, (int)sent);
    else if (!wait_for(worker, connection, (int)sent))
        transfer_cut(worker, connection, strerrordesc_np((int)-sent));
    return 0;
}

void transfer_run(struct worker *worker, struct connection *connection)
{
    check(connection->state == CONNECTION_SENDING);
    connection->waiting = WAIT_NONE;
    if (!drain(worker, connection))
        return;
    uint64_t turn = 0;
    while (connection->left > 0) {
        enum ledger_state ledger = ledger_state(worker->node->ledger);
        if (ledger == LEDGER_EXHAUSTED || ledger == LEDGER_FAILED) {
            transfer_cut(worker, connection,
                         "the journal cannot be written, and nothing may be sent unmetered");
            return;
        }
        if (!admission_is_valid(worker, connection)) {
            admission_more(worker, connection);
            return;
        }
        if (turn >= TURN_MAX || (turn >= MEDIA_BRING_MAX && transfer_is_cold(worker, connection))) {
            connection_join(worker, connection, LIST_READY);
            return;
        }
        uint64_t sent = send_chunk(worker, connection);
        if (sent == 0)
            return;
        turn += sent;
    }
    if (drain(worker, connection))
        finish(worker, connection);
}

void transfer_has_room(struct worker *worker, struct connection *connection)
{
    if (connection->state == CONNECTION_SENDING && connection->waiting == WAIT_WRITABLE) {
        transfer_run(worker, connection);
        return;
    }
    /* Sends the rest of a handshake or an alert, also for a connection that waits for something
     * else. */
    int status = connection->transport->flush(worker, connection, false);
    if (status == -EAGAIN)
        transfer_await_room(worker, connection);
    else if (status != 0)
        connection_close(worker, connection, true);
    else
        connection->transport->receive(worker, connection, NULL, 0);
}

void transfer_warmed(struct worker *worker, struct connection *connection, int result)
{
    if (result < 0 && result != -ECANCELED && result != -EAGAIN && result != -EINTR &&
        result != -ENOMEM) {
        transfer_cut(worker, connection, strerrordesc_np(-result));
        return;
    }
    /* The result is not looked at: sending meets the end of the file or a read error itself. */
    media_reader_brought(worker->residency, connection->file, &connection->reader,
                         connection->offset, worker->now_ms);
    connection->waiting = WAIT_NONE;
    connection_join(worker, connection, LIST_READY);
}
