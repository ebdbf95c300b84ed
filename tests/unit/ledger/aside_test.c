/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts whose keys in a real Redis are damaged: each kind of key, by another type or a field that
 * is not a number. Nothing of such an account is posted, the others go on, and once its keys are back
 * nothing is missing and nothing counts twice.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/unit/ledger/fixture.h"

#define PATIENCE_MS 20000

static struct fixture fx;
static _Atomic unsigned said_aside, said_back;

static void count_event(void *context, enum ledger_event event, const char *kind, const char *text)
{
    (void)context, (void)event, (void)kind;
    if (strstr(text, "shop/alice is set aside:") != NULL)
        atomic_fetch_add(&said_aside, 1);
    if (strstr(text, "shop/alice is set aside no longer") != NULL)
        atomic_fetch_add(&said_back, 1);
}

static void setup(void)
{
    fixture_start(&fx);
    fx.options.event = count_event;
    fixture_open_ready(&fx);
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "alice", 1000, "a-1", NULL), 0);
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "bob", 1000, "b-1", NULL), 0);
    fixture_deliver(&fx, "alice", "/f", 10);
    fixture_deliver(&fx, "bob", "/f", 10);
    cr_assert_eq(ledger_settle(fx.ledger, PATIENCE_MS), 0);
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_aside, .init = setup, .fini = teardown, .timeout = 120);

static uint64_t set_aside(void)
{
    struct ledger_stats stats;
    ledger_stats(fx.ledger, &stats);
    return stats.accounts_set_aside;
}

static void await_aside(uint64_t count)
{
    for (unsigned i = 0; set_aside() != count; i++) {
        cr_assert_lt(i, PATIENCE_MS / 2, "%llu are set aside", (unsigned long long)set_aside());
        fixture_pause();
    }
}

static void command(const char *text)
{
    redisReply *reply = fixture_redis(&fx, text);
    cr_assert_neq(reply->type, REDIS_REPLY_ERROR, "%s: %s", text, reply->str);
    freeReplyObject(reply);
}

/* Bob is served, billed, topped up, suspended and revoked as if nothing were wrong. */
static void expect_bob_goes_on(unsigned round)
{
    char transaction[32];
    struct ledger_account *bob = fixture_account(&fx, "bob");
    int64_t used = fixture_account_field(&fx, "shop/bob", "used");
    fixture_deliver(&fx, "bob", "/f", 7);
    cr_assert_eq(ledger_account_settle(fx.ledger, bob, PATIENCE_MS), 0);
    cr_assert_eq(fixture_account_field(&fx, "shop/bob", "used"), used + 7);
    snprintf(transaction, sizeof(transaction), "b-top-%u", round);
    cr_assert_eq(fixture_change(&fx, LEDGER_TOP_UP, "bob", 5, transaction, NULL), 0);
    cr_assert_eq(fixture_change(&fx, LEDGER_SUSPEND, "bob", 0, NULL, NULL), 0);
    cr_assert_eq(fixture_change(&fx, LEDGER_ACTIVATE, "bob", 0, NULL, NULL), 0);
    cr_assert_eq(fixture_change(&fx, LEDGER_REVOKE_BEFORE, "bob", 1 + round, NULL, NULL), 0);
    cr_assert_eq(fixture_account_field(&fx, "shop/bob", "revoked_before"), 1 + round);
    cr_assert(!ledger_account_is_set_aside(bob));
    ledger_account_drop(&bob);
    cr_assert_eq(ledger_state(fx.ledger), LEDGER_READY);
}

/* Damages something of alice, has her and bob go on, mends it and releases her. */
static void damage_and_mend(const char *damage, const char *mend, bool by_money)
{
    const int64_t used = 10;
    struct ledger_account *alice = fixture_account(&fx, "alice");
    command(damage);
    if (by_money) /* the record that a change would write; the change itself would see the damage */
        cr_assert_neq(fixture_change(&fx, LEDGER_REVOKE_BEFORE, "alice", 1, NULL, NULL), 0);
    else
        fixture_deliver(&fx, "alice", "/f", 100);
    cr_assert_neq(ledger_account_settle(fx.ledger, alice, 2000), 0, "%s", damage);
    await_aside(1);
    cr_assert(ledger_account_is_set_aside(alice));
    for (unsigned round = 0; round < 2; round++) {
        fixture_deliver(&fx, "alice", "/g", 100);
        expect_bob_goes_on(round);
    }
    cr_assert_eq(atomic_load(&said_aside), 1, "it is said once");
    ledger_release(fx.ledger); /* too early: she is set aside again, and nothing is said */
    fixture_deliver(&fx, "alice", "/g", 100);
    expect_bob_goes_on(2);
    await_aside(1);
    cr_assert_eq(atomic_load(&said_aside), 1);
    command(mend);
    ledger_release(fx.ledger);
    await_aside(0);
    cr_assert_eq(ledger_account_settle(fx.ledger, alice, PATIENCE_MS), 0, "%s", mend);
    int64_t moved = by_money ? 300 : 400;
    cr_assert_eq(fixture_account_field(&fx, "shop/alice", "used"), used + moved);
    cr_assert_eq(fixture_redis_usage(&fx, "shop/alice"), (uint64_t)(used + moved));
    cr_assert_eq(fixture_account_field(&fx, "shop/alice", "balance"), 1000 - used - moved);
    cr_assert_eq(atomic_load(&said_back), 1);
    ledger_account_drop(&alice);
}

