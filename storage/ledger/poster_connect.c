/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the poster asks of a new connection before it posts: which Redis this is, which function library
 * it has (poster_library.c judges that), and the lease. poster.c calls it. It posts nothing.
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
