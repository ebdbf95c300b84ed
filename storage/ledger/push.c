/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Push: one connection that is subscribed to tg:revocations, so that this node hears a revocation on
 * any node while it happens. Its thread calls push_step, which never waits. A PING each beat,
 * answered in the same stream, tells a dead or half open connection; everything published before the
 * answer has been heard by then.
 *
 *   down --open--> connecting --INFO, SUBSCRIBE--> asking --confirmed: epoch + 1--> listening
 *    ^                 |                             |                                  |
 *    '---- PUSH_BACKOFF_MS after it is refused, lost, or silent (LEDGER_REDIS_SILENCE_MS) --'
 *
 * After LEDGER_PUSH_LOST_MS without an answer push is not up. Messages published meanwhile are
 * still on their way in the same stream, so where the answers come after all, nothing was missed.
 *
 * It decides nothing: workers that hold grants ask Redis who is revoked.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "storage/ledger/aside.h"
#include "storage/ledger/conversation.h"
#include "storage/ledger/ledger_internal.h"
#include "storage/ledger/redis_talk.h"
#include "storage/ledger/where.h"

#define PUSH_BACKOFF_MS 100

enum push_state {
    PUSH_DOWN,       /* no connection; the next try is at next_ms */
    PUSH_CONNECTING, /* the connection is being made */
    PUSH_ASKING,     /* INFO and SUBSCRIBE are on their way */
    PUSH_LISTENING,  /* the subscription is confirmed; the next PING goes out at next_ms */
};

struct push {
    struct ledger *ledger; /* borrows */
    pthread_t thread;
    int stop_fd;                       /* owns: an eventfd that ends its wait; -1: no thread */
    _Atomic bool stopping;             /* set before stop_fd is written */
    struct conversation *conversation; /* owns; NULL: another Redis was given */
    const struct ledger_redis *redis;  /* borrows */
    enum push_state state;
    uint64_t next_ms;
    bool failed;               /* Redis answered INFO or SUBSCRIBE otherwise than hoped */
    char run_id[64];           /* of the Redis of this connection; "": not known yet */
    uint64_t generation;       /* of where.h, to which the connection belongs */
    _Atomic uint64_t epoch;    /* subscriptions that were confirmed */
    _Atomic uint64_t heard_ms; /* monotonic: all published before was heard; 0: not connected */
    _Atomic uint64_t revocations;
    bool refused; /* Redis refused SUBSCRIBE, for the reason in `refusal` */
    char refusal[400];
    bool said_lost;
};

/* ---- what workers ask ---- */

bool ledger_push_is_up(const struct ledger *ledger, uint64_t monotonic_ms)
{
    uint64_t heard = atomic_load_explicit(&ledger->push->heard_ms, memory_order_relaxed);
    return heard != 0 && monotonic_ms < heard + LEDGER_PUSH_LOST_MS;
}

uint64_t ledger_push_epoch(const struct ledger *ledger)
{
    return atomic_load(&ledger->push->epoch);
}

struct ledger_heard ledger_heard(const struct ledger *ledger, const struct ledger_account *account)
{
    return (struct ledger_heard){.epoch = atomic_load(&ledger->push->epoch),
                                 .messages = atomic_load(&account->messages),
                                 .revision = atomic_load(&account->heard),
                                 .losses = ledger_losses(ledger)};
}

uint64_t ledger_recalls(const struct ledger_account *account)
{
    return atomic_load(&account->recalls);
}

bool ledger_is_recalled(const struct ledger_account *account, uint64_t now_ms)
{
    return now_ms < atomic_load(&account->recalled_until_ms);
}

bool ledger_grant_is_stale(const struct ledger *ledger, const struct ledger_account *account,
                           const struct ledger_grant *grant, const struct ledger_heard *at_ask)
{
    const struct ledger_heard now = ledger_heard(ledger, account);
    return now.epoch != at_ask->epoch || now.losses != at_ask->losses ||
           (now.messages != at_ask->messages && now.revision > grant->revision);
}

void push_stats(const struct ledger *ledger, struct ledger_stats *out)
{
    const struct push *push = ledger->push;
    out->push_connects = atomic_load(&push->epoch);
    out->push_up = ledger_push_is_up(ledger, ledger_monotonic_ms(ledger));
    out->revocations_heard = atomic_load(&push->revocations);
}

/* ---- the stream ---- */

static void drop_grants(struct ledger *ledger, const struct ledger_account *account)
{
    if (ledger->options.pushed != NULL)
        ledger->options.pushed(ledger->options.pushed_context, account);
}

static void take_recall(const struct push *push, struct ledger_account *account)
{
    const struct ledger_options *options = &push->ledger->options;
    atomic_store(&account->recalled_until_ms, ledger_monotonic_ms(push->ledger) + LEDGER_RECALL_MS);
    atomic_fetch_add(&account->recalls, 1);
    if (options->recalled != NULL)
        options->recalled(options->pushed_context, account);
}

