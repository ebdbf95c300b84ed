/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of a checkpoint: each is taken once and in order; what Redis says of an account of which some are
 * missing; and which checkpoint a node posts where it finds several, or one that was begun, or none.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "storage/ledger/checkpoint_index.h"
#include "storage/ledger/fill_part.h"
#include "storage/ledger/segment.h"
#include "tests/unit/ledger/forge.h"

static struct fixture fx;
static struct forge forge;

static void setup(void)
{
    forge_start(&fx);
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_fill_part, .init = setup, .fini = teardown, .timeout = 120);

static uint64_t filled(void)
{
    struct ledger_stats stats;
    ledger_stats(fx.ledger, &stats);
    cr_assert_eq(stats.accounts_filling, 0);
    return stats.accounts_filled;
}

/* ---- parts ---- */

/* An account with usage of so many files, an opening and a revocation, and its checkpoint. */
static void forge_long(unsigned files)
{
    forge_open(&forge, fx.state, "node-1", FORGE_SEGMENT);
    forge_operation(&forge, "alice", LEDGER_OPEN, 100000, "order-1", 1);
    for (unsigned i = 0; i < files; i++) {
        char path[16];
        snprintf(path, sizeof(path), "/f%u", i);
        forge_usage(&forge, "alice", path, 20261120, 10);
    }
    while (journal_segments(&forge.ledger->journal) < 2)
        forge_usage(&forge, "bob", "/f", 20261120, 1);
    forge_checkpoint(&forge, 0, 1);
}

static struct fill_part part;
static struct names names;
static struct checkpoint_account alice;

/* Reads the checkpoint of alice; the forge stays open for her account. */
static struct fill_says read_alice(uint32_t rows)
{
    struct checkpoint_index index;
    const struct checkpoint_place place = forge_place(&forge);
    struct ledger_account *account;
    const uint8_t *bytes;
    uint32_t length;
    cr_assert_eq(names_init(&names, 10, 10), 0);
    cr_assert_eq(checkpoint_index_open(&index, &place, 1), 0);
    cr_assert_eq(checkpoint_index_find(&index, "shop/alice", 10, &bytes, &length), 1);
    cr_assert_eq(checkpoint_account_decode(bytes, length, &names, &alice), 0);
    checkpoint_index_close(&index);
    cr_assert_eq(ledger_account_get(forge.ledger, "shop", "alice", 5, &account), 0);
    return (struct fill_says){.account = account,
                              .checkpoint = &alice,
                              .instance = forge.ledger->instance,
                              .node = "node-1",
                              .lease = 1,
                              .segment = 1,
                              .wait_ms = 60000,
                              .rows = rows};
}

static void drop_alice(struct fill_says *says)
{
    struct ledger_account *account = (struct ledger_account *)(uintptr_t)says->account;
    ledger_account_drop(&account);
    checkpoint_account_clear(&alice);
    names_free(&names);
}

/* Sends a part; returns the first number of the answer, and the second one in `second`. */
static long long send(struct fill_says *says, uint32_t number, long long *second)
{
    says->number = number;
    fill_part_make(&part, says);
    redisReply *reply = redisCommandArgv(fx.connection, part.count, part.words, part.lengths);
    cr_assert_not_null(reply);
    cr_assert(reply->type == REDIS_REPLY_ARRAY && reply->elements == 4, "%s", reply->str);
    long long first = reply->element[0]->integer;
    *second = reply->element[1]->integer;
    freeReplyObject(reply);
    return first;
}

static int64_t admission(const char *instance)
{
    redisReply *reply = fixture_redis(
        &fx,
        "FCALL tollgate_admit 4 tg:{shop/alice}:account tg:{shop/alice}:grants "
        "tg:{shop/alice}:link:x tg:{shop/alice}:link:x:grants %s 1 30000 5 10 0 0 0 0 0",
        instance);
    cr_assert(reply->type == REDIS_REPLY_ARRAY, "%s", reply->str);
    int64_t admission = reply->element[0]->integer;
    freeReplyObject(reply);
    return admission;
}

static int64_t verdict(void)
{
    redisReply *reply =
        fixture_redis(&fx, "FCALL tollgate_order 6 tg:{shop/alice}:account " FIXTURE_RING(
                               "shop/alice") "top_up 5 - order-9 9 0 60000");
    cr_assert(reply->type == REDIS_REPLY_ARRAY, "%s", reply->str);
    int64_t verdict = reply->element[0]->integer;
    freeReplyObject(reply);
    return verdict;
}

#define OTHER "00000000000000000000000000000002"

Test(ledger_fill_part, each_part_is_taken_once_and_in_order)
{
    long long second;
    forge_long(25);
    struct fill_says says = read_alice(10);
    fixture_function_load(&fx);
    cr_assert_eq(fill_parts(&alice, 10), 3);
    cr_expect_eq(send(&says, 2, &second), 1, "the first one is due");
    cr_expect_eq(send(&says, 1, &second), 0);
    cr_expect_eq(send(&says, 1, &second), 0, "its answer was lost");
    cr_expect_eq(fixture_account_field(&fx, "shop/alice", "used"), 100);
    cr_expect_eq(send(&says, 3, &second), 1);
    cr_expect_eq(send(&says, 2, &second), 0);
    cr_expect_eq(send(&says, 1, &second), 0);
    cr_expect_eq(send(&says, 3, &second), 0);
    cr_expect_eq(second, (long long)alice.sequence);
    cr_expect_eq(send(&says, 3, &second), 0, "its answer was lost");
    cr_expect_eq(second, (long long)alice.sequence);
    cr_expect_eq(fixture_account_field(&fx, "shop/alice", "used"), 250);
    cr_expect_eq(fixture_account_field(&fx, "shop/alice", "balance"), 100000 - 250);
    redisReply *reply = fixture_redis(&fx, "HEXISTS tg:{shop/alice}:account filling");
    cr_expect_eq(reply->integer, 0);
    freeReplyObject(reply);
    drop_alice(&says);
    forge_close(&forge);
}

