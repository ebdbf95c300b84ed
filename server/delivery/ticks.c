/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What time does to connections: each tick looks at what they wait for. A head that is late, an idle
 * connection, a client that takes nothing or too little while places are few: the driver is told. It
 * sends nothing.
 */
#include "server/base/check.h"
#include "server/delivery/delivery.h"
#include "server/delivery/driver.h"
#include "server/delivery/events.h"
#include "server/delivery/framing.h"
#include "server/delivery/limits.h"
#include "server/delivery/transfer.h"
#include "server/link/token_cache.h"

#define RATE_PERIOD_MS   5000
#define STOP_FIRST_MS    1000 /* how long a first request may still come once the node stops */
/*
 * After CLOSING_WAIT_MS without an acknowledgement, a closing connection is taken to have nothing
 * on its way to its peer. Where the socket's queue is empty, CLOSING_QUIET_MS are enough: by then
 * kTLS has handed on the bytes that it held.
 */
#define CLOSING_WAIT_MS  1000
#define CLOSING_QUIET_MS 200

/* ---- acknowledgements ---- */

/*
 * Whether a closing connection has bytes on their way to the peer. It has none where the kernel
 * holds none, or where the peer acknowledges none.
 */
static bool is_arriving(const struct worker *worker, const struct connection *connection)
{
    uint64_t quiet_ms = worker->now_ms - connection->stream.progress_ms;
    if (quiet_ms < CLOSING_QUIET_MS)
        return true;
    return quiet_ms < CLOSING_WAIT_MS && stream_queued(&connection->stream) > 0;
}

static void meter(struct worker *worker, struct connection *connection)
{
    bool is_owed = metering_read(worker, connection);
    uint64_t quiet_ms = worker->now_ms - connection->stream.progress_ms;
    bool is_dead = !is_owed && connection->deliveries != NULL;
    if (connection->state == STATE_CLOSE) {
        if (!is_owed || !is_arriving(worker, connection))
            driver_settle(worker, connection);
    } else if (is_owed && quiet_ms > worker->node->config->stall_timeout_ms) {
        driver_cut(worker, connection, TRANSFER_STALLED);
    } else if (is_dead) {
        driver_apply(worker, connection, STEP_CLOSE);
    } else if (!is_owed && connection->state == STATE_LINGER) {
        driver_run(worker, connection); /* it ends where the client has ended its side, too */
    } else if (framing_is_held_back(connection)) {
        driver_run(worker, connection);
    }
}

static void meter_all(struct worker *worker)
{
    struct connection *connection = worker->unmetered.first;
    while (connection != NULL) {
        struct connection *next = connection_next(worker, connection, LIST_UNMETERED);
        meter(worker, connection);
        connection = next;
    }
}

/* ---- deadlines ---- */

static void sweep_one(struct worker *worker, struct connection *connection)
{
    if (connection->deadline_ms == 0 || worker->now_ms < connection->deadline_ms)
        return;
    if (connection->state == STATE_HEAD) {
        driver_apply(worker, connection, framing_late(worker, connection));
    } else if (connection->deliveries != NULL) {
        return; /* with something owed, the stall timeout applies */
    } else if (connection->state == STATE_LINGER) {
        driver_apply(worker, connection, STEP_CLOSE);
    } else if (connection->state == STATE_SEND && connection->exchange.waiting == WAIT_ROOM) {
        if (metering_has_progress(worker, connection))
            connection->deadline_ms = worker->now_ms + worker->node->config->stall_timeout_ms;
        else
            driver_cut(worker, connection, TRANSFER_STALLED);
    }
}

/* Judges a transfer every RATE_PERIOD_MS. A slow one is cut only while nearly all places of the
 * node are taken, because it keeps others out then. */
static void judge_rate(struct worker *worker, struct connection *connection)
{
    const struct config *config = worker->node->config;
    uint64_t elapsed_ms = worker->now_ms - connection->rate_ms;
    if (connection->state != STATE_SEND || elapsed_ms < RATE_PERIOD_MS)
        return;
    bool begun = connection->rate_ms != 0;
    uint64_t acknowledged = connection->stream.tcp_acknowledged - connection->rate_acknowledged;
    bool pressure = atomic_load(&worker->node->connections) >= config->connections_max / 10 * 9;
    connection->rate_ms = worker->now_ms;
    connection->rate_acknowledged = connection->stream.tcp_acknowledged;
    if (begun && pressure && !limits_bind(&connection->exchange) &&
        acknowledged < config->rate_min_bytes_per_s * elapsed_ms / 1000)
        driver_cut(worker, connection,
                   "slower than rate_min_bytes_per_s while connections_max is nearly reached");
}

