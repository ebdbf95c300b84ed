/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An inquiry asks how the node would answer a client that sent this request head now. A worker
 * treats an inquiry as a request: it passes it through the parser, the token, the file, Redis and
 * the limits of link and account, on a connection without a socket. The inquiry is answered at the
 * point where a response's first byte would be sent. It takes no use and no funds, and is not
 * billed, logged or counted.
 *
 * By the same way a worker is asked what its connections do (inspection.h); that has no head, and
 * needs no connection. Called by the admin interface's threads.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_INQUIRY_H
#define TOLLGATE_SERVER_DELIVERY_INQUIRY_H

#include <stddef.h>

#include "server/http/refusal.h"

struct inquiry;
struct inspection;
struct node;
struct worker;

/*
 * Asks about `head`, one whole request head with nothing behind it, and blocks until a worker has
 * decided. Returns 0 with *out the reason why the request would be refused, or REFUSAL_NONE where
 * it would be served; the caller keeps `head`. The inquiry counts as a client that speaks TLS, so
 * the answer is never a redirection to https. -ETIMEDOUT where the worker does not decide in time,
 * -ECANCELED where the node stops, or -ENOMEM.
 */
int inquiry_ask(struct node *node, const char *head, size_t length, enum refusal *out);

/*
 * Has the node's worker of this index write down what its connections do, and blocks until it has.
 * Returns 0 with *out for the caller to free; else -ETIMEDOUT, -ECANCELED or -ENOMEM, as above.
 */
int inquiry_inspect(struct node *node, unsigned worker, struct inspection **out);

/* ---- of the worker's thread ---- */

/* Takes the waiting inquiries, which it no longer holds: the first of them, and the one behind
 * another; NULL where there is none. */
struct inquiry *inquiry_take(struct worker *worker);
struct inquiry *inquiry_next(const struct inquiry *inquiry);
/* Cancels the waiting inquiries and makes all further ones fail, because the worker ends. */
void inquiry_close(struct worker *worker);
/* What the worker is to fill in, borrowed; NULL: the inquiry is about a head. */
struct inspection *inquiry_inspection(const struct inquiry *inquiry);
/* The request head that the inquiry is about; borrowed. */
const char *inquiry_head(const struct inquiry *inquiry, size_t *length);
/* Gives the answer to the thread that waits, and drops the inquiry; REFUSAL_NONE of an inspection
 * that is filled in. */
void inquiry_answer(struct inquiry **inquiry, enum refusal refusal);
/* Drops the inquiry without an answer (-ECANCELED), because its connection has ended. *inquiry may
 * be NULL. */
void inquiry_cancel(struct inquiry **inquiry);

#endif
