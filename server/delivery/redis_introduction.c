/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks a Redis that was reached who it is, and judges whether it may be used: it must be the very
 * one to which the ledger has replayed, and take calls of our function library. Called by
 * redis_link.c and redis_events.c. It ends no connection itself: it notes an objection, and they
 * end the connection outside of hiredis' callbacks.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "server/base/log.h"
#include "server/delivery/redis_link_internal.h"
#include "server/delivery/worker.h"

void redis_introduction_object(struct redis_link *link, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (link->refused[0] == '\0') /* the first reason is the cause of the others */
        vsnprintf(link->refused, sizeof(link->refused), format, arguments);
    va_end(arguments);
}

static void object_to_refusal(struct redis_link *link, const char *command, const char *said)
{
    const char *user = link->worker->node->config->redis_user;
    char text[sizeof(link->refused)];
    (void)ledger_redis_explain(command, said, user[0] != '\0' ? user : NULL, text, sizeof(text));
    redis_introduction_object(link, "%s", text);
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
    struct redis_link *link = context->data;
    const redisReply *answer = reply;
    link->trying = false;
    if (answer == NULL)
        return;
    if (answer->type == REDIS_REPLY_ERROR) {
        object_to_refusal(link, "FCALL", answer->str);
        return;
    }
    if (link->state != LINK_TRYING)
        return;
    if (link->warned)
        log_info("worker %u: Redis can be reached again", link->worker->index);
    redis_link_set_state(link, LINK_IS_READY);
    link->warned = false;
    link->backoff_ms = 0;
}

void redis_introduction_try(struct redis_link *link)
{
    struct ledger_command command;
    if (link->trying)
        return;
    ledger_try_command(&command);
    if (!redis_link_is_owed(link))
        link->since_ms = link->worker->now_ms;
    const char **argv = (const char **)(uintptr_t)command.argv;
    link->trying = redisAsyncCommandArgv(link->context, on_tried, NULL, command.argc, argv,
                                         command.lengths) == REDIS_OK;
}

void redis_introduction_follow(struct redis_link *link)
{
    struct ledger *ledger = link->worker->node->ledger;
    uint64_t generation = ledger_redis_generation(ledger); /* first: it may move meanwhile */
    if (link->state < LINK_STANDING_BY)
        return;
    if (ledger_redis_is_other(ledger, link->run_id)) {
        redis_introduction_object(link, "it is not the one that the journal was posted to");
    } else if (!ledger_redis_is_current(ledger, link->run_id)) {
        redis_link_set_state(link, LINK_STANDING_BY);
    } else {
        link->followed = generation;
        if (link->state == LINK_STANDING_BY) {
            redis_link_set_state(link, LINK_TRYING);
            redis_introduction_try(link);
        }
    }
}

static void on_info(redisAsyncContext *context, void *reply, void *data)
{
    (void)data;
    static const char field[] = "run_id:";
    struct redis_link *link = context->data;
    const redisReply *answer = reply;
    if (answer == NULL)
        return;
    const char *run_id = answer->type == REDIS_REPLY_STRING ? strstr(answer->str, field) : NULL;
    if (run_id == NULL || strlen(run_id) < sizeof(field) - 1 + 40) {
        if (answer->type == REDIS_REPLY_ERROR)
            object_to_refusal(link, "INFO", answer->str);
        else
            redis_introduction_object(link, "its answer to INFO has no run_id");
        return;
    }
    memcpy(link->run_id, run_id + sizeof(field) - 1, 40);
    redis_link_set_state(link, LINK_STANDING_BY);
    redis_introduction_follow(
        link); /* not at the next tick: a node that has just started is asked at once */
}

void redis_introduction_begin(struct redis_link *link)
{
    const struct node *node = link->worker->node;
    const char *user = node->config->redis_user, *password = node->redis.password;
    if (password[0] != '\0' && user[0] != '\0')
        redisAsyncCommand(link->context, on_auth, NULL, "AUTH %s %s", user, password);
    else if (password[0] != '\0')
        redisAsyncCommand(link->context, on_auth, NULL, "AUTH %s", password);
}

void redis_introduction_ask(struct redis_link *link)
{
    redis_link_set_state(link, LINK_INTRODUCING);
    (void)redisAsyncCommand(link->context, on_info, NULL, "INFO server");
}
