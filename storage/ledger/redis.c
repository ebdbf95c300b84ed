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
static void hold_signals(struct redis_link *link)
{
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &link->signals);
}

static void release_signals(struct redis_link *link)
{
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    if (sigismember(&link->signals, SIGPIPE) == 0)
        while (sigtimedwait(&pipe, NULL, &(struct timespec){0}) == SIGPIPE)
            continue;
    pthread_sigmask(SIG_SETMASK, &link->signals, NULL);
}

static redisContext *dial(const struct ledger_redis_address *address)
{
    struct timeval timeout = timeout_of(LEDGER_REDIS_CONNECT_MS);
    return address->port == 0 ? redisConnectUnixWithTimeout(address->host, timeout)
                              : redisConnectWithTimeout(address->host, address->port, timeout);
}

static int authenticate(struct redis_link *link, const struct ledger_options *options)
{
    if (options->redis_password == NULL)
        return 0;
    const char *words[3] = {"AUTH", options->redis_user, options->redis_password};
    const char *without_user[2] = {"AUTH", options->redis_password};
    redisReply *reply = options->redis_user == NULL ? redis_call(link, 2, without_user)
                                                    : redis_call(link, 3, words);
    if (reply == NULL)
        return -EAGAIN;
    freeReplyObject(reply);
    return 0;
}

static int set_patience(struct redis_link *link, uint32_t patience_ms)
{
    link->patience_ms = patience_ms;
    return redisSetTimeout(link->context, timeout_of(patience_ms)) == REDIS_OK ? 0 : -EAGAIN;
}

void redis_failed(struct redis_link *link, bool reached)
{
    link->another = link->number != 0 && where_failed(link->where, link->number, reached);
    link->number = 0; /* reported once */
}

int redis_open(struct redis_link *link, struct where *where, const struct ledger_options *options)
{
    struct ledger_redis_address address;
    memset(link, 0, sizeof(*link));
    char error[sizeof(link->error)];
    link->where = where;
    link->options = options;
    link->unreached = true;
    hold_signals(link);
    if (where_get(where, 0, &address, error, sizeof(error)) != 0) {
        snprintf(link->error, sizeof(link->error), "Redis at %.100s: %.200s", options->redis,
                 error);
        redis_close(link);
        return -EAGAIN;
    }
    link->number = address.number;
    link->context = dial(&address);
    bool made = link->context != NULL && link->context->err == 0;
    link->unreached = !made;
    if (!made)
        snprintf(link->error, sizeof(link->error), "Redis at %.160s: %s", options->redis,
                 link->context == NULL ? "no memory" : link->context->errstr);
    if (made && set_patience(link, LEDGER_REDIS_INTRODUCE_MS) == 0 &&
        authenticate(link, options) == 0)
        return 0;
    redis_failed(link, false);
    redis_close(link);
    return -EAGAIN;
}

int redis_open_any(struct redis_link *link, struct where *where,
                   const struct ledger_options *options)
{
    int result = redis_open(link, where, options);
    for (int tries = 1; result != 0 && link->another && tries < WHERE_ADDRESSES_MAX; tries++)
        result = redis_open(link, where, options);
    return result;
}

void redis_close(struct redis_link *link)
{
    if (link->context != NULL)
        redisFree(link->context);
    link->context = NULL;
    release_signals(link);
}

int redis_send(struct redis_link *link, const struct redis_arguments *arguments)
{
    /* hiredis takes pointers to non-const and writes through none of them. */
    return redisAppendCommandArgv(link->context, arguments->count,
                                  (const char **)(uintptr_t)arguments->text,
                                  arguments->lengths) == REDIS_OK
               ? 0
               : -EAGAIN;
}

redisReply *redis_next(struct redis_link *link)
{
    void *reply = NULL;
    char error[200];
    if (redisGetReply(link->context, &reply) == REDIS_OK)
        return reply;
    /*
     * A timeout comes as EAGAIN, "Resource temporarily unavailable", which tells a reader nothing.
     */
    bool late = link->context->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK);
    if (late)
        snprintf(error, sizeof(error), "no answer within %" PRIu32 " ms", link->patience_ms);
    else
        (void)ledger_redis_explain(NULL, link->context->errstr, NULL, error, sizeof(error));
    snprintf(link->error, sizeof(link->error), "Redis at %.100s: %s", link->options->redis, error);
    return NULL;
}

redisReply *redis_call(struct redis_link *link, int count, const char *const words[])
{
    struct redis_arguments arguments;
    arguments.count = 0;
    for (int i = 0; i < count; i++)
        redis_add(&arguments, words[i]);
    redisReply *reply = redis_send(link, &arguments) == 0 ? redis_next(link) : NULL;
    if (reply != NULL && reply->type == REDIS_REPLY_ERROR) {
        (void)ledger_redis_explain(words[0], reply->str, link->options->redis_user, link->error,
                                   sizeof(link->error));
        freeReplyObject(reply);
        return NULL;
    }
    return reply;
}

int redis_facts(struct redis_link *link, struct redis_facts *out)
{
    const char *const words[] = {"INFO"};
    redisReply *reply = redis_call(link, 1, words);
    if (reply == NULL)
        return -EAGAIN;
    int result =
        redis_read_facts(reply, link->options, out, link->error, sizeof(link->error)) ? 0 : -EAGAIN;
    freeReplyObject(reply);
    return result;
}
