/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's connection to Redis: hiredis' asynchronous API driven by the worker's own ring,
 * reconnecting with backoff. Commands of one turn of the loop travel in one write
 * (redis_connection_flush). It may be used for admission only once the ledger has replayed to the
 * very Redis that it reached (ledger_redis_is_current) and that Redis accepts calls of our function
 * library. The worker drops the connection where Redis is silent (ledger.h has the deadlines),
 * where Redis refuses such calls, and where the ledger has moved to another Redis.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_REDIS_CONNECTION_H
#define TOLLGATE_SERVER_DELIVERY_REDIS_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/ledger/outside.h"

struct worker;
struct redis_connection;

int redis_connection_create(struct redis_connection **out, struct worker *worker);
/* Ends the connection and calls `done` of every outstanding command with NULL; the next tick
 * connects again. */
void redis_connection_close(struct redis_connection *redis);
/* Frees the connection, which redis_connection_close must have ended. */
void redis_connection_destroy(struct redis_connection **redis);

/*
 * The functions by which the worker sends commands, only on its own thread and only while the
 * connection exists. `late` is called where there is no reply after admission_timeout_ms.
 */
const struct ledger_redis *redis_connection_table(const struct redis_connection *redis);

/*
 * Whether a further response may be asked for now. After an outage all clients come back at once; for
 * REDIS_CROWD_MS only so many are let in each WORKER_TICK_MS, and the others are sent away with a
 * Retry-After that is spread by chance.
 */
bool redis_connection_lets_in(struct redis_connection *redis);
#define REDIS_CROWD_MS         5000
#define REDIS_CROWD_ADMISSIONS 500

/* End of a turn: writes what was queued. */
void redis_connection_flush(struct redis_connection *redis);
/*
 * Each tick: reconnects, looks whether this is still the ledger's Redis, enforces the deadlines.
 */
void redis_connection_tick(struct redis_connection *redis);
void redis_connection_readable(struct redis_connection *redis, uint32_t generation, int result,
                               bool more);
/* Each turn: reads a bounded part of the answers that have arrived. */
void redis_connection_read(struct redis_connection *redis);
/* Whether answers may be left in the socket: then the next turn must not wait, because no further
 * event will announce them. */
bool redis_connection_has_unread(const struct redis_connection *redis);
void redis_connection_writable(struct redis_connection *redis, uint32_t generation);

#endif
