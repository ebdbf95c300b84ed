/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each tick does to connections that take too long: a head that is late, an idle connection, a
 * client that takes nothing, a transfer that is too slow while places are few. Called by the
 * worker's loop. It sends nothing; deliveries that are not acknowledged are watched by metering.c.
 */
#include "server/delivery/connection.h"

#define RATE_PERIOD_MS 5000
#define STOP_FIRST_MS  1000 /* how long a first request may still come once the node stops */

static void sweep_one(struct worker *worker, struct connection *connection)
{
    if (connection->deadline_ms == 0 || worker->now_ms < connection->deadline_ms)
        return;
    switch ((enum connection_state)connection->state) {
    case CONNECTION_READING:
        connection_input_late(worker, connection);
        break;
    case CONNECTION_LINGERING:
        if (connection->deliveries == NULL)
            connection_close(worker, connection, false);
        break; /* with something owed, metering_tick applies the stall timeout */
    case CONNECTION_SENDING:
        if (connection->waiting != WAIT_WRITABLE || connection->deliveries != NULL)
            break;
        if (metering_has_progress(worker, connection))
            connection->deadline_ms = worker->now_ms + worker->node->config->stall_timeout_ms;
        else
            transfer_cut(worker, connection, TRANSFER_STALLED);
        break;
    case CONNECTION_FREE:
    case CONNECTION_OPENING:
    case CONNECTION_PREPARING:
    case CONNECTION_ADMITTING:
    case CONNECTION_CLOSING:
        break;
    }
}

/* Judges a transfer every RATE_PERIOD_MS. A slow one is cut only while nearly all places of the
 * node are taken, because it keeps others out then. */
static void judge_rate(struct worker *worker, struct connection *connection)
{
    const struct config *config = worker->node->config;
    uint64_t elapsed_ms = worker->now_ms - connection->rate_ms;
    if (connection->state != CONNECTION_SENDING || elapsed_ms < RATE_PERIOD_MS)
        return;
    bool begun = connection->rate_ms != 0;
    uint64_t acknowledged = connection->tcp_acknowledged - connection->rate_acknowledged;
    bool pressure = atomic_load(&worker->node->connections) >= config->connections_max / 10 * 9;
    connection->rate_ms = worker->now_ms;
    connection->rate_acknowledged = connection->tcp_acknowledged;
    if (begun && pressure && !limits_bind(connection) &&
        acknowledged < config->rate_min_bytes_per_s * elapsed_ms / 1000)
        transfer_cut(worker, connection,
                     "slower than rate_min_bytes_per_s while connections_max is nearly reached");
}

void connection_sweep(struct worker *worker)
{
    struct connection *connection = worker->sweep_next;
    if (connection == NULL)
        connection = worker->open.first;
    for (uint32_t left = worker->open_count / 10 + 1; left > 0 && connection != NULL; left--) {
        worker->sweep_next = connection->next[LIST_OPEN]; /* connection_leave moves it on, too */
        sweep_one(worker, connection);
        judge_rate(worker, connection);
        connection = worker->sweep_next;
    }
}

/* Whether the connection is so new that its first request may be on its way. */
static bool has_just_come(const struct worker *worker, const struct connection *connection)
{
    return !connection->first_done && worker->now_ms - worker->stopped_ms < STOP_FIRST_MS;
}

void connection_stop_idle(struct worker *worker)
{
    struct connection *connection = worker->open.first;
    while (connection != NULL) {
        struct connection *next = connection->next[LIST_OPEN];
        if (connection->state == CONNECTION_READING && !has_just_come(worker, connection) &&
            !metering_read(worker, connection))
            connection_close(worker, connection, false);
        connection = next;
    }
}
