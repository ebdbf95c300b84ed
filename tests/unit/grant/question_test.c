/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to Redis and what becomes of their answers, with a table of answers for Redis: who may
 * ask and for how much, answers in time, late, overtaken and lost, renewals and inquiries.
 */
#include "tests/unit/grant/scene_fixture.h"

TestSuite(question, .init = begin_asking, .fini = end_scene);

static struct pool *pool_of(struct window *of)
{
    return &of->account_group->pool;
}

static uint64_t ceiling(void)
{
    return atomic_load(&pool_of(window)->ceiling);
}

/* ---- who may ask, and for what ---- */

Test(question, is_the_only_one_for_its_window_until_it_is_answered)
{
    struct claim other = {0};
    const struct demand second = demand_for(window, &other, 1);
    struct grants_asker late_comer = {.question = 42};
    asker = (struct grants_asker){.index = 7, .generation = 3};
    cr_expect_eq(ask(&demand, &asker), 0);
    cr_expect_eq(asker.question, 1u);
    cr_expect_eq(ask_by(1, &second, &late_comer), -EALREADY);
    cr_expect_eq(question_renew(&grants[0], &demand, &test_terms), -EALREADY);
    cr_expect_eq(late_comer.question, 42u, "the number of the question that it waits for");
    cr_expect_eq(sent_count, 1u);
    answer(0, &thousand);
    cr_expect_eq(told_count, 1u);
    cr_expect(told_asker.index == 7 && told_asker.generation == 3 && told_asker.question == 1);
    cr_expect(told.status == 0 && !told.is_overtaken && told.admission == LEDGER_GRANTED);
    cr_expect_eq(told.subjects, (unsigned)(SUBJECT_WINDOW | SUBJECT_ACCOUNT));
    cr_expect(told.funds.bounds == LEDGER_BY_BALANCE && told.funds.bound == 1000);
    cr_expect_eq(woken, 3u, "both workers waited for it");
    cr_expect_eq(ask_by(1, &second, &late_comer), 0);
    answer(1, &thousand);
}

Test(question, is_not_asked_of_an_account_that_is_set_aside)
{
    atomic_store(&alice->aside, ASIDE_DAMAGED);
    cr_expect_eq(ask(&demand, &asker), -ENOTCONN);
    cr_expect_eq(question_renew(&grants[0], &demand, &test_terms), -ENOTCONN);
    cr_expect_eq(sent_count, 0u);
    atomic_store(&alice->aside, ASIDE_NOT);
    cr_expect_eq(ask(&demand, &asker), 0);
    answer(0, &thousand);
}

Test(question, asks_for_what_is_needed_and_a_slice_beyond)
{
    cr_assert_eq(ask(&demand, &asker), 0);
    cr_expect_str_eq(sent[0].words[1], "tollgate_admit");
    cr_expect_eq(word(0, AT_validity_ms), VALIDITY);
    cr_expect_eq(word(0, AT_iat), 100u);
    cr_expect_eq(word(0, AT_need), 700u);
    cr_expect_eq(sent[0].count, AT_path, "a link without terms has none");
    expect_funds(0, 0, 0, 700, SLICE);
    answer(0, &thousand);
    cr_assert(demand_claim(&demand, now_ms));
    struct claim other = {0};
    const struct demand second = demand_for(window, &other, 400);
    cr_assert_eq(ask(&second, &asker), 0);
    expect_funds(1, 1000, 700, 1100, SLICE);
    cr_expect_gt(word(1, AT_count), word(0, AT_count));
    answer(1, &thousand);
}

/* Each is a Redis' round trip, and each account has but one at a time. */
Test(question, of_two_workers_on_one_account_are_one_after_the_other_and_wants_for_both)
{
    struct window *other_window = open_window(alice, 2, file);
    struct claim other = {0};
    const struct demand second = demand_for(other_window, &other, 250);
    struct grants_asker waits = {0};
    cr_assert_eq(ask(&demand, &asker), 0);
    for (unsigned tick = 0; tick < 3; tick++)
        cr_expect_eq(ask_by(1, &second, &waits), -EALREADY);
    cr_expect_eq(sent_count, 1u);
    const struct ledger_grant exactly = balance(700, 1000);
    answer(0, &exactly);
    cr_expect_eq(woken, 2u);
    cr_assert(demand_claim(&demand, now_ms));
    cr_expect_not(demand_claim(&second, now_ms), "what came is the first one's");
    cr_assert_eq(ask_by(1, &second, &waits), 0);
    expect_funds(1, 700, 700, 700 + 250 + 250, SLICE); /* as a waiter, and as the one that asks */
    cr_expect_eq(word(1, AT_need), 250u);
    const struct ledger_grant more = balance(950, 1000);
    answer(1, &more);
    cr_expect(demand_claim(&second, now_ms));
    cr_expect_eq(unclaimed(), 0u);
    cr_expect_eq(claim_pay(&claim, window, 700) + claim_pay(&other, other_window, 250), 950u);
    cr_expect_eq(atomic_load(ledger_account_handed(alice)), 950u);
    claim_end(&other, other_window);
    window_drop(&other_window, now_ms);
}

