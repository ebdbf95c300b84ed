/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Journals compared with Redis and with what logs say: each kind of difference, to the byte, and what is
 * none.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "storage/ledger/reconcile.h"
#include "tests/unit/ledger/fixture.h"

static struct fixture fx;
static struct ledger_reconcile *reconcile;
static char said[9000];

/* The one account that is looked for, and how many there are. */
static struct seen {
    const char *account;
    unsigned accounts, differing;
    struct ledger_reconciled found;
    char damage[160];
} seen;

static void take(void *context, const struct ledger_reconciled *account)
{
    struct seen *at = context;
    at->accounts++;
    at->differing += !account->agrees;
    if (strcmp(account->account, at->account) != 0)
        return;
    at->found = *account;
    snprintf(at->damage, sizeof(at->damage), "%s", account->differences.damage);
}

static void begin(void)
{
    ledger_reconcile_destroy(&reconcile);
    cr_assert_eq(ledger_reconcile_create(&reconcile), 0);
    cr_assert_eq(ledger_reconcile_add(reconcile, fx.state, said, sizeof(said)), 1, "%s", said);
}

static void read_redis(void)
{
    cr_assert_eq(ledger_reconcile_redis(reconcile, &fx.options, NULL, NULL, said, sizeof(said)), 0,
                 "%s", said);
}

static void read_journals(void)
{
    cr_assert_eq(ledger_reconcile_journals(reconcile, NULL, NULL, said, sizeof(said)), 0, "%s",
                 said);
}

static void compare(bool with_logs)
{
    seen = (struct seen){.account = "shop/gina"};
    cr_assert_eq(ledger_reconcile_each(reconcile, with_logs, take, &seen), 0);
}

/* All of it, with Redis. */
static void look(void)
{
    begin();
    read_redis();
    read_journals();
    compare(false);
}

static void setup(void)
{
    fixture_start(&fx);
    fixture_open_ready(&fx);
    fixture_deliver(&fx, "gina", "/f", 100);
    fixture_deliver(&fx, "gina", "/g", 20);
    fixture_deliver(&fx, "hugo", "/g", 3);
    cr_assert_eq(fixture_close(&fx), 0);
}

static void teardown(void)
{
    ledger_reconcile_destroy(&reconcile);
    fixture_end(&fx);
}

TestSuite(ledger_reconcile, .init = setup, .fini = teardown, .timeout = 60);

Test(ledger_reconcile, agrees_where_all_is_posted)
{
    look();
    cr_expect_eq(seen.accounts, 2);
    cr_expect_eq(seen.differing, 0);
    cr_expect_eq(seen.found.figures.posted, 120);
    cr_expect_eq(seen.found.figures.unposted, 0);
    cr_expect_eq(seen.found.figures.used, 120);
    cr_expect_eq(seen.found.figures.months, 120);
    cr_expect_eq(seen.found.figures.given, 120);
    cr_expect_eq(seen.found.figures.foreign, 0);
}

Test(ledger_reconcile, tells_by_how_much_each_figure_of_Redis_differs)
{
    char month[16] = "";
    redisReply *fields;
    freeReplyObject(fixture_redis(&fx, "HINCRBY tg:{shop/gina}:account used -7"));
    look();
    cr_expect_eq(seen.differing, 1);
    cr_expect_eq(seen.found.differences.used, -7);
    cr_expect_eq(seen.found.differences.months, 0);
    freeReplyObject(fixture_redis(&fx, "HINCRBY tg:{shop/gina}:account used 7"));
    fields = fixture_redis(&fx, "HKEYS tg:{shop/gina}:account");
    for (size_t i = 0; i < fields->elements; i++)
        if (strncmp(fields->element[i]->str, "m:", 2) == 0)
            snprintf(month, sizeof(month), "%s", fields->element[i]->str);
    freeReplyObject(fields);
    cr_assert_neq(month[0], '\0');
    freeReplyObject(fixture_redis(&fx, "HSET tg:{shop/gina}:account %s %s", month, "129 2"));
    look();
    cr_expect_eq(seen.differing, 1);
    cr_expect_eq(seen.found.differences.used, 0);
    cr_expect_eq(seen.found.differences.months, 9);
}

