/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands under way on a worker's Redis connection, oldest first, since Redis answers in
 * order; and the table of functions (outside.h) by which admission and standing send theirs. It
 * does not know what a command means, and decides about no answer.
 */
#include <errno.h>
#include <hiredis/async.h>
#include <stdlib.h>

#include "server/base/check.h"
#include "server/delivery/redis_connection_internal.h"
#include "server/delivery/worker.h"

/* Commands under way; at the bound none is sent, and the client gets 503. */
#define OUTSTANDING_MAX 65536

static bool is_ready(const void *self)
{
    const struct redis_connection *redis = self;
    return redis->state == REDIS_IS_READY &&
           redis->belongs_to == ledger_redis_served(redis->worker->node->ledger);
}

static void on_reply(redisAsyncContext *context, void *reply, void *data)
{
    (void)context;
    struct command *command = data;
    struct redis_connection *redis = command->redis;
    const redisReply *answer = reply;
    check(redis->oldest == command);
    redis->oldest = command->next;
    if (redis->in_time == command)
        redis->in_time = command->next;
    if (redis->oldest == NULL)
        redis->newest = NULL;
    redis->outstanding--;
    if (answer == NULL)
        redis->state = REDIS_DOWN; /* hiredis is about to say so: nobody may ask meanwhile */
    /* What is wrong with one account says nothing of this Redis. */
    redis->doubtful |=
        answer != NULL && answer->type == REDIS_REPLY_ERROR && !ledger_reply_is_damage(answer);
    ledger_redis_done *done = command->done;
    void *for_whom = command->context;
    command->next = redis->unused;
    redis->unused = command;
    if (done != NULL)
        done(for_whom, reply);
}

static int send_command(void *self, int count, const char *const words[], const size_t lengths[],
                        ledger_redis_done *done, ledger_redis_late *late, void *context)
{
    struct redis_connection *redis = self;
    if (!is_ready(redis) || redis->outstanding >= OUTSTANDING_MAX)
        return -ENOTCONN;
    struct command *command = redis->unused;
    if (command != NULL)
        redis->unused = command->next;
    else if ((command = malloc(sizeof(*command))) == NULL)
        return -ENOTCONN;
    *command = (struct command){.redis = redis,
                                .done = done,
                                .late = late,
                                .context = context,
                                .sent_ms = redis->worker->now_ms};
    if (!redis_connection_is_owed(redis))
        redis->since_ms = redis->worker->now_ms;
    /* hiredis' prototype lacks the const that its code keeps. */
    const char **argv = (const char **)(uintptr_t)words;
    if (redisAsyncCommandArgv(redis->context, on_reply, command, count, argv, lengths) !=
        REDIS_OK) {
        command->next = redis->unused;
        redis->unused = command;
        return -ENOTCONN;
    }
    if (redis->newest != NULL)
        redis->newest->next = command;
    else
        redis->oldest = command;
    redis->newest = command;
    if (redis->in_time == NULL)
        redis->in_time = command;
    redis->outstanding++;
    return 0;
}

void redis_queue_fill_table(struct redis_connection *redis)
{
    redis->table = (struct ledger_redis){.self = redis, .is_ready = is_ready, .send = send_command};
}

void redis_queue_tell_late(struct redis_connection *redis)
{
    const struct worker *worker = redis->worker;
    while (redis->in_time != NULL &&
           worker->now_ms - redis->in_time->sent_ms > worker->node->config->admission_timeout_ms) {
        struct command *command = redis->in_time;
        command->is_late = true;
        redis->in_time = command->next;
        if (command->late != NULL)
            command->late(command->context);
    }
}

void redis_queue_free(struct redis_connection *redis)
{
    while (redis->unused != NULL) {
        struct command *command = redis->unused;
        redis->unused = command->next;
        free(command);
    }
}
