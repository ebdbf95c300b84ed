/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to Redis and what becomes of their answers, with a table of answers for Redis: who may
 * ask and for how much, answers in time, late, overtaken and lost, and renewals.
 */
#include "tests/unit/grant/scene_fixture.h"

TestSuite(question, .init = begin_asking, .fini = end_scene);

Test(question, is_the_only_one_for_its_window_until_it_is_answered)
{
    struct purse other = {0};
    const struct demand second = demand_for(window, &other, 1);
    const struct question_terms terms = {.till_ms = 100000};
    struct grants_asker late_comer = {.question = 42};
    asker = (struct grants_asker){.index = 7, .generation = 3};
    cr_expect_eq(ask(&demand, &asker), 0);
    cr_expect_eq(asker.question, 1u);
    cr_expect_eq(question_ask(&grants[1], &second, &terms, &late_comer), -EALREADY);
    cr_expect_eq(question_renew(&grants[0], &demand, &terms), -EALREADY);
    cr_expect_eq(late_comer.question, 42u, "the number of the question that it waits for");
    cr_expect_eq(sent_count, 1u);
    answer(0, &thousand);
    cr_expect_eq(told_count, 1u);
    cr_expect(told_asker.index == 7 && told_asker.generation == 3 && told_asker.question == 1);
    cr_expect(told.status == 0 && !told.is_overtaken && told.admission == LEDGER_GRANTED);
    cr_expect_eq(woken, 3u, "both workers waited for it");
    cr_expect_eq(question_ask(&grants[1], &second, &terms, &late_comer), 0);
    waits = false;
    answer(1, &thousand);
}

Test(question, fills_the_purse_of_the_response_that_asked_and_leaves_the_rest)
{
    cr_expect_not(covers(window, 100));
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &thousand);
    cr_expect_eq(purse.funds.bytes[LEDGER_FUND_ACCOUNT], 700u);
    cr_expect_eq(spare(window, LEDGER_FUND_ACCOUNT), 300u);
    cr_expect(covers(window, 100) && covers(window, 101));
    cr_expect_not(covers(window, 99), "an older token may have been revoked");
}

Test(question, asks_for_the_file_and_then_for_twice_as_much_up_to_the_bound)
{
    demand.need = 300;
    cr_assert_eq(ask(&demand, &asker), 0);
    expect_sent(0, "tollgate_admit", 300, SIZE);
    answer(0, &thousand);
    demand.need = 5;
    purse.funds = (struct funds){0};
    (void)window_take(window, ACCOUNT, 700, true, &(struct funds){0}); /* nothing is spare */
    cr_assert_eq(ask(&demand, &asker), 0);
    expect_sent(1, "tollgate_admit", 5, 2 * (1000 + 1));
    answer(1, &(struct ledger_grant){.granted = 4000, .funds = ACCOUNT});
    demand.need = 4001; /* the window has 4,000 */
    cr_assert_eq(ask(&demand, &asker), 0);
    expect_sent(2, "tollgate_admit", 1, SLICE);
    answer(2, &thousand);
    demand.need = 20000;
    cr_assert_eq(ask(&demand, &asker), 0);
    expect_sent(3, "tollgate_admit", 20000 - 5000, 20000 - 5000);
    answer(3, &thousand);
}

Test(question, gives_back_first_what_one_fund_has_beyond_the_others)
{
    window_fund(windows, window, ACCOUNT | LINK, 100, NULL, 0);
    window_fund(windows, window, LINK, 250, NULL, 0); /* it was asked for when only that bound */
    atomic_store(&window->account_bounds, true);
    demand.link_bounds = true;
    cr_assert_eq(ask(&demand, &asker), 0);
    cr_assert_eq(sent_count, 2u);
    expect_sent(0, "tollgate_release", 0, 250);
    expect_sent(1, "tollgate_admit", 600, SIZE);
    waits = false;
    lose(1);
}

