/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an answer of Redis changes in its window and its account where it grants nothing, comes late,
 * names limits or revocations, or was asked for with terms; and the terms that the question says.
 */
#include "tests/unit/grant/scene_fixture.h"

TestSuite(grant_take, .init = begin_asking, .fini = end_scene);

static struct quota *account_quota(void)
{
    return &window->account_group->quota;
}

Test(grant_take, without_funds_says_that_the_link_is_good)
{
    const struct ledger_grant nothing = balance(0, 0);
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &nothing);
    cr_expect_not(told.is_overtaken);
    cr_expect(covers(window, 100), "transfers would not go on with what they have");
    /* A revocation that such an answer does not know of counts all the same. */
    cr_assert_eq(ask(&demand, &asker), 0);
    hear(alice, 9);
    struct ledger_grant older = nothing;
    older.revision = 8;
    answer(1, &older);
    cr_expect(told.is_overtaken);
    cr_expect_not(covers(window, 100));
}

Test(grant_take, knows_what_was_heard_before_the_question)
{
    hear(alice, 7);
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &thousand); /* by a Redis that has lost the revision */
    cr_expect_not(told.is_overtaken, "nothing was heard since it was asked");
    cr_expect(covers(window, 100));
}

Test(grant_take, takes_the_figures_of_a_refusal_too)
{
    struct ledger_grant refused = thousand;
    refused.admission = LEDGER_REVOKED;
    refused.funds.ceiling = 40;
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &refused);
    cr_expect_eq(atomic_load(&window->account_group->pool.ceiling), 40u);
    cr_expect(pool_is_valid(&window->account_group->pool, VALID_END - 1));
    cr_expect_not(covers(window, 100));
}

Test(grant_take, of_a_refused_renewal_makes_the_transfers_of_its_window_ask)
{
    const struct question_terms terms = {.till_ms = 100000, .stage = LEDGER_UNDER_WAY};
    struct ledger_grant each_by_itself = thousand;
    each_by_itself.revoked_left_ms = 1;
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &each_by_itself);
    cr_assert(covers(window, 100));
    cr_assert_eq(question_renew(&grants[0], &demand, &terms), 0);
    answer(1, &(struct ledger_grant){.admission = LEDGER_REVOKED, .revoked_left_ms = 1});
    cr_expect_eq(told_count, 1u);
    cr_expect_not(covers(window, 100), "no response waits for the refusal of a renewal");
}

/* The link itself is revoked, so Redis says for how long; until then the account covers no other. */
Test(grant_take, of_a_revoked_link_leaves_the_others_of_the_account_to_be_asked_for)
{
    struct window *other = open_window(alice, 2, file);
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &thousand);
    cr_assert(covers(other, 100));
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(1, &(struct ledger_grant){.admission = LEDGER_REVOKED, .revoked_left_ms = 1});
    cr_expect_not(covers(window, 100));
    cr_expect_not(covers(other, 100));
    window_drop(&other, now_ms);
}

/* ---- limits ---- */

Test(grant_take, gives_the_node_its_part_of_the_accounts_limits)
{
    static const struct {
        uint64_t rate;
        uint32_t max_conns, sharers;
        uint64_t own_rate;
        uint32_t own_conns;
    } rows[] = {{64000, 6, 1, 64000, 6}, {64000, 6, 4, 16000, 1}, {64000, 9, 2, 32000, 4},
                {3, 2, 4, 1, 1},         {0, 0, 4, 0, 0},         {1, 1, 1, 1, 1}};
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ledger_grant grant = thousand;
        grant.rate = rows[i].rate;
        grant.max_conns = rows[i].max_conns;
        grant.sharers = rows[i].sharers;
        cr_assert_eq(ask(&demand, &asker), 0);
        answer(i, &grant);
        cr_expect_eq(atomic_load(&account_quota()->bucket.rate), rows[i].own_rate, "row %u", i);
        cr_expect_eq(atomic_load(&account_quota()->max_conns), rows[i].own_conns, "row %u", i);
    }
    cr_expect_not(quota_is_limited(&window->link_group->quota), "they are the account's");
}

Test(grant_take, leaves_the_limits_of_the_account_where_it_refuses)
{
    struct ledger_grant grant = thousand;
    grant.rate = 5;
    grant.max_conns = 6;
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &grant);
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(1, &(struct ledger_grant){.admission = LEDGER_SUSPENDED}); /* it names no limits */
    cr_expect_eq(atomic_load(&account_quota()->bucket.rate), 5u);
    cr_expect_eq(atomic_load(&account_quota()->max_conns), 6u);
}

