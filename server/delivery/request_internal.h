/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What request.c has from request_link.c. Nobody else includes this header.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_REQUEST_INTERNAL_H
#define TOLLGATE_SERVER_DELIVERY_REQUEST_INTERNAL_H

#include "server/delivery/connection.h"
#include "server/link/request_target.h"
#include "server/link/target_cache.h"

/* Sets the exchange's link to the one that its request carries, and worker->wanted to what it asks
 * for, whose texts live in worker->target or in the worker's target cache until the next request. */
enum refusal request_find_link(struct worker *worker, struct connection *connection);

#endif
