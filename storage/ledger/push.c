/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The push thread: one connection that is subscribed to tg:revocations, so that this node hears a
 * revocation on any node while it happens. A PING each beat, answered in the same stream, tells a
 * dead or half open connection; everything published before the answer has been heard by then.
 *
 *   connect, SUBSCRIBE, confirmed -> epoch + 1, all grants dropped -> messages: drop the account's
 *        ^------------------- lost, or silent for LEDGER_REDIS_SILENCE_MS -----------'
 *
 * After LEDGER_PUSH_LOST_MS without an answer push is not up. Messages published meanwhile are
 * still on their way in the same stream, so where the answers come after all, nothing was missed.
 *
 * It decides nothing: workers that hold grants ask Redis who is revoked.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "storage/ledger/ledger_internal.h"
#include "storage/ledger/redis.h"

#define PUSH_BACKOFF_MS 100

struct push {
    struct ledger *ledger; /* borrows */
    pthread_t thread;
    int stop_fd;           /* owns: an eventfd, written once */
    _Atomic bool stopping; /* set before stop_fd is written, in case poll itself fails */
    struct redis_link link;
    char run_id[64];           /* of the Redis of this connection */
    _Atomic uint64_t epoch;    /* subscriptions that were confirmed */
    _Atomic uint64_t heard_ms; /* monotonic: all published before was heard; 0: not connected */
    uint64_t spoke_ms;         /* monotonic: when the stream last spoke */
    _Atomic uint64_t revocations;
    bool refused; /* Redis answered, but refused INFO or SUBSCRIBE */
    bool said_lost;
};

/* ---- what workers ask ---- */

bool ledger_push_is_up(const struct ledger *ledger, uint64_t monotonic_ms)
{
    uint64_t heard = atomic_load_explicit(&ledger->push->heard_ms, memory_order_relaxed);
    return heard != 0 && monotonic_ms < heard + LEDGER_PUSH_LOST_MS;
}

struct ledger_heard ledger_heard(const struct ledger *ledger, const struct ledger_account *account)
{
    return (struct ledger_heard){.epoch = atomic_load(&ledger->push->epoch),
                                 .messages = atomic_load(&account->messages),
                                 .revision = atomic_load(&account->heard)};
}

bool ledger_grant_is_stale(const struct ledger *ledger, const struct ledger_account *account,
                           const struct ledger_grant *grant, const struct ledger_heard *at_ask)
{
    const struct ledger_heard now = ledger_heard(ledger, account);
    return now.epoch != at_ask->epoch ||
           (now.messages != at_ask->messages && now.revision > grant->revision);
}

void push_stats(const struct ledger *ledger, struct ledger_stats *out)
{
    const struct push *push = ledger->push;
    out->push_connects = atomic_load(&push->epoch);
    out->push_up = ledger_push_is_up(ledger, clock_monotonic_ms());
    out->revocations_heard = atomic_load(&push->revocations);
}

/* ---- the stream ---- */

static void drop_grants(struct ledger *ledger, const struct ledger_account *account)
{
    if (ledger->options.pushed != NULL)
        ledger->options.pushed(ledger->options.pushed_context, account);
}

/* `text` is "issuer/account revision". An account that no thread here has looked up
 * holds no grants. */
static void take_message(struct push *push, const char *text, size_t length)
{
    const char *space = memrchr(text, ' ', length);
    if (space == NULL)
        return;
    uint64_t revision = strtoull(space + 1, NULL, 10);
    atomic_fetch_add(&push->revocations, 1);
    struct ledger_account *account =
        names_find_tag(&push->ledger->names, text, (size_t)(space - text));
    if (account == NULL)
        return;
    /*
     * The revision before the count: a reader that sees the message counted sees its revision, too.
     */
    if (revision > atomic_load(&account->heard))
        atomic_store(&account->heard, revision);
    atomic_fetch_add(&account->messages, 1);
    drop_grants(push->ledger, account);
    ledger_account_drop(&account);
}

static bool is_text(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING;
}

/* A reply is ["message", channel, text], or ["pong", the time when the PING was sent]. */
static void take_reply(struct push *push, const redisReply *reply)
{
    push->spoke_ms = clock_monotonic_ms();
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2 || !is_text(reply->element[0]))
        return;
    const redisReply *last = reply->element[reply->elements - 1];
    if (!is_text(last))
        return;
    if (strcmp(reply->element[0]->str, "message") == 0)
        take_message(push, last->str, last->len);
    else if (strcmp(reply->element[0]->str, "pong") == 0)
        atomic_store(&push->heard_ms, strtoull(last->str, NULL, 10));
}

/* Takes what has arrived. 0, or -EAGAIN: the connection is lost. */
static int take_input(struct push *push)
{
    redisContext *context = push->link.context;
    void *reply = NULL;
    if (redisBufferRead(context) != REDIS_OK)
        return -EAGAIN;
    while (redisReaderGetReply(context->reader, &reply) == REDIS_OK) {
        if (reply == NULL)
            return 0;
        take_reply(push, reply);
        freeReplyObject(reply);
    }
    return -EAGAIN;
}

