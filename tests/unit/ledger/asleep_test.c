/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts that are asleep: a start loads those alone that the segments behind the checkpoint name, a new
 * connection asks for those alone that are awake, and both still find what Redis lacks.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/clock.h"
#include "storage/ledger/checkpoints.h"
#include "tests/unit/ledger/forge_many.h"

#define ACCOUNTS 3000u

static struct fixture fx;
static struct forge forge;

static void setup(void)
{
    forge_start(&fx);
    fx.options.accounts_max = 2 * ACCOUNTS;
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_asleep, .init = setup, .fini = teardown, .timeout = 120);

static unsigned awake(void)
{
    unsigned count = 0;
    for (struct ledger_account *account = names_recorded(&fx.ledger->names); account != NULL;
         account = names_recorded_next(account))
        count++;
    return count;
}

static uint64_t accounts(void)
{
    struct ledger_stats stats;
    ledger_stats(fx.ledger, &stats);
    return stats.accounts;
}

/* How often Redis was sent this command so far. */
static uint64_t calls(const char *command)
{
    char word[64];
    redisReply *reply = fixture_redis(&fx, "INFO commandstats");
    snprintf(word, sizeof(word), "cmdstat_%s:calls=", command);
    const char *at = strstr(reply->str, word);
    uint64_t count = at != NULL ? strtoull(at + strlen(word), NULL, 10) : 0;
    freeReplyObject(reply);
    return count;
}

/* Waits until Redis has been told how much of the journal it has. */
static void await_proof(void)
{
    uint64_t records = atomic_load(&fx.ledger->journal.durable_records);
    while ((uint64_t)fixture_redis_integer(&fx, "HGET tg:lease:{%s} posted", fx.ledger->instance) <
           records)
        fixture_pause(); /* the suite's timeout ends it */
}

/* Leaves a state directory with a checkpoint of many accounts, and a Redis that has all of them. */
static void begin_filled(void)
{
    forge_many(&forge, fx.state, ACCOUNTS, 1);
    fixture_open_ready(&fx);
    await_proof();
    cr_assert_eq(fixture_close(&fx), 0);
}

/* Opens the ledger. Returns how many watermarks and the like Redis was asked for until it was ready. */
static uint64_t open_counted(void)
{
    uint64_t before = calls("hget");
    fixture_open_ready(&fx);
    return calls("hget") - before;
}

Test(ledger_asleep,
     those_that_no_segment_behind_the_checkpoint_names_are_neither_loaded_nor_asked_for)
{
    begin_filled();
    uint64_t asked = open_counted();
    cr_expect_lt(asked, ACCOUNTS / 10, "%" PRIu64, asked);
    cr_expect_eq(awake(), 1); /* shop/bob, who has a record behind the checkpoint */
    cr_expect_eq(accounts(), ACCOUNTS + 1);
    /* Another connection, without a restart of the node. */
    uint64_t before = calls("hget");
    freeReplyObject(fixture_redis(&fx, "CLIENT KILL TYPE normal SKIPME yes"));
    fixture_deliver(&fx, "listener-7", "/f", 10);
    cr_assert_eq(ledger_settle(fx.ledger, 10000), 0);
    cr_expect_lt(calls("hget") - before, ACCOUNTS / 10);
    cr_expect_eq(awake(), 2);
}

Test(ledger_asleep, one_that_is_needed_goes_on_where_its_checkpoint_ends)
{
    begin_filled();
    fixture_open_ready(&fx);
    struct ledger_account *account = fixture_account(&fx, "listener-5");
    while (!ledger_account_is_awake(fx.ledger, account))
        fixture_pause();
    cr_expect_eq(atomic_load(&account->sequence), FORGE_RECORDS + 2);
    cr_expect_eq(atomic_load(ledger_account_handed(account)), FORGE_FILES * FORGE_BYTES);
    ledger_account_drop(&account);
    fixture_deliver(&fx, "listener-5", "/f", 10);
    cr_assert_eq(fixture_change(&fx, LEDGER_TOP_UP, "listener-6", 500, "order-9", NULL), 0);
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "new", 500, "order-10", NULL), 0);
    cr_assert_eq(ledger_settle(fx.ledger, 10000), 0);
    cr_expect_eq(accounts(), ACCOUNTS + 2);
    cr_expect_eq(awake(), 4);
    cr_expect_eq(fixture_account_field(&fx, "shop/listener-5", "used"),
                 FORGE_FILES * FORGE_BYTES + 10);
    cr_expect_eq(fixture_account_field(&fx, "shop/listener-6", "balance"),
                 FORGE_MONEY - FORGE_FILES * FORGE_BYTES + 500);
    /* They stand in the segment behind the checkpoint now. */
    await_proof();
    cr_assert_eq(fixture_close(&fx), 0);
    fixture_open_ready(&fx);
    cr_expect_eq(awake(), 4);
    cr_expect_eq(accounts(), ACCOUNTS + 2);
}

