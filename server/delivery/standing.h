/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a link has been revoked, for answers that carry no bytes of the file: HEAD, 304, 412,
 * 416. These need no grant, so admission.c does not ask about them; standing.c asks Redis once for
 * a link, and again when the node has heard of a revocation in its account. Where Redis cannot be
 * asked, the answer follows what the node knows. Called by request.c, on the worker whose token
 * cache has the entry.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_STANDING_H
#define TOLLGATE_SERVER_DELIVERY_STANDING_H

#include <stdbool.h>

#include "server/link/token_cache.h"

struct connection;
struct worker;

enum standing {
    STANDING_UNKNOWN, /* it may have been revoked since it was asked about */
    STANDING_GOOD,
    STANDING_REVOKED, /* for good: no revocation is taken back */
};

/* The standing of the connection's link, for the head that is being answered. */
enum standing standing_of(const struct worker *worker, const struct connection *connection);
/*
 * Asks Redis about the connection's link. The connection reads its head again when the answer
 * comes, or after admission_timeout_ms. Returns false where Redis cannot be asked, or has been
 * asked too often for this head already.
 */
bool standing_ask(struct worker *worker, struct connection *connection);

#endif
