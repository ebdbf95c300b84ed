/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One blocking connection to Redis with timeouts, and commands over it. The admin calls and the
 * probe each have their own. The poster and push have conversations (conversation.h) instead, and
 * workers asynchronous connections elsewhere.
 */
#ifndef TOLLGATE_LEDGER_REDIS_H
#define TOLLGATE_LEDGER_REDIS_H

#include <signal.h>

#include "storage/ledger/ledger_lanes.h"
#include "storage/ledger/redis_talk.h"
#include "storage/ledger/where.h"

struct redis {
    redisContext *context;                /* owns; NULL: closed */
    sigset_t signals;                     /* the thread's mask before redis_open */
    uint32_t patience_ms;                 /* how long each answer may take */
    struct where *where;                  /* borrows */
    uint64_t generation;                  /* of `where`, to which it belongs */
    const struct ledger_options *options; /* borrows */
    bool unreached;                       /* no connection was made, or the name has no address */
    char error[400]; /* of the last failure: cause, cure if known; no secrets */
};

/*
 * Connects to the address in force and authenticates; each answer may take
 * LEDGER_REDIS_INTRODUCE_MS. Blocks SIGPIPE in the calling thread until redis_close, which the same
 * thread must call. 0, or -EAGAIN with the failure reported to `where` and the connection
 * closed.
 */
int redis_open(struct redis *redis, struct where *where, const struct ledger_options *options);
void redis_close(struct redis *redis);

/* Queues a command; redis_next brings its reply, in order. 0 or -EAGAIN. */
int redis_send(struct redis *redis, const struct redis_arguments *arguments);
/*
 * The next reply (the caller frees it), error replies included; NULL where the connection is dead,
 * or another Redis has come into force since it was made.
 */
redisReply *redis_next(struct redis *redis);
/* Sends a command of `count` words and waits. The caller frees the reply. NULL for a dead
 * connection and for an error reply; redis->error has the text. */
redisReply *redis_call(struct redis *redis, int count, const char *const words[]);

/* Whether redis->error is what Redis says of an account's key that is damaged. */
bool redis_says_damaged(const struct redis *redis);

/*
 * For somebody without a ledger: finds the address of `options`, and connects. 0, and the caller calls
 * redis_close and where_destroy; or a negative errno with one sentence: the address, the cause and the
 * cure.
 */
int redis_open_alone(struct redis *redis, struct where **where,
                     const struct ledger_options *options, char *error, size_t error_size);
/* Writes such a sentence of a later failure. It puts the address before the cause once: redis->error
 * begins with "Redis at ADDRESS" only where Redis was not reached or did not answer. */
void redis_say_why(const struct redis *redis, const struct ledger_options *options, char *error,
                   size_t size);

/* ---- probe.c ---- */

/* The state directory's own id; "" where it has none yet. 0, or a negative errno. */
int probe_read_directory(const char *state_dir, char id[LEDGER_INSTANCE_SIZE]);

/* Asks INFO. 0, or -EAGAIN with the cause in redis->error. */
int redis_facts(struct redis *redis, struct redis_facts *out);

#endif