/* ---- revocations ---- */

Test(grant_take, never_takes_back_what_it_knows_to_be_revoked)
{
    const struct window_group *group = window->account_group;
    struct ledger_grant grant = thousand, older = thousand;
    grant.revoked_before = 90;
    grant.revoked_left_ms = 5000;
    older.revoked_before = 80;
    older.revoked_left_ms = 4000;
    cr_assert_eq(ask(&demand, &asker), 0);
    be_late(0);
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(1, &grant);
    cr_expect_eq(atomic_load(&group->revoked_before), 90u);
    cr_expect_eq(atomic_load(&group->revoked_until_ms), VALID_END + 5000u);
    answer(0, &older);
    cr_expect_eq(atomic_load(&group->revoked_before), 90u);
    cr_expect_eq(atomic_load(&group->revoked_until_ms), VALID_END + 5000u);
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(2, &thousand);
    cr_expect_eq(atomic_load(&group->revoked_until_ms), VALID_END + 5000u);
    grant.revoked_before = 91;
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(3, &grant);
    cr_expect_eq(atomic_load(&group->revoked_before), 91u);
}

Test(grant_take, notes_revocations_even_where_it_was_overtaken_or_refuses)
{
    const struct window_group *group = window->account_group;
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &(struct ledger_grant){
                  .admission = LEDGER_REVOKED, .revoked_before = 70, .revoked_left_ms = 10});
    cr_expect_eq(atomic_load(&group->revoked_before), 70u);
    cr_expect_eq(atomic_load(&group->revoked_until_ms), VALID_END + 10u);
}

/* ---- uses ---- */

Test(grant_take, of_a_late_answer_never_goes_back_to_an_earlier_use)
{
    struct ledger_grant early = thousand, late = thousand;
    early.opened_ms = 1000;
    early.left_ms = late.left_ms = 1000;
    late.opened_ms = 2000;
    demand.has_terms = true;
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(ask(&demand, &asker), 0);
        be_late(i);
    }
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &late);
    cr_expect_eq(atomic_load(&window->opened_ms), 2000u, "there was no use before");
    late.acknowledged = 400;
    answer(1, &late);
    cr_expect_eq(window_arrived(window), 400u, "more has arrived in the same use");
    answer(2, &early);
    cr_expect_eq(atomic_load(&window->opened_ms), 2000u);
    cr_expect_eq(window_arrived(window), 400u);
    answer(3, &early); /* what is answered in time stands, since it was asked for last */
    cr_expect_eq(atomic_load(&window->opened_ms), 1000u);
}

Test(grant_take, has_what_is_delivered_from_now_on_journalled_in_its_use)
{
    struct ledger_grant grant = thousand;
    grant.opened_ms = 1000;
    grant.till_ms = 2000;
    grant.left_ms = 700;
    demand.has_terms = true;
    cr_assert_eq(ask(&demand, &asker), 0);
    now_ms += 300;
    answer(0, &grant);
    const struct ledger_download *download = window->use->download;
    cr_expect_eq(atomic_load(&download->opened_ms), 1000u);
    cr_expect_eq(atomic_load(&download->till_ms), 2000u);
    cr_expect_eq(atomic_load(&download->keep_ms), 101000u);
    cr_expect_arr_eq(download->link_id, window->link_id, LEDGER_LINK_ID_BYTES);
    cr_expect_eq(atomic_load(&window->use_until_ms), START + 700u, "from the question on");
}

/* The words behind the funds, from the path to `keep_ms`. */
static void expect_terms(unsigned number, const char *const words[8])
{
    for (int i = 0; i < 8; i++)
        cr_expect_str_eq(sent[number].words[AT_path + i], words[i]);
}

Test(grant_take, follows_a_question_with_all_terms_of_the_link)
{
    static const char *const words[8] = {"/f",     "1000", "3", "5000",
                                         "100000", "1000", "2", "101000"};
    const struct question_terms terms = {
        .max_uses = 3, .max_bytes = 5000, .till_ms = 100000, .stage = LEDGER_UNDER_WAY};
    demand.has_terms = true;
    cr_assert_eq(question_ask(&grants[0], &demand, &terms, &asker), 0);
    cr_expect_eq(sent[0].count, (int)AT_END);
    expect_terms(0, words);
    cr_expect_eq(word(0, AT_link_count), 0u, "its funds are not asked for");
    lose(0);
}
