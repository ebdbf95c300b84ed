/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tollgate_birth in a real Redis: what it says of a node that it has noted, has lost, or has no room
 * for.
 */
#include <criterion/criterion.h>
#include <hiredis/hiredis.h>

#include "storage/ledger/redis_table.h"
#include "tests/unit/ledger/fixture.h"

#define OWN "ffffffffffffffffffffffffffffffff"

static struct fixture fx;

static void setup(void)
{
    fixture_start(&fx);
    fixture_function_load(&fx);
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_birth_redis, .init = setup, .fini = teardown, .timeout = 60);

enum { SAME, SET_NOW, IS_OLDER, HAS_NO_ROOM };

/* A node with its lease asks, which was noted last at this time. Returns the third number of the answer;
 * `now_ms` may be NULL. */
static long long ask(long long noted_ms, long long *now_ms)
{
    redisReply *reply = fixture_redis(
        &fx, "FCALL tollgate_birth 1 tg:birth ab 0 " OWN " node-1 " OWN " ab 11 ab " OWN " %lld",
        noted_ms);
    cr_assert(reply->type == REDIS_REPLY_ARRAY && reply->elements == 3, "%s", reply->str);
    long long answer = reply->element[2]->integer;
    if (now_ms != NULL)
        *now_ms = reply->element[1]->integer;
    freeReplyObject(reply);
    return answer;
}

Test(ledger_birth_redis, finds_what_it_noted_and_tells_that_it_is_missing)
{
    long long now_ms, later_ms;
    cr_expect_eq(ask(0, &now_ms), SET_NOW);
    cr_expect_eq(ask(now_ms, &later_ms), SAME);
    freeReplyObject(fixture_redis(&fx, "HDEL tg:birth " OWN));
    freeReplyObject(fixture_redis(&fx, "HSET tg:birth id ab"));
    cr_expect_eq(ask(later_ms, NULL), IS_OLDER, "its last note is not in this file");
}

/* Of the nodes that know the id, those had said nothing since then that had not reached Redis. */
Test(ledger_birth_redis, has_another_id_once_one_node_misses_its_note)
{
    long long now_ms;
    (void)ask(0, &now_ms);
    redisReply *reply = fixture_redis(
        &fx, "FCALL tollgate_birth 1 tg:birth cd 0 " OWN " node-1 " OWN " - 11 ab " OWN " %lld",
        now_ms + 1000);
    cr_assert(reply->type == REDIS_REPLY_ARRAY && reply->elements == 3, "%s", reply->str);
    cr_expect_str_eq(reply->element[0]->str, "cd");
    cr_expect_eq(reply->element[2]->integer, IS_OLDER);
    freeReplyObject(reply);
    cr_expect_eq(ask(now_ms + 2000, NULL), SAME, "the node sees another id, which is enough");
    reply = fixture_redis(&fx, "HGET tg:birth id");
    cr_expect_str_eq(reply->str, "cd", "and gives it no third one");
    freeReplyObject(reply);
}

/* Else a node that comes back after thirty days would take what Redis forgot for a loss. */
Test(ledger_birth_redis, misses_nothing_that_it_would_have_forgotten)
{
    long long now_ms;
    (void)ask(0, &now_ms);
    freeReplyObject(fixture_redis(&fx, "HDEL tg:birth " OWN));
    cr_expect_eq(ask(now_ms - LEDGER_NODES_KEPT_MS - 1, NULL), SAME);
}

/* Else each further node would take it for a loss, with each renewal. */
Test(ledger_birth_redis, says_where_it_has_no_room_for_a_note)
{
    (void)ask(0, NULL);
    freeReplyObject(fixture_redis(&fx, "HDEL tg:birth " OWN));
    redisReply *filled = fixture_redis(
        &fx, "EVAL %s 1 tg:birth %d",
        "for i = 1, tonumber(ARGV[1]) do redis.call('HSET', KEYS[1], string.format('%032x', i), "
        "'n d ab 11 9000000000000') end",
        LEDGER_NODES_MAX);
    cr_assert_neq(filled->type, REDIS_REPLY_ERROR, "%s", filled->str);
    freeReplyObject(filled);
    cr_expect_eq(fixture_redis_integer(&fx, "HLEN tg:birth"), 1001);
    cr_expect_eq(ask(0, NULL), HAS_NO_ROOM);
    cr_expect_eq(fixture_redis_integer(&fx, "HLEN tg:birth"), 1001);
    cr_expect_eq(ask(0, NULL), HAS_NO_ROOM);
    cr_expect_eq(fixture_redis_integer(&fx, "HEXISTS tg:birth " OWN), 0);
}
