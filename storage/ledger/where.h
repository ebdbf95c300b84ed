/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where Redis is: the one authority on the address in force. Everything that connects to Redis asks
 * it, the workers through ledger.h, and reports an address that failed; it never connects itself.
 */
#ifndef TOLLGATE_LEDGER_WHERE_H
#define TOLLGATE_LEDGER_WHERE_H

#include "storage/ledger/ledger.h"

#define WHERE_ADDRESSES_MAX 16 /* of one name; further addresses of the resolver are ignored */

struct where;

/* `text` is what ledger_redis_validate takes. A host name is resolved on a thread of its own, which
 * starts now. 0, -EINVAL, -ENOMEM or the error of starting the thread. */
int where_create(struct where **out, const char *text);
/* Returns at once: a thread that hangs in the resolver frees the rest when it ends. */
void where_destroy(struct where **where);

/* The address in force; waits at most `wait_ms` for the first. 0, or -EAGAIN with a sentence. */
int where_get(struct where *where, uint32_t wait_ms, struct ledger_redis_address *out, char *error,
              size_t error_size);
/* See ledger_redis_failed. */
bool where_failed(struct where *where, uint64_t number, bool reached);

#endif
