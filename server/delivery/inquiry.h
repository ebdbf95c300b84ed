/*
 * An inquiry asks what a client would be answered that sent this request head now. A worker takes
 * it the very way of a request, through the parser, the token, the file, Redis and the limits of
 * link and account, on a connection without a socket. Where the first byte of an answer would be
 * sent, the inquiry has its answer. It takes no use and no funds, and is not billed, logged or
 * counted. Called by the admin interface's threads.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_INQUIRY_H
#define TOLLGATE_SERVER_DELIVERY_INQUIRY_H

#include <stddef.h>

#include "server/http/refusal.h"

struct inquiry;
struct node;
struct worker;

/*
 * Asks about `head`, one whole request head with nothing behind it, and blocks until a worker has
 * decided. 0: *out is why it would be refused, or REFUSAL_NONE where it would be served. The
 * inquirer counts as a client that speaks TLS, so the answer is never a redirection to https.
 * -ETIMEDOUT where the worker does not decide in time, -ECANCELED where the node stops, or -ENOMEM.
 */
int inquiry_ask(struct node *node, const char *head, size_t length, enum refusal *out);

/* ---- of the worker's thread ---- */

/* Takes the inquiries that wait; each gets a connection, or its answer. */
void inquiry_take(struct worker *worker);
/* Cancels the inquiries that wait, and has all further ones fail: the worker takes no more. */
void inquiry_close(struct worker *worker);
/* The request head that the inquiry is about; borrowed. */
const char *inquiry_head(const struct inquiry *inquiry, size_t *length);
/* Gives the answer to the thread that waits, and drops the inquiry. */
void inquiry_answer(struct inquiry **inquiry, enum refusal refusal);
/* The same without an answer, where the inquiry's connection has ended. *inquiry may be NULL. */
void inquiry_cancel(struct inquiry **inquiry);

#endif