Test(ledger_fill_part, while_parts_are_missing_nothing_is_granted_ordered_or_posted)
{
    long long second;
    forge_long(25);
    struct fill_says says = read_alice(10);
    fixture_function_load(&fx);
    (void)send(&says, 1, &second);
    cr_expect_eq(admission(OTHER), LEDGER_FILLING);
    cr_expect_eq(verdict(), LEDGER_VERDICT_FILLING);
    redisReply *reply =
        fixture_redis(&fx,
                      "FCALL tollgate_post 4 tg:{shop/alice}:account tg:{shop/alice}:grants "
                      "tg:{shop/alice}:usage:20261120 tg:{shop/alice}:usage:202611 %s 1 1 1 usage "
                      "20261120 /f 1 1 %s",
                      says.instance, "");
    cr_assert(reply->type == REDIS_REPLY_ARRAY, "%s", reply->str);
    cr_expect_eq(reply->element[0]->integer, 3);
    cr_expect_eq(reply->element[1]->integer, 1);
    freeReplyObject(reply);
    says.segment = 2;
    cr_expect_eq(send(&says, 1, &second), 3, "of another checkpoint");
    cr_expect_eq(second, 1);
    says.segment = 1;
    (void)send(&says, 2, &second);
    cr_expect_eq(admission(OTHER), LEDGER_FILLING);
    (void)send(&says, 3, &second);
    cr_expect_eq(admission(OTHER), LEDGER_GRANTED);
    cr_expect_eq(verdict(), LEDGER_VERDICT_TAKEN);
    drop_alice(&says);
    forge_close(&forge);
}

Test(ledger_fill_part, nobody_waits_longer_for_missing_parts_than_was_said)
{
    long long second;
    forge_long(25);
    struct fill_says says = read_alice(10);
    fixture_function_load(&fx);
    says.wait_ms = 0;
    (void)send(&says, 1, &second);
    cr_expect_eq(admission(OTHER), LEDGER_UNKNOWN);
    cr_expect_eq(verdict(), LEDGER_VERDICT_NOT_OPEN);
    drop_alice(&says);
    forge_close(&forge);
}

/* ---- which checkpoint ---- */

static char *checkpoint_path(uint32_t segment)
{
    static char path[200];
    char name[SEGMENT_NAME_MAX];
    segment_name(segment, name);
    snprintf(path, sizeof(path), "%s/lane-a/checkpoints/%s", fx.state, name);
    return path;
}

/* Leaves an account of which one part of the checkpoint of segment 1 was taken, and a newer checkpoint. */
static void begin_and_go_on(void)
{
    long long second;
    forge_long(25);
    struct fill_says says = read_alice(10);
    fixture_function_load(&fx);
    cr_assert_eq(send(&says, 1, &second), 0);
    drop_alice(&says);
    forge_usage(&forge, "alice", "/late", 20261121, 7);
    while (journal_segments(&forge.ledger->journal) < 3)
        forge_usage(&forge, "bob", "/f", 20261120, 1);
    forge_usage(&forge, "alice", "/later", 20261121, 5);
    forge_checkpoint(&forge, 1, 2);
    forge_close(&forge);
    fx.options.fill_rows = 10;
}

Test(ledger_fill_part, one_that_was_begun_is_finished_although_a_newer_one_is_there)
{
    begin_and_go_on();
    fixture_open_ready(&fx);
    cr_assert_eq(fx.ledger->journal.from_checkpoint, 2);
    cr_expect_eq(filled(), 2);
    cr_expect_eq(fixture_account_field(&fx, "shop/alice", "used"), 250 + 7 + 5);
    cr_expect_eq(fixture_account_field(&fx, "shop/alice", "balance"), 100000 - 262);
    cr_expect_eq(fixture_redis_usage(&fx, "shop/alice"), 262);
}

Test(ledger_fill_part, one_that_was_begun_and_is_gone_sets_its_account_aside_until_it_is_rebuilt)
{
    struct ledger_release found;
    begin_and_go_on();
    cr_assert_eq(unlink(checkpoint_path(1)), 0);
    fixture_open_ready(&fx);
    struct ledger_account *account = fixture_account(&fx, "alice");
    cr_expect(ledger_account_is_set_aside(account));
    cr_expect_eq(filled(), 1, "bob");
    cr_assert_eq(ledger_account_release(fx.ledger, "shop", "alice", true, &found), 0, "%s",
                 found.said);
    cr_expect_not(ledger_account_is_set_aside(account));
    cr_expect_eq(fixture_redis_usage(&fx, "shop/alice"), 262);
    ledger_account_drop(&account);
}

Test(ledger_fill_part, one_that_cannot_be_read_gives_way_to_the_segments_at_the_next_start)
{
    forge_long(25);
    forge_close(&forge);
    fixture_redis_kill(&fx);
    fixture_open(&fx);
    /* The start has read it, and then the disk loses it. */
    cr_assert_eq(fx.ledger->journal.from_checkpoint, 1);
    cr_assert_eq(unlink(checkpoint_path(1)), 0);
    fixture_redis_start(&fx);
    fixture_wait_state(&fx, LEDGER_FAILED);
    cr_assert_gt(fixture_close(&fx), 0);
    fixture_open_ready(&fx);
    cr_expect_eq(fx.ledger->journal.from_checkpoint, 0);
    cr_expect_eq(fixture_redis_usage(&fx, "shop/alice"), 250);
}
