/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks Redis' Sentinels where the master is, for where.h. Each has a thread of its own, so that one
 * that is silent, or whose name hangs in the resolver, delays no other. A thread asks when it
 * starts, each WHERE_LOOK_MS, when a connection to Redis failed, and when its Sentinel publishes
 * +switch-master.
 *
 * Of what they say, the highest config epoch counts: a Sentinel that was cut off still names the old
 * master. A lower epoch than before counts only where most of the configured Sentinels answer and
 * none of them knows the higher one: then they have been set up again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "server/base/clock.h"
#include "storage/ledger/conversation.h"
#include "storage/ledger/ledger_internal.h"
#include "storage/ledger/redis_talk.h"
#include "storage/ledger/where_internal.h"

#define FRESH_MS UINT64_C(3000) /* what a Sentinel said counts that long */

/* A Sentinel's two connections, since one that is subscribed takes no other commands. */
struct talk {
    struct where_sentinel *sentinel;
    struct ledger_options options;       /* of the Sentinel; borrows */
    char name[320];                      /* "the Sentinel 10.0.0.1:26379" */
    struct conversation *asks, *listens; /* owns */
    struct ledger_redis_address place;   /* resolved */
    bool is_subscribed, has_heard;
    unsigned answers;                   /* of the two questions */
    struct ledger_redis_address answer; /* the master as the Sentinel names it */
    uint64_t epoch;
    char error[256];
};

/* ---- what all of them say ---- */

/* The Sentinel whose word counts; NULL: none. */
static const struct where_sentinel *choose(const struct where *where)
{
    const struct where_sentinel *best = NULL;
    uint64_t now_ms = clock_monotonic_ms();
    unsigned fresh = 0;
    for (unsigned i = 0; i < where->name.count; i++) {
        const struct where_sentinel *sentinel = &where->sentinels[i];
        if (!sentinel->is_known || now_ms > sentinel->told_ms + FRESH_MS)
            continue;
        fresh++;
        if (best == NULL || sentinel->epoch > best->epoch)
            best = sentinel;
    }
    bool counts = best != NULL && (best->epoch >= where->epoch || fresh > where->name.count / 2);
    return counts ? best : NULL;
}

static void take_word(struct where *where)
{
    const struct where_sentinel *best = choose(where);
    if (best == NULL)
        return;
    where->epoch = best->epoch;
    where_take(where, best->addresses, best->count);
}

/* ---- one Sentinel: its answers ---- */

static void object(struct talk *talk, const char *said)
{
    if (talk->error[0] == '\0')
        snprintf(talk->error, sizeof(talk->error), "%.90s: %.150s", talk->name, said);
}

/* Whether a reply is of the form that is hoped for; objects to an error. */
static bool is_array(struct talk *talk, const redisReply *reply, size_t least)
{
    if (reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements >= least)
        return true;
    char said[200] = "its reply has an unexpected form";
    if (reply == NULL)
        snprintf(said, sizeof(said), "the connection was lost");
    else if (reply->type == REDIS_REPLY_NIL ||
             (reply->type == REDIS_REPLY_ERROR && strstr(reply->str, "No such master") != NULL))
        snprintf(said, sizeof(said), "it knows no master %s; correct the name in `redis`",
                 talk->sentinel->where->name.master);
    else if (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOAUTH", 6) == 0)
        snprintf(said, sizeof(said),
                 "it asks for a password (NOAUTH); name the file that holds it in "
                 "sentinel_password_file");
    else if (reply->type == REDIS_REPLY_ERROR)
        snprintf(said, sizeof(said), "%.160s", reply->str);
    object(talk, said);
    return false;
}

/* Its host and port. During a failover it is the promoted replica, which the master's own entry
 * names only once all replicas follow it. */
static void take_address(void *context, const redisReply *reply)
{
    struct talk *talk = context;
    talk->answers++;
    if (!is_array(talk, reply, 2))
        return;
    const redisReply *host = reply->element[0], *port = reply->element[1];
    if (host->type != REDIS_REPLY_STRING || port->type != REDIS_REPLY_STRING) {
        object(talk, "its reply has an unexpected form");
        return;
    }
    snprintf(talk->answer.host, sizeof(talk->answer.host), "%s", host->str);
    long number = strtol(port->str, NULL, 10);
    if (number < 1 || number > 65535)
        object(talk, "the master has no port");
    else
        talk->answer.port = (int)number;
}

static void take_master(void *context, const redisReply *reply)
{
    struct talk *talk = context;
    bool has_epoch = false;
    talk->answers++;
    if (!is_array(talk, reply, 2))
        return;
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        const redisReply *name = reply->element[i], *value = reply->element[i + 1];
        if (name->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING ||
            strcmp(name->str, "config-epoch") != 0)
            continue;
        talk->epoch = strtoull(value->str, NULL, 10);
        has_epoch = true;
    }
    if (!has_epoch)
        object(talk, "its answer has no config-epoch");
}

