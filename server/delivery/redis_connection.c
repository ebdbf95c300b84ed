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
#include <sys/random.h>

#include "server/base/check.h"
#include "server/base/log.h"
#include "server/delivery/redis_connection_internal.h"
#include "server/delivery/worker.h"

/* `why` is the cause and, behind "; ", the cure, where one is known. */
static void say_down(const struct redis_connection *redis, const char *why, bool refused)
{
    const char *cure = strstr(why, "; ");
    size_t length = cure != NULL ? (size_t)(cure - why) : strlen(why);
    log_warning("worker %u: Redis at %s cannot be %s%.*s%s%s; the node keeps trying",
                redis->worker->index, redis->worker->node->redis.address,
                refused ? "used: " : "reached (", (int)length, why, refused ? "" : ")",
                cure != NULL ? cure : "");
}

/* Whether another Redis has come into force since the connection was made: nobody needs to hear of
 * its end. */
static bool is_left_behind(const struct redis_connection *redis)
{
    return !ledger_redis_is_in_force(redis->worker->node->ledger, redis->belongs_to);
}

/* `why` is NULL where there is no news, because the ledger says it itself. */
static void went_down(struct redis_connection *redis, const char *why)
{
    char text[sizeof(redis->refused)];
    bool refused = redis->refused[0] != '\0', is_left = is_left_behind(redis);
    if (refused)
        why = redis->refused;
    else if (why != NULL && ledger_redis_explain(NULL, why, NULL, text, sizeof(text))) {
        why = text;
        refused = true;
    }
    if (why != NULL && !redis->warned && !is_left && !redis->worker->stopping)
        say_down(redis, why, refused);
    ledger_redis_failed(redis->worker->node->ledger, redis->belongs_to);
    redis->warned = redis->warned || (why != NULL && !is_left);
    redis->context = NULL;
    redis->state = REDIS_DOWN;
    atomic_store(&redis->worker->redis_generation, 0);
    redis->trying = redis->doubtful = false;
    redis->refused[0] = '\0';
    uint8_t jitter = 0;
    (void)!getrandom(&jitter, sizeof(jitter), GRND_NONBLOCK);
    redis->backoff_ms =
        redis->backoff_ms == 0 ? LEDGER_REDIS_BACKOFF_LEAST_MS : redis->backoff_ms * 2;
    if (redis->backoff_ms > LEDGER_REDIS_BACKOFF_MOST_MS)
        redis->backoff_ms = LEDGER_REDIS_BACKOFF_MOST_MS;
    redis->retry_ms = redis->worker->now_ms + redis->backoff_ms + redis->backoff_ms * jitter / 1024;
}

void redis_connection_set_state(struct redis_connection *redis, enum redis_connection_state state)
{
    redis->state = state;
    redis->since_ms = redis->worker->now_ms;
}

static void on_connect(const redisAsyncContext *context, int status)
{
    struct redis_connection *redis = context->data;
    if (status != REDIS_OK) {
        went_down(redis, context->errstr); /* hiredis frees the context after this */
        return;
    }
    redis_introduction_ask(redis);
}

static void on_disconnect(const redisAsyncContext *context, int status)
{
    went_down(context->data, status == REDIS_OK ? "closed" : context->errstr);
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
        went_down(redis, NULL);
        return;
    }
    redisAsyncContext *context = address.port == 0 ? redisAsyncConnectUnix(address.host)
                                                   : redisAsyncConnect(address.host, address.port);
    if (context == NULL || context->err != 0) {
        went_down(redis, context == NULL ? "out of memory" : context->errstr);
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

void redis_connection_look_again(struct redis_connection *redis)
{
    /* Answers all outstanding commands with NULL, and calls on_disconnect only where it was
     * connected. */
    redisAsyncFree(redis->context);
    if (redis->context != NULL)
        went_down(redis, "closed");
}

void redis_connection_publish_ready(const struct redis_connection *redis)
{
    const struct worker *worker = redis->worker;
    uint64_t limit_ms = worker->node->config->admission_timeout_ms;
    bool ready = redis->state == REDIS_IS_READY &&
                 (redis->oldest == NULL || !redis->oldest->is_late) &&
                 (!redis_connection_is_owed(redis) || worker->now_ms - redis->since_ms <= limit_ms);
    atomic_store(&redis->worker->redis_generation, ready ? redis->belongs_to : 0);
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
        if (worker->now_ms >= redis->retry_ms || is_left_behind(redis))
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