Test(ledger_asleep, a_redis_that_is_older_than_the_checkpoint_is_given_what_it_lacks)
{
    begin_filled();
    /* A Redis of before: it has no count, and lacks some of the accounts. */
    freeReplyObject(
        fixture_redis(&fx, "DEL tg:{shop/listener-3}:account tg:{shop/listener-3}:grants"));
    redisReply *reply = fixture_redis(&fx, "KEYS tg:lease:*");
    cr_assert_eq(reply->elements, 1);
    freeReplyObject(fixture_redis(&fx, "HDEL %s posted", reply->element[0]->str));
    freeReplyObject(reply);
    uint64_t asked = open_counted();
    cr_expect_gt(asked, ACCOUNTS);
    cr_expect_eq(fixture_account_field(&fx, "shop/listener-3", "used"), FORGE_FILES * FORGE_BYTES);
    cr_expect_eq(fixture_account_field(&fx, "shop/listener-4", "used"), FORGE_FILES * FORGE_BYTES);
}

Test(ledger_asleep, one_that_was_rebuilt_while_the_node_was_away_is_posted_again)
{
    struct ledger_release found;
    begin_filled();
    struct ledger *other = fixture_open_other(&fx);
    cr_assert_eq(ledger_account_release(other, "shop", "listener-8", true, &found), -ENOENT);
    cr_assert_eq(ledger_close(&other, 5000), 0);
    cr_expect_eq(fixture_account_field(&fx, "shop/listener-8", "used"), 0);
    fixture_open_ready(&fx);
    cr_expect_eq(fixture_account_field(&fx, "shop/listener-8", "used"), FORGE_FILES * FORGE_BYTES);
}

Test(ledger_asleep, one_that_was_rebuilt_unheard_is_posted_again)
{
    begin_filled();
    fixture_open_ready(&fx);
    cr_expect_eq(awake(), 1); /* shop/bob, who has a record behind the checkpoint */
    /* As another node's release does it, of which no message arrives here. */
    freeReplyObject(fixture_redis(&fx, "HINCRBY tg:emptied mark 5"));
    freeReplyObject(
        fixture_redis(&fx, "DEL tg:{shop/listener-8}:account tg:{shop/listener-8}:grants"));
    freeReplyObject(fixture_redis(&fx, "HINCRBY tg:emptied mark 5"));
    while (fixture_account_field(&fx, "shop/listener-8", "used") != FORGE_FILES * FORGE_BYTES)
        fixture_pause(); /* the suite's timeout ends it */
}

/* ---- leaving ---- */

static bool is_awake(const char *text)
{
    struct ledger_account *account = names_find(&fx.ledger->names, text, strlen(text));
    bool is = account != NULL && names_is_awake(account);
    ledger_account_drop(&account);
    return is;
}

/* Has the node make so many checkpoints more, by usage of another account. */
static void make_checkpoints(unsigned more)
{
    struct ledger_stats stats;
    ledger_stats(fx.ledger, &stats);
    for (uint64_t least = stats.checkpoints + more; stats.checkpoints < least;) {
        for (unsigned i = 0; i < 16; i++)
            fixture_deliver(&fx, "bob", "/f", 1);
        cr_assert_eq(ledger_settle(fx.ledger, 10000), 0);
        ledger_stats(fx.ledger, &stats);
    }
}

static void begin_with_quiet(void)
{
    fx.options.quiet_ms = 1;
    fx.options.checkpoint_records = 1;
    fixture_open_ready(&fx);
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "alice", 5000, "order-1", NULL), 0);
    fixture_deliver(&fx, "alice", "/f", 100);
    cr_assert_eq(ledger_settle(fx.ledger, 10000), 0);
}

Test(ledger_asleep,
     one_that_is_quiet_leaves_once_two_checkpoints_have_it_and_comes_back_with_its_figures)
{
    begin_with_quiet();
    struct ledger_account *held = fixture_account(&fx, "alice");
    make_checkpoints(3);
    cr_expect(is_awake("shop/alice"), "somebody has it");
    uint64_t sequence = atomic_load(&held->sequence);
    ledger_account_drop(&held);
    while (is_awake("shop/alice"))
        fixture_pause(); /* the suite's timeout ends it */
    cr_expect_eq(accounts(), 2);
    fixture_deliver(&fx, "alice", "/f", 50);
    cr_assert_eq(ledger_settle(fx.ledger, 10000), 0);
    held = fixture_account(&fx, "alice");
    cr_expect_eq(atomic_load(&held->sequence), sequence + 1);
    cr_expect_eq(atomic_load(ledger_account_handed(held)), 100); /* as by its checkpoint */
    ledger_account_drop(&held);
    cr_expect_eq(fixture_account_field(&fx, "shop/alice", "used"), 150);
    cr_expect_eq(accounts(), 2);
}

