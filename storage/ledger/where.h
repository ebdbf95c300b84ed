/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where Redis is: the one authority on the Redis in force. It publishes a generation, which moves
 * whenever another Redis comes into force: another address, or another server behind the same one.
 * Each connection belongs to the generation in which it was made, and is closed in another, so that
 * all of them move together.
 *
 * The authority looks each second, and at once where a connection failed, by a connection of its
 * own. It moves the generation only where it has found a master to use: a Redis that takes no
 * further connection may still serve those that it has.
 */
#ifndef TOLLGATE_LEDGER_WHERE_H
#define TOLLGATE_LEDGER_WHERE_H

#include "storage/ledger/ledger.h"

struct where;

/* Reads redis, redis_user, redis_password and the Sentinels' user and password, event and
 * event_context of `options`, and copies the strings. It starts no thread: a numeric address or a
 * socket is in force at once. 0, -EINVAL or -ENOMEM. */
int where_create(struct where **out, const struct ledger_options *options);
/* Starts the threads that resolve, ask Sentinels, and look. 0, or the error of starting one. */
int where_watch(struct where *where);
/* Waits at most `wait_ms` until the authority has looked once. */
void where_settle(struct where *where, uint32_t wait_ms);
/* Returns within LEDGER_REDIS_INTRODUCE_MS: a thread that hangs in the resolver frees the rest. */
void where_destroy(struct where **where);

/* The address in force; see ledger_redis_address. */
int where_get(struct where *where, struct ledger_redis_address *out, char *error,
              size_t error_size);
/* Has the authority look again at once, where the connection of this generation failed. */
void where_failed(struct where *where, uint64_t generation);
/* The generation in force. Any thread; one atomic load. */
uint64_t where_generation(const struct where *where);
/* Whether the connection of this generation has no business any more: another one is in force, or
 * the Redis in force has another run id than the one that it met ("": it does not know yet). */
bool where_is_other(struct where *where, uint64_t generation, const char *run_id);
/* Whether this is the Redis that is served. */
bool where_is_current(struct where *where, uint64_t generation, const char *run_id);

/* Writes a number to the eventfd whenever the generation moves. At most WHERE_LISTENERS_MAX. */
#define WHERE_LISTENERS_MAX 4
void where_listen(struct where *where, int event_fd);
void where_unlisten(struct where *where, int event_fd);

/*
 * For the poster, which leads: its connection of this generation has met the Redis of this run id.
 * Another one than before makes a new generation. Returns the generation to which the connection
 * belongs, or 0 where another address came into force meanwhile.
 */
uint64_t where_lead(struct where *where, uint64_t generation, const char *run_id);
/* Tells that the journal has been replayed to the Redis of this generation: from now on it is
 * served. Nothing where another is in force. */
void where_serve(struct where *where, uint64_t generation);
/* Tells that it no longer is. */
void where_serve_none(struct where *where);
/* The generation that is served; 0: none. One atomic load. */
uint64_t where_served(const struct where *where);

#endif
