/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hands bytes of memory to a connection's stream, and keeps those that it did not take; and a body's
 * beginning, which travels with its head where it is small. The steps ANSWER and SEND call it. Its
 * outcomes are those of the steps: STEP_NEXT where all is well.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_OUTBOX_H
#define TOLLGATE_SERVER_DELIVERY_OUTBOX_H

#include "server/delivery/connection.h"

/* Sends `length` bytes of the scratch, of which the first `head` are not billed, or keeps what the
 * stream did not take. `more`: a body follows at once. */
enum step_outcome outbox_send(struct worker *worker, struct connection *connection, size_t length,
                              size_t head, bool more);
/* Sends what is kept. STEP_NEXT once neither the exchange nor the transport holds any. */
enum step_outcome outbox_drain(struct worker *worker, struct connection *connection);
/* Begins the delivery of a body, or of a part of one, whose head of `head_length` bytes lies in the
 * scratch: sends the head, and a small body with it. */
enum step_outcome outbox_begin_body(struct worker *worker, struct connection *connection,
                                    size_t head_length);
/* The outcome for an error of the stream: waits for what would mend it, or ends the connection. */
enum step_outcome outbox_failed(struct worker *worker, struct connection *connection, int error);

#endif
