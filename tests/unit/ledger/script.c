/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Redis that a test plays itself. Replies go through hiredis' own parser, so that a step gets
 * what it would get from a socket.
 */
#include "tests/unit/ledger/script.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <string.h>

static int redis_open(void *self)
{
    struct script *script = self;
    cr_assert(!script->is_open, "opened twice");
    script->opens++;
    script->is_open = true;
    script->error = NULL;
    return 0;
}

static struct script_command take(struct script *script)
{
    struct script_command command = script->commands[script->first];
    script->first = (script->first + 1) % SCRIPT_COMMANDS_MAX;
    script->count--;
    return command;
}

static void end(struct script *script, const char *error)
{
    script->is_open = script->is_ready = script->is_introduced = false;
    script->error = error;
    script->heard = NULL;
    while (script->count > 0) {
        struct script_command command = take(script);
        if (command.done != NULL)
            command.done(command.context, NULL);
    }
}

static void redis_close(void *self)
{
    struct script *script = self;
    script->closes++;
    end(script, "");
}

static bool redis_is_ready(const void *self)
{
    const struct script *script = self;
    return script->is_ready;
}

static int redis_send(void *self, int count, const char *const words[], const size_t lengths[],
                      ledger_redis_done *done, ledger_redis_late *late, void *context)
{
    struct script *script = self;
    (void)late;
    if (!script->is_ready)
        return -ENOTCONN;
    cr_assert(script->count < SCRIPT_COMMANDS_MAX);
    struct script_command *command =
        &script->commands[(script->first + script->count++) % SCRIPT_COMMANDS_MAX];
    size_t used = 0;
    for (int i = 0; i < count && used < sizeof(command->text); i++)
        used += (size_t)snprintf(command->text + used, sizeof(command->text) - used, "%s%.*s",
                                 i > 0 ? " " : "", (int)lengths[i], words[i]);
    command->done = done;
    command->context = context;
    return 0;
}

static const char *redis_error(const void *self)
{
    const struct script *script = self;
    return script->is_open ? NULL : script->error;
}

static void redis_hear(void *self, ledger_redis_done *heard, void *context)
{
    struct script *script = self;
    script->heard = heard;
    script->heard_context = context;
}

static void redis_introduced(void *self)
{
    struct script *script = self;
    script->is_introduced = true;
}

void script_init(struct script *script)
{
    memset(script, 0, sizeof(*script));
    script->error = "";
    script->table = (struct ledger_redis){.self = script,
                                          .open = redis_open,
                                          .close = redis_close,
                                          .is_ready = redis_is_ready,
                                          .send = redis_send,
                                          .error = redis_error,
                                          .hear = redis_hear,
                                          .introduced = redis_introduced};
}

void script_accept(struct script *script)
{
    cr_assert(script->is_open, "nobody connects");
    script->is_ready = true;
}

const char *script_next(const struct script *script)
{
    return script->count == 0 ? "" : script->commands[script->first].text;
}

static redisReply *parse(const char *protocol)
{
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;
    redisReaderFeed(reader, protocol, strlen(protocol));
    cr_assert(redisReaderGetReply(reader, &reply) == REDIS_OK && reply != NULL, "%s", protocol);
    redisReaderFree(reader);
    return reply;
}

void script_answer(struct script *script, const char *protocol)
{
    cr_assert(script->count > 0, "nothing was asked");
    redisReply *reply = parse(protocol);
    struct script_command command = take(script);
    if (command.done != NULL)
        command.done(command.context, reply);
    freeReplyObject(reply);
}

void script_publish(struct script *script, const char *protocol)
{
    cr_assert_not_null(script->heard);
    redisReply *reply = parse(protocol);
    script->heard(script->heard_context, reply);
    freeReplyObject(reply);
}

void script_cut(struct script *script, const char *error)
{
    cr_assert(script->is_open);
    end(script, error);
}
