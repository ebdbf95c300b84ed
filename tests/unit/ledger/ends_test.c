/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ends in Redis by its wall clock, which these tests move: usage by day and file, usage by month and
 * file, transaction ids. What the account comes to stays, adds up, and is the same after a replay.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "server/base/clock.h"
#include "tests/unit/ledger/fixture.h"

#define PATIENCE_MS 20000
#define ONE         "00000000000000000000000000000001"

static struct fixture fx;

static void setup(void)
{
    fixture_start(&fx);
    fixture_redis_start_clock(&fx);
    fixture_open_ready(&fx);
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_ends, .init = setup, .fini = teardown, .timeout = 120);

/* Today by the node's clock, which is not moved: yyyymmdd. */
static uint32_t today(void)
{
    time_t now = (time_t)(clock_real_ms() / 1000);
    struct tm date;
    gmtime_r(&now, &date);
    return (uint32_t)((date.tm_year + 1900) * 10000 + (date.tm_mon + 1) * 100 + date.tm_mday);
}

/* ---- usage ---- */

struct listed {
    unsigned rows;
    uint64_t bytes, responses;
    char file[32]; /* of the last row */
};

static int list(void *context, const struct ledger_usage_row *row)
{
    struct listed *listed = context;
    listed->rows++;
    listed->bytes += row->bytes;
    listed->responses += row->responses;
    snprintf(listed->file, sizeof(listed->file), "%s", row->file);
    return 0;
}

static int read_usage(uint32_t date, struct listed *out)
{
    const struct ledger_usage_ask ask = {.issuer = "shop",
                                         .account = "alice",
                                         .from = date,
                                         .to = date,
                                         .rows_max = 100,
                                         .cursor = ""};
    struct ledger_usage_page page = {.row = list, .context = out};
    int result;
    memset(out, 0, sizeof(*out));
    /* The clock's leap costs the lease, and with it a moment in which Redis is not asked. */
    for (unsigned i = 0; (result = ledger_usage(fx.ledger, &ask, &page)) == -EAGAIN; i++)
        cr_assert_lt(i, 1000, "usage is not answered");
    return result;
}

static void expect_in_order(void)
{
    struct ledger_release found;
    int result;
    for (unsigned i = 0;
         (result = ledger_account_release(fx.ledger, "shop", "alice", false, &found)) == -EAGAIN;
         i++)
        cr_assert_lt(i, 1000, "no release is answered");
    cr_expect_eq(result, 0, "%d, %s: %s", result, found.key, found.said);
}

static size_t count_keys(const char *pattern)
{
    redisReply *keys = fixture_redis(&fx, "KEYS tg:{shop/alice}:%s", pattern);
    size_t count = keys->elements;
    freeReplyObject(keys);
    return count;
}

static void expect_month(const char *file, uint64_t bytes, uint64_t responses, uint32_t day)
{
    struct listed listed;
    cr_assert_eq(read_usage(day / 100, &listed), 0);
    cr_expect_eq(listed.rows, 1);
    cr_expect_eq(listed.bytes, bytes);
    cr_expect_eq(listed.responses, responses);
    cr_expect_str_eq(listed.file, file);
    expect_in_order();
}

Test(ledger_ends, usage_by_day_after_70_days_by_month_and_file_after_13_months_and_by_month_never)
{
    struct listed listed;
    uint32_t day = today();
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "alice", 1000, "t-1", NULL), 0);
    fixture_deliver(&fx, "alice", "/a", 100);
    cr_assert_eq(ledger_settle(fx.ledger, PATIENCE_MS), 0);
    fixture_redis_move_clock(&fx, 70);
    cr_assert_eq(read_usage(day, &listed), 0);
    cr_expect_eq(listed.bytes, 100);
    expect_month("/a", 100, 1, day);

    fixture_redis_move_clock(&fx, 1);
    cr_expect_eq(read_usage(day, &listed), -ENODATA);
    expect_month("/a", 100, 1, day);
    cr_expect_eq(count_keys("usage:????????"), 0);

    fixture_redis_move_clock(&fx, 13 * 31);
    expect_month("", 100, 1, day);
    cr_expect_eq(count_keys("usage:*"), 0);
    cr_expect_eq(fixture_account_field(&fx, "shop/alice", "balance"), 900);
}

