/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the poster asks of a new connection before it posts: which Redis this is, whether it has the
 * function library, and the lease. poster.c calls it. It posts nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "storage/ledger/poster_internal.h"
#include "storage/ledger/where.h"

/* ---- which Redis this is ---- */

/* Judges the server before anything is written to it. */
static int judge_facts(struct poster *poster, const struct redis_facts *facts)
{
    char text[LEDGER_TEXT_MAX];
    const char *address = poster->ledger->options.redis;
    if (facts->loading || facts->replica) {
        snprintf(poster->error, sizeof(poster->error), "Redis at %.160s %s", address,
                 facts->loading ? "is loading its data"
                                : "is a replica; give the address of its master in `redis`");
        return -EAGAIN;
    }
    if (!facts->noeviction) {
        snprintf(
            text, sizeof(text),
            "Redis at %.160s may evict accounts and bills, because its maxmemory-policy is %s; run "
            "redis-cli CONFIG SET maxmemory-policy noeviction, and put it into redis.conf",
            address, facts->policy);
        poster_not_current(poster, text);
        poster_object(poster, LEDGER_CATCHING_UP, text);
        return -EPERM;
    }
    if (!facts->append_only && !poster->warned_append_only)
        ledger_say(poster->ledger, LEDGER_EVENT_WARNING, "Redis at %.160s %s", address,
                   LEDGER_REDIS_FORGETS);
    poster->warned_append_only = poster->warned_append_only || !facts->append_only;
    if (strcmp(poster->run_id, facts->run_id) != 0 ||
        strcmp(poster->replication_id, facts->replication_id) != 0)
        poster_not_current(poster, "Redis has changed; the journal is being replayed to it");
    uint64_t generation = where_lead(poster->ledger->where, poster->generation, facts->run_id);
    if (generation == 0) {
        snprintf(poster->error, sizeof(poster->error), "another Redis has come into force");
        return -EAGAIN;
    }
    poster->generation = generation;
    memcpy(poster->run_id, facts->run_id, sizeof(poster->run_id));
    memcpy(poster->replication_id, facts->replication_id, sizeof(poster->replication_id));
    return 0;
}

/* ---- the function library ---- */

static int take_learned(struct poster *poster, size_t index, const redisReply *reply)
{
    struct redis_facts facts;
    switch (index) {
    case 0:
        if (!redis_read_facts(reply, &poster->ledger->options, &facts, poster->error,
                              sizeof(poster->error)))
            return -EAGAIN;
        return judge_facts(poster, &facts);
    case 1:
        poster->library = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
        return 0;
    default:
        poster->library_is_ours = redis_is_this_library(reply);
        return 0;
    }
}

int poster_learn(struct poster *poster)
{
    static const char *const info[] = {"INFO"};
    poster_enter(poster, POSTER_LEARNING, take_learned);
    int result = poster_send(poster, 1, info);
    if (result == 0)
        result = poster_send(poster, 3, redis_version_words);
    return result == 0 ? poster_send(poster, 5, redis_library_words) : result;
}

static int take_loaded(struct poster *poster, size_t index, const redisReply *reply)
{
    (void)index;
    return reply->type == REDIS_REPLY_ERROR ? poster_refused(poster, "FUNCTION", reply) : 0;
}

/* The functions of an older version, whose data would be misread. They stay, since a node of that
 * version may still run. */
static int refuse_older_data(struct poster *poster)
{
    char text[LEDGER_TEXT_MAX];
    snprintf(text, sizeof(text),
             "Redis at %.160s holds data of an older version (functions %" PRId64
             ", not %d or newer), which cannot be used; stop all nodes, run redis-cli FLUSHALL and "
             "redis-cli FUNCTION DELETE tollgate, and start all nodes: they fill it again from "
             "their journals",
             poster->ledger->options.redis, poster->library, LEDGER_DATA_FORMAT);
    poster_not_current(poster, text);
    poster_object(poster, LEDGER_REFUSED, text);
    return -EPERM;
}

int poster_learned(struct poster *poster)
{
    if (poster->library > 0 && poster->library < LEDGER_DATA_FORMAT)
        return refuse_older_data(poster);
    const char *const load[] = {"FUNCTION", "LOAD", "REPLACE", redis_library_text()};
    bool newer = poster->library > LEDGER_FUNCTIONS_FORMAT;
    if (newer && poster->library != poster->said_newer)
        ledger_say(poster->ledger, LEDGER_EVENT_WARNING,
                   "Redis holds version %" PRId64
                   " of the function library, this program brings %d; kept",
                   poster->library, LEDGER_FUNCTIONS_FORMAT);
    poster->said_newer = newer ? poster->library : 0;
    if (newer || (poster->library == LEDGER_FUNCTIONS_FORMAT && poster->library_is_ours))
        return poster_ask_lease(poster, LEASE_TO_BEGIN);
    poster_enter(poster, POSTER_LOADING, take_loaded);
    return poster_send(poster, 4, load);
}

/* ---- the lease ---- */

static int objects(struct poster *poster, enum ledger_state state, int result)
{
    poster_not_current(poster, poster->lease_text);
    poster_object(poster, state, poster->lease_text);
    return result;
}

static int judge(struct poster *poster)
{
    switch (poster->leased) {
    case LEASE_HELD:
        return 0;
    case LEASE_NEW:
        return poster->purpose == LEASE_TO_BEGIN ? 0 : -ESTALE;
    case LEASE_WAIT:
        return objects(poster, LEDGER_CATCHING_UP, -EBUSY);
    case LEASE_REFUSED:
        return objects(poster, LEDGER_REFUSED, -EPERM);
    case LEASE_UNKNOWN:
        break;
    }
    return -EAGAIN;
}

int poster_judge_lease(struct poster *poster)
{
    int result = judge(poster);
    if (result == 0 || poster->purpose == LEASE_TO_BEGIN || poster->purpose == LEASE_TO_REST)
        return result;
    /* Where the lease ran out, a copy of this directory may have held it, which only Redis knows. */
    snprintf(poster->error, sizeof(poster->error),
             "the node no longer holds the lease of its name");
    return result == -ESTALE || poster->purpose == LEASE_TO_POST ? -EAGAIN : result;
}
