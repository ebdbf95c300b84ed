/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks, for where.h, which of the places where Redis may be has a master, by a new connection each
 * time: one that stands says nothing about where new ones lead, be it by a name, a load balancer or
 * a service address. Only what is found moves the generation, never what is missed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "server/base/clock.h"
#include "storage/ledger/conversation.h"
#include "storage/ledger/ledger_internal.h"
#include "storage/ledger/redis_talk.h"
#include "storage/ledger/where_internal.h"

struct look {
    struct where *where;               /* borrows */
    struct conversation *conversation; /* owns */
    struct ledger_redis_address candidates[WHERE_ADDRESSES_MAX];
    unsigned count;
    uint64_t takes; /* the candidates are of then */
    bool is_answered;
    struct redis_facts facts;
    char error[400]; /* why none was found */
};

/* ---- one place ---- */

static void take_info(void *context, const redisReply *reply)
{
    struct look *look = context;
    if (reply == NULL)
        return;
    look->is_answered = redis_read_facts(reply, &look->where->options, &look->facts, look->error,
                                         sizeof(look->error));
}

/* Whether what the looker does is of no more use. */
static bool is_stale(const struct look *look)
{
    struct where *where = look->where;
    pthread_mutex_lock(&where->lock);
    bool stale = where->stop || where->takes != look->takes;
    pthread_mutex_unlock(&where->lock);
    return stale;
}

/* Whether a master that has its data answers there. The conversation has the deadlines. */
static bool has_master(struct look *look, const struct ledger_redis_address *address)
{
    static const char *const info[] = {"INFO"};
    static const size_t length[] = {4};
    const struct ledger_redis *redis = conversation_redis(look->conversation);
    bool asked = false;
    look->is_answered = false;
    look->error[0] = '\0';
    (void)conversation_open_at(look->conversation, address);
    while (!look->is_answered && look->error[0] == '\0' && redis->error(redis->self) == NULL &&
           !is_stale(look)) {
        if (!asked && redis->is_ready(redis->self))
            asked = redis->send(redis->self, 1, info, length, take_info, NULL, look) == 0;
        conversation_wait(look->conversation, UINT64_MAX);
    }
    const char *error = redis->error(redis->self);
    if (!look->is_answered && look->error[0] == '\0' && error != NULL)
        snprintf(look->error, sizeof(look->error), "%s", error);
    if (look->is_answered && (look->facts.replica || look->facts.loading))
        snprintf(look->error, sizeof(look->error), "the Redis at %.200s:%d %s", address->host,
                 address->port, look->facts.replica ? "is a replica" : "is loading its data");
    redis->close(redis->self);
    return look->is_answered && look->error[0] == '\0';
}

/* ---- what was found ---- */

static void say(struct where *where, const struct ledger_redis_address *address, bool moved)
{
    static const char kind[] = "another Redis is in force";
    char text[LEDGER_TEXT_MAX];
    if (where->options.event == NULL)
        return;
    if (moved && address->port != 0)
        snprintf(text, sizeof(text), "Redis is at %s%s%s:%d now; all connections move there",
                 strchr(address->host, ':') != NULL ? "[" : "", address->host,
                 strchr(address->host, ':') != NULL ? "]" : "", address->port);
    else
        snprintf(text, sizeof(text),
                 "another Redis answers at %.200s now; all connections move to it",
                 where->options.redis);
    where->options.event(where->options.event_context, LEDGER_EVENT_INFO, kind, text);
}

/* Puts the master that was found into force, unless it is. */
static void found(struct look *look, const struct ledger_redis_address *address)
{
    struct where *where = look->where;
    pthread_mutex_lock(&where->lock);
    bool known = where->is_known;
    bool moved = !known || !where_is_same(address, &where->in_force);
    bool other = where->run_id[0] != '\0' && strcmp(where->run_id, look->facts.run_id) != 0;
    if (where->stop || where->takes != look->takes) {
        /* Redis may be elsewhere by now. */
    } else if (moved || other) {
        where_put(where, address, look->facts.run_id);
        if (known)
            say(where, address, moved);
    } else {
        snprintf(where->run_id, sizeof(where->run_id), "%s", look->facts.run_id);
    }
    pthread_mutex_unlock(&where->lock);
}

/* ---- looking ---- */

/* Takes the candidates, the one in force first if it is among them: it stays as long as it can. */
static void take_candidates(struct look *look)
{
    struct where *where = look->where;
    pthread_mutex_lock(&where->lock);
    look->takes = where->takes;
    look->count = where->count;
    memcpy(look->candidates, where->candidates, sizeof(look->candidates));
    for (unsigned i = 1; where->is_known && i < look->count; i++) {
        if (where_is_same(&where->in_force, &look->candidates[i])) {
            look->candidates[i] = look->candidates[0];
            look->candidates[0] = where->in_force;
        }
    }
    pthread_mutex_unlock(&where->lock);
}

static void look_once(struct look *look)
{
    struct where *where = look->where;
    take_candidates(look);
    bool has_found = false;
    for (unsigned i = 0; i < look->count && !has_found && !is_stale(look); i++) {
        has_found = has_master(look, &look->candidates[i]);
        if (has_found)
            found(look, &look->candidates[i]);
    }
    pthread_mutex_lock(&where->lock);
    if (look->count > 0 && where->takes == look->takes) {
        snprintf(where->look_error, sizeof(where->look_error), "%s", look->error);
        where->looks_done++;
        pthread_cond_broadcast(&where->looked_once);
    }
    pthread_mutex_unlock(&where->lock);
}

static void *run(void *argument)
{
    struct look *look = argument;
    struct where *where = look->where;
    pthread_mutex_lock(&where->lock);
    while (!where->stop) {
        where->look_asked = false;
        pthread_mutex_unlock(&where->lock);
        look_once(look);
        uint64_t now_ms = clock_monotonic_ms(), next_ms = now_ms + WHERE_LOOK_MS;
        uint64_t least_ms = now_ms + WHERE_LOOK_LEAST_MS;
        pthread_mutex_lock(&where->lock);
        while (!where->stop && now_ms < (where->look_asked ? least_ms : next_ms)) {
            uint64_t until_ms = where->look_asked ? least_ms : next_ms;
            pthread_mutex_unlock(&where->lock);
            conversation_wait(look->conversation, until_ms);
            now_ms = clock_monotonic_ms();
            pthread_mutex_lock(&where->lock);
        }
    }
    pthread_mutex_unlock(&where->lock);
    conversation_destroy(&look->conversation);
    free(look);
    return NULL;
}

int where_looker_start(struct where *where)
{
    struct look *look = calloc(1, sizeof(*look));
    if (look == NULL)
        return -ENOMEM;
    look->where = where;
    int look_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), result = look_fd < 0 ? -errno : 0;
    pthread_mutex_lock(&where->lock); /* the resolver runs */
    where->look_fd = look_fd;
    pthread_mutex_unlock(&where->lock);
    if (result == 0)
        result = conversation_create(&look->conversation, where, &where->options,
                                     &ledger_system_clock, where->look_fd);
    if (result == 0)
        result = ledger_thread_start(&where->looker, run, look);
    if (result == 0) {
        where->looks = true;
        return 0;
    }
    conversation_destroy(&look->conversation);
    free(look);
    return result;
}