/* Looks at the next tenth of the open connections. */
static void sweep(struct worker *worker)
{
    struct connection *connection = worker->sweep_next;
    if (connection == NULL)
        connection = worker->open.first;
    for (uint32_t left = worker->open_count / 10 + 1; left > 0 && connection != NULL; left--) {
        worker->sweep_next =
            connection_next(worker, connection, LIST_OPEN); /* connection_leave moves it on, too */
        sweep_one(worker, connection);
        judge_rate(worker, connection);
        connection = worker->sweep_next;
    }
}

/* ---- those that wait ---- */

/* Runs each connection of a list, which leaves it or stays. One that joins meanwhile stands at the
 * head, where the walk does not meet it. */
static void run_all(struct worker *worker, struct connection *first, enum worker_list which,
                    bool leaves)
{
    for (struct connection *connection = first, *next; connection != NULL; connection = next) {
        next = connection_next(worker, connection, which);
        if (leaves)
            connection_leave(worker, connection, which);
        driver_run(worker, connection);
    }
}

void ticks_look_again(struct worker *worker)
{
    run_all(worker, worker->parked.first, LIST_PARKED, false);
    run_all(worker, worker->hashing.first, LIST_HASHING, false);
}

void ticks_run_ready(struct worker *worker, uint64_t share)
{
    const atomic_ullong *handed = &worker->stats.bytes_handed;
    uint64_t before = atomic_load_explicit(handed, memory_order_relaxed);
    while (worker->ready.first != NULL &&
           atomic_load_explicit(handed, memory_order_relaxed) - before < share) {
        struct connection *connection = worker->ready.first;
        connection_leave(worker, connection, LIST_READY);
        driver_run(worker, connection);
    }
}

/*
 * Transfers that wait for room, their rate or acknowledgements would notice only when they may send
 * again; those that run, and those that are parked, notice by themselves.
 */
void ticks_revise(struct worker *worker, bool keys)
{
    struct connection *connection = worker->unmetered.first;
    while (connection != NULL) {
        struct connection *next = connection_next(worker, connection, LIST_UNMETERED);
        const struct exchange *exchange = &connection->exchange;
        if (connection->state != STATE_SEND || exchange->window == NULL) {
            connection = next;
            continue;
        }
        if (keys && !token_is_live(worker->trust, exchange->link->token))
            driver_cut(worker, connection, "the key that signed its link was removed");
        else
            driver_apply(worker, connection, transfer_revise(worker, connection));
        connection = next;
    }
    if (keys)
        run_all(worker, worker->parked.first, LIST_PARKED, false);
}

void ticks_run(struct worker *worker)
{
    meter_all(worker);
    run_all(worker, worker->rated.first, LIST_RATED, true);
    if (worker->stopping)
        ticks_stop_idle(worker); /* those whose last bytes have been acknowledged by now */
    sweep(worker);
}

/* ---- the node's stop ---- */

/* Whether the connection is so new that its first request may be on its way. */
static bool has_just_come(const struct worker *worker, const struct connection *connection)
{
    return connection->answers == 0 && worker->now_ms - worker->stopped_ms < STOP_FIRST_MS;
}

void ticks_stop_idle(struct worker *worker)
{
    struct connection *connection = worker->open.first;
    while (connection != NULL) {
        struct connection *next = connection_next(worker, connection, LIST_OPEN);
        if (connection->state == STATE_HEAD && !has_just_come(worker, connection) &&
            !metering_read(worker, connection))
            driver_apply(worker, connection, STEP_CLOSE);
        connection = next;
    }
}

void ticks_cut_all(struct worker *worker)
{
    struct connection *connection = worker->open.first;
    while (connection != NULL) {
        struct connection *next = connection_next(worker, connection, LIST_OPEN);
        if (connection->state == STATE_SEND)
            count(&worker->cut_at_stop, 1);
        driver_cut(worker, connection, "the node is stopping and stop_timeout_ms has passed");
        connection = next;
    }
    connection = worker->unmetered.first; /* closing ones that wait for acknowledgements */
    while (connection != NULL) {
        struct connection *next = connection_next(worker, connection, LIST_UNMETERED);
        driver_settle(worker, connection);
        connection = next;
    }
}
