/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of a worker's Redis connection: what the others change it to, its end, and what it tells
 * the node. Called by redis_connection.c, redis_events.c and redis_introduction.c; it calls none of
 * them.
 */
#include "server/delivery/redis_connection_internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "server/base/log.h"
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

bool redis_connection_is_left_behind(const struct redis_connection *redis)
{
    return !ledger_redis_is_in_force(redis->worker->node->ledger, redis->belongs_to);
}

void redis_connection_went_down(struct redis_connection *redis, const char *why)
{
    char text[sizeof(redis->refused)];
    bool refused = redis->refused[0] != '\0', is_left = redis_connection_is_left_behind(redis);
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

void redis_connection_look_again(struct redis_connection *redis)
{
    /* Answers all outstanding commands with NULL, and calls on_disconnect only where it was
     * connected. */
    redisAsyncFree(redis->context);
    if (redis->context != NULL)
        redis_connection_went_down(redis, "closed");
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
