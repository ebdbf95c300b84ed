/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives hiredis 0.14 on the worker's ring: arms a multishot poll where hiredis wants to read, and
 * writes at the end of a turn what the turn has queued. The worker's loop and redis_connection.c
 * call it; it does not know what is asked or answered. A generation tells completions of an earlier
 * connection apart.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "server/base/log.h"
#include "server/delivery/redis_connection_internal.h"
#include "server/delivery/worker.h"

static void arm_read(struct redis_connection *redis)
{
    struct io_uring_sqe *sqe = worker_sqe(redis->worker);
    io_uring_prep_poll_multishot(sqe, redis->context->c.fd, POLLIN);
    sqe->user_data = operation_data(OPERATION_REDIS_READABLE, redis->generation, 0);
    redis->polling_read = true;
}

static void add_read(void *data)
{
    struct redis_connection *redis = data;
    if (!redis->polling_read && redis->context != NULL)
        arm_read(redis);
}

static void add_write(void *data)
{
    ((struct redis_connection *)data)->want_write = true;
}

static void del_write(void *data)
{
    ((struct redis_connection *)data)->want_write = false;
}

static void ignore(void *data)
{
    (void)data; /* the multishot poll stays for the life of the connection */
}

/* hiredis is about to free the context and close its descriptor. The polls hold the file, so they
 * are cancelled, or the connection would stay open. */
static void cleanup(void *data)
{
    struct redis_connection *redis = data;
    for (unsigned i = 0; i < 2; i++) {
        struct io_uring_sqe *sqe = worker_sqe(redis->worker);
        io_uring_prep_poll_remove(
            sqe, operation_data(i == 0 ? OPERATION_REDIS_READABLE : OPERATION_REDIS_WRITABLE,
                                redis->generation, 0));
        sqe->user_data = operation_data(OPERATION_IGNORED, 0, 0);
    }
    redis->generation = (redis->generation + 1) & 0xffffff;
    redis->polling_read = redis->polling_write = redis->want_write = redis->unread = false;
}

void redis_events_attach(struct redis_connection *redis)
{
    redisAsyncContext *context = redis->context;
    context->ev.data = redis;
    context->ev.addRead = add_read;
    context->ev.delRead = ignore;
    context->ev.addWrite = add_write;
    context->ev.delWrite = del_write;
    context->ev.cleanup = cleanup;
    /* The non-blocking connect is done when the socket can be written to. */
    redis->want_write = true;
}

void redis_connection_flush(struct redis_connection *redis)
{
    if (redis->doubtful && redis->state == REDIS_IS_READY)
        redis_introduction_try(redis);
    redis->doubtful = false;
    if (!redis->want_write || redis->polling_write || redis->context == NULL)
        return;
    if (redis->state != REDIS_CONNECTING) {
        redisAsyncHandleWrite(redis->context);
        if (!redis->want_write || redis->context == NULL)
            return;
    }
    struct io_uring_sqe *sqe = worker_sqe(redis->worker);
    io_uring_prep_poll_add(sqe, redis->context->c.fd, POLLOUT);
    sqe->user_data = operation_data(OPERATION_REDIS_WRITABLE, redis->generation, 0);
    redis->polling_write = true;
}

void redis_connection_readable(struct redis_connection *redis, uint32_t generation, int result,
                               bool more)
{
    if (generation != redis->generation || redis->context == NULL)
        return;
    if (!more)
        redis->polling_read = false;
    if (result < 0 && result != -ECANCELED)
        log_warning("worker %u: poll on Redis: %s", redis->worker->index, strerrordesc_np(-result));
    redis->unread = true;
}

bool redis_events_has_input(const struct redis_connection *redis)
{
    char byte;
    return recv(redis->context->c.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

/*
 * The poll is edge-triggered: it says once that bytes have come, however many they are, and hiredis
 * reads 16 KiB a call. So `unread` remembers that bytes may be left, as no event will tell. There
 * is one read a turn, some 400 answers, because each may start a response, and the other
 * connections need their turn.
 */
void redis_connection_read(struct redis_connection *redis)
{
    if (!redis->unread)
        return;
    uint32_t generation = redis->generation;
    if (redis->state == REDIS_IS_READY)
        redis->since_ms = redis->worker->now_ms;
    redisAsyncHandleRead(redis->context);
    if (redis->context == NULL || generation != redis->generation)
        return; /* it was the end of the connection */
    if (redis->refused[0] != '\0') {
        redis_connection_look_again(redis);
        return;
    }
    redis->unread = redis_events_has_input(redis);
    if (!redis->polling_read)
        arm_read(redis);
    redis_connection_publish_ready(redis);
}

bool redis_connection_has_unread(const struct redis_connection *redis)
{
    return redis->unread;
}

void redis_connection_writable(struct redis_connection *redis, uint32_t generation)
{
    if (generation != redis->generation || redis->context == NULL)
        return;
    redis->polling_write = false;
    redisAsyncHandleWrite(redis->context); /* completes the connect, then writes */
}