/* A command about alice's usage of today. */
static void command_of_day(char out[200], const char *before, const char *behind)
{
    char today[9];
    time_t now = time(NULL);
    struct tm day;
    gmtime_r(&now, &day);
    strftime(today, sizeof(today), "%Y%m%d", &day);
    snprintf(out, 200, "%s tg:{shop/alice}:usage:%s%s", before, today, behind);
}

Test(ledger_aside, its_key_is_a_string)
{
    command("COPY tg:{shop/alice}:account kept");
    damage_and_mend("SET tg:{shop/alice}:account x", "RENAME kept tg:{shop/alice}:account", false);
}

Test(ledger_aside, its_balance_is_no_number)
{
    damage_and_mend("HSET tg:{shop/alice}:account balance x",
                    "HSET tg:{shop/alice}:account balance 990", false);
}

Test(ledger_aside, its_balance_would_pass_every_bound)
{
    damage_and_mend("HSET tg:{shop/alice}:account used 9007199254740991",
                    "HSET tg:{shop/alice}:account used 10", false);
}

Test(ledger_aside, its_usage_of_the_day_is_a_string)
{
    char damage[200], mend[200], keep[200];
    command_of_day(keep, "COPY", " kept");
    command_of_day(damage, "SET", " x");
    command_of_day(mend, "RENAME kept", "");
    command(keep);
    damage_and_mend(damage, mend, false);
}

Test(ledger_aside, an_operation_of_it_meets_damage)
{
    damage_and_mend("HSET tg:{shop/alice}:account revision x",
                    "HSET tg:{shop/alice}:account revision 1", true);
}

Test(ledger_aside, it_is_tried_again_at_the_next_connection)
{
    struct ledger_account *alice = fixture_account(&fx, "alice");
    command("COPY tg:{shop/alice}:account kept");
    command("SET tg:{shop/alice}:account x");
    command("CLIENT KILL TYPE normal SKIPME yes"); /* its watermark cannot be read either */
    await_aside(1);
    fixture_deliver(&fx, "alice", "/f", 100);
    expect_bob_goes_on(0);
    command("RENAME kept tg:{shop/alice}:account");
    command("CLIENT KILL TYPE normal SKIPME yes");
    await_aside(0);
    cr_assert_eq(ledger_account_settle(fx.ledger, alice, PATIENCE_MS), 0);
    cr_assert_eq(fixture_account_field(&fx, "shop/alice", "used"), 110);
    cr_assert_eq(atomic_load(&said_aside), 1);
    ledger_account_drop(&alice);
}

Test(ledger_aside, it_is_tried_again_where_redis_loses_all_data_and_no_connection)
{
    struct ledger_account *alice = fixture_account(&fx, "alice");
    command("SET tg:{shop/alice}:account x");
    fixture_deliver(&fx, "alice", "/f", 100);
    cr_assert_neq(ledger_account_settle(fx.ledger, alice, 2000), 0);
    await_aside(1);
    command("FLUSHALL");
    for (unsigned i = 0; ledger_account_is_set_aside(alice); i++) {
        cr_assert_lt(i, PATIENCE_MS / 2);
        fixture_pause();
    }
    cr_assert_eq(ledger_account_settle(fx.ledger, alice, PATIENCE_MS), 0);
    cr_assert_eq(fixture_account_field(&fx, "shop/alice", "used"), 110);
    cr_assert_eq(fixture_account_field(&fx, "shop/alice", "balance"), 1000 - 110);
    ledger_account_drop(&alice);
}

Test(ledger_aside, a_watermark_that_is_no_number_is_damage_and_no_loss)
{
    char text[200];
    snprintf(text, sizeof(text), "HSET tg:{shop/alice}:account w:%s x", fx.ledger->instance);
    command(text);
    command("CLIENT KILL TYPE normal SKIPME yes");
    await_aside(1);
    expect_bob_goes_on(0);
}

static void keep_name(void *context, const struct ledger_account *account)
{
    snprintf(context, 64, "%s", ledger_account_name(account));
}

