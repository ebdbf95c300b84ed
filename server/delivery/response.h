/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the heads of responses, and the bodies of refusals, into the worker's scratch. Each returns
 * how many bytes it has written. Nothing is sent.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_RESPONSE_H
#define TOLLGATE_SERVER_DELIVERY_RESPONSE_H

#include "server/delivery/framing.h"

/* ---- response.c ---- */

/* The head of a file's response, and of the first of several parts. */
size_t response_file(struct worker *worker, struct connection *connection);
/* What stands before the next part, or behind the last one (RFC 9110 14.6). */
size_t response_part(struct worker *worker, struct exchange *exchange);
/* 304 (RFC 9110 15.4.5). */
size_t response_not_modified(struct worker *worker, struct connection *connection);
/* 308 to the same target under public_origin (RFC 9110 15.4.9), where TLS is spoken. */
size_t response_redirect(struct worker *worker, struct connection *connection);
/* The answer to OPTIONS: what may be asked, also by a page's script (the Fetch standard's
 * preflight). */
size_t response_options(struct worker *worker, struct connection *connection);
/* Who may read the answer: the Fetch standard's CORS. */
void response_write_origin(const struct worker *worker, const struct exchange *exchange,
                           struct writer *out);

/* ---- response_refusal.c ---- */

/* The refusal's status with its text as problem+json, or a browser's window a page; an issuer's
 * refusal_url is redirected to instead. Logs it: status, reason, client, issuer, kid, jti and path;
 * never the token. */
size_t response_refusal(struct worker *worker, struct connection *connection);

#endif
