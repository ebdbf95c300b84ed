/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thousands of accounts: a walk over them holds no lock that workers need, and each issuer has
 * places of its own, which neither look-ups nor other issuers use up.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/ledger/fixture.h"

static struct fixture fx;

static void setup(void)
{
    fixture_start(&fx);
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_names, .init = setup, .fini = teardown, .timeout = 120);

/* ---- walks ---- */

enum { LOOKERS = 3, NAMES = 2000 };

static struct names table;
static atomic_bool noted_all;

/* Looks names up and drops them, as workers do, while some of them get records. */
static void *look_up(void *argument)
{
    unsigned seed = (unsigned)(uintptr_t)argument;
    while (!atomic_load(&noted_all)) {
        struct ledger_name *account = NULL, *file = NULL;
        char text[32];
        int length = snprintf(text, sizeof(text), "shop/%d", rand_r(&seed) % (2 * NAMES));
        cr_assert_eq(names_get(&table, JOURNAL_ACCOUNT, text, (size_t)length, &account), 0);
        cr_assert_eq(names_get(&table, JOURNAL_FILE, text, (size_t)length, &file), 0);
        names_drop(account);
        names_drop(file);
    }
    return NULL;
}

static size_t walk(void)
{
    size_t count = 0;
    struct ledger_account *account = names_recorded(&table);
    for (; account != NULL; account = names_recorded_next(account), count++)
        cr_assert_gt(atomic_load(&account->sequence), 0);
    return count;
}

static void *walk_again(void *argument)
{
    size_t last = 0;
    (void)argument;
    while (!atomic_load(&noted_all)) {
        size_t count = walk();
        cr_assert_geq(count, last);
        last = count;
    }
    return NULL;
}

Test(ledger_names, meet_a_walker_once_each_while_workers_look_them_up)
{
    pthread_t lookers[LOOKERS], walker;
    cr_assert_eq(names_init(&table, NAMES, NAMES), 0);
    atomic_store(&noted_all, false);
    for (size_t i = 0; i < LOOKERS; i++)
        cr_assert_eq(pthread_create(&lookers[i], NULL, look_up, (void *)(i + 1)), 0);
    cr_assert_eq(pthread_create(&walker, NULL, walk_again, NULL), 0);
    for (int i = 0; i < NAMES; i++) {
        struct ledger_name *name = NULL;
        char text[32];
        int length = snprintf(text, sizeof(text), "shop/%d", i);
        cr_assert_eq(names_get(&table, JOURNAL_ACCOUNT, text, (size_t)length, &name), 0);
        names_note(names_account(name), 1, 1, 0);
        names_note(names_account(name), 2, 2, 0);
        names_drop(name);
    }
    atomic_store(&noted_all, true);
    for (size_t i = 0; i < LOOKERS; i++)
        pthread_join(lookers[i], NULL);
    pthread_join(walker, NULL);
    cr_assert_eq(walk(), NAMES);
    cr_assert_eq(table.accounts, NAMES);
    names_free(&table);
}

/* How often Redis has been sent a command. */
static uint64_t calls_of(const char *command)
{
    char name[64];
    snprintf(name, sizeof(name), "cmdstat_%s:calls=", command);
    redisReply *reply = fixture_redis(&fx, "INFO commandstats");
    const char *at = strstr(reply->str, name);
    uint64_t calls = at == NULL ? 0 : strtoull(at + strlen(name), NULL, 10);
    freeReplyObject(reply);
    return calls;
}

Test(ledger_names, are_walked_by_the_poster_without_the_lock_that_workers_need)
{
    enum { ACCOUNTS = 600 }; /* more than the poster asks about at once */
    fixture_open_ready(&fx);
    for (int i = 0; i < ACCOUNTS; i++) {
        char name[32];
        snprintf(name, sizeof(name), "account-%d", i);
        fixture_deliver(&fx, name, "/f", 1);
        if (i % 50 == 49) /* so that no more than downloads_max are open */
            cr_assert_eq(ledger_settle(fx.ledger, 30000), 0);
    }
    cr_assert_eq(ledger_settle(fx.ledger, 30000), 0);
    uint64_t before = calls_of("hget");
    pthread_mutex_lock(&fx.ledger->names.lock);
    freeReplyObject(fixture_redis(&fx, "CLIENT KILL TYPE normal SKIPME yes"));
    for (int i = 0; calls_of("hget") < before + ACCOUNTS; i++) {
        cr_assert_lt(i, 15000, "the poster waits for the lock");
        fixture_pause();
    }
    pthread_mutex_unlock(&fx.ledger->names.lock);
    fixture_deliver(&fx, "account-0", "/f", 1);
    cr_assert_eq(ledger_settle(fx.ledger, 30000), 0);
    cr_assert_eq(fixture_account_field(&fx, "shop/account-0", "used"), 2);
}

/* ---- places ---- */

static const struct ledger_issuer issuers[] = {{"shop", 20}, {"rival", 20}};

