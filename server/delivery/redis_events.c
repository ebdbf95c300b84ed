/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives hiredis 0.14 on the worker's ring: arms a multishot poll where hiredis wants to read, and
 * writes at the end of a turn what the turn has queued. The worker's loop and redis_link.c call it;
 * it does not know what is asked or answered. A generation tells completions of an earlier
 * connection apart.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "server/base/log.h"
#include "server/delivery/redis_link_internal.h"
#include "server/delivery/worker.h"

static void arm_read(struct redis_link *link)
{
    struct io_uring_sqe *sqe = worker_sqe(link->worker);
    io_uring_prep_poll_multishot(sqe, link->context->c.fd, POLLIN);
    sqe->user_data = operation_data(OPERATION_REDIS_READABLE, link->generation, 0);
    link->polling_read = true;
}

static void add_read(void *data)
{
    struct redis_link *link = data;
    if (!link->polling_read && link->context != NULL)
        arm_read(link);
}

static void add_write(void *data)
{
    ((struct redis_link *)data)->want_write = true;
}

static void del_write(void *data)
{
    ((struct redis_link *)data)->want_write = false;
}

static void ignore(void *data)
{
    (void)data; /* the multishot poll stays for the life of the connection */
}

/* hiredis is about to free the context and close its descriptor. The polls hold the file, so they
 * are cancelled, or the connection would stay open. */
static void cleanup(void *data)
{
    struct redis_link *link = data;
    for (unsigned i = 0; i < 2; i++) {
        struct io_uring_sqe *sqe = worker_sqe(link->worker);
        io_uring_prep_poll_remove(
            sqe, operation_data(i == 0 ? OPERATION_REDIS_READABLE : OPERATION_REDIS_WRITABLE,
                                link->generation, 0));
        sqe->user_data = operation_data(OPERATION_IGNORED, 0, 0);
    }
    link->generation = (link->generation + 1) & 0xffffff;
    link->polling_read = link->polling_write = link->want_write = link->unread = false;
}

void redis_events_attach(struct redis_link *link)
{
    redisAsyncContext *context = link->context;
    context->ev.data = link;
    context->ev.addRead = add_read;
    context->ev.delRead = ignore;
    context->ev.addWrite = add_write;
    context->ev.delWrite = del_write;
    context->ev.cleanup = cleanup;
    /* The non-blocking connect is done when the socket can be written to. */
    link->want_write = true;
}

void redis_link_flush(struct redis_link *link)
{
    if (link->doubtful && link->state == LINK_IS_READY)
        redis_introduction_try(link);
    link->doubtful = false;
    if (!link->want_write || link->polling_write || link->context == NULL)
        return;
    if (link->state != LINK_CONNECTING) {
        redisAsyncHandleWrite(link->context);
        if (!link->want_write || link->context == NULL)
            return;
    }
    struct io_uring_sqe *sqe = worker_sqe(link->worker);
    io_uring_prep_poll_add(sqe, link->context->c.fd, POLLOUT);
    sqe->user_data = operation_data(OPERATION_REDIS_WRITABLE, link->generation, 0);
    link->polling_write = true;
}

void redis_link_readable(struct redis_link *link, uint32_t generation, int result, bool more)
{
    if (generation != link->generation || link->context == NULL)
        return;
    if (!more)
        link->polling_read = false;
    if (result < 0 && result != -ECANCELED)
        log_warning("worker %u: poll on Redis: %s", link->worker->index, strerrordesc_np(-result));
    link->unread = true;
}

bool redis_events_has_input(const struct redis_link *link)
{
    char byte;
    return recv(link->context->c.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

/*
 * The poll is edge-triggered: it says once that bytes have come, however many they are, and hiredis
 * reads 16 KiB a call. So `unread` remembers that bytes may be left, as no event will tell. There
 * is one read a turn, some 400 answers, because each may start a response, and the other
 * connections need their turn.
 */
void redis_link_read(struct redis_link *link)
{
    if (!link->unread)
        return;
    uint32_t generation = link->generation;
    if (link->state == LINK_IS_READY)
        link->since_ms = link->worker->now_ms;
    redisAsyncHandleRead(link->context);
    if (link->context == NULL || generation != link->generation)
        return; /* it was the end of the connection */
    if (link->refused[0] != '\0') {
        redis_link_look_again(link);
        return;
    }
    link->unread = redis_events_has_input(link);
    if (!link->polling_read)
        arm_read(link);
    redis_link_publish_ready(link);
}

bool redis_link_has_unread(const struct redis_link *link)
{
    return link->unread;
}

void redis_link_writable(struct redis_link *link, uint32_t generation)
{
    if (generation != link->generation || link->context == NULL)
        return;
    link->polling_write = false;
    redisAsyncHandleWrite(link->context); /* completes the connect, then writes */
}
