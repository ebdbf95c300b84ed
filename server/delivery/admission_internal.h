/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What admission.c, asker.c and parked.c call in each other: the steps from a demand to its end.
 * Nobody else includes this header.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_ADMISSION_INTERNAL_H
#define TOLLGATE_SERVER_DELIVERY_ADMISSION_INTERNAL_H

#include "server/delivery/connection.h"

/* ---- admission.c ---- */

/* Whether the window's grant still speaks for the connection's token. */
bool admission_is_covered(const struct worker *worker, const struct connection *connection);
/* Redis cannot be asked now, or has not answered: refuses the connection, unless it may wait. */
void admission_cannot_ask(struct worker *worker, struct connection *connection);
/* Answers the refusal, or cuts the transfer. */
void admission_refuse(struct worker *worker, struct connection *connection, enum refusal refusal);
/* Does what was decided of a connection; `refusal` is the reason where it is refused. To ask or to
 * wait, it must be parked. */
void admission_carry_out(struct worker *worker, struct connection *connection,
                         enum decision decision, enum refusal refusal);

/* Does what Redis has answered. */
void admission_decide(struct worker *worker, struct connection *connection,
                      const struct grants_answer *answer);

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