Test(ledger_reconcile,
     takes_a_lower_watermark_for_unposted_and_a_higher_one_for_records_that_it_lacks)
{
    char field[64];
    begin();
    redisReply *fields = fixture_redis(&fx, "HKEYS tg:{shop/gina}:account");
    for (size_t i = 0; i < fields->elements; i++)
        if (strncmp(fields->element[i]->str, "w:", 2) == 0)
            snprintf(field, sizeof(field), "%s", fields->element[i]->str);
    freeReplyObject(fields);
    int64_t watermark = fixture_account_field(&fx, "shop/gina", field);
    freeReplyObject(fixture_redis(&fx, "HINCRBY tg:{shop/gina}:account %s 2", field));
    look();
    cr_expect_eq(seen.differing, 1);
    cr_expect_eq(seen.found.differences.lacking, 2);
    /* Without the second download: as it was before that was posted. */
    freeReplyObject(fixture_redis(&fx, "DEL tg:{shop/gina}:account tg:{shop/gina}:grants"));
    look();
    cr_expect_gt(watermark, 0);
    cr_expect_eq(seen.found.figures.posted, 0);
    cr_expect_eq(seen.found.figures.unposted, 120);
    cr_expect_eq(seen.found.figures.unposted_records, (uint64_t)watermark);
    cr_expect_gt(seen.found.figures.unposted_since_ms, 0);
    cr_expect_eq(seen.found.differences.months, 0);
}

Test(ledger_reconcile, agrees_with_an_empty_Redis_of_which_all_is_unposted)
{
    freeReplyObject(fixture_redis(&fx, "FLUSHALL"));
    look();
    cr_expect_eq(seen.accounts, 2);
    cr_expect_eq(seen.differing, 0);
    cr_expect_eq(seen.found.figures.unposted, 120);
}

Test(ledger_reconcile, names_a_field_that_is_no_number_and_a_key_that_is_no_hash)
{
    freeReplyObject(fixture_redis(&fx, "HSET tg:{shop/gina}:account used many"));
    look();
    cr_expect_eq(seen.differing, 1);
    cr_expect_str_eq(seen.damage, "account has used \"many\"");
    freeReplyObject(fixture_redis(&fx, "SET tg:{shop/gina}:account 1"));
    look();
    cr_expect_str_eq(seen.damage, "account is not a hash");
}

Test(ledger_reconcile, compares_lines_of_logs_with_responses_that_the_journal_describes)
{
    begin();
    cr_assert_eq(ledger_reconcile_logged(reconcile, "shop", "gina", 4, 1, true), 0);
    read_journals();
    compare(true);
    /* The fixture's responses are described nowhere: the journal cannot say how many bytes each had. */
    cr_expect_eq(seen.found.figures.logged_least, 0);
    cr_expect_eq(seen.found.figures.logged_most, 120);
    cr_expect_eq(seen.differing, 0);
    cr_assert_eq(ledger_reconcile_logged(reconcile, "shop", "gina", 4, 125, true), 0);
    compare(true);
    cr_expect_eq(seen.differing, 1);
    cr_expect_eq(seen.found.differences.logged, 6);
    cr_expect(ledger_reconcile_logs_suffice(reconcile));
    compare(false);
    cr_expect_eq(seen.differing, 0, "Redis was not read, and no log was given");
    cr_expect_eq(ledger_reconcile_logged(reconcile, "Shop", "gina", 4, 1, true), -EINVAL);
    cr_expect(ledger_reconcile_knows(reconcile, "shop", "hugo", 4));
    cr_expect_not(ledger_reconcile_knows(reconcile, "shop", "otto", 4));
}

Test(ledger_reconcile, refuses_a_directory_twice_and_finds_none_in_another)
{
    begin();
    cr_expect_eq(ledger_reconcile_add(reconcile, fx.state, said, sizeof(said)), -EEXIST);
    cr_expect(strstr(said, "one is a copy of the other") != NULL, "%s", said);
    cr_expect_eq(ledger_reconcile_add(reconcile, "/nowhere", said, sizeof(said)), 0);
}
