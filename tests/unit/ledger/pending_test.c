/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When usage is posted: at the end of its interval, at a download's end, for an account that is
 * asked for, near the end of a balance, and at the bound. One thread calls the poster's step, with a
 * clock that the test moves and a Redis that it plays.
 */
#include <criterion/criterion.h>

#include "tests/unit/ledger/poster_play.h"

#define INTERVAL_MS 10000
#define GRID_MS     (INTERVAL_MS / 20)

static struct ledger_download *open_of[8]; /* those that a test left open */
static unsigned open_count;

static void begin(void)
{
    setup();
    open_count = 0;
    world.options.post_interval_ms = INTERVAL_MS;
    world.options.lease_ms = 600000; /* so that it is asked for before posts alone */
    open_again();
    connect_ready();
    step();
}

static void end(void)
{
    while (open_count > 0)
        ledger_download_close(&open_of[--open_count]);
    teardown();
}

TestSuite(ledger_pending, .init = begin, .fini = end, .timeout = 30);

static struct ledger_account *account_of(const char *name)
{
    struct ledger_account *account;
    cr_assert_eq(ledger_account_get(world.ledger, "shop", name, strlen(name), &account), 0);
    return account;
}

/* Opens a download of shop/NAME, which stays open. */
static struct ledger_download *listen(const char *name)
{
    struct ledger_file *file;
    struct ledger_account *account = account_of(name);
    cr_assert_eq(ledger_file_get(world.ledger, "/f", 2, &file), 0);
    cr_assert_eq(ledger_download_open(world.ledger, account, file, &open_of[open_count]), 0);
    ledger_account_drop(&account);
    ledger_file_drop(&file);
    return open_of[open_count++];
}

/* One mark; nothing of it is closed. */
static void mark(struct ledger_download *download, uint64_t bytes)
{
    ledger_download_add(download, bytes, 0);
    writer_step(world.ledger);
    step();
}

static void expect_quiet(void)
{
    cr_assert_str_eq(script_next(&world.poster), "");
    cr_assert_eq(state(), POSTER_RESTING);
}

/* A post that left the balance at so many bytes. */
static void answer_balance(unsigned to, int balance)
{
    char protocol[64];
    snprintf(protocol, sizeof(protocol), "*4\r\n:0\r\n:%u\r\n:%d\r\n:1\r\n", to, balance);
    answer("FCALL tollgate_post", protocol);
    step();
}

Test(ledger_pending, usage_of_many_marks_is_one_post_at_the_end_of_the_interval)
{
    struct ledger_download *download = listen("alice");
    uint64_t began_ms = world.now_ms;
    for (unsigned i = 0; i < 9; i++) {
        mark(download, 100);
        expect_quiet();
        cr_assert_gt(unposted(), 0);
        world.now_ms += 1000;
    }
    uint64_t due_ms = step();
    cr_assert_geq(due_ms, began_ms + INTERVAL_MS);
    cr_assert_lt(due_ms, began_ms + INTERVAL_MS + GRID_MS);
    world.now_ms = due_ms - 1;
    step();
    expect_quiet();
    world.now_ms = due_ms;
    step();
    answer_lease(RENEWED);
    answer_post("alice", 0, 9);
    step();
    expect_quiet();
    cr_assert_eq(unposted(), 0);
    cr_assert_eq(atomic_load(&world.ledger->posts), 1);
    cr_assert_eq(atomic_load(&world.ledger->records_posted), 9);
}

Test(ledger_pending, accounts_that_are_due_together_leave_together_with_one_question_for_the_lease)
{
    struct ledger_download *alice = listen("alice"), *bob = listen("bob");
    world.now_ms = world.now_ms / GRID_MS * GRID_MS + 1;
    mark(alice, 1);
    world.now_ms += GRID_MS - 2;
    mark(bob, 2);
    world.now_ms = step();
    step();
    answer_lease(RENEWED);
    answer_post("alice", 0, 1);
    answer_post("bob", 0, 1);
    step();
    expect_quiet();
}

