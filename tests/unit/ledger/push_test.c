/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Push's step, called from one thread, with a Redis that the test plays: when it connects and asks,
 * from when on it counts as up, and what a lost or silent connection costs.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/ledger/world.h"

#define INFO                                                                                       \
    "$74\r\nrun_id:1111111111\r\nmaster_replid:2222222222\r\nmaxmemory_policy:noeviction\r\n\r\n"
#define CONFIRMED "*3\r\n$9\r\nsubscribe\r\n$14\r\ntg:revocations\r\n:1\r\n"
#define RECALLED  "*3\r\n$7\r\nmessage\r\n$14\r\ntg:revocations\r\n$17\r\nshop/alice recall\r\n"
#define REVOKED   "*3\r\n$7\r\nmessage\r\n$14\r\ntg:revocations\r\n$12\r\nshop/alice 7\r\n"

static struct world world;
static unsigned dropped_all, dropped_one;
static const struct ledger_account *recalled;

static void on_pushed(void *context, const struct ledger_account *account)
{
    (void)context;
    dropped_all += account == NULL;
    dropped_one += account != NULL;
}

static void on_recalled(void *context, const struct ledger_account *account)
{
    (void)context;
    recalled = account;
}

static void setup(void)
{
    world_start(&world);
    world.options.pushed = on_pushed;
    world.options.recalled = on_recalled;
    world_open(&world);
}

static void teardown(void)
{
    world_end(&world);
}

TestSuite(ledger_push, .init = setup, .fini = teardown, .timeout = 30);

static bool is_up(void)
{
    return ledger_push_is_up(world.ledger, world.now_ms);
}

/* Answers the PING that was sent. */
static void answer_ping(void)
{
    char protocol[64];
    const char *ping = script_next(&world.push);
    cr_assert(strncmp(ping, "PING ", 5) == 0, "%s", ping);
    snprintf(protocol, sizeof(protocol), "*2\r\n$4\r\npong\r\n$%zu\r\n%s\r\n", strlen(ping + 5),
             ping + 5);
    script_answer(&world.push, protocol);
}

static void subscribe(void)
{
    cr_assert_eq(push_step(world.ledger), UINT64_MAX, "Redis alone moves it now");
    script_accept(&world.push);
    push_step(world.ledger);
    cr_assert_str_eq(script_next(&world.push), "INFO");
    script_answer(&world.push, INFO);
    cr_assert_str_eq(script_next(&world.push), "SUBSCRIBE tg:revocations");
    cr_assert(!is_up());
    script_answer(&world.push, CONFIRMED);
    cr_assert(is_up());
    cr_assert_eq(push_step(world.ledger), world.now_ms + LEDGER_PUSH_BEAT_MS);
}

Test(ledger_push, it_is_up_from_the_confirmation_on_and_drops_all_grants_then)
{
    unsigned before = dropped_all;
    subscribe();
    cr_assert_eq(dropped_all, before + 1);
    cr_assert(world.push.is_introduced);
}

Test(ledger_push, a_message_raises_the_accounts_revision_and_drops_its_grants)
{
    struct ledger_account *account;
    subscribe();
    cr_assert_eq(ledger_account_get(world.ledger, "shop", "alice", 5, &account), 0);
    unsigned before = dropped_one;
    script_publish(&world.push, REVOKED);
    cr_assert_eq(ledger_heard(world.ledger, account).revision, 7);
    cr_assert_eq(dropped_one, before + 1);
    answer_ping(); /* a message answers no PING */
    ledger_account_drop(&account);
}

Test(ledger_push, a_revision_in_an_answer_counts_as_heard_where_push_has_not_brought_it)
{
    struct ledger_account *account;
    subscribe();
    cr_assert_eq(ledger_account_get(world.ledger, "shop", "alice", 5, &account), 0);
    unsigned before = dropped_one;
    push_take_revision(world.ledger, account, 7);
    cr_assert_eq(ledger_heard(world.ledger, account).revision, 7);
    cr_assert_eq(dropped_one, before + 1);
    push_take_revision(world.ledger, account, 7);
    push_take_revision(world.ledger, account, 6);
    cr_assert_eq(ledger_heard(world.ledger, account).revision, 7);
    cr_assert_eq(dropped_one, before + 1, "what is known drops nothing");
    ledger_account_drop(&account);
}

