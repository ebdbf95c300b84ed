/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to connections, and what time does to them: the worker's loop calls these functions,
 * and they call the driver.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_EVENTS_H
#define TOLLGATE_SERVER_DELIVERY_EVENTS_H

#include "server/delivery/connection.h"

/* ---- events.c ---- */

/* A completion of an operation of the connection, from OPERATION_RECEIVE on. */
void events_completed(struct worker *worker, struct connection *connection,
                      enum operation operation, int result, unsigned flags);
/* Takes the waiting inquiries: gives each a connection without a socket, or answers it at once, as it
 * does where the connections are to be inspected. */
void events_take_inquiries(struct worker *worker);

/* ---- ticks.c ---- */

/* Each WORKER_TICK_MS: acknowledgements, rates, deadlines, and those that wait for Redis or for their
 * file's hash. */
void ticks_run(struct worker *worker);
/* Looks again at the connections that wait for a grant, or for their file's hash. */
void ticks_look_again(struct worker *worker);
/* Grants were dropped, or (`keys`) key sets were replaced: transfers that wait look again whether
 * they may go on, and links whose key was removed are cut or refused. */
void ticks_revise(struct worker *worker, bool keys);
/* Runs the connections that may send without waiting, until they have sent `share` bytes. */
void ticks_run_ready(struct worker *worker, uint64_t share);
/* The node stops: closes the connections that are idle. */
void ticks_stop_idle(struct worker *worker);
/* The node has been stopping for stop_timeout_ms: cuts all connections. */
void ticks_cut_all(struct worker *worker);

#endif
