/*
 * An inquiry: what would a client be answered that sent this request head now? It is put to a worker,
 * which takes it the very way of a request, through the parser, the token, the file, Redis and the limits
 * of link and account, on a connection without a socket. Where the first byte of an answer would be sent,
 * the inquiry has its answer. It takes no use and no funds, is not billed, logged or counted. Called by
 * the admin interface's threads.
 */
#ifndef TOLLGATE_SERVER_INQUIRY_H
#define TOLLGATE_SERVER_INQUIRY_H

#include <stddef.h>

#include "server/refusal.h"

struct inquiry;
struct node;
struct worker;

/*
 * Blocks until a worker has decided. `head` is one whole request head, without anything behind it. On 0
 * *out is why it would be refused, or REFUSAL_NONE: it would be served. Who asks is taken for a client
 * that speaks TLS: no answer is a redirection to https. -ETIMEDOUT where no worker decides in time,
 * -ECANCELED where the node stops, -ENOMEM.
 */
int inquiry_ask(struct node *node, const char *head, size_t length, enum refusal *out);

/* ---- of the worker's thread ---- */

/* Takes those that wait; each gets a connection, or its answer. */
void inquiry_take(struct worker *worker);
/* The same for good: no other is accepted, and those that wait are told that the node stops. */
void inquiry_close(struct worker *worker);
const char *inquiry_head(const struct inquiry *inquiry, size_t *length);
/* Tells whoever waits, and drops it. */
void inquiry_answer(struct inquiry **inquiry, enum refusal refusal);
/* Its connection ended without an answer. NULL is none. */
void inquiry_cancel(struct inquiry **inquiry);

#endif