/* A client pipelines: the second response is asked for while the first sends, and the first pays in
 * between. What Redis is told is what was handed and claimed by then. */
Test(question, that_is_pipelined_tells_what_the_first_response_still_needs)
{
    struct claim next = {0};
    const struct demand second = demand_for(window, &next, 500);
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &thousand);
    cr_assert(demand_claim(&demand, now_ms));
    cr_assert_eq(claim_pay(&claim, window, 300), 300u);
    claim_hand(&claim, 300);
    cr_assert_eq(ask_by(1, &second, &asker), 0);
    expect_funds(1, 1000, 700, 1200, SLICE);
    cr_assert_eq(claim_pay(&claim, window, 400), 400u, "it pays while the question is under way");
    claim_hand(&claim, 400);
    const struct ledger_grant more = balance(1200, 2000);
    answer(1, &more);
    cr_expect(demand_claim(&second, now_ms));
    cr_expect_eq(atomic_load(&pool_of(window)->least), 1200u);
    claim_end(&next, window);
}

Test(question, about_an_account_that_is_covered_is_about_the_link_alone)
{
    struct window *other_window = open_window(alice, 2, file);
    struct claim other = {0};
    const struct demand second = demand_for(other_window, &other, 300);
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &thousand);
    cr_assert_eq(ask(&second, &asker), 0); /* say, because it has terms */
    expect_no_funds(1);
    answer(1, &thousand);
    cr_expect_eq(told.subjects, (unsigned)SUBJECT_WINDOW);
    cr_expect_eq(ceiling(), 1000u);
    window_drop(&other_window, now_ms);
}

Test(question, is_about_the_account_again_past_half_of_its_validity_or_without_funds_or_coverage)
{
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &thousand);
    now_ms = START + VALIDITY / 2 - 1;
    cr_assert_eq(ask(&demand, &asker), 0);
    expect_no_funds(1);
    answer(1, &thousand);
    now_ms += 1;
    atomic_store(&window->account_group->cover.valid_until_ms, VALID_END + VALIDITY);
    cr_assert_eq(ask(&demand, &asker), 0);
    cr_expect_neq(word(2, AT_count), 0u, "its ceiling ends before");
    answer(2, &thousand);
    demand.need = 1001;
    cr_assert_eq(ask(&demand, &asker), 0);
    cr_expect_neq(word(3, AT_count), 0u, "its ceiling is too low");
    answer(3, &thousand);
    demand.need = 700;
    hear(alice, 7);
    cr_assert_eq(ask(&demand, &asker), 0);
    cr_expect_neq(word(4, AT_count), 0u, "a revocation was heard");
    answer(4, &thousand);
    atomic_store(&pool_of(window)->ceiling, POOL_UNBOUNDED);
    atomic_store(&pool_of(window)->valid_until_ms, 0);
    cr_assert_eq(ask(&demand, &asker), 0);
    expect_no_funds(5);
    answer(5, &(struct ledger_grant){0});
}