/* ---- one Sentinel: its connections ---- */

static bool is_stopping(struct where *where)
{
    pthread_mutex_lock(&where->lock);
    bool stopping = where->stop;
    pthread_mutex_unlock(&where->lock);
    return stopping;
}

static bool send_words(struct talk *talk, struct conversation *to, int count,
                       const char *const words[], ledger_redis_done *done)
{
    const struct ledger_redis *redis = conversation_redis(to);
    size_t lengths[3];
    for (int i = 0; i < count; i++)
        lengths[i] = strlen(words[i]);
    return redis->send(redis->self, count, words, lengths, done, NULL, talk) == 0;
}

/* Refused: the questions behind it are, too, and the first objection stays. */
static void authenticated(void *context, const redisReply *reply)
{
    struct talk *talk = context;
    char said[200];
    if (reply == NULL || reply->type != REDIS_REPLY_ERROR)
        return;
    snprintf(said, sizeof(said),
             "it refuses the password (%.40s); correct sentinel_password_file or sentinel_user",
             reply->str);
    object(talk, said);
}

/* Gives user and password, which are the Sentinels' own and not those of Redis. */
static bool authenticate(struct talk *talk, struct conversation *conversation)
{
    const struct ledger_options *options = &talk->sentinel->where->options;
    const char *words[3] = {"AUTH"};
    int count = 1;
    if (options->redis_sentinel_password == NULL)
        return true;
    if (options->redis_sentinel_user != NULL)
        words[count++] = options->redis_sentinel_user;
    words[count++] = options->redis_sentinel_password;
    return send_words(talk, conversation, count, words, authenticated);
}

/* Opens a connection and waits until commands may be sent. */
static bool reach(struct talk *talk, struct conversation *conversation)
{
    const struct ledger_redis *redis = conversation_redis(conversation);
    struct where *where = talk->sentinel->where;
    (void)conversation_open_at(conversation, &talk->place);
    while (!redis->is_ready(redis->self) && redis->error(redis->self) == NULL &&
           !is_stopping(where))
        conversation_wait(conversation, UINT64_MAX);
    return redis->is_ready(redis->self) && authenticate(talk, conversation);
}

static bool resolve_place(struct talk *talk)
{
    struct ledger_redis_address found[WHERE_ADDRESSES_MAX];
    unsigned count;
    const struct where_sentinel *sentinel = talk->sentinel;
    if (where_resolve(&sentinel->where->name.at[sentinel->index], 0, found, &count) == 0) {
        talk->place = found[0];
        return true;
    }
    object(talk, "its name is not resolved");
    return false;
}

/* What hiredis or the deadlines say, without the "Redis at " before it. */
static void object_to_loss(struct talk *talk, struct conversation *conversation)
{
    static const char at[] = "Redis at ";
    const struct ledger_redis *redis = conversation_redis(conversation);
    const char *error = redis->error(redis->self);
    if (error == NULL || talk->error[0] != '\0')
        return;
    size_t skip = strncmp(error, at, sizeof(at) - 1) == 0 ? sizeof(at) - 1 : 0;
    snprintf(talk->error, sizeof(talk->error), "%.250s", error + skip);
}

static void ask(struct talk *talk)
{
    struct where *where = talk->sentinel->where;
    const char *const address[] = {"SENTINEL", "GET-MASTER-ADDR-BY-NAME", where->name.master};
    const char *const master[] = {"SENTINEL", "MASTER", where->name.master};
    const struct ledger_redis *redis = conversation_redis(talk->asks);
    talk->answers = 0;
    if (reach(talk, talk->asks) && send_words(talk, talk->asks, 3, address, take_address) &&
        send_words(talk, talk->asks, 3, master, take_master)) {
        while (talk->answers < 2 && redis->error(redis->self) == NULL && !is_stopping(where))
            conversation_wait(talk->asks, UINT64_MAX);
    }
    object_to_loss(talk, talk->asks);
    redis->close(redis->self);
}

/* ---- one Sentinel: its thread ---- */

