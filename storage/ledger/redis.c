/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blocking Redis connection: address, authentication, INFO. The admin calls and the probe use
 * it. It repeats no command, and a failed connection stays failed until it is opened again.
 */
#include "storage/ledger/redis.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- the connection ---- */

static struct timeval timeout_of(uint32_t milliseconds)
{
    return (struct timeval){.tv_sec = milliseconds / 1000,
                            .tv_usec = (suseconds_t)(milliseconds % 1000) * 1000};
}

/* hiredis writes without MSG_NOSIGNAL: a connection that Redis cut must not end the process. */
static void hold_signals(struct redis *redis)
{
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &redis->signals);
}

static void release_signals(struct redis *redis)
{
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    if (sigismember(&redis->signals, SIGPIPE) == 0)
        while (sigtimedwait(&pipe, NULL, &(struct timespec){0}) == SIGPIPE)
            continue;
    pthread_sigmask(SIG_SETMASK, &redis->signals, NULL);
}

static redisContext *dial(const struct ledger_redis_address *address)
{
    struct timeval timeout = timeout_of(LEDGER_REDIS_CONNECT_MS);
    return address->port == 0 ? redisConnectUnixWithTimeout(address->host, timeout)
                              : redisConnectWithTimeout(address->host, address->port, timeout);
}

static int authenticate(struct redis *redis, const struct ledger_options *options)
{
    if (options->redis_password == NULL)
        return 0;
    const char *words[3] = {"AUTH", options->redis_user, options->redis_password};
    const char *without_user[2] = {"AUTH", options->redis_password};
    redisReply *reply = options->redis_user == NULL ? redis_call(redis, 2, without_user)
                                                    : redis_call(redis, 3, words);
    if (reply == NULL)
        return -EAGAIN;
    freeReplyObject(reply);
    return 0;
}

static int set_patience(struct redis *redis, uint32_t patience_ms)
{
    redis->patience_ms = patience_ms;
    return redisSetTimeout(redis->context, timeout_of(patience_ms)) == REDIS_OK ? 0 : -EAGAIN;
}

int redis_open(struct redis *redis, struct where *where, const struct ledger_options *options)
{
    struct ledger_redis_address address;
    memset(redis, 0, sizeof(*redis));
    char error[sizeof(redis->error)];
    redis->where = where;
    redis->options = options;
    redis->unreached = true;
    hold_signals(redis);
    if (where_get(where, &address, error, sizeof(error)) != 0) {
        snprintf(redis->error, sizeof(redis->error), "Redis at %.100s: %.200s", options->redis,
                 error);
        redis_close(redis);
        return -EAGAIN;
    }
    redis->generation = address.generation;
    redis->context = dial(&address);
    bool made = redis->context != NULL && redis->context->err == 0;
    redis->unreached = !made;
    if (!made)
        snprintf(redis->error, sizeof(redis->error), "Redis at %.160s: %s", options->redis,
                 redis->context == NULL ? "no memory" : redis->context->errstr);
    if (made && set_patience(redis, LEDGER_REDIS_INTRODUCE_MS) == 0 &&
        authenticate(redis, options) == 0)
        return 0;
    where_failed(where, redis->generation);
    redis_close(redis);
    return -EAGAIN;
}

void redis_close(struct redis *redis)
{
    if (redis->context != NULL)
        redisFree(redis->context);
    redis->context = NULL;
    release_signals(redis);
}

int redis_send(struct redis *redis, const struct redis_arguments *arguments)
{
    /* hiredis takes pointers to non-const and writes through none of them. */
    return redisAppendCommandArgv(redis->context, arguments->count,
                                  (const char **)(uintptr_t)arguments->text,
                                  arguments->lengths) == REDIS_OK
               ? 0
               : -EAGAIN;
}

redisReply *redis_next(struct redis *redis)
{
    void *reply = NULL;
    char error[200];
    bool answered = redisGetReply(redis->context, &reply) == REDIS_OK;
    if (redis->generation != where_generation(redis->where)) {
        snprintf(redis->error, sizeof(redis->error), "another Redis has come into force");
        if (answered)
            freeReplyObject(reply);
        return NULL;
    }
    if (answered)
        return reply;
    /*
     * A timeout comes as EAGAIN, "Resource temporarily unavailable", which tells a reader nothing.
     */
    bool late = redis->context->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK);
    if (late)
        snprintf(error, sizeof(error), "no answer within %" PRIu32 " ms", redis->patience_ms);
    else
        (void)ledger_redis_explain(NULL, redis->context->errstr, NULL, error, sizeof(error));
    snprintf(redis->error, sizeof(redis->error), "Redis at %.100s: %s", redis->options->redis,
             error);
    return NULL;
}

redisReply *redis_call(struct redis *redis, int count, const char *const words[])
{
    struct redis_arguments arguments;
    arguments.count = 0;
    for (int i = 0; i < count; i++)
        redis_add(&arguments, words[i]);
    redisReply *reply = redis_send(redis, &arguments) == 0 ? redis_next(redis) : NULL;
    if (reply != NULL && reply->type == REDIS_REPLY_ERROR) {
        (void)ledger_redis_explain(words[0], reply->str, redis->options->redis_user, redis->error,
                                   sizeof(redis->error));
        freeReplyObject(reply);
        return NULL;
    }
    return reply;
}

bool redis_says_damaged(const struct redis *redis)
{
    return strstr(redis->error, "WRONGTYPE ") != NULL || strstr(redis->error, "DAMAGED ") != NULL;
}

int redis_facts(struct redis *redis, struct redis_facts *out)
{
    const char *const words[] = {"INFO"};
    redisReply *reply = redis_call(redis, 1, words);
    if (reply == NULL)
        return -EAGAIN;
    int result = redis_read_facts(reply, redis->options, out, redis->error, sizeof(redis->error))
                     ? 0
                     : -EAGAIN;
    freeReplyObject(reply);
    return result;
}
