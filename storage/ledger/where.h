/*
 * Where Redis is: the one authority on the address in force. Used by all who connect to it, the
 * workers through ledger.h; they report what failed, and this looks again.
 */
#ifndef TOLLGATE_LEDGER_WHERE_H
#define TOLLGATE_LEDGER_WHERE_H

#include "storage/ledger/ledger.h"

#define WHERE_ADDRESSES_MAX 16 /* of one name; what the resolver brings beyond is not tried */

struct where;

/* `text` as ledger_redis_check takes it. A name is resolved on a thread of its own, from now on. 0,
 * -EINVAL, -ENOMEM or what a thread cannot be started for. */
int where_create(struct where **out, const char *text);
/* Waits for nothing: a thread that hangs in the resolver frees what is left when it ends. */
void where_destroy(struct where **where);

/* The address in force; waits at most `wait_ms` for the first one. 0, or -EAGAIN with a sentence. */
int where_get(struct where *where, uint32_t wait_ms, struct ledger_redis_address *out, char *error,
              size_t error_size);
/* See ledger_redis_failed. */
bool where_failed(struct where *where, uint64_t number, bool reached);

#endif
