/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The step SEND: hands a body to the stream in chunks, from its file. The calls are inline on the
 * non-blocking socket, with a one-shot poll when it is full; transfer_disk.c first has a chunk
 * brought that is not in the page cache. It never hands a byte of a body over that the response's
 * claim has not paid for.
 */
#include "server/delivery/transfer.h"

#include <errno.h>
#include <string.h>

#include "server/delivery/admission.h"
#include "server/delivery/delivery.h"
#include "server/delivery/limits.h"
#include "server/delivery/outbox.h"
#include "server/delivery/response.h"
#include "storage/media/media.h"

/* Bytes a connection may send before the others have their turn. */
#define TURN_MAX ((size_t)2048 * 1024)

static enum step_outcome wait_rate(struct worker *worker, struct connection *connection)
{
    connection->exchange.waiting = WAIT_RATE;
    connection_join(worker, connection, LIST_RATED);
    return STEP_WAIT;
}

static enum step_outcome cut(struct exchange *exchange, const char *why)
{
    exchange->why = why;
    return STEP_CUT;
}

/* A transfer under way cannot be refused any more: it is cut for the same reason. */
static enum step_outcome refused(struct exchange *exchange, enum step_outcome outcome)
{
    return outcome == STEP_REFUSE ? cut(exchange, refusal_text(exchange->refusal)) : outcome;
}

/* No funds, or no validity, are left. STEP_NEXT: there are more. */
static enum step_outcome want_more(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    enum step_outcome outcome = refused(exchange, admission_more(worker, connection));
    if (outcome == STEP_NEXT)
        exchange->waiting = WAIT_NONE;
    return outcome;
}

static enum step_outcome wait_turn(struct worker *worker, struct connection *connection)
{
    connection->exchange.waiting = WAIT_TURN;
    connection_join(worker, connection, LIST_READY);
    return STEP_WAIT;
}

/* The outcome where the stream took nothing. */
static enum step_outcome failed(struct worker *worker, struct connection *connection, int error)
{
    switch (error) {
    case 0:
        return cut(&connection->exchange, "the file was truncated while it was sent");
    case -ENODATA:
        return transfer_warm(worker, connection);
    case -EAGAIN:
    case -ENOBUFS:
    case -EPROTO:
    case -EPIPE:
    case -ECONNRESET:
    case -ENOTCONN:
        return outbox_failed(worker, connection, error);
    default:
        return cut(&connection->exchange, strerrordesc_np(-error));
    }
}

/* Hands up to `paid` bytes of the file to the stream. Bytes that it took, or a negative errno. */
static ssize_t hand_over(struct worker *worker, struct connection *connection, uint64_t paid)
{
    struct exchange *exchange = &connection->exchange;
    struct stream *stream = &connection->stream;
    uint64_t cold_from = exchange->reader.cold_from;
    const struct stream_piece piece = {.file = exchange->file,
                                       .reader = &exchange->reader,
                                       .offset = exchange->offset,
                                       .length = (size_t)paid,
                                       .is_cold = transfer_is_cold(worker, connection),
                                       .is_unread = transfer_is_unread(worker, exchange)};
    ssize_t sent = stream->transport->send_file(&worker->streams, stream, &piece);
    if (exchange->reader.cold_from != cold_from && sent != -ENODATA)
        transfer_warm_ahead(worker, exchange);
    return sent;
}

/* How many bytes of the file one call may take at most. */
static uint64_t chunk_max(const struct worker *worker, const struct connection *connection)
{
    uint64_t most = connection->stream.transport->chunk_max;
    return most > MEDIA_BRING_MAX && transfer_is_cold(worker, connection) ? MEDIA_BRING_MAX : most;
}