Test(question, that_is_late_gives_its_grant_to_the_window_and_starts_nothing)
{
    cr_assert_eq(ask(&demand, &asker), 0);
    be_late(0);
    cr_expect_eq(told_count, 1u);
    cr_expect_eq(told.status, -ETIMEDOUT);
    cr_assert_eq(ask(&demand, &asker), 0, "the right to ask was not given back");
    cr_expect_eq(asker.question, 2u);
    answer(0, &thousand);
    cr_expect_eq(told_count, 1u, "the late answer was told");
    cr_expect(funds_are_empty(&purse.funds), "the late grant went to a purse");
    cr_expect_eq(spare(window, LEDGER_FUND_ACCOUNT), 1000u, "the late grant was lost");
    cr_expect_eq(window->slice, 0u, "only the holder of the right to ask may write it");
    answer(1, &thousand);
    cr_expect_eq(told_count, 2u);
    cr_expect_eq(spare(window, LEDGER_FUND_ACCOUNT), 1300u);
}

Test(question, refused_too_late_makes_the_transfers_of_its_window_ask)
{
    cr_assert_eq(ask(&demand, &asker), 0);
    be_late(0);
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(1, &thousand);
    cr_assert(covers(window, 100));
    answer(0, &(struct ledger_grant){.admission = LEDGER_REVOKED});
    cr_expect_not(covers(window, 100));
    /* A refusal in time is told to the response alone: it is refused, and others ask when due. */
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(2, &thousand);
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(3, &(struct ledger_grant){.admission = LEDGER_USED_UP});
    cr_expect_eq(told.admission, LEDGER_USED_UP);
    cr_expect(covers(window, 100));
}

Test(question, overtaken_by_a_revocation_brings_funds_and_no_coverage)
{
    cr_assert_eq(ask(&demand, &asker), 0);
    hear(alice, 7);
    struct ledger_grant grant = thousand;
    grant.revision = 6;
    answer(0, &grant);
    cr_expect(told.status == 0 && told.is_overtaken);
    cr_expect_eq(purse.funds.bytes[LEDGER_FUND_ACCOUNT], 700u, "Redis has reserved them");
    cr_expect_not(covers(window, 100));
    /* An answer that knows of the revocation stands. */
    cr_assert_eq(ask(&demand, &asker), 0);
    hear(alice, 8);
    grant.revision = 8;
    answer(1, &grant);
    cr_expect_not(told.is_overtaken);
    cr_expect(covers(window, 100));
    hear(alice, 9);
    cr_expect_not(covers(window, 100), "a revocation was heard since");
}

Test(question, whose_connection_is_lost_gives_the_right_to_ask_back)
{
    const struct question_terms terms = {.till_ms = 100000};
    struct grants_asker other = {0};
    cr_assert_eq(ask(&demand, &asker), 0);
    cr_assert_eq(question_ask(&grants[1], &demand, &terms, &other), -EALREADY);
    lose(0);
    cr_expect_eq(told_count, 1u);
    cr_expect_eq(told.status, -ENOTCONN);
    cr_expect_eq(woken, 2u);
    cr_expect_not(covers(window, 100));
    /* Where it cannot be sent at all, nobody is told, and the next may try. */
    refuses = true;
    cr_expect_eq(ask(&demand, &asker), -ENOTCONN);
    cr_expect_eq(told_count, 1u);
    refuses = false;
    cr_assert_eq(question_ask(&grants[1], &demand, &terms, &other), 0);
    lose(1);
    cr_expect_eq(told_count, 2u);
    /* Neither question holds its window any more. */
    struct window *ended = window;
    window_drop(&window, now_ms);
    cr_expect(window_sweep(windows, ended, now_ms + WINDOW_IDLE_MS, WINDOW_IDLE_MS, release, NULL));
}

Test(question, answered_by_an_error_is_no_grant)
{
    char text[] = "ERR no such function";
    const redisReply error = {.type = REDIS_REPLY_ERROR, .str = text, .len = sizeof(text) - 1};
    cr_assert_eq(ask(&demand, &asker), 0);
    sent[0].done(sent[0].context, &error);
    cr_expect_eq(told.status, -EPROTO);
    cr_expect_not(covers(window, 100));
    cr_expect_eq(ask(&demand, &asker), 0);
    lose(1);
}