Test(question, asks_for_the_funds_of_a_link_with_max_bytes_by_the_same_rule)
{
    struct ledger_grant both = thousand;
    both.link_funds = (struct ledger_credit){
        .bounds = LEDGER_BY_LINK_BYTES, .posted = 50, .ceiling = 800, .bound = 5000};
    demand.has_terms = demand.link_bounds = true;
    cr_assert_eq(ask(&demand, &asker), 0);
    expect_funds(0, 0, 0, 700, SLICE);
    cr_expect_gt(word(0, AT_link_count), word(0, AT_count), "with numbers of its own");
    cr_expect_eq(word(0, AT_link_is_new), 1u);
    cr_expect_eq(word(0, AT_link_want), 700u);
    cr_expect_eq(word(0, AT_link_spare), SLICE);
    answer(0, &both);
    cr_expect_eq(told.subjects, (unsigned)(SUBJECT_WINDOW | SUBJECT_ACCOUNT | SUBJECT_LINK));
    cr_expect_eq(told.link_funds.bound, 5000u);
    cr_expect(demand_claim(&demand, now_ms));
    cr_assert_eq(ask(&demand, &asker), 0);
    expect_funds(1, 1000, 700, 1400, SLICE);
    cr_expect(word(1, AT_link_is_new) == 0 && word(1, AT_link_ceiling) == 800);
    cr_expect(word(1, AT_link_least) == 750 && word(1, AT_link_want) == 1450);
    answer(1, &both);
    claim_end(&claim, window);
    cr_assert_eq(ask(&demand, &asker), 0);
    expect_no_funds(2);
    cr_expect_eq(word(2, AT_link_count), 0u, "both have what it needs");
    answer(2, &both);
}

/* ---- late, overtaken and lost ---- */

Test(question, that_is_given_up_is_followed_by_a_higher_number_and_its_late_answer_ignored)
{
    cr_assert_eq(ask(&demand, &asker), 0);
    be_late(0);
    cr_expect_eq(told_count, 1u);
    cr_expect_eq(told.status, -ETIMEDOUT);
    cr_assert_eq(ask(&demand, &asker), 0, "the right to ask was not given back");
    cr_expect_eq(asker.question, 2u);
    cr_expect_gt(word(1, AT_count), word(0, AT_count));
    const struct ledger_grant early = balance(5000, 5000), last = balance(800, 800);
    answer(0, &early);
    cr_expect_eq(told_count, 1u, "the late answer was told");
    cr_expect_eq(ceiling(), 0u, "Redis has taken the next question since");
    answer(1, &last);
    cr_expect_eq(told_count, 2u);
    cr_expect_eq(ceiling(), 800u);
}

Test(question, that_is_late_and_the_last_has_its_figures_taken_and_starts_nothing)
{
    cr_assert_eq(ask(&demand, &asker), 0);
    be_late(0);
    answer(0, &thousand);
    cr_expect_eq(told_count, 1u);
    cr_expect_eq(claim.bytes, 0u);
    cr_expect_eq(ceiling(), 1000u);
}

Test(question, refused_makes_the_transfers_that_it_speaks_of_ask)
{
    static const struct {
        enum ledger_admission admission;
        bool covered, other_covered;
    } rows[] = {
        {LEDGER_USED_UP, true, true},     {LEDGER_NOT_BEGUN, true, true},
        {LEDGER_REVOKED, false, true},    {LEDGER_SUSPENDED, false, false},
        {LEDGER_SET_ASIDE, false, false}, {LEDGER_UNKNOWN, true, true}}; /* Redis has lost it */
    struct window *other = open_window(alice, 2, file);
    struct claim none = {0};
    const struct demand of_other = demand_for(other, &none, 1);
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ledger_grant each_by_itself = thousand;
        each_by_itself.revoked_left_ms = 5000;
        cr_assert_eq(ask(&demand, &asker), 0);
        answer(sent_count - 1, &each_by_itself);
        cr_assert_eq(ask(&of_other, &asker), 0);
        answer(sent_count - 1, &each_by_itself);
        cr_assert_eq(ask(&demand, &asker), 0);
        be_late(sent_count - 1); /* nobody waits for it */
        answer(sent_count - 1,
               &(struct ledger_grant){.admission = rows[i].admission, .revoked_left_ms = 5000});
        cr_expect_eq(covers(window, 100), rows[i].covered, "row %u", i);
        cr_expect_eq(covers(other, 100), rows[i].other_covered, "row %u", i);
    }
    window_drop(&other, now_ms);
}

