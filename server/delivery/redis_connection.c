/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's Redis connection: connects, waits with a bound on each wait, gives up and tries again.
 * See redis_connection.h. hiredis itself frees the context after the disconnect callback, so
 * nothing here frees it.
 */
#include "server/delivery/redis_connection.h"

#include <errno.h>
#include <hiredis/async.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "server/base/log.h"
#include "server/delivery/redis_connection_internal.h"
#include "server/delivery/worker.h"

static void on_connect(const redisAsyncContext *context, int status)
{
    struct redis_connection *redis = context->data;
    if (status != REDIS_OK) {
        redis_connection_went_down(redis,
                                   context->errstr); /* hiredis frees the context after this */
        return;
    }
    redis_introduction_ask(redis);
}

static void on_disconnect(const redisAsyncContext *context, int status)
{
    redis_connection_went_down(context->data, status == REDIS_OK ? "closed" : context->errstr);
}

static void connect_to_redis(struct redis_connection *redis)
{
    const struct node *node = redis->worker->node;
    struct ledger_redis_address address;
    char error[512];
    int known = ledger_redis_address(node->ledger, &address, error, sizeof(error));
    redis->belongs_to = address.generation;
    redis->run_id[0] = '\0';
    if (known != 0) {
        redis_connection_went_down(redis, NULL);
        return;
    }
    redisAsyncContext *context = address.port == 0 ? redisAsyncConnectUnix(address.host)
                                                   : redisAsyncConnect(address.host, address.port);
    if (context == NULL || context->err != 0) {
        redis_connection_went_down(redis, context == NULL ? "out of memory" : context->errstr);
        if (context != NULL)
            redisAsyncFree(context);
        return;
    }
    redis->context = context;
    redis_connection_set_state(redis, REDIS_CONNECTING);
    context->data = redis;
    redis_events_attach(redis);
    redisAsyncSetConnectCallback(context, on_connect);
    redisAsyncSetDisconnectCallback(context, on_disconnect);
    redis_introduction_begin(redis);
}

void redis_connection_close(struct redis_connection *redis)
{
    if (redis->context != NULL)
        redis_connection_look_again(redis);
}

/* Milliseconds that the state may take, or that Redis may be silent in it; 0: no bound, because the
 * state waits for the ledger. */
static uint64_t patience_ms(const struct redis_connection *redis)
{
    switch (redis->state) {
    case REDIS_CONNECTING:
        return LEDGER_REDIS_CONNECT_MS;
    case REDIS_INTRODUCING:
    case REDIS_TRYING:
        return LEDGER_REDIS_INTRODUCE_MS;
    case REDIS_IS_READY:
        return redis_connection_is_owed(redis) ? LEDGER_REDIS_SILENCE_MS : 0;
    case REDIS_DOWN:
    case REDIS_STANDING_BY:
        break;
    }
    return 0;
}

bool redis_connection_lets_in(struct redis_connection *redis)
{
    if (redis->crowd_ms == 0 || redis->worker->now_ms - redis->crowd_ms >= REDIS_CROWD_MS)
        return true;
    return redis->let_in++ < REDIS_CROWD_ADMISSIONS;
}

void redis_connection_tick(struct redis_connection *redis)
{
    const struct worker *worker = redis->worker;
    redis->let_in = 0;
    if (redis->state == REDIS_DOWN) {
        if (worker->now_ms >= redis->retry_ms || redis_connection_is_left_behind(redis))
            connect_to_redis(redis);
        return;
    }
    /* Bytes that have come are read before any command is called late: it is the node that is slow
     * then, not Redis. */
    if (redis->state != REDIS_CONNECTING && redis_events_has_input(redis)) {
        redis->unread = true;
    } else {
        uint64_t patience = patience_ms(redis);
        redis_queue_tell_late(redis);
        if (patience != 0 && worker->now_ms - redis->since_ms > patience)
            redis_introduction_object(redis, "it did not answer within %llu ms",
                                      (unsigned long long)patience);
    }
    redis_introduction_follow(redis);
    if (redis->refused[0] != '\0') {
        redis_connection_look_again(redis);
        return;
    }
    if (redis->state == REDIS_IS_READY && !redis_connection_is_owed(redis) &&
        worker->now_ms - redis->since_ms >= LEDGER_REDIS_BEAT_MS)
        redis_introduction_try(redis);
    redis_connection_publish_ready(redis);
}

int redis_connection_create(struct redis_connection **out, struct worker *worker)
{
    struct redis_connection *redis = calloc(1, sizeof(*redis));
    if (redis == NULL)
        return -ENOMEM;
    redis->worker = worker;
    redis_queue_fill_table(redis);
    *out = redis;
    return 0;
}

const struct ledger_redis *redis_connection_table(const struct redis_connection *redis)
{
    return &redis->table;
}

void redis_connection_destroy(struct redis_connection **redis)
{
    if (*redis == NULL)
        return;
    check((*redis)->context == NULL);
    redis_queue_free(*redis);
    free(*redis);
    *redis = NULL;
}