/* Waits for input. 0: there is some; -ETIMEDOUT; -ECANCELED: the ledger ends. */
static int wait_for_input(struct push *push, uint64_t until_ms)
{
    struct pollfd items[2] = {
        {.fd = push->link.context != NULL ? push->link.context->fd : -1, .events = POLLIN},
        {.fd = push->stop_fd, .events = POLLIN}};
    uint64_t now = clock_monotonic_ms();
    int left = until_ms > now ? (int)(until_ms - now) : 0;
    int ready = poll(items, 2, left);
    if (ready < 0) { /* a poll that keeps failing must not burn the core */
        if (errno != EINTR)
            nanosleep(&(struct timespec){.tv_nsec = PUSH_BACKOFF_MS * 1000000L}, NULL);
        return atomic_load(&push->stopping) ? -ECANCELED : -ETIMEDOUT;
    }
    if (items[1].revents != 0)
        return -ECANCELED;
    return ready > 0 ? 0 : -ETIMEDOUT;
}

static int subscribe(struct push *push)
{
    static const char *const words[] = {"SUBSCRIBE", "tg:revocations"};
    struct redis_facts facts;
    int result = redis_open(&push->link, push->ledger->where, &push->ledger->options);
    if (result != 0)
        return result;
    redisReply *reply = NULL;
    push->refused = false;
    if (redis_facts(&push->link, &facts) == 0) {
        memcpy(push->run_id, facts.run_id, sizeof(push->run_id));
        reply = redis_call(&push->link, 2, words);
        push->refused = reply == NULL && push->link.context->err == 0;
    }
    result = reply != NULL && reply->type == REDIS_REPLY_ARRAY ? 0 : -EAGAIN;
    if (reply != NULL)
        freeReplyObject(reply);
    if (result != 0) {
        if (!push->refused)
            redis_failed(&push->link, false);
        redis_close(&push->link);
    }
    return result;
}

/* Says it once per loss. At the start only where Redis refuses, for it may not have started yet. */
static void say_lost(struct push *push)
{
    struct ledger *ledger = push->ledger;
    bool news = push->refused || atomic_load(&push->epoch) > 0;
    if (!news || push->said_lost)
        return;
    push->said_lost = true;
    ledger_say(ledger, LEDGER_EVENT_WARNING,
               "the node does not hear of revocations, so that each response asks Redis: %s",
               push->refused ? push->link.error : "the connection to Redis is lost");
}

static void say_heard(struct push *push)
{
    if (push->said_lost)
        ledger_say(push->ledger, LEDGER_EVENT_INFO, "the node hears of revocations again");
    push->said_lost = false;
}

static int send_beat(struct push *push, uint64_t now_ms)
{
    int done = 0;
    redisAppendCommand(push->link.context, "PING %llu", (unsigned long long)now_ms);
    return redisBufferWrite(push->link.context, &done) == REDIS_OK && done != 0 ? 0 : -EAGAIN;
}

/* Listens until the connection is lost (-EAGAIN) or the ledger ends (-ECANCELED). */
static int listen_on(struct push *push)
{
    uint64_t beat_ms = clock_monotonic_ms();
    for (;;) {
        uint64_t now = clock_monotonic_ms();
        if (now >= push->spoke_ms + LEDGER_REDIS_SILENCE_MS)
            return -EAGAIN;
        if (now >= beat_ms) {
            /* The ledger uses another Redis now, whose messages are not heard here. */
            if (ledger_redis_is_other(push->ledger, push->run_id) || send_beat(push, now) != 0)
                return -EAGAIN;
            beat_ms = now + LEDGER_PUSH_BEAT_MS;
        }
        if (ledger_push_is_up(push->ledger, now))
            say_heard(push);
        else
            say_lost(push);
        int result = wait_for_input(push, beat_ms);
        if (result == -ECANCELED)
            return result;
        if (result == 0 && take_input(push) != 0)
            return -EAGAIN;
    }
}

static void *push_main(void *argument)
{
    struct push *push = argument;
    struct ledger *ledger = push->ledger;
    int result = 0;
    while (result != -ECANCELED) {
        if (subscribe(push) == 0) {
            /* Push is up only after this: grants that were asked for before may have
             * missed a revocation. */
            atomic_fetch_add(&push->epoch, 1);
            drop_grants(ledger, NULL);
            push->spoke_ms = clock_monotonic_ms();
            atomic_store(&push->heard_ms, push->spoke_ms);
            result = listen_on(push);
            atomic_store(&push->heard_ms, 0);
            if (result != -ECANCELED)
                redis_failed(&push->link, true);
            redis_close(&push->link);
        }
        if (result == -ECANCELED)
            break;
        say_lost(push);
        result = wait_for_input(push, clock_monotonic_ms() + PUSH_BACKOFF_MS);
    }
    return NULL;
}

int push_start(struct ledger *ledger)
{
    struct push *push = calloc(1, sizeof(*push));
    if (push == NULL)
        return -ENOMEM;
    push->ledger = ledger;
    push->stop_fd = eventfd(0, EFD_CLOEXEC);
    int result = push->stop_fd < 0 ? -errno : 0;
    ledger->push = push; /* before the thread: its callbacks lead to readers of ledger->push */
    if (result == 0)
        result = ledger_thread_start(&push->thread, push_main, push);
    if (result != 0) {
        if (push->stop_fd >= 0)
            close(push->stop_fd);
        free(push);
        ledger->push = NULL;
    }
    return result;
}

void push_stop(struct ledger *ledger)
{
    struct push *push = ledger->push;
    if (push == NULL)
        return;
    atomic_store(&push->stopping, true);
    (void)eventfd_write(push->stop_fd, 1);
    pthread_join(push->thread, NULL);
    close(push->stop_fd);
    free(push);
    ledger->push = NULL;
}
