/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What admission.c, asker.c and parked.c call in each other: the steps from a demand to its end.
 * Nobody else includes this header.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_ADMISSION_INTERNAL_H
#define TOLLGATE_SERVER_DELIVERY_ADMISSION_INTERNAL_H

#include "server/delivery/connection.h"

/* ---- admission.c ---- */

/* Takes the funds to start or to go on, where the window's grant allows that without a question. */
bool admission_fill_unasked(const struct worker *worker, struct connection *connection);
/* Whether the window's grant still speaks for the connection's token. */
bool admission_is_covered(const struct worker *worker, const struct connection *connection);
/* Redis cannot be asked now. A transfer stays parked while its grant is valid, and parked_retry
 * looks at it again; anything else is refused. */
void admission_cannot_ask(struct worker *worker, struct connection *connection);
/* Starts the response, or lets the transfer send on. */
void admission_go_on(struct worker *worker, struct connection *connection);
/* Answers the refusal, or cuts the transfer. */
void admission_refuse(struct worker *worker, struct connection *connection, enum refusal refusal);

/* Does what Redis has answered. */
void admission_decide(struct worker *worker, struct connection *connection,
                      enum ledger_admission admission);

/* ---- asker.c ---- */

/* What the connection's response needs of its window now; borrows of the connection. */
struct demand asker_demand(struct connection *connection);
/* Bytes of the body that are still to be sent. */
static inline uint64_t asker_need(const struct connection *connection)
{
    return connection->left + connection->left_after;
}
/* Asks for the connection's window, or waits for the answer to the question of another one. The
 * connection must be parked. */
void asker_ask(struct worker *worker, struct connection *connection);
/* Asks for another validity of the window's grant, where no question for it is under way. */
void asker_renew(struct worker *worker, struct connection *connection);

/* ---- parked.c ---- */

void parked_enter(struct worker *worker, struct connection *connection);

#endif
