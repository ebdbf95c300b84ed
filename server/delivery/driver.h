/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver runs the steps of connections (step.h). It alone begins and ends connections, and
 * changes their state: whatever happens to a connection (events.c), and whatever a tick finds
 * (ticks.c), comes to one of these functions.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_DRIVER_H
#define TOLLGATE_SERVER_DELIVERY_DRIVER_H

#include "server/delivery/connection.h"

/* Gives the worker the table of steps, and the way back for answers of Redis. */
void driver_prepare(struct worker *worker);
/* Takes an accepted socket, for TLS where `secure`. Where no place is left, or the address has as
 * many connections as it may, the socket is answered 503 or 429 (plain HTTP only) and closed. */
void driver_accept(struct worker *worker, int fd, bool secure);
/* Begins a connection that waits for a head from the descriptor, which it owns from then on (-1: it
 * has none). NULL where no place is left. It has no client, and none of its steps was run. */
struct connection *driver_begin(struct worker *worker, int fd);
/* Begins a connection without a socket for an inquiry, which it owns from then on. The inquiry's
 * head is the only one; the connection ends where a client would be answered. */
void driver_inquire(struct worker *worker, struct inquiry *inquiry);
/* Runs the step of the connection's state, and those behind it, until one waits or the connection
 * ends. What the step has waited for has come, or it is to look again. */
void driver_run(struct worker *worker, struct connection *connection);
/* Bytes of the client's stream have come, after TLS. */
void driver_input(struct worker *worker, struct connection *connection, const char *data,
                  size_t length);
/* Does what an outcome says that did not come from a step: a tick has found that time is over. */
void driver_apply(struct worker *worker, struct connection *connection, enum step_outcome outcome);
/* Cuts the connection; `why` is logged of a response under way. */
void driver_cut(struct worker *worker, struct connection *connection, const char *why);
/* Called at the last completion of an operation. Frees a closing connection at the last of all. */
void driver_completed(struct worker *worker, struct connection *connection);
/* Ends a closing connection's wait for acknowledgements; what is not acknowledged is not billed. */
void driver_settle(struct worker *worker, struct connection *connection);

/* Whether the connection is there and is not closing. */
static inline bool driver_is_open(const struct connection *connection)
{
    return connection->state != STATE_FREE && connection->state != STATE_CLOSE;
}

#endif
