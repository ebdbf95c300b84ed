/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the driver's ticks and completions have of the step SEND (transfer.c), and what that step has
 * of transfer_disk.c.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_TRANSFER_H
#define TOLLGATE_SERVER_DELIVERY_TRANSFER_H

#include "server/delivery/connection.h"

#define TRANSFER_STALLED "the client acknowledged nothing within stall_timeout_ms"

/* ---- transfer.c ---- */

/* What its account or link was granted may have changed while the transfer waits for something else:
 * STEP_WAIT where that does not matter. */
enum step_outcome transfer_revise(struct worker *worker, struct connection *connection);

/* ---- transfer_disk.c ---- */

/* Whether the connection has waited for the disk lately, for this response or one before. It then sends less at a time, because others
 * wait for the disk, too, and their chunks come together. */
bool transfer_is_cold(const struct worker *worker, const struct connection *connection);
/*
 * Whether to read the next bytes from the disk in this thread, because the ring has brought them into
 * memory several times and they were evicted each time before they could be sent (memory is short).
 */
bool transfer_is_unread(struct worker *worker, const struct exchange *exchange);
/* Has the ring bring the next bytes into memory. The connection waits for them; transfer_warmed is
 * called then. */
enum step_outcome transfer_warm(struct worker *worker, struct connection *connection);
/* The bytes after the chunk are cold: the disk is told of them now, and waited for when they are
 * needed. */
void transfer_warm_ahead(struct worker *worker, const struct exchange *exchange);
/* The ring has read a piece of `warming` into memory, or failed to: the transfer's turn comes. */
enum step_outcome transfer_warmed(struct worker *worker, struct connection *connection, int result);

#endif
