/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Redis in memory, for the simulator: the commands that the ledger, the server and the ledger's
 * functions send, answered as Redis 7.0 answers them. The functions themselves run unchanged
 * (functions.h). The same calls give the same answers, orders and digests in every process.
 *
 * The commands are HGET HMGET HGETALL HSET HINCRBY HDEL HSCAN, PEXPIRETIME PEXPIREAT DEL, XADD XRANGE,
 * TIME, PUBLISH, FCALL, and FUNCTION LOAD, LIST, DELETE, FLUSH. Another command, an option that Redis
 * does not know, or another number of words is answered by Redis's own error; an option that only
 * Redis knows, by an error that begins "ERR the store". What a connection keeps (AUTH, INFO, PING,
 * SUBSCRIBE) is the caller's.
 *
 * All stores belong to one thread, because their functions share one Lua state. Want of memory
 * ends the process (check).
 */
#ifndef TOLLGATE_TESTS_SIMULATION_STORE_H
#define TOLLGATE_TESTS_SIMULATION_STORE_H

#include <stddef.h>
#include <stdint.h>

struct redisReply;
struct store;

/* Takes a message that PUBLISH sent, a function's too. It must not call the store. Nothing ends
 * the texts but their lengths. */
typedef void store_published(void *context, const char *channel, size_t channel_length,
                             const char *message, size_t message_length);

/* Makes an empty store, whose time is 0. `context` is borrowed; `published` may be NULL. Returns
 * 0. */
int store_create(struct store **out, store_published *published, void *context);
/* Frees the store and sets *store to NULL; a NULL *store is left alone. */
void store_destroy(struct store **store);

/* Makes `to` hold what `from` holds: keys, expiries, loaded functions (a snapshot, a failover, a
 * restore of older data). The time and `published` of `to` stay. Returns 0. */
int store_copy(struct store *to, const struct store *from);
/* Leaves what an emptied Redis has: no key, no function. The time stays. */
void store_clear(struct store *store);

/* Sets the wall clock, in microseconds since 1970: what TIME answers, and what expiries are held
 * against. It may go back. A key whose time has come is removed when a command next looks at it,
 * as in a Redis that has no active expiry; until then a clock that is set back revives it. */
void store_set_time(struct store *store, uint64_t real_us);

/*
 * Calls one command, of `count` words (at least one) with these lengths; `lengths` NULL: each ends
 * with a NUL. Returns the reply as hiredis builds it, errors too; the caller frees it with
 * freeReplyObject(). Never NULL. PUBLISH answers 1 where there is a `published`, else 0.
 */
struct redisReply *store_call(struct store *store, int count, const char *const words[],
                              const size_t lengths[]);

/*
 * The calls below change nothing. They see what a command would now see, so not a key whose time
 * has come. Their keys and fields end with a NUL.
 */

/* A hash's field; NULL where key or field is absent, or the key is not a hash. The value ends with
 * a NUL and is borrowed until the next call that may write. `length` may be NULL. */
const char *store_field(struct store *store, const char *key, const char *field, size_t *length);

enum store_kind { STORE_HASH, STORE_STREAM };
/* A key; it ends with a NUL. `expires_ms` is -1 where it does not expire. */
typedef void store_key_visit(void *context, const char *key, size_t length, enum store_kind kind,
                             int64_t expires_ms);
/* A field and its value; each ends with a NUL. */
typedef void store_field_visit(void *context, const char *field, size_t field_length,
                               const char *value, size_t value_length);
/* Visits all keys, or the fields of one hash, ascending by their bytes. The visit must not write
 * to the store. */
void store_each_key(struct store *store, store_key_visit *visit, void *context);
void store_each_field(struct store *store, const char *key, store_field_visit *visit,
                      void *context);

/* XXH3 of all keys, their kinds, expiries and content, keys and fields ascending by their bytes:
 * two stores that hold the same have the same digest, whatever their past. Functions and the time
 * are not in it. */
uint64_t store_digest(struct store *store);

#endif
