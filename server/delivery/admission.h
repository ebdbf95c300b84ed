/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a response may begin and go on: what the steps ADMIT and SEND have of admission.c and
 * asker.c. An outcome is STEP_NEXT (begin, or send on), STEP_WAIT (the connection is parked),
 * or STEP_REFUSE with the exchange's refusal.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_ADMISSION_H
#define TOLLGATE_SERVER_DELIVERY_ADMISSION_H

#include "server/delivery/connection.h"

/* Whether the response was admitted, and has claimed what it needs: a small body leaves with its head,
 * in ANSWER. */
static inline bool admission_is_under_way(const struct connection *connection)
{
    return connection->state == STATE_ANSWER || connection->state == STATE_SEND;
}

/* ---- admission.c ---- */

/* Whether the window's grant still speaks for the exchange's token. */
bool admission_is_covered(const struct worker *worker, const struct exchange *exchange);
/* False where the validity of the window's grant has passed; asks for more before it passes. */
bool admission_is_valid(struct worker *worker, struct connection *connection);
/* Of a transfer that has no funds, or no validity, left. */
enum step_outcome admission_more(struct worker *worker, struct connection *connection);
/* Of a parked connection: Redis has answered (the exchange's `reply`), or it is time to look again. */
enum step_outcome admission_resume(struct worker *worker, struct connection *connection);
/* Ends idle windows, and tells Redis again what the node holds. */
void admission_sweep(struct worker *worker);

/* ---- asker.c ---- */

/* What the connection's response needs of its window now; borrows of the connection. */
struct demand asker_demand(struct connection *connection);
/* Asks for the connection's window, or waits for the answer to the question of another one. The
 * connection must be parked. False where Redis cannot be asked now. */
bool asker_ask(struct worker *worker, struct connection *connection);
/* Asks for another validity of the window's grant, where no question for it is under way. */
void asker_renew(struct worker *worker, struct connection *connection);
/* Gives the worker what it asks by: its grants, and the functions by which they reach it. */
void asker_prepare(struct worker *worker);

#endif
