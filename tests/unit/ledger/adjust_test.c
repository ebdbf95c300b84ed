/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adjustments that take bytes away, with a real redis-server. The balance falls below zero only
 * where the request allows it, even when several nodes ask at once, and what was allowed counts
 * once and for ever.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/ledger/fixture.h"

#define ROUNDS 20

static struct fixture fx;
static struct ledger *other; /* of another node with the same Redis */

static void setup(void)
{
    fixture_start(&fx);
    fixture_open_ready(&fx);
}

static void teardown(void)
{
    if (other != NULL)
        ledger_close(&other, 30000);
    fixture_end(&fx);
}

TestSuite(ledger_adjust, .init = setup, .fini = teardown, .timeout = 120);

static int change(struct ledger *ledger, enum ledger_operation operation, const char *account,
                  int64_t amount, const char *transaction, bool allow)
{
    struct ledger_account_view view;
    bool repeated;
    const struct ledger_request request = {.operation = operation,
                                           .issuer = "shop",
                                           .account = account,
                                           .amount = amount,
                                           .allow_negative = allow,
                                           .transaction = transaction};
    return ledger_account_change(ledger, &request, &repeated, &view);
}

static int64_t balance_of(const char *account)
{
    struct ledger_account_view view;
    cr_assert_eq(ledger_account_show(fx.ledger, "shop", account, &view), 0);
    cr_assert(view.exists);
    return view.balance;
}

Test(ledger_adjust, takes_the_balance_below_zero_only_where_that_is_allowed)
{
    bool repeated = false;
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "amy", 100, "open", NULL), 0);
    cr_assert_eq(fixture_change(&fx, LEDGER_ADJUST, "amy", -101, "a", NULL), -EDOM);
    cr_assert_eq(balance_of("amy"), 100);
    /* The refused change was not journalled, and its id is free: it may be allowed now. */
    cr_assert_eq(change(fx.ledger, LEDGER_ADJUST, "amy", -101, "a", true), 0);
    cr_assert_eq(balance_of("amy"), -1);
    /* A repeat is answered like the first request, even if it does not allow the change itself. */
    cr_assert_eq(fixture_change(&fx, LEDGER_ADJUST, "amy", -101, "a", &repeated), 0);
    cr_assert(repeated);
    cr_assert_eq(balance_of("amy"), -1);
    /* A balance below zero may rise, but must not fall further. */
    cr_assert_eq(fixture_change(&fx, LEDGER_ADJUST, "amy", -1, "b", NULL), -EDOM);
    cr_assert_eq(fixture_change(&fx, LEDGER_ADJUST, "amy", 51, "c", NULL), 0);
    cr_assert_eq(fixture_change(&fx, LEDGER_ADJUST, "amy", -50, "d", NULL), 0);
    cr_assert_eq(balance_of("amy"), 0);
    cr_assert_eq(fixture_change(&fx, LEDGER_ADJUST, "nobody", -1, "e", NULL), -ENOENT);
}

Test(ledger_adjust, counts_what_was_delivered)
{
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "ben", 100, "open", NULL), 0);
    fixture_deliver(&fx, "ben", "/a", 30);
    cr_assert_eq(ledger_settle(fx.ledger, 30000), 0);
    cr_assert_eq(fixture_change(&fx, LEDGER_ADJUST, "ben", -71, "a", NULL), -EDOM);
    cr_assert_eq(fixture_change(&fx, LEDGER_ADJUST, "ben", -70, "b", NULL), 0);
    cr_assert_eq(balance_of("ben"), 0);
}

/* Another node asks for bytes, which Redis keeps for it for this long. Returns the verdict. */
static int64_t ask_to_take(const char *account, const char *transaction, int bytes, int lasts_ms)
{
    redisReply *reply = fixture_redis(
        &fx,
        "FCALL tollgate_order 6 tg:{shop/%s}:account " FIXTURE_RING("shop/%s") "adjust "
                                                                               "%d - %s 1 0 %d",
        account, account, account, account, account, account, -bytes, transaction, lasts_ms);
    cr_assert(reply->type == REDIS_REPLY_ARRAY && reply->elements == 2, "%s", reply->str);
    int64_t verdict = reply->element[0]->integer;
    freeReplyObject(reply);
    return verdict;
}