Test(ledger_aside, they_can_be_named)
{
    char name[64] = "";
    ledger_each_set_aside(fx.ledger, 10, keep_name, name);
    cr_assert_str_eq(name, "");
    command("SET tg:{shop/alice}:account x");
    fixture_deliver(&fx, "alice", "/f", 1);
    await_aside(1);
    ledger_each_set_aside(fx.ledger, 0, keep_name, name);
    cr_assert_str_eq(name, "");
    ledger_each_set_aside(fx.ledger, 10, keep_name, name);
    cr_assert_str_eq(name, "alice");
}

/* ---- releases, as the admin interface asks for them ---- */

static struct ledger_release found;

static int release(bool rebuilds)
{
    return ledger_account_release(fx.ledger, "shop", "alice", rebuilds, &found);
}

/* Expects what alice's journal holds, and nothing twice: 1,000 paid for, and so much delivered. */
static void expect_figures(int64_t used)
{
    cr_expect_eq(fixture_account_field(&fx, "shop/alice", "used"), used);
    cr_expect_eq(fixture_redis_usage(&fx, "shop/alice"), (uint64_t)used);
    cr_expect_eq(fixture_account_field(&fx, "shop/alice", "balance"), 1000 - used);
    cr_expect_eq(release(false), 0, "%s: %s", found.key, found.said);
    cr_expect_eq(ledger_state(fx.ledger), LEDGER_READY);
}

Test(ledger_aside, a_release_of_an_account_that_is_in_order_changes_nothing)
{
    cr_assert_eq(release(false), 0);
    cr_expect(!found.was_aside);
    expect_figures(10);
    cr_assert_eq(ledger_account_release(fx.ledger, "shop", "nobody", false, &found), -ENOENT);
    cr_assert_eq(ledger_account_release(fx.ledger, "no issuer", "alice", false, &found), -EINVAL);
}

static void name_key(char out[200], const char *kind)
{
    if (strcmp(kind, "usage") == 0)
        command_of_day(out, "", "");
    else if (strcmp(kind, "month") == 0)
        (void)(command_of_day(out, "", ""), out[strlen(out) - 2] = '\0');
    else if (strcmp(kind, "link") == 0)
        snprintf(out, 200, "tg:{shop/alice}:link:%064d", 0);
    else
        snprintf(out, 200, "tg:{shop/alice}:%s", kind);
    memmove(out, out + strspn(out, " "), strlen(out + strspn(out, " ")) + 1);
}

static void slip(const char *kind, bool deletes)
{
    char key[200], text[220];
    name_key(key, kind);
    snprintf(text, sizeof(text), "%s %s%s", deletes ? "DEL" : "SET", key, deletes ? "" : " x");
    command(text);
}

static void deliver_and_rebuild(const char *kind, bool deletes)
{
    char key[200];
    name_key(key, kind);
    slip(kind, deletes);
    fixture_deliver(&fx, "alice", "/f", 100);
    expect_bob_goes_on(0);
    cr_expect_eq(release(false), -EBADMSG, "%s", kind);
    cr_expect_str_eq(found.key, deletes ? "" : key);
    cr_expect_neq(found.said[0], '\0');
    cr_assert_eq(release(true), 0, "%s: %s: %s", kind, found.key, found.said);
    expect_figures(110);
    expect_bob_goes_on(1);
}

/* Which hash of the ring has alice's transactions. */
static const char *ring_key(void)
{
    static char kind[32];
    redisReply *keys = fixture_redis(&fx, "KEYS tg:{shop/alice}:transactions:*");
    cr_assert_eq(keys->elements, 1);
    snprintf(kind, sizeof(kind), "%s", strstr(keys->element[0]->str, "transactions"));
    freeReplyObject(keys);
    return kind;
}

Test(ledger_aside, its_account_is_rebuilt)
{
    deliver_and_rebuild("account", false);
}

Test(ledger_aside, its_pools_are_rebuilt)
{
    deliver_and_rebuild("grants", false);
}

Test(ledger_aside, its_transactions_are_rebuilt)
{
    deliver_and_rebuild(ring_key(), false);
}

Test(ledger_aside, its_usage_is_rebuilt)
{
    deliver_and_rebuild("usage", false);
}

Test(ledger_aside, its_link_is_rebuilt)
{
    deliver_and_rebuild("link", false);
}

Test(ledger_aside, its_deleted_account_is_rebuilt_and_counts_nothing_twice)
{
    deliver_and_rebuild("account", true);
}

Test(ledger_aside, its_deleted_pools_are_rebuilt)
{
    deliver_and_rebuild("grants", true);
}

Test(ledger_aside, its_deleted_transactions_are_rebuilt)
{
    deliver_and_rebuild(ring_key(), true);
}

Test(ledger_aside, its_deleted_usage_is_rebuilt)
{
    deliver_and_rebuild("usage", true);
}

Test(ledger_aside, its_usage_of_the_month_is_rebuilt)
{
    deliver_and_rebuild("month", false);
}

Test(ledger_aside, its_deleted_usage_of_the_month_is_rebuilt)
{
    deliver_and_rebuild("month", true);
}
