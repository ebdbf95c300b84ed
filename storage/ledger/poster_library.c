/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judges the function library that Redis has, and loads ours where it is to take its place. A library
 * takes the calls of its own version and of the one before. So one that is a version newer than ours is
 * kept; one that is older is replaced, unless a node runs whose calls ours would not take. poster.c
 * calls it, for each new connection.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "storage/ledger/poster_internal.h"

#define RUNS_MS                                                                                    \
    10000 /* a node says something each second; one that was silent for so long does not run */

/* Refuses to serve, for the reason in `text`, until Redis or its nodes are others. */
static int refuse(struct poster *poster, const char *text)
{
    poster_not_current(poster, text);
    poster_object(poster, LEDGER_REFUSED, text);
    return -EPERM;
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
    return refuse(poster, text);
}

static int refuse_newer_functions(struct poster *poster)
{
    char text[LEDGER_TEXT_MAX];
    snprintf(text, sizeof(text),
             "Redis at %.160s has functions of version %" PRId64
             ", which take the calls of that version and of the one before, and this program makes "
             "those of version %d; start a newer Tollgate on this node",
             poster->ledger->options.redis, poster->library, LEDGER_FUNCTIONS_FORMAT);
    return refuse(poster, text);
}

static int refuse_behind(struct poster *poster)
{
    char text[LEDGER_TEXT_MAX];
    snprintf(text, sizeof(text),
             "node %s runs with functions of version %" PRId64
             " in Redis at %.160s, and version %d, which this program brings, does not take its "
             "calls; upgrade that node to a release with version %d first, or stop it",
             poster->behind, poster->behind_functions, poster->ledger->options.redis,
             LEDGER_FUNCTIONS_FORMAT, LEDGER_FUNCTIONS_FORMAT - 1);
    return refuse(poster, text);
}

/* ---- who else runs there ---- */

/* Notes a node of tg:birth that runs and whose calls our library would not take. */
static void take_node(struct poster *poster, const char *entry)
{
    char name[LEDGER_NODE_MAX + 1], directory[LEDGER_HEX_SIZE];
    int64_t seen_ms, functions = 0;
    if (sscanf(entry, "%32s %32s %*s %*s %" SCNd64 " %" SCNd64, name, directory, &seen_ms,
               &functions) < 3)
        return; /* the birth id */
    bool runs = seen_ms > poster->redis_ms - RUNS_MS && seen_ms < poster->redis_ms + RUNS_MS;
    bool is_own = strcmp(directory, poster->ledger->lane.state_id) == 0;
    if (functions == 0) /* it does not say: it calls the library that is there */
        functions = poster->library;
    if (!runs || is_own || functions >= LEDGER_FUNCTIONS_FORMAT - 1)
        return;
    memcpy(poster->behind, name, sizeof(name));
    poster->behind_functions = functions;
}

static int take_asked(struct poster *poster, size_t index, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR)
        return poster_refused(poster, index == 0 ? "TIME" : "HGETALL", reply);
    if (index == 0)
        return redis_read_time(reply, &poster->redis_ms) ? 0 : -EAGAIN;
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2)
        if (reply->element[i + 1]->type == REDIS_REPLY_STRING)
            take_node(poster, reply->element[i + 1]->str);
    return 0;
}

static int ask_nodes(struct poster *poster)
{
    static const char *const clock[] = {"TIME"}, *const nodes[] = {"HGETALL", "tg:birth"};
    poster->behind[0] = '\0';
    poster_enter(poster, POSTER_ASKING, take_asked);
    int result = poster_send(poster, 1, clock);
    return result == 0 ? poster_send(poster, 2, nodes) : result;
}

/* ---- loading ---- */

static int take_loaded(struct poster *poster, size_t index, const redisReply *reply)
{
    (void)index;
    if (reply->type == REDIS_REPLY_ERROR)
        return poster_refused(poster, "FUNCTION", reply);
    if (poster->library > 0 && poster->library < LEDGER_FUNCTIONS_FORMAT)
        ledger_say(poster->ledger, LEDGER_EVENT_INFO,
                   "Redis at %.160s had version %" PRId64
                   " of the function library, and has version %d now, which takes the calls of "
                   "version %d, too",
                   poster->ledger->options.redis, poster->library, LEDGER_FUNCTIONS_FORMAT,
                   LEDGER_FUNCTIONS_FORMAT - 1);
    return 0;
}

static int load(struct poster *poster)
{
    const char *const words[] = {"FUNCTION", "LOAD", "REPLACE", redis_library_text()};
    poster_enter(poster, POSTER_LOADING, take_loaded);
    return poster_send(poster, 4, words);
}

int poster_asked(struct poster *poster)
{
    return poster->behind[0] != '\0' ? refuse_behind(poster) : load(poster);
}

int poster_learned(struct poster *poster)
{
    if (poster->library > 0 && poster->library < LEDGER_DATA_FORMAT)
        return refuse_older_data(poster);
    if (poster->library > LEDGER_FUNCTIONS_FORMAT + 1)
        return refuse_newer_functions(poster);
    bool newer = poster->library > LEDGER_FUNCTIONS_FORMAT;
    if (newer && poster->library != poster->said_newer)
        ledger_say(poster->ledger, LEDGER_EVENT_WARNING,
                   "Redis holds version %" PRId64
                   " of the function library, this program brings %d; kept, since it takes the "
                   "calls of both; upgrade this node, too",
                   poster->library, LEDGER_FUNCTIONS_FORMAT);
    poster->said_newer = newer ? poster->library : 0;
    if (newer || (poster->library == LEDGER_FUNCTIONS_FORMAT && poster->library_is_ours))
        return poster_ask_lease(poster, LEASE_TO_BEGIN);
    bool older = poster->library > 0 && poster->library < LEDGER_FUNCTIONS_FORMAT;
    return older ? ask_nodes(poster) : load(poster);
}