Test(ledger_adjust, leaves_what_another_node_is_about_to_take)
{
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "cat", 100, "open", NULL), 0);
    cr_assert_eq(ask_to_take("cat", "theirs", 60, 60000), LEDGER_VERDICT_TAKEN);
    cr_assert_eq(fixture_change(&fx, LEDGER_ADJUST, "cat", -41, "a", NULL), -EDOM);
    cr_assert_eq(fixture_change(&fx, LEDGER_ADJUST, "cat", -40, "a", NULL), 0);
    /* Our own bytes were kept until the post. Theirs still are, and they may ask for them again. */
    cr_assert_eq(ask_to_take("cat", "more", 1, 60000), LEDGER_VERDICT_TOO_LITTLE);
    cr_assert_eq(ask_to_take("cat", "theirs", 60, 60000), LEDGER_VERDICT_TAKEN);
    cr_assert_eq(ask_to_take("cat", "theirs", 61, 60000), LEDGER_VERDICT_CONTRADICTED);
    /* They are kept for a time only, for a node that died before it journalled the change. */
    cr_assert_eq(ask_to_take("cat", "theirs", 60, 1), LEDGER_VERDICT_TAKEN);
    while (ask_to_take("cat", "more", 60, 60000) == LEDGER_VERDICT_TOO_LITTLE)
        fixture_pause();
    cr_assert_eq(balance_of("cat"), 60);
}

struct taker {
    struct ledger *ledger;
    const char *account, *transaction;
    int result;
};

static void *take(void *context)
{
    struct taker *taker = context;
    taker->result =
        change(taker->ledger, LEDGER_ADJUST, taker->account, -60, taker->transaction, false);
    return NULL;
}

Test(ledger_adjust, two_nodes_at_once_are_not_allowed_the_same_bytes)
{
    other = fixture_open_other(&fx);
    for (int i = 0; i < ROUNDS; i++) {
        char account[16];
        pthread_t threads[2];
        snprintf(account, sizeof(account), "dan-%d", i);
        cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, account, 100, "open", NULL), 0);
        struct taker takers[] = {{fx.ledger, account, "ours", 1}, {other, account, "theirs", 1}};
        for (int t = 0; t < 2; t++)
            cr_assert_eq(pthread_create(&threads[t], NULL, take, &takers[t]), 0);
        for (int t = 0; t < 2; t++)
            pthread_join(threads[t], NULL);
        cr_assert_eq(takers[0].result + takers[1].result, -EDOM, "round %d: %d and %d", i,
                     takers[0].result, takers[1].result);
        cr_assert_eq(balance_of(account), 40);
    }
}

/* The journal that is replayed first to an empty Redis takes away more than it brings. */
Test(ledger_adjust, what_was_allowed_counts_in_whichever_order_journals_are_replayed)
{
    other = fixture_open_other(&fx);
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "eve", 10, "open", NULL), 0);
    cr_assert_eq(change(other, LEDGER_TOP_UP, "eve", 90, "theirs", false), 0);
    cr_assert_eq(fixture_change(&fx, LEDGER_ADJUST, "eve", -80, "ours", NULL), 0);
    cr_assert_eq(ledger_close(&other, 30000), 0);
    fixture_redis_kill(&fx);
    fixture_redis_start(&fx);
    while (fixture_account_field(&fx, "shop/eve", "balance") != -70)
        fixture_pause();
    other = fixture_open_other(&fx);
    while (fixture_account_field(&fx, "shop/eve", "balance") != 20)
        fixture_pause();
    fixture_wait_state(&fx, LEDGER_READY);
    bool repeated = false;
    cr_assert_eq(fixture_change(&fx, LEDGER_ADJUST, "eve", -80, "ours", &repeated), 0);
    cr_assert(repeated);
    cr_assert_eq(balance_of("eve"), 20);
}