static int change(const char *issuer, const char *account, enum ledger_operation operation)
{
    struct ledger_account_view view;
    bool repeated;
    struct ledger_request request = {.operation = operation,
                                     .issuer = issuer,
                                     .account = account,
                                     .plan = LEDGER_POSTPAID,
                                     .amount = operation == LEDGER_OPEN ? 0 : 1,
                                     .transaction = operation == LEDGER_OPEN ? account : NULL};
    return ledger_account_change(fx.ledger, &request, &repeated, &view);
}

/* Opens accounts "prefix-N" until one is refused. Returns how many it opened; *why is the error. */
static unsigned open_many(const char *issuer, const char *prefix, int *why)
{
    unsigned opened = 0;
    for (*why = 0; *why == 0; opened += *why == 0) {
        char name[32];
        snprintf(name, sizeof(name), "%s-%u", prefix, opened);
        *why = change(issuer, name, LEDGER_OPEN);
        cr_assert_lt(opened, 1000);
    }
    return opened;
}

static unsigned warnings;

static void count_warning(void *context, enum ledger_event event, const char *kind,
                          const char *text)
{
    (void)kind;
    (void)context;
    warnings += event == LEDGER_EVENT_WARNING && strstr(text, "of the 20 that it may have") != NULL;
}

static void open_bounded(void)
{
    fx.options.accounts_max = 40;
    fx.options.issuers = issuers;
    fx.options.issuers_count = 2;
    fx.options.event = count_warning;
    warnings = 0;
    fixture_open_ready(&fx);
}

Test(ledger_names, of_one_issuer_leave_the_others_their_places)
{
    int why = 0;
    open_bounded();
    cr_assert_eq(open_many("shop", "a", &why), 20);
    cr_assert_eq(why, -EDQUOT);
    cr_assert_eq(warnings, 1);
    cr_assert_eq(open_many("shop", "b", &why), 0);
    cr_assert_eq(open_many("rival", "a", &why), 20);
    cr_assert_eq(warnings, 2);
    cr_assert_eq(fixture_change(&fx, LEDGER_TOP_UP, "a-0", 5, "top-up", NULL), 0);
}

Test(ledger_names, that_were_only_looked_up_take_no_place)
{
    enum { LINKS = 200 };
    struct ledger_account *held[LINKS];
    int why = 0;
    open_bounded();
    for (int i = 0; i < LINKS; i++) {
        char name[32];
        snprintf(name, sizeof(name), "never-opened-%d", i);
        held[i] = fixture_account(&fx, name);
    }
    cr_assert_eq(open_many("shop", "a", &why), 20);
    cr_assert_eq(change("shop", "invented", LEDGER_REVOKE_BEFORE), -EDQUOT);
    cr_assert_eq(change("shop", "a-3", LEDGER_REVOKE_BEFORE), 0);
    for (int i = 0; i < LINKS; i++)
        ledger_account_drop(&held[i]);
}

Test(ledger_names, beyond_the_bounds_are_loaded_and_leave_the_others_their_places)
{
    int why = 0;
    fixture_open_ready(&fx); /* every issuer, up to 1000 accounts */
    for (int i = 0; i < 50; i++) {
        char name[32];
        snprintf(name, sizeof(name), "early-%d", i);
        cr_assert_eq(change("shop", name, LEDGER_OPEN), 0);
    }
    fixture_close(&fx);
    open_bounded();
    cr_assert_eq(warnings, 1); /* about the shop's bound, not the node's */
    cr_assert_eq(open_many("shop", "late", &why), 0);
    cr_assert_eq(why, -EDQUOT);
    fixture_deliver(&fx, "early-49", "/f", 7);
    cr_assert_eq(ledger_settle(fx.ledger, 30000), 0);
    cr_assert_eq(fixture_account_field(&fx, "shop/early-49", "used"), 7);
    cr_assert_eq(open_many("rival", "a", &why), 20);
}

/* Another node has opened the account, so it can pay, and revoking its links must work here. */
Test(ledger_names, of_other_nodes_are_taken_in_at_the_bound)
{
    struct fixture other;
    int why = 0;
    open_bounded();
    cr_assert_eq(open_many("shop", "a", &why), 20);
    fixture_start(&other);
    other.options.node = "node-2";
    other.options.redis = fx.address;
    fixture_open_ready(&other);
    cr_assert_eq(fixture_change(&other, LEDGER_OPEN, "elsewhere", 100, "t", NULL), 0);
    fixture_deliver(&fx, "elsewhere", "/f", 30);
    cr_assert_eq(ledger_settle(fx.ledger, 30000), 0);
    cr_assert_eq(fixture_account_field(&fx, "shop/elsewhere", "used"), 30);
    cr_assert_eq(fixture_change(&other, LEDGER_OPEN, "afar", 100, "t", NULL), 0);
    cr_assert_eq(change("shop", "afar", LEDGER_REVOKE_BEFORE), 0);
    cr_assert_eq(fixture_account_field(&fx, "shop/afar", "revoked_before"), 1);
    fixture_end(&other);
}
