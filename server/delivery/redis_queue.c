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
#include "server/delivery/redis_link_internal.h"
#include "server/delivery/worker.h"

/* Commands under way; at the bound none is sent, and the client gets 503. */
#define OUTSTANDING_MAX 65536

static bool is_ready(const void *self)
{
    const struct redis_link *link = self;
    return link->state == LINK_IS_READY &&
           link->followed == ledger_redis_generation(link->worker->node->ledger);
}

static void on_reply(redisAsyncContext *context, void *reply, void *data)
{
    (void)context;
    struct command *command = data;
    struct redis_link *link = command->link;
    const redisReply *answer = reply;
    check(link->oldest == command);
    link->oldest = command->next;
    if (link->in_time == command)
        link->in_time = command->next;
    if (link->oldest == NULL)
        link->newest = NULL;
    link->outstanding--;
    link->doubtful |= answer != NULL && answer->type == REDIS_REPLY_ERROR;
    ledger_redis_done *done = command->done;
    void *for_whom = command->context;
    command->next = link->unused;
    link->unused = command;
    if (done != NULL)
        done(for_whom, reply);
}

static int send_command(void *self, int count, const char *const words[], const size_t lengths[],
                        ledger_redis_done *done, ledger_redis_late *late, void *context)
{
    struct redis_link *link = self;
    if (!is_ready(link) || link->outstanding >= OUTSTANDING_MAX)
        return -ENOTCONN;
    struct command *command = link->unused;
    if (command != NULL)
        link->unused = command->next;
    else if ((command = malloc(sizeof(*command))) == NULL)
        return -ENOTCONN;
    *command = (struct command){.link = link,
                                .done = done,
                                .late = late,
                                .context = context,
                                .sent_ms = link->worker->now_ms};
    if (!redis_link_is_owed(link))
        link->since_ms = link->worker->now_ms;
    /* hiredis' prototype lacks the const that its code keeps. */
    const char **argv = (const char **)(uintptr_t)words;
    if (redisAsyncCommandArgv(link->context, on_reply, command, count, argv, lengths) != REDIS_OK) {
        command->next = link->unused;
        link->unused = command;
        return -ENOTCONN;
    }
    if (link->newest != NULL)
        link->newest->next = command;
    else
        link->oldest = command;
    link->newest = command;
    if (link->in_time == NULL)
        link->in_time = command;
    link->outstanding++;
    return 0;
}

void redis_queue_fill_table(struct redis_link *link)
{
    link->table = (struct ledger_redis){.self = link, .is_ready = is_ready, .send = send_command};
}

void redis_queue_tell_late(struct redis_link *link)
{
    const struct worker *worker = link->worker;
    while (link->in_time != NULL &&
           worker->now_ms - link->in_time->sent_ms > worker->node->config->admission_timeout_ms) {
        struct command *command = link->in_time;
        command->is_late = true;
        link->in_time = command->next;
        if (command->late != NULL)
            command->late(command->context);
    }
}

void redis_queue_free(struct redis_link *link)
{
    while (link->unused != NULL) {
        struct command *command = link->unused;
        link->unused = command->next;
        free(command);
    }
}