Test(question, renews_a_grant_past_half_of_its_validity_and_tells_nobody)
{
    const struct question_terms terms = {.till_ms = 100000, .stage = LEDGER_UNDER_WAY};
    cr_assert_eq(ask(&demand, &asker), 0);
    now_ms += 300; /* the answer takes so long: the validity counts from the question */
    answer(0, &thousand);
    cr_expect_eq(atomic_load(&window->valid_until_ms), 1000u + VALIDITY);
    now_ms = 1000 + VALIDITY / 2;
    cr_expect_not(coverage_is_due(window, VALIDITY, now_ms));
    now_ms += 1;
    cr_expect(coverage_is_due(window, VALIDITY, now_ms));
    cr_assert_eq(question_renew(&grants[0], &demand, &terms), 0);
    expect_sent(1, "tollgate_admit", 0, 0);
    answer(1, &(struct ledger_grant){.funds = ACCOUNT});
    cr_expect_eq(told_count, 1u, "a renewal was told");
    cr_expect_eq(atomic_load(&window->valid_until_ms), now_ms + VALIDITY);
    cr_expect_eq(window->slice, 1001u, "a renewal leaves the last grant as it was");
    now_ms += VALIDITY;
    cr_expect_not(covers(window, 100), "the validity is over");
    cr_expect_not(coverage_is_valid(window, now_ms));
}

Test(question, answered_late_never_shortens_the_validity)
{
    cr_assert_eq(ask(&demand, &asker), 0);
    be_late(0);
    now_ms += 2000;
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(1, &thousand);
    answer(0, &thousand);
    cr_expect_eq(atomic_load(&window->valid_until_ms), now_ms + VALIDITY);
}

Test(question, sets_and_lifts_the_bound_of_an_account_by_answers_in_time_alone)
{
    demand.need = 0;
    const struct quota *quota = &window->account_quota->quota;
    const struct ledger_grant bound = {.funds = ACCOUNT, .rate = 64000, .max_conns = 3},
                              free_of_it = {.funds = 0};
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &bound);
    cr_expect_eq(demand_set(&demand), ACCOUNT);
    cr_expect_eq(atomic_load(&quota->bucket.rate), 64000u);
    cr_expect_eq(atomic_load(&quota->max_conns), 3u);
    cr_assert_eq(ask(&demand, &asker), 0);
    be_late(1);
    answer(1, &free_of_it);
    cr_expect_eq(demand_set(&demand), ACCOUNT, "a late answer lifted the bound");
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(2, &free_of_it);
    cr_expect_eq(demand_set(&demand), 0u);
    cr_expect_not(quota_is_limited(quota));
    cr_assert_eq(ask(&demand, &asker), 0);
    be_late(3);
    answer(3, &bound);
    cr_expect_eq(demand_set(&demand), ACCOUNT, "a late answer did not set the bound");
}

Test(question, of_an_inquiry_takes_nothing)
{
    demand.takes_nothing = true;
    cr_assert_eq(ask(&demand, &asker), 0);
    expect_sent(0, "tollgate_judge", 700, 700);
    struct ledger_grant grant = thousand;
    grant.rate = 5;
    answer(0, &grant);
    cr_expect(told.status == 0 && !told.is_overtaken && told.admission == LEDGER_GRANTED);
    cr_expect(funds_are_empty(&purse.funds));
    cr_expect_eq(spare(window, LEDGER_FUND_ACCOUNT), 0u);
    cr_expect_not(covers(window, 100));
    cr_expect_eq(atomic_load(&window->account_quota->quota.bucket.rate), 5u);
    cr_assert_eq(ask(&demand, &asker), 0);
    hear(alice, 7);
    answer(1, &grant);
    cr_expect(told.is_overtaken);
}