/* Whether it is higher than all that were heard before. */
static bool raise_heard(struct ledger_account *account, uint64_t revision)
{
    uint64_t heard = atomic_load(&account->heard);
    while (revision > heard)
        if (atomic_compare_exchange_weak(&account->heard, &heard, revision))
            return true;
    return false;
}

/* Behind raise_heard: a reader that sees the message counted sees its revision, too. */
static void count_message(struct ledger *ledger, struct ledger_account *account)
{
    atomic_fetch_add(&account->messages, 1);
    drop_grants(ledger, account);
}

void push_take_revision(struct ledger *ledger, struct ledger_account *account, uint64_t revision)
{
    if (raise_heard(account, revision))
        count_message(ledger, account);
}

/* `text` is "issuer/account revision", "issuer/account recall", or a word of aside.h. An account that no thread here has
 * looked up holds no grants. */
static void take_message(struct push *push, const char *text, size_t length)
{
    static const char recall[] = "recall";
    const char *space = memrchr(text, ' ', length);
    if (space == NULL)
        return;
    size_t rest = length - (size_t)(space + 1 - text);
    bool is_recall = rest == sizeof(recall) - 1 && memcmp(space + 1, recall, rest) == 0;
    if (aside_hear(push->ledger, text, (size_t)(space - text), space + 1, rest))
        return;
    struct ledger_account *account =
        names_find_tag(&push->ledger->names, text, (size_t)(space - text));
    if (!is_recall)
        atomic_fetch_add(&push->revocations, 1);
    if (account != NULL && is_recall) {
        take_recall(push, account);
    } else if (account != NULL) {
        /* Counted in any case: a Redis that lost data tells lower revisions. */
        (void)raise_heard(account, strtoull(space + 1, NULL, 10));
        count_message(push->ledger, account);
    }
    ledger_account_drop(&account);
}

static bool is_text(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING;
}

/* A message is ["message", channel, text]. */
static void heard(void *context, const redisReply *reply)
{
    if (is_text(reply->element[2]))
        take_message(context, reply->element[2]->str, reply->element[2]->len);
}

/* The answer to a PING is ["pong", the time when it was sent]. */
static void take_pong(void *context, const redisReply *reply)
{
    struct push *push = context;
    if (reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
        is_text(reply->element[1]))
        atomic_store(&push->heard_ms, strtoull(reply->element[1]->str, NULL, 10));
}

/* ---- the connection ---- */

static int send_words(struct push *push, int count, const char *const words[],
                      ledger_redis_done *done)
{
    size_t lengths[2];
    for (int i = 0; i < count; i++)
        lengths[i] = strlen(words[i]);
    return push->redis->send(push->redis->self, count, words, lengths, done, NULL, push);
}

static void take_info(void *context, const redisReply *reply)
{
    struct push *push = context;
    struct redis_facts facts;
    char error[400];
    if (reply == NULL)
        return;
    push->failed = !redis_read_facts(reply, &push->ledger->options, &facts, error, sizeof(error));
    memcpy(push->run_id, facts.run_id, sizeof(push->run_id));
}

/* The subscription counts from here on, before the first message: grants that were asked for before
 * may have missed a revocation. */
static void take_subscription(void *context, const redisReply *reply)
{
    struct push *push = context;
    if (reply == NULL || push->failed)
        return;
    push->refused = reply->type != REDIS_REPLY_ARRAY;
    push->failed = push->refused;
    if (reply->type == REDIS_REPLY_ERROR)
        (void)ledger_redis_explain("SUBSCRIBE", reply->str, push->ledger->options.redis_user,
                                   push->refusal, sizeof(push->refusal));
    if (push->refused)
        return;
    push->state = PUSH_LISTENING;
    push->next_ms = ledger_monotonic_ms(push->ledger);
    atomic_fetch_add(&push->epoch, 1);
    drop_grants(push->ledger, NULL);
    atomic_store(&push->heard_ms, push->next_ms);
}

/* Sends both questions. False: the connection does not take them. */
static bool ask(struct push *push)
{
    static const char *const info[] = {"INFO"};
    static const char *const subscribe[] = {"SUBSCRIBE", "tg:revocations"};
    push->state = PUSH_ASKING;
    push->redis->hear(push->redis->self, heard, push);
    return send_words(push, 1, info, take_info) == 0 &&
           send_words(push, 2, subscribe, take_subscription) == 0;
}

/* Says it once per loss. At the start only where Redis refuses, for it may not have started yet. */
static void say_lost(struct push *push)
{
    bool news = push->refused || atomic_load(&push->epoch) > 0;
    if (!news || push->said_lost)
        return;
    push->said_lost = true;
    ledger_say(push->ledger, LEDGER_EVENT_WARNING,
               "the node does not hear of revocations, so that each response asks Redis: %s",
               push->refused ? push->refusal : "the connection to Redis is lost");
}

static void say_heard(struct push *push)
{
    if (push->said_lost)
        ledger_say(push->ledger, LEDGER_EVENT_INFO, "the node hears of revocations again");
    push->said_lost = false;
}

