/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps by which request.c finds out what a request is for. It never leaves this folder; the
 * steps call neither each other nor request.c.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_REQUEST_INTERNAL_H
#define TOLLGATE_SERVER_DELIVERY_REQUEST_INTERNAL_H

#include "server/delivery/connection.h"

struct token_target;
struct token_request;

/* ---- request_link.c ---- */

/* Sets connection->link to the link that the request carries, and *wanted to what it asks for. The
 * texts of *wanted live in *target or in the worker's target cache until the next request. */
enum refusal request_find_link(struct worker *worker, struct connection *connection,
                               const struct http_head *head, struct token_target *target,
                               struct token_request *wanted);

/* ---- request_file.c ---- */

/* Has the ring open the file of the verified path, which the cache does not know. -EAGAIN: it does,
 * and the same head must be given again; or -ENOMEM. */
int request_open_file(struct worker *worker, struct connection *connection,
                      const struct token_request *wanted);
/* The refusal for an error of request_open_file, or of media_cache_get. */
enum refusal request_refusal_of_file(int status);
/*
 * For a file without its hash: returns true where the head asks about an entity tag and must wait
 * for the hash: once, and no longer than hash_wait_ms. Without the hash a right tag would be taken
 * for a wrong one, and the whole file would be sent, and billed, to a client that has it already.
 */
bool request_await_hash(struct worker *worker, struct connection *connection,
                        const struct http_head *head);

/* ---- request_bytes.c ---- */

/* Answers what was selected: sets the response's bytes and goes on to admission.c, or sends the
 * answer that has none. */
void request_answer(struct worker *worker, struct connection *connection,
                    enum http_selection selection, const struct http_ranges *ranges);

#endif
