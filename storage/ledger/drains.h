/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other lanes of the state directory, which an earlier process has left: whoever holds a lane also
 * takes the lock and the lease of each free one, and posts what is left in it under that lane's own
 * instance. A drain is a ledger of its own without downloads and orders, and stays open as long as
 * the node, since a Redis that loses its data is replayed to from every lane.
 *
 * ledger_open starts it, with the functions that open and close a lane; it has a thread of its own.
 */
#ifndef TOLLGATE_LEDGER_DRAINS_H
#define TOLLGATE_LEDGER_DRAINS_H

#include "storage/ledger/ledger_internal.h"

#define DRAINS_RETRY_MS 2000 /* until lanes that another process held are tried again */

/* Opens a lane of the owner's state directory: as ledger_open. */
typedef int drains_open(const struct ledger *owner, unsigned lane, struct ledger **out, char *error,
                        size_t error_size);
/* As ledger_close. */
typedef int64_t drains_close(struct ledger **ledger, uint32_t deadline_ms);

/* 0, -ENOMEM, or a negative errno of the thread. */
int drains_start(struct ledger *owner, drains_open *open, drains_close *close);
/* Closes all of them. Returns how many records stayed unposted. NULL is allowed. */
uint64_t drains_stop(struct ledger *owner, uint64_t deadline_ms);
/* Calls `each` with each drain that is open; any thread. */
void drains_each(const struct ledger *owner, void (*each)(void *context, struct ledger *drain),
                 void *context);
/* Calls `look` with the drain of this lane, and returns true; false where it is not open, with the reason in
 * `why`, or "" where nothing is known to be wrong. Any thread. */
bool drains_look(const struct ledger *owner, unsigned lane,
                 void (*look)(void *context, struct ledger *drain), void *context, char *why,
                 size_t why_size);
/* How many records of the drains are not posted yet. */
uint64_t drains_unposted(const struct ledger *owner);

#endif