Test(question, overtaken_by_a_revocation_brings_funds_and_no_coverage)
{
    cr_assert_eq(ask(&demand, &asker), 0);
    hear(alice, 7);
    struct ledger_grant grant = thousand;
    grant.revision = 6;
    answer(0, &grant);
    cr_expect(told.status == 0 && told.is_overtaken);
    cr_expect_eq(ceiling(), 1000u, "Redis has raised it");
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
    struct grants_asker other = {0};
    cr_assert_eq(ask(&demand, &asker), 0);
    cr_assert_eq(ask_by(1, &demand, &other), -EALREADY);
    lose(0);
    cr_expect_eq(told_count, 1u);
    cr_expect_eq(told.status, -ENOTCONN);
    cr_expect_eq(woken, 2u);
    cr_expect_not(covers(window, 100));
    cr_expect_not(pool_of(window)->is_answered, "Redis may have taken it");
    /* Where it cannot be sent at all, nobody is told, and the next may try. */
    refuses = true;
    cr_expect_eq(ask(&demand, &asker), -ENOTCONN);
    cr_expect_eq(asker.question, 1u);
    cr_expect_eq(told_count, 1u);
    refuses = false;
    cr_assert_eq(ask_by(1, &demand, &other), 0);
    lose(1);
    cr_expect_eq(told_count, 2u);
    /* Neither question holds its window any more. */
    cr_expect_eq(atomic_load(&window->references), 1u);
}

Test(question, that_could_not_be_sent_wakes_those_who_would_have_asked)
{
    refuses = true;
    contested = window;
    cr_expect_eq(ask(&demand, &asker), -ENOTCONN);
    contested = NULL;
    cr_expect_eq(woken, 2u);
}

Test(question, answered_by_an_error_is_no_grant)
{
    char text[] = "ERR no such function";
    const redisReply error = {.type = REDIS_REPLY_ERROR, .str = text, .len = sizeof(text) - 1};
    cr_assert_eq(ask(&demand, &asker), 0);
    reply_with(0, &error);
    cr_expect_eq(told.status, -EPROTO);
    cr_expect_not(covers(window, 100));
    cr_expect_eq(ask(&demand, &asker), 0);
    lose(1);
}

Test(question, that_a_later_one_has_overtaken_is_not_answered)
{
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &(struct ledger_grant){.admission = LEDGER_OUTDATED});
    cr_expect_eq(told.status, -ESTALE);
    cr_expect_eq(ceiling(), 0u);
    cr_expect_not(covers(window, 100));
    cr_expect_not(pool_of(window)->is_answered);
    cr_expect_eq(ask(&demand, &asker), 0);
    lose(1);
}

Test(question, about_an_account_of_which_Redis_lacks_parts_is_not_answered)
{
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &(struct ledger_grant){.admission = LEDGER_FILLING});
    cr_expect_eq(told.status, -ESTALE);
    cr_expect_not(covers(window, 100));
    cr_expect_not(pool_of(window)->is_answered);
    cr_expect_eq(ask(&demand, &asker), 0);
    lose(1);
}

Test(question, about_an_account_that_Redis_has_lost_is_not_answered)
{
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &(struct ledger_grant){.admission = LEDGER_UNKNOWN});
    cr_expect(told.status == 0 && told.admission == LEDGER_UNKNOWN, "it was never confirmed");
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(1, &thousand);
    now_ms += VALIDITY / 2 + 1; /* the account is to be confirmed again */
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(2, &(struct ledger_grant){.admission = LEDGER_UNKNOWN});
    cr_expect_eq(told.status, -ESTALE);
    cr_expect(covers(window, 100), "transfers go on until their validity is over");
    cr_expect_not(pool_of(window)->is_answered, "what the node holds is to be told again");
}

/* ---- renewals and expiry ---- */

Test(question, renews_a_grant_and_tells_nobody)
{
    const struct question_terms terms = {.till_ms = 100000, .stage = LEDGER_UNDER_WAY};
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &thousand);
    cr_assert(demand_claim(&demand, now_ms));
    demand.is_under_way = true;
    now_ms = START + VALIDITY / 2 + 1;
    cr_assert_eq(question_renew(&grants[0], &demand, &terms), 0);
    cr_expect_eq(word(1, AT_need), 0u);
    expect_funds(1, 1000, 700, 700, 0);
    answer(1, &thousand);
    cr_expect_eq(told_count, 1u, "a renewal was told");
    cr_expect_eq(coverage_until_ms(window, now_ms), now_ms + VALIDITY);
    cr_expect_eq(atomic_load(&pool_of(window)->valid_until_ms), now_ms + VALIDITY);
}

