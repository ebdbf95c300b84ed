/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks a Redis that was reached who it is, and judges whether it may be used: it must be the very
 * one to which the ledger has replayed, and take calls of our function library. Called by
 * redis_connection.c and redis_events.c. It ends no connection itself: it notes an objection, and
 * they end the connection outside of hiredis' callbacks.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "server/base/log.h"
#include "server/delivery/redis_connection_internal.h"
#include "server/delivery/worker.h"

void redis_introduction_object(struct redis_connection *redis, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (redis->refused[0] == '\0') /* the first reason is the cause of the others */
        vsnprintf(redis->refused, sizeof(redis->refused), format, arguments);
    va_end(arguments);
}

static void object_to_refusal(struct redis_connection *redis, const char *command, const char *said)
{
    const char *user = redis->worker->node->config->redis_user;
    char text[sizeof(redis->refused)];
    (void)ledger_redis_explain(command, said, user[0] != '\0' ? user : NULL, text, sizeof(text));
    redis_introduction_object(redis, "%s", text);
}

static void on_auth(redisAsyncContext *context, void *reply, void *data)
{
    (void)data;
    const redisReply *answer = reply;
    if (answer != NULL && answer->type == REDIS_REPLY_ERROR)
        object_to_refusal(context->data, "AUTH", answer->str);
}

static void on_tried(redisAsyncContext *context, void *reply, void *data)
{
    (void)data;
    struct redis_connection *redis = context->data;
    const redisReply *answer = reply;
    redis->trying = false;
    if (answer == NULL)
        return;
    if (answer->type == REDIS_REPLY_ERROR) {
        object_to_refusal(redis, "FCALL", answer->str);
        return;
    }
    if (redis->state != REDIS_TRYING)
        return;
    if (redis->warned)
        log_info("worker %u: Redis can be reached again", redis->worker->index);
    redis_connection_set_state(redis, REDIS_IS_READY);
    if (redis->has_served)
        redis->crowd_ms = redis->worker->now_ms;
    redis->has_served = true;
    redis->warned = false;
    redis->backoff_ms = 0;
}

void redis_introduction_try(struct redis_connection *redis)
{
    struct ledger_command command;
    if (redis->trying)
        return;
    ledger_try_command(&command);
    if (!redis_connection_is_owed(redis))
        redis->since_ms = redis->worker->now_ms;
    const char **argv = (const char **)(uintptr_t)command.argv;
    redis->trying = redisAsyncCommandArgv(redis->context, on_tried, NULL, command.argc, argv,
                                          command.lengths) == REDIS_OK;
}

void redis_introduction_follow(struct redis_connection *redis)
{
    struct ledger *ledger = redis->worker->node->ledger;
    if (ledger_redis_is_other(ledger, redis->belongs_to, redis->run_id)) {
        redis_introduction_object(redis, "it is not the one that the journal was posted to");
    } else if (redis->state < REDIS_STANDING_BY) {
        return;
    } else if (!ledger_redis_is_current(ledger, redis->belongs_to, redis->run_id)) {
        redis_connection_set_state(redis, REDIS_STANDING_BY);
    } else if (redis->state == REDIS_STANDING_BY) {
        redis_connection_set_state(redis, REDIS_TRYING);
        redis_introduction_try(redis);
    }
}

static void on_info(redisAsyncContext *context, void *reply, void *data)
{
    (void)data;
    static const char field[] = "run_id:";
    struct redis_connection *redis = context->data;
    const redisReply *answer = reply;
    if (answer == NULL)
        return;
    const char *run_id = answer->type == REDIS_REPLY_STRING ? strstr(answer->str, field) : NULL;
    if (run_id == NULL || strlen(run_id) < sizeof(field) - 1 + 40) {
        if (answer->type == REDIS_REPLY_ERROR)
            object_to_refusal(redis, "INFO", answer->str);
        else
            redis_introduction_object(redis, "its answer to INFO has no run_id");
        return;
    }
    memcpy(redis->run_id, run_id + sizeof(field) - 1, 40);
    redis_connection_set_state(redis, REDIS_STANDING_BY);
    redis_introduction_follow(
        redis); /* not at the next tick: a node that has just started is asked at once */
}

void redis_introduction_begin(struct redis_connection *redis)
{
    const struct node *node = redis->worker->node;
    const char *user = node->config->redis_user, *password = node->redis.password;
    if (password[0] != '\0' && user[0] != '\0')
        redisAsyncCommand(redis->context, on_auth, NULL, "AUTH %s %s", user, password);
    else if (password[0] != '\0')
        redisAsyncCommand(redis->context, on_auth, NULL, "AUTH %s", password);
}

void redis_introduction_ask(struct redis_connection *redis)
{
    redis_connection_set_state(redis, REDIS_INTRODUCING);
    (void)redisAsyncCommand(redis->context, on_info, NULL, "INFO server");
}