/* Brings what the Sentinel said to all the others. A name that it gives is resolved here. */
static void tell(struct talk *talk)
{
    struct where_sentinel *sentinel = talk->sentinel;
    struct where *where = sentinel->where;
    struct ledger_redis_address found[WHERE_ADDRESSES_MAX];
    unsigned count = 0;
    if (talk->error[0] == '\0' && where_resolve(&talk->answer, 0, found, &count) != 0)
        object(talk, "the name that it gives for the master is not resolved");
    pthread_mutex_lock(&where->lock);
    snprintf(sentinel->error, sizeof(sentinel->error), "%s", talk->error);
    if (talk->error[0] == '\0') {
        memcpy(sentinel->addresses, found, sizeof(*found) * count);
        sentinel->count = count;
        sentinel->epoch = talk->epoch;
        sentinel->told_ms = clock_monotonic_ms();
        sentinel->is_known = true;
    }
    take_word(where);
    pthread_mutex_unlock(&where->lock);
}

/* A message is ["message", "+switch-master", "NAME OLD-HOST OLD-PORT HOST PORT"]. */
static void heard(void *context, const redisReply *reply)
{
    struct talk *talk = context;
    const char *master = talk->sentinel->where->name.master;
    const redisReply *text = reply->element[2];
    size_t length = strlen(master);
    talk->has_heard |= text->type == REDIS_REPLY_STRING &&
                       strncmp(text->str, master, length) == 0 && text->str[length] == ' ';
}

static void subscribed(void *context, const redisReply *reply)
{
    struct talk *talk = context;
    talk->is_subscribed = reply != NULL && reply->type == REDIS_REPLY_ARRAY;
}

/* Subscribes again where the connection was lost. */
static void follow(struct talk *talk)
{
    static const char *const words[] = {"SUBSCRIBE", "+switch-master"};
    const struct ledger_redis *redis = conversation_redis(talk->listens);
    if (talk->is_subscribed && redis->error(redis->self) == NULL)
        return;
    talk->is_subscribed = false;
    redis->close(redis->self);
    if (!reach(talk, talk->listens))
        return;
    redis->hear(redis->self, heard, talk);
    talk->is_subscribed = send_words(talk, talk->listens, 2, words, subscribed);
}

/* Waits until the Sentinel is to be asked again. */
static void await(struct talk *talk)
{
    struct where_sentinel *sentinel = talk->sentinel;
    struct where *where = sentinel->where;
    uint64_t now_ms = clock_monotonic_ms(), until_ms = now_ms + WHERE_LOOK_MS;
    uint64_t least_ms = now_ms + WHERE_LOOK_LEAST_MS;
    for (;;) {
        now_ms = clock_monotonic_ms();
        pthread_mutex_lock(&where->lock);
        bool asked = sentinel->asked || talk->has_heard;
        bool over = where->stop || now_ms >= (asked ? least_ms : until_ms);
        pthread_mutex_unlock(&where->lock);
        if (over)
            return;
        conversation_wait(talk->listens, asked ? least_ms : until_ms);
    }
}

static void *run(void *argument)
{
    struct talk *talk = argument;
    struct where_sentinel *sentinel = talk->sentinel;
    struct where *where = sentinel->where;
    while (!is_stopping(where)) {
        pthread_mutex_lock(&where->lock);
        sentinel->asked = talk->has_heard = false;
        pthread_mutex_unlock(&where->lock);
        talk->error[0] = '\0';
        if (resolve_place(talk)) {
            follow(talk); /* before it is asked: what it publishes from here on is heard */
            ask(talk);
        }
        tell(talk);
        await(talk);
    }
    conversation_destroy(&talk->asks);
    conversation_destroy(&talk->listens);
    free(talk);
    pthread_mutex_lock(&where->lock);
    where_drop(where);
    return NULL;
}

static int start(struct where *where, unsigned index)
{
    struct where_sentinel *sentinel = &where->sentinels[index];
    const struct ledger_redis_address *at = &where->name.at[index];
    struct talk *talk = calloc(1, sizeof(*talk));
    if (talk == NULL)
        return -ENOMEM;
    talk->sentinel = sentinel;
    snprintf(talk->name, sizeof(talk->name), "the Sentinel %s:%d", at->host, at->port);
    talk->options = (struct ledger_options){.redis = talk->name};
    sentinel->where = where;
    sentinel->index = index;
    sentinel->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int result = sentinel->wake_fd < 0 ? -errno : 0;
    if (result == 0)
        result = conversation_create(&talk->asks, where, &talk->options, &ledger_system_clock,
                                     sentinel->wake_fd);
    if (result == 0)
        result = conversation_create(&talk->listens, where, &talk->options, &ledger_system_clock,
                                     sentinel->wake_fd);
    if (result == 0)
        result = where_start(where, run, talk);
    if (result == 0)
        return 0;
    conversation_destroy(&talk->asks);
    conversation_destroy(&talk->listens);
    free(talk);
    return result;
}

int where_sentinels_start(struct where *where)
{
    int result = 0;
    for (unsigned i = 0; i < where->name.count && result == 0; i++)
        result = start(where, i);
    return result;
}
