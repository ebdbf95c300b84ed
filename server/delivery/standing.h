/*
 * Whether a link has been revoked, where its answer brings no bytes: HEAD, 304, 412, 416. Nothing
 * is granted for these, so admission does not ask. Redis is asked here, once for a link and as long
 * as nothing new is heard of its account, and while it can be asked: else what the node knows is
 * what it says. Called by request.c, on the worker whose token cache has the entry.
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

/* Of the connection's link, for the head that is being answered. */
enum standing standing_of(const struct worker *worker, const struct connection *connection);
/*
 * Asks about the connection's link, and gives it its head again once that is answered, by
 * admission_timeout_ms at the latest. False where Redis cannot be asked, or has been as often as is
 * of use.
 */
bool standing_ask(struct worker *worker, struct connection *connection);

#endif