static void give_up(struct push *push, uint64_t now_ms)
{
    bool is_left = push->generation != where_generation(push->ledger->where);
    push->state = PUSH_DOWN;
    push->next_ms = is_left ? now_ms : now_ms + PUSH_BACKOFF_MS;
    atomic_store(&push->heard_ms, 0);
    if (!push->refused)
        where_failed(push->ledger->where, push->generation);
    push->redis->close(push->redis->self);
    say_lost(push);
}

/* ---- steps ---- */

/* Sends the PING that is due. False: the connection is lost, or it is of no more use. */
static bool beat(struct push *push, uint64_t now_ms)
{
    char text[24];
    const char *const words[] = {"PING", text};
    snprintf(text, sizeof(text), "%" PRIu64, now_ms);
    push->next_ms = now_ms + LEDGER_PUSH_BEAT_MS;
    return send_words(push, 2, words, take_pong) == 0;
}

static bool listen_on(struct push *push, uint64_t now_ms)
{
    push->redis->introduced(push->redis->self);
    if (now_ms >= push->next_ms && !beat(push, now_ms))
        return false;
    if (ledger_push_is_up(push->ledger, now_ms))
        say_heard(push);
    else
        say_lost(push);
    return true;
}

static bool connect_again(struct push *push, uint64_t now_ms)
{
    uint64_t generation = where_generation(push->ledger->where);
    if (now_ms < push->next_ms && generation == push->generation)
        return true;
    push->generation = generation;
    push->run_id[0] = '\0';
    push->failed = push->refused = false;
    push->state = PUSH_CONNECTING;
    return push->redis->open(push->redis->self) == 0;
}

/* Does what the state asks for. False: the connection is to be given up. */
static bool act(struct push *push, uint64_t now_ms)
{
    if (push->state == PUSH_DOWN)
        return connect_again(push, now_ms);
    if (push->redis->error(push->redis->self) != NULL || push->failed)
        return false;
    /* The messages of the Redis in force are not heard here. */
    if (where_is_other(push->ledger->where, push->generation, push->run_id))
        return false;
    if (push->state == PUSH_CONNECTING)
        return !push->redis->is_ready(push->redis->self) || ask(push);
    return push->state == PUSH_ASKING || listen_on(push, now_ms);
}

uint64_t push_step(struct ledger *ledger)
{
    struct push *push = ledger->push;
    uint64_t now_ms = ledger_monotonic_ms(ledger);
    if (!act(push, now_ms))
        give_up(push, now_ms);
    bool timed = push->state == PUSH_DOWN || push->state == PUSH_LISTENING;
    return timed ? push->next_ms : UINT64_MAX;
}

static void *push_main(void *argument)
{
    struct push *push = argument;
    while (!atomic_load(&push->stopping)) {
        uint64_t until_ms = push_step(push->ledger);
        uint64_t turn_ms = ledger_monotonic_ms(push->ledger) + LEDGER_TURN_MS;
        ledger_turn(push->ledger, LEDGER_PUSH);
        conversation_wait(push->conversation, until_ms < turn_ms ? until_ms : turn_ms);
    }
    return NULL;
}

/* ---- start and stop ---- */

static void push_free(struct push *push)
{
    if (push->state != PUSH_DOWN)
        push->redis->close(push->redis->self);
    conversation_destroy(&push->conversation);
    where_unlisten(push->ledger->where, push->stop_fd);
    if (push->stop_fd >= 0)
        close(push->stop_fd);
    push->ledger->push = NULL;
    free(push);
}

static int make_conversation(struct push *push)
{
    struct ledger *ledger = push->ledger;
    push->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int result = push->stop_fd < 0 ? -errno : 0;
    if (result == 0)
        where_listen(ledger->where, push->stop_fd);
    if (result == 0)
        result = conversation_create(&push->conversation, ledger->where, &ledger->options,
                                     ledger->outside.clock, push->stop_fd);
    if (result == 0)
        push->redis = conversation_redis(push->conversation);
    return result;
}

int push_start(struct ledger *ledger)
{
    struct push *push = calloc(1, sizeof(*push));
    if (push == NULL)
        return -ENOMEM;
    push->ledger = ledger;
    push->stop_fd = -1;
    push->redis = ledger->outside.push;
    int result = ledger->stepped ? 0 : make_conversation(push);
    ledger->push = push; /* before the thread: its callbacks lead to readers of ledger->push */
    if (result == 0 && !ledger->stepped)
        result = ledger_thread_start(&push->thread, push_main, push);
    if (result != 0)
        push_free(push);
    return result;
}

void push_stop(struct ledger *ledger)
{
    struct push *push = ledger->push;
    if (push == NULL)
        return;
    if (!ledger->stepped) {
        atomic_store(&push->stopping, true);
        (void)eventfd_write(push->stop_fd, 1);
        pthread_join(push->thread, NULL);
    }
    push_free(push);
}