Test(question, after_the_validity_tells_only_what_was_handed)
{
    cr_assert_eq(ask(&demand, &asker), 0);
    now_ms += 300; /* the answer takes so long: the validity counts from the question */
    answer(0, &thousand);
    cr_assert(demand_claim(&demand, now_ms));
    cr_assert_eq(claim_pay(&claim, window, 200), 200u);
    now_ms = VALID_END;
    demand.is_under_way = true;
    cr_expect_not(demand_claim(&demand, now_ms), "its ceiling is worth nothing");
    cr_assert_eq(ask(&demand, &asker), 0);
    expect_funds(1, 200, 700, 700, 0);
    cr_expect_eq(claim_pay(&claim, window, 1), 0u);
    const struct ledger_grant granted = balance(700, 1000);
    answer(1, &granted);
    cr_expect(demand_claim(&demand, now_ms));
    cr_expect_eq(claim_pay(&claim, window, 500), 500u);
}

Test(question, answered_late_never_shortens_the_validity)
{
    cr_assert_eq(ask(&demand, &asker), 0);
    be_late(0);
    now_ms += 2000;
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(1, &thousand);
    answer(0, &thousand);
    cr_expect_eq(coverage_until_ms(window, now_ms), now_ms + VALIDITY);
    cr_expect_eq(atomic_load(&pool_of(window)->valid_until_ms), now_ms + VALIDITY);
}

/* ---- a limit that is set and removed under load ---- */

Test(question, sets_and_lifts_the_bound_of_an_account_while_a_response_sends)
{
    const struct ledger_grant unlimited = {.rate = 0};
    const struct ledger_grant limited = {
        .funds = {.bounds = LEDGER_BY_ACCOUNT_BYTES, .ceiling = 900, .bound = 900}};
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &unlimited);
    cr_assert(demand_claim(&demand, now_ms));
    cr_assert_eq(claim_pay(&claim, window, 200), 200u);
    demand.is_under_way = true;
    hear(alice, 0); /* the limit is published as a revocation is */
    cr_assert_eq(ask(&demand, &asker), 0);
    expect_funds(1, 200, 700, 700, 0); /* what was handed without a bound counts */
    answer(1, &limited);
    cr_expect_eq(claim_pay(&claim, window, 100), 100u, "what is under way goes on");
    struct claim other = {0};
    struct demand second = demand_for(window, &other, 201);
    cr_expect_not(demand_claim(&second, now_ms));
    cr_assert_eq(ask(&second, &asker), 0);
    be_late(2);
    cr_assert_eq(ask(&second, &asker), 0);
    answer(2, &unlimited);
    cr_expect(pool_is_bounded(pool_of(window)), "a late answer lifted the bound");
    answer(3, &unlimited);
    cr_expect(demand_claim(&second, now_ms));
    cr_expect_eq(claim_pay(&claim, window, 400), 400u);
    cr_expect_eq(atomic_load(ledger_account_handed(alice)), 700u, "it is counted all the time");
    claim_end(&other, window);
}

/* ---- inquiries ---- */

Test(question, of_an_inquiry_takes_nothing)
{
    struct ledger_grant grant = thousand;
    const struct pool *pool = pool_of(window);
    grant.rate = 5;
    grant.revoked_before = 50;
    grant.revoked_left_ms = 60;
    grant.opened_ms = 70;
    demand.takes_nothing = true;
    cr_assert_eq(ask(&demand, &asker), 0);
    cr_expect_str_eq(sent[0].words[1], "tollgate_judge");
    expect_funds(0, 0, 0, 700, 0);
    cr_expect(pool->number == 0 && pool->is_answered);
    answer(0, &grant);
    cr_expect(told.status == 0 && !told.is_overtaken && told.admission == LEDGER_GRANTED);
    cr_expect_eq(told.funds.bound, 1000u, "by which the inquiry is judged");
    cr_expect(claim.bytes == 0 && ceiling() == 0);
    cr_expect_not(pool_is_valid(pool, now_ms));
    cr_expect_not(covers(window, 100));
    cr_expect_eq(atomic_load(&window->account_group->quota.bucket.rate), 0u);
    cr_expect_eq(atomic_load(&window->account_group->revoked_before), 0u);
    cr_expect_eq(atomic_load(&window->account_group->revoked_until_ms), 0u);
    cr_expect_eq(atomic_load(&window->opened_ms), 0u);
    cr_assert_eq(ask(&demand, &asker), 0);
    hear(alice, 7);
    answer(1, &grant);
    cr_expect(told.is_overtaken);
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(2, &(struct ledger_grant){.admission = LEDGER_SUSPENDED});
    cr_expect_eq(told.admission, LEDGER_SUSPENDED);
}