Test(ledger_pending, an_operation_is_posted_at_once_behind_the_usage_of_its_account_alone)
{
    struct ledger_download *alice = listen("alice"), *bob = listen("bob");
    mark(bob, 2);
    mark(alice, 1);
    expect_quiet();
    struct ledger_account *account = account_of("alice");
    struct money money = {
        .account = account,
        .record = {
            .type = JOURNAL_MONEY, .operation = LEDGER_TOP_UP, .amount = 5, .transaction = "t-1"}};
    writer_queue_money(world.ledger, &money);
    writer_step(world.ledger);
    step();
    answer_lease(RENEWED);
    answer_post("alice", 0, 1);
    answer_post("alice", 0, 2);
    step();
    expect_quiet();
    cr_assert(ledger_account_is_posted(account));
    ledger_account_drop(&account);
    account = account_of("bob");
    cr_assert(!ledger_account_is_posted(account), "it waits for its own time");
    cr_assert_gt(unposted(), 0);
    ledger_account_drop(&account);
}

Test(ledger_pending, an_account_that_is_asked_for_is_posted_at_once_with_what_is_journalled_by_then)
{
    struct ledger_download *download = listen("alice");
    mark(download, 1);
    expect_quiet();
    ledger_download_add(download, 2, 0);
    writer_step(world.ledger); /* which the poster has not read yet */
    struct ledger_account *account = account_of("alice");
    ledger_post_soon(world.ledger, account);
    ledger_post_soon(world.ledger, account);
    ledger_account_drop(&account);
    step();
    answer_lease(RENEWED);
    answer_post("alice", 0, 2);
    step();
    mark(download, 3);
    expect_quiet(); /* what comes later waits again */
}

Test(ledger_pending, a_download_that_ends_is_posted_soon)
{
    world.now_ms = world.now_ms / GRID_MS * GRID_MS + 1;
    deliver("alice", 100);
    uint64_t due_ms = step();
    cr_assert_lt(due_ms, world.now_ms + GRID_MS);
    world.now_ms = due_ms;
    step();
    answer_lease(RENEWED);
    answer_post("alice", 0, 1);
}

Test(ledger_pending, an_account_whose_balance_soon_ends_is_posted_more_often)
{
    struct ledger_download *download = listen("alice");
    mark(download, 100);
    world.now_ms = step();
    step();
    answer_lease(RENEWED);
    answer_balance(1, 201); /* two more like this one leave something */
    mark(download, 100);
    cr_assert_geq(step(), world.now_ms + INTERVAL_MS);
    world.now_ms = step();
    step();
    answer_lease(RENEWED);
    answer_balance(2, 101);
    mark(download, 1);
    uint64_t due_ms = step();
    cr_assert_geq(due_ms, world.now_ms + PENDING_NEAR_MS);
    cr_assert_lt(due_ms, world.now_ms + PENDING_NEAR_MS + GRID_MS);
}

Test(ledger_pending, what_waits_when_the_connection_is_lost_is_posted_by_the_next_one)
{
    struct ledger_download *download = listen("alice");
    mark(download, 100);
    expect_quiet();
    script_cut(&world.poster, "Redis at unix:/nowhere: Server closed the connection");
    world.now_ms = step();
    connect_ready();
    answer("HGET tg:{shop/alice}", "$-1\r\n");
    step();
    answer_post("alice", 0, 1);
    step();
    expect_quiet();
    cr_assert_eq(unposted(), 0);
}

Test(ledger_pending, the_end_of_the_node_waits_for_no_interval)
{
    struct ledger_download *download = listen("alice");
    mark(download, 100);
    expect_quiet();
    poster_end(world.ledger, world.now_ms + 5000);
    step();
    answer_lease(RENEWED);
    answer_post("alice", 0, 1);
    step();
    cr_assert_eq(state(), POSTER_ENDING);
}
