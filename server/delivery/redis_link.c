/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's Redis connection: connects, waits with a bound on each wait, gives up and tries again.
 * See redis_link.h. hiredis itself frees the context after the disconnect callback, so nothing here
 * frees it.
 */
#include "server/delivery/redis_link.h"

#include <errno.h>
#include <hiredis/async.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "server/base/check.h"
#include "server/base/log.h"
#include "server/delivery/redis_link_internal.h"
#include "server/delivery/worker.h"

/* `why` is the cause and, behind "; ", the cure, where one is known. */
static void say_down(const struct redis_link *link, const char *why, bool refused)
{
    const char *cure = strstr(why, "; ");
    size_t length = cure != NULL ? (size_t)(cure - why) : strlen(why);
    log_warning("worker %u: Redis at %s cannot be %s%.*s%s%s; the node keeps trying",
                link->worker->index, link->worker->node->redis.address,
                refused ? "used: " : "reached (", (int)length, why, refused ? "" : ")",
                cure != NULL ? cure : "");
}

static void went_down(struct redis_link *link, const char *why)
{
    char text[sizeof(link->refused)];
    bool refused = link->refused[0] != '\0';
    if (refused)
        why = link->refused;
    else if (ledger_redis_explain(NULL, why, NULL, text, sizeof(text))) {
        why = text;
        refused = true;
    }
    if (!link->warned && !link->worker->stopping)
        say_down(link, why, refused);
    bool another =
        link->number != 0 &&
        ledger_redis_failed(link->worker->node->ledger, link->number, link->state == LINK_IS_READY);
    link->number = 0;
    link->warned = true;
    link->context = NULL;
    link->state = LINK_DOWN;
    atomic_store(&link->worker->redis_generation, 0);
    link->trying = link->doubtful = false;
    link->refused[0] = '\0';
    uint8_t jitter = 0;
    (void)!getrandom(&jitter, sizeof(jitter), GRND_NONBLOCK);
    link->backoff_ms = link->backoff_ms == 0 ? LEDGER_REDIS_BACKOFF_LEAST_MS : link->backoff_ms * 2;
    if (link->backoff_ms > LEDGER_REDIS_BACKOFF_MOST_MS)
        link->backoff_ms = LEDGER_REDIS_BACKOFF_MOST_MS;
    link->retry_ms = link->worker->now_ms + link->backoff_ms + link->backoff_ms * jitter / 1024;
    if (another)
        link->retry_ms = link->worker->now_ms;
}

void redis_link_set_state(struct redis_link *link, enum link_state state)
{
    link->state = state;
    link->since_ms = link->worker->now_ms;
}

static void on_connect(const redisAsyncContext *context, int status)
{
    struct redis_link *link = context->data;
    if (status != REDIS_OK) {
        went_down(link, context->errstr); /* hiredis frees the context after this */
        return;
    }
    redis_introduction_ask(link);
}

static void on_disconnect(const redisAsyncContext *context, int status)
{
    went_down(context->data, status == REDIS_OK ? "closed" : context->errstr);
}

static void link_connect(struct redis_link *link)
{
    const struct node *node = link->worker->node;
    struct ledger_redis_address address;
    char error[512];
    if (ledger_redis_address(node->ledger, &address, error, sizeof(error)) != 0) {
        went_down(link, error);
        return;
    }
    link->number = address.number;
    redisAsyncContext *context = address.port == 0 ? redisAsyncConnectUnix(address.host)
                                                   : redisAsyncConnect(address.host, address.port);
    if (context == NULL || context->err != 0) {
        went_down(link, context == NULL ? "out of memory" : context->errstr);
        if (context != NULL)
            redisAsyncFree(context);
        return;
    }
    link->context = context;
    redis_link_set_state(link, LINK_CONNECTING);
    context->data = link;
    redis_events_attach(link);
    redisAsyncSetConnectCallback(context, on_connect);
    redisAsyncSetDisconnectCallback(context, on_disconnect);
    redis_introduction_begin(link);
}

void redis_link_look_again(struct redis_link *link)
{
    /* Answers all outstanding commands with NULL, and calls on_disconnect only where it was
     * connected. */
    redisAsyncFree(link->context);
    if (link->context != NULL)
        went_down(link, "closed");
}

void redis_link_publish_ready(const struct redis_link *link)
{
    const struct worker *worker = link->worker;
    uint64_t limit_ms = worker->node->config->admission_timeout_ms;
    bool ready = link->state == LINK_IS_READY && (link->oldest == NULL || !link->oldest->is_late) &&
                 (!redis_link_is_owed(link) || worker->now_ms - link->since_ms <= limit_ms);
    atomic_store(&link->worker->redis_generation, ready ? link->followed : 0);
}

void redis_link_close(struct redis_link *link)
{
    if (link->context != NULL)
        redis_link_look_again(link);
}

/* Milliseconds that the state may take, or that Redis may be silent in it; 0: no bound, because the
 * state waits for the ledger. */
static uint64_t patience_ms(const struct redis_link *link)
{
    switch (link->state) {
    case LINK_CONNECTING:
        return LEDGER_REDIS_CONNECT_MS;
    case LINK_INTRODUCING:
    case LINK_TRYING:
        return LEDGER_REDIS_INTRODUCE_MS;
    case LINK_IS_READY:
        return redis_link_is_owed(link) ? LEDGER_REDIS_SILENCE_MS : 0;
    case LINK_DOWN:
    case LINK_STANDING_BY:
        break;
    }
    return 0;
}

void redis_link_tick(struct redis_link *link)
{
    const struct worker *worker = link->worker;
    if (link->state == LINK_DOWN) {
        if (worker->now_ms >= link->retry_ms)
            link_connect(link);
        return;
    }
    /* Bytes that have come are read before any command is called late: it is the node that is slow
     * then, not Redis. */
    if (link->state != LINK_CONNECTING && redis_events_has_input(link)) {
        link->unread = true;
    } else {
        uint64_t patience = patience_ms(link);
        redis_queue_tell_late(link);
        if (patience != 0 && worker->now_ms - link->since_ms > patience)
            redis_introduction_object(link, "it did not answer within %llu ms",
                                      (unsigned long long)patience);
    }
    redis_introduction_follow(link);
    if (link->refused[0] != '\0') {
        redis_link_look_again(link);
        return;
    }
    if (link->state == LINK_IS_READY && !redis_link_is_owed(link) &&
        worker->now_ms - link->since_ms >= LEDGER_REDIS_BEAT_MS)
        redis_introduction_try(link);
    redis_link_publish_ready(link);
}

int redis_link_create(struct redis_link **out, struct worker *worker)
{
    struct redis_link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return -ENOMEM;
    link->worker = worker;
    redis_queue_fill_table(link);
    *out = link;
    return 0;
}

const struct ledger_redis *redis_link_table(const struct redis_link *link)
{
    return &link->table;
}

void redis_link_destroy(struct redis_link **link)
{
    if (*link == NULL)
        return;
    check((*link)->context == NULL);
    redis_queue_free(*link);
    free(*link);
    *link = NULL;
}