Test(ledger_ends, what_comes_behind_the_end_counts_and_brings_no_day_and_no_file_back)
{
    uint32_t day = today();
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "alice", 1000, "t-1", NULL), 0);
    fixture_deliver(&fx, "alice", "/a", 100);
    cr_assert_eq(ledger_settle(fx.ledger, PATIENCE_MS), 0);
    fixture_redis_move_clock(&fx, 71 + 13 * 31);
    fixture_deliver(&fx, "alice", "/a", 30);
    fixture_deliver(&fx, "alice", "/b", 7);
    cr_assert_eq(ledger_settle(fx.ledger, PATIENCE_MS), 0);
    cr_expect_eq(count_keys("usage:*"), 0);
    expect_month("", 137, 3, day);
    /* Also from the beginning, into an empty Redis. */
    freeReplyObject(fixture_redis(&fx, "FLUSHALL"));
    cr_assert_eq(fixture_close(&fx), 0);
    fixture_open_ready(&fx);
    cr_expect_eq(count_keys("usage:*"), 0);
    expect_month("", 137, 3, day);
    cr_expect_eq(fixture_account_field(&fx, "shop/alice", "used"), 137);
    cr_expect_eq(fixture_account_field(&fx, "shop/alice", "balance"), 863);
}

/* ---- transactions ---- */

static void top_up(const char *transaction, int64_t amount, bool was_known, int64_t balance)
{
    bool repeated;
    int result;
    for (unsigned i = 0; (result = fixture_change(&fx, LEDGER_TOP_UP, "alice", amount, transaction,
                                                  &repeated)) == -EAGAIN;
         i++)
        cr_assert_lt(i, 1000, "no order is answered");
    cr_assert_eq(result, 0, "%s: %d", transaction, result);
    cr_expect_eq(repeated, was_known, "%s", transaction);
    cr_expect_eq(fixture_account_field(&fx, "shop/alice", "balance"), balance);
    expect_in_order();
}

Test(ledger_ends, a_transaction_is_known_for_410_days_and_its_money_stays_behind_its_end)
{
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "alice", 1000, "t-1", NULL), 0);
    top_up("t-2", 50, false, 1050);
    fixture_redis_move_clock(&fx, LEDGER_TRANSACTION_DAYS_KEPT);
    top_up("t-2", 50, true, 1050);
    cr_expect_eq(fixture_change(&fx, LEDGER_TOP_UP, "alice", 51, "t-2", NULL), -ENOTUNIQ);

    fixture_redis_move_clock(&fx, LEDGER_TRANSACTION_PERIOD + 1);
    cr_expect_eq(count_keys("transactions:*"), 0);
    cr_expect_eq(fixture_account_field(&fx, "shop/alice", "balance"), 1050);
    expect_in_order();
}

/* The ring comes round after five periods: the hash that is written then is that of the first. */
Test(ledger_ends, the_money_of_transactions_is_kept_when_the_ring_comes_round)
{
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "alice", 1000, "t-1", NULL), 0);
    for (int i = 2; i < 14; i++) {
        char transaction[8];
        snprintf(transaction, sizeof(transaction), "t-%d", i);
        fixture_redis_move_clock(&fx, LEDGER_TRANSACTION_PERIOD);
        top_up(transaction, 50, false, 1000 + (i - 1) * 50);
    }
    cr_expect(count_keys("transactions:*") == 4 || count_keys("transactions:*") == 5);
    cr_expect_eq(fixture_account_field(&fx, "shop/alice", "ended"), 1000 + 7 * 50);
    /* All of them are posted now, and are known from now on. */
    freeReplyObject(fixture_redis(&fx, "FLUSHALL"));
    cr_assert_eq(fixture_close(&fx), 0);
    fixture_open_ready(&fx);
    cr_expect_eq(count_keys("transactions:*"), 1);
    top_up("t-2", 50, true, 1600);
    fixture_redis_move_clock(&fx, LEDGER_TRANSACTION_DAYS_KEPT);
    top_up("t-2", 50, true, 1600);
}

/* A node was given the number, and reached Redis with the post much later. */
Test(ledger_ends, a_transaction_lasts_from_its_post_on)
{
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "alice", 1000, "t-1", NULL), 0);
    freeReplyObject(
        fixture_redis(&fx, "FCALL tollgate_order 6 tg:{shop/alice}:account " FIXTURE_RING(
                               "shop/alice") "top_up 50 - late 1 0 60000"));
    cr_expect_eq(count_keys("transactions:*"), 1);
    fixture_redis_move_clock(&fx, LEDGER_TRANSACTION_PERIOD);
    freeReplyObject(fixture_redis(
        &fx, "FCALL tollgate_post 7 tg:{shop/alice}:account tg:{shop/alice}:grants " FIXTURE_RING(
                 "shop/alice") ONE " 1 1 1 money top_up 50 - 1000 late 0 0 9 n9"));
    cr_expect_eq(count_keys("transactions:*"), 2);
    fixture_redis_move_clock(&fx, LEDGER_TRANSACTION_DAYS_KEPT);
    top_up("late", 50, true, 1050);
}