Test(ledger_asleep, one_that_left_is_in_a_redis_that_was_emptied_again)
{
    begin_with_quiet();
    make_checkpoints(3);
    while (is_awake("shop/alice"))
        fixture_pause(); /* the suite's timeout ends it */
    await_proof();
    freeReplyObject(fixture_redis(&fx, "FLUSHALL"));
    while (fixture_account_field(&fx, "shop/alice", "used") != 100)
        fixture_pause();
    fixture_wait_state(&fx, LEDGER_READY);
    cr_expect_eq(fixture_account_field(&fx, "shop/alice", "balance"), 4900);
}

/* ---- memory ---- */

static uint64_t resident_kib(void)
{
    char line[128];
    unsigned long long kib = 0;
    malloc_trim(0);
    FILE *file = fopen("/proc/self/status", "r");
    cr_assert_not_null(file);
    while (fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "VmRSS: %llu", &kib) == 1)
            break;
    fclose(file);
    return kib;
}

/* Gives Redis a count by which it has all of the journal, although it has nothing. */
static void forge_proof(void)
{
    forge_open(&forge, fx.state, "node-1", FORGE_SEGMENT);
    freeReplyObject(fixture_redis(&fx, "HSET tg:emptied mark 77"));
    freeReplyObject(fixture_redis(&fx, "HSET tg:lease:{%s} posted %s", forge.ledger->instance,
                                  "1000000000 77"));
    forge_close(&forge);
}

/* What the node takes in memory with so many accounts known, and of these so many active. */
static uint64_t kib_of(unsigned known, unsigned active)
{
    char text[32];
    forge_many(&forge, fx.state, known,
               0); /* a day of five files takes 250 bytes more of the disk */
    forge_proof();
    fx.options.accounts_max = 20000000;
    uint64_t before = resident_kib(), begun_ms = clock_monotonic_ms();
    fixture_open(&fx);
    uint64_t opened_ms = clock_monotonic_ms(), asked = calls("hget");
    fixture_wait_state(&fx, LEDGER_READY);
    uint64_t ready_ms = clock_monotonic_ms();
    cr_expect_lt(calls("hget") - asked, 1000);
    for (unsigned i = 0; i < active; i++) {
        (void)forge_many_name(i, text);
        struct ledger_account *account = fixture_account(&fx, strchr(text, '/') + 1);
        while (!ledger_account_is_awake(fx.ledger, account))
            fixture_pause();
        ledger_account_drop(&account);
    }
    cr_expect_eq(awake(), active + 1);
    uint64_t kib = resident_kib() - before;
    if (known > 1000000)
        fprintf(stderr,
                "%u accounts known, %u active: opened in %" PRIu64 " ms, ready %" PRIu64
                " ms behind that; %" PRIu64 " MiB resident more than before, %" PRIu64 " in all\n",
                known, active, opened_ms - begun_ms, ready_ms - opened_ms, kib / 1024,
                resident_kib() / 1024);
    cr_assert_eq(fixture_close(&fx), 0);
    fixture_remove(fx.state);
    freeReplyObject(fixture_redis(&fx, "FLUSHALL"));
    return kib;
}

/*
 * Ten million take some minutes, and 3 GB of a disk:
 *
 *   TOLLGATE_KNOWN_ACCOUNTS=10000000 build/tests/ledger_test --filter 'ledger_asleep/memory*'
 */
Test(ledger_asleep, memory_follows_those_that_are_active, .timeout = 1200)
{
    const char *asked = getenv("TOLLGATE_KNOWN_ACCOUNTS");
    unsigned known = asked != NULL ? (unsigned)strtoul(asked, NULL, 10) : 300000;
    uint64_t few = kib_of(known / 10, known / 1000 < 1000 ? 1000 : known / 1000);
    uint64_t many = kib_of(known, known / 1000 < 1000 ? 1000 : known / 1000);
    /* The index of the checkpoint has 24 bytes for each 16 KiB. */
    cr_expect_lt(many, few + 2048 + known / 1000, "%" PRIu64 " and %" PRIu64 " KiB", few, many);
}
