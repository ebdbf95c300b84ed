/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's connection to Redis: hiredis' asynchronous API driven by the worker's own ring,
 * reconnecting with backoff. Commands of one turn of the loop travel in one write
 * (redis_link_flush). It may be used for admission only once the ledger has replayed to the very
 * Redis that it reached (ledger_redis_is_current) and that Redis accepts calls of our function
 * library. The worker drops the connection where Redis is silent (ledger.h has the deadlines),
 * where Redis refuses such calls, and where the ledger has moved to another Redis.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_REDIS_LINK_H
#define TOLLGATE_SERVER_DELIVERY_REDIS_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/ledger/outside.h"

struct worker;
struct redis_link;

int redis_link_create(struct redis_link **out, struct worker *worker);
/* Ends the connection and calls `done` of every outstanding command with NULL; the next tick
 * connects again. */
void redis_link_close(struct redis_link *link);
/* Frees the link, which redis_link_close must have ended. */
void redis_link_destroy(struct redis_link **link);

/*
 * The functions by which the worker sends commands, only on its own thread and only while the link
 * exists. `late` is called where there is no reply after admission_timeout_ms.
 */
const struct ledger_redis *redis_link_table(const struct redis_link *link);

/* End of a turn: writes what was queued. */
void redis_link_flush(struct redis_link *link);
/*
 * Each tick: reconnects, looks whether this is still the ledger's Redis, enforces the deadlines.
 */
void redis_link_tick(struct redis_link *link);
void redis_link_readable(struct redis_link *link, uint32_t generation, int result, bool more);
/* Each turn: reads a bounded part of the answers that have arrived. */
void redis_link_read(struct redis_link *link);
/* Whether answers may be left in the socket: then the next turn must not wait, because no further
 * event will announce them. */
bool redis_link_has_unread(const struct redis_link *link);
void redis_link_writable(struct redis_link *link, uint32_t generation);

#endif