/* Sends one chunk. STEP_NEXT: `*turn` has grown by its bytes. */
static enum step_outcome send_chunk(struct worker *worker, struct connection *connection,
                                    uint64_t *turn)
{
    struct exchange *exchange = &connection->exchange;
    uint64_t most = chunk_max(worker, connection);
    uint64_t want = exchange->left < most ? exchange->left : most;
    limits_learn(worker, exchange);
    uint64_t rated = limits_take(worker, exchange, want);
    if (rated == 0)
        return wait_rate(worker, connection);
    uint64_t paid = claim_pay(&exchange->claim, exchange->window, rated);
    if (paid == 0) {
        limits_give(exchange, rated);
        return want_more(worker, connection);
    }
    ssize_t sent = hand_over(worker, connection, paid);
    uint64_t taken = sent > 0 ? (uint64_t)sent : 0;
    limits_give(exchange, rated - taken);
    claim_refund(&exchange->claim, exchange->window, paid - taken);
    if (taken == 0)
        return failed(worker, connection, (int)sent);
    exchange->offset += taken;
    exchange->left -= taken;
    media_reader_sent(&exchange->reader);
    metering_handed(worker, connection, taken, taken);
    *turn += taken;
    /* The response has used up its part of a rate: it waits for the next tick, so that the other
     * sharers get theirs. */
    return rated < want && exchange->left > 0 ? wait_rate(worker, connection) : STEP_NEXT;
}

/* Sends the rest of the body, or of the part under way. STEP_NEXT once all of it is handed over. */
static enum step_outcome send_rest(struct worker *worker, struct connection *connection,
                                   uint64_t *turn)
{
    struct exchange *exchange = &connection->exchange;
    enum step_outcome outcome = STEP_NEXT;
    while (exchange->left > 0 && outcome == STEP_NEXT) {
        enum ledger_state ledger = ledger_state(worker->node->ledger);
        if (ledger == LEDGER_EXHAUSTED || ledger == LEDGER_FAILED)
            return cut(exchange,
                       "the journal cannot be written, and nothing may be sent unmetered");
        if (*turn >= TURN_MAX || (*turn >= MEDIA_BRING_MAX && transfer_is_cold(worker, connection)))
            return wait_turn(worker, connection);
        outcome = admission_is_valid(worker, connection) ? send_chunk(worker, connection, turn)
                                                         : want_more(worker, connection);
    }
    return outcome;
}

static bool has_parts_left(const struct exchange *exchange)
{
    return exchange->parts != NULL && exchange->parts->next <= exchange->parts->count;
}

/* Begins the next part of a multipart answer, or writes the closing boundary. */
static enum step_outcome begin_part(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    size_t length = response_part(worker, exchange);
    metering_done(connection);
    if (exchange->left > 0) {
        connection->deliveries_last->part = true;
        return outbox_begin_body(worker, connection, length);
    }
    exchange->parts->next++; /* nothing comes after it */
    return outbox_send(worker, connection, length, length, false);
}

enum step_outcome step_send(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    uint64_t turn = 0;
    enum step_outcome outcome = STEP_NEXT;
    if (exchange->waiting == WAIT_GRANT)
        outcome = refused(exchange, admission_resume(worker, connection));
    if (outcome != STEP_NEXT)
        return outcome;
    exchange->waiting = WAIT_NONE;
    for (;;) {
        outcome = outbox_drain(worker, connection);
        if (outcome == STEP_NEXT && exchange->left > 0) {
            outcome = send_rest(worker, connection, &turn);
            if (outcome == STEP_NEXT)
                outcome = outbox_drain(worker, connection);
        }
        if (outcome != STEP_NEXT)
            return outcome;
        if (!has_parts_left(exchange))
            break;
        outcome = begin_part(worker, connection);
        if (outcome != STEP_NEXT)
            return outcome;
    }
    if (connection->deliveries_last != NULL && !connection->deliveries_last->done)
        metering_done(connection);
    return STEP_DONE;
}

enum step_outcome transfer_revise(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    bool waits_elsewhere = exchange->waiting == WAIT_ROOM || exchange->waiting == WAIT_RATE ||
                           exchange->waiting == WAIT_ACKNOWLEDGED;
    if (!waits_elsewhere || exchange->window == NULL || exchange->left == 0 ||
        admission_is_covered(worker, exchange))
        return STEP_WAIT;
    /* It waits for something else from here on. If it stayed in the list, the next tick would run
     * whatever step it has come to by then, while the ring still opens or reads that step's file. */
    connection_leave(worker, connection, LIST_RATED);
    enum step_outcome outcome = want_more(worker, connection);
    return outcome == STEP_NEXT ? wait_turn(worker, connection) : outcome;
}