Test(ledger_push, a_grant_from_before_a_loss_is_stale_though_its_revision_is_the_highest)
{
    struct ledger_account *account;
    const struct ledger_grant grant = {.revision = 9};
    subscribe();
    cr_assert_eq(ledger_account_get(world.ledger, "shop", "alice", 5, &account), 0);
    const struct ledger_heard at_ask = ledger_heard(world.ledger, account);
    script_publish(&world.push, REVOKED);
    cr_assert_not(ledger_grant_is_stale(world.ledger, account, &grant, &at_ask));
    atomic_fetch_add(&world.ledger->losses, 1);
    cr_assert(ledger_grant_is_stale(world.ledger, account, &grant, &at_ask));
    const struct ledger_heard since = ledger_heard(world.ledger, account);
    cr_assert_not(ledger_grant_is_stale(world.ledger, account, &grant, &since));
    ledger_account_drop(&account);
}

Test(ledger_push, a_recall_is_counted_for_its_account_and_drops_no_grants)
{
    struct ledger_account *alice, *bob;
    subscribe();
    cr_assert_eq(ledger_account_get(world.ledger, "shop", "alice", 5, &alice), 0);
    cr_assert_eq(ledger_account_get(world.ledger, "shop", "bob", 3, &bob), 0);
    const struct ledger_heard before = ledger_heard(world.ledger, alice);
    unsigned dropped = dropped_one + dropped_all;
    recalled = NULL;
    script_publish(&world.push, RECALLED);
    cr_assert_eq(ledger_recalls(alice), 1);
    cr_assert_eq(ledger_recalls(bob), 0);
    cr_assert_eq(recalled, alice);
    cr_assert_eq(dropped_one + dropped_all, dropped);
    const struct ledger_heard after = ledger_heard(world.ledger, alice);
    cr_assert(ledger_heard_is_same(&before, &after), "it is not a revocation");
    cr_assert_eq(after.revision, before.revision);
    script_publish(&world.push, RECALLED);
    cr_assert_eq(ledger_recalls(alice), 2, "each is heard");
    script_publish(&world.push, REVOKED);
    cr_assert_eq(ledger_recalls(alice), 2, "a revocation recalls nothing");
    answer_ping(); /* a message answers no PING */
    ledger_account_drop(&alice);
    ledger_account_drop(&bob);
}

Test(ledger_push, a_ping_that_is_not_answered_takes_push_down_and_a_late_answer_up_again)
{
    subscribe();
    for (unsigned i = 0; i < 3; i++) {
        world.now_ms += LEDGER_PUSH_BEAT_MS;
        push_step(world.ledger);
    }
    cr_assert(!is_up());
    cr_assert_eq(world.push.count, 4, "a PING at once and one each beat");
    cr_assert_eq(world_said(&world, "does not hear of revocations"), 1);
    for (unsigned i = 0; i < 4; i++)
        answer_ping();
    cr_assert(is_up());
    push_step(world.ledger);
    cr_assert_eq(world_said(&world, "hears of revocations again"), 1);
    cr_assert_eq(world.push.opens, 1, "the stream missed nothing, so it goes on");
}

Test(ledger_push, a_lost_connection_is_made_again_after_a_pause_and_drops_all_grants_again)
{
    subscribe();
    unsigned before = dropped_all;
    script_cut(&world.push, "no answer within 5000 ms");
    uint64_t next = push_step(world.ledger);
    cr_assert(!is_up());
    cr_assert_gt(next, world.now_ms);
    push_step(world.ledger);
    cr_assert_eq(world.push.opens, 1, "not before the pause is over");
    world.now_ms = next;
    subscribe();
    cr_assert_eq(world.push.opens, 2);
    cr_assert_eq(dropped_all, before + 1);
}

Test(ledger_push, a_refused_subscription_is_told_with_its_cure_once)
{
    for (unsigned i = 0; i < 2; i++) {
        push_step(world.ledger);
        script_accept(&world.push);
        push_step(world.ledger);
        script_answer(&world.push, INFO);
        script_answer(&world.push, "-NOPERM No permissions to access a channel\r\n");
        world.now_ms = push_step(world.ledger);
    }
    cr_assert_eq(world_said(&world, "may not run SUBSCRIBE on tg:revocations"), 1);
    cr_assert_eq(world.push.closes, 2);
}
