/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of a worker's Redis connection share: the connection itself and the steps that one
 * of them calls in another. redis_connection.c connects, waits and gives up; redis_introduction.c
 * judges whether this Redis may be used; redis_queue.c keeps the commands under way; redis_events.c
 * drives hiredis on the ring. Nobody else includes this header.
 *
 *   DOWN --tick, backoff over--> CONNECTING --> INTRODUCING (AUTH; INFO: who is this?)
 *    ^                                              |
 *    |                        STANDING_BY <---------+
 *    |                         |      ^ the ledger catches up again
 *    |       it has replayed   v      |
 *    |          to this very   TRYING -- the library answers --> READY
 *    |          Redis             |                                |
 *    +--- lost, silent, refused, or not the ledger's Redis --------+
 */
#ifndef TOLLGATE_SERVER_DELIVERY_REDIS_CONNECTION_INTERNAL_H
#define TOLLGATE_SERVER_DELIVERY_REDIS_CONNECTION_INTERNAL_H

#include <hiredis/async.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/delivery/redis_connection.h"

enum redis_connection_state {
    REDIS_DOWN,
    REDIS_CONNECTING,
    REDIS_INTRODUCING,
    REDIS_STANDING_BY,
    REDIS_TRYING,
    REDIS_IS_READY,
};

/* A command under way. Redis answers in order, so the first of the queue is the oldest. */
struct command {
    struct redis_connection *redis;
    ledger_redis_done *done;
    ledger_redis_late *late;
    void *context;
    uint64_t sent_ms;
    bool is_late;
    struct command *next;
};

struct redis_connection {
    struct worker *worker;      /* borrows */
    struct ledger_redis table;  /* what redis_connection_table gives */
    redisAsyncContext *context; /* hiredis'; NULL while down */
    enum redis_connection_state state;
    uint32_t generation;
    bool want_write, polling_read, polling_write, warned;
    bool unread;   /* the socket may hold more: looked at in each turn until it is empty */
    bool trying;   /* a library call that only tests whether Redis takes it is under way */
    bool doubtful; /* an error was answered: is Redis at fault, or that command? */
    uint64_t retry_ms, backoff_ms;
    uint64_t since_ms; /* when the state began to wait; READY: when the last byte came */
    bool has_served;   /* it was ready before: what comes after that was an outage */
    uint64_t crowd_ms; /* when it was ready again after an outage; 0: it has not been */
    uint32_t let_in;   /* since the last tick */
    struct command *oldest, *newest, *unused;
    struct command *in_time; /* the oldest that is not late */
    uint32_t outstanding;
    uint64_t belongs_to; /* the generation of ledger_redis.h in which it was made */
    char run_id[41];     /* of the Redis that it is connected to; "": not known yet */
    char refused[400];   /* why this Redis cannot be used; empty: no objection */
};

/* Whether Redis owes an answer. */
static inline bool redis_connection_is_owed(const struct redis_connection *redis)
{
    return redis->context->replies.head != NULL;
}

/* ---- redis_state.c ---- */

void redis_connection_set_state(struct redis_connection *redis, enum redis_connection_state state);
/* Whether another Redis has come into force since the connection was made: nobody needs to hear of
 * its end. */
bool redis_connection_is_left_behind(const struct redis_connection *redis);
/* The connection has ended. `why` is NULL where there is no news, because the ledger says it
 * itself. */
void redis_connection_went_down(struct redis_connection *redis, const char *why);
/* Ends a connection that may not be used further; the next tick connects again. */
void redis_connection_look_again(struct redis_connection *redis);
/* Publishes whether Redis answers, and in time: where it is silent or behind, each admission would
 * be refused, so the node is not ready. */
void redis_connection_publish_ready(const struct redis_connection *redis);

/* ---- redis_introduction.c ---- */

/* Sends AUTH, where there is a password; it goes before all else. */
void redis_introduction_begin(struct redis_connection *redis);
/* Asks who this Redis is, once it is connected. */
void redis_introduction_ask(struct redis_connection *redis);
/* Follows the ledger, which may have replayed to this Redis, may still have to, or may have moved
 * to another one. */
void redis_introduction_follow(struct redis_connection *redis);
/* Makes a call that Redis refuses exactly where it would refuse an admission: as a replica, while
 * it loads, without its replicas, disk, memory or our library. */
void redis_introduction_try(struct redis_connection *redis);
/* Notes why this Redis cannot be used. The connection ends later, outside of hiredis' callbacks. */
void redis_introduction_object(struct redis_connection *redis, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- redis_queue.c ---- */

/* The functions by which grants use the connection; `self` is it. */
void redis_queue_fill_table(struct redis_connection *redis);
/* Tells those whose answers are overdue. The answers are still awaited, since they may bring funds
 * that Redis has reserved. */
void redis_queue_tell_late(struct redis_connection *redis);
/* Frees what the queue kept for later commands. */
void redis_queue_free(struct redis_connection *redis);

/* ---- redis_events.c ---- */

/* Has hiredis wait on the worker's ring. */
void redis_events_attach(struct redis_connection *redis);
/* Whether a read would not wait: the socket has bytes, its end, or an error. */
bool redis_events_has_input(const struct redis_connection *redis);

#endif
