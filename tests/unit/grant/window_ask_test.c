/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The right to ask: who has it, who waits, what the next question wants for those who waited, and
 * which answers count.
 */
#include "tests/unit/grant/window_fixture.h"

#define NOW      1000
#define VALIDITY 10000
#define ALL      (SUBJECT_ACCOUNT | SUBJECT_LINK)

static struct ledger_account *alice;
static struct window *window, *other_link, *other_path;
static struct window_question question;

static void begin(void)
{
    start(100, 100);
    alice = account("alice");
    window = open_window(alice, 1, file);
    other_link = open_window(alice, 2, file);
    other_path = open_window(alice, 1, other_file);
}

static void end(void)
{
    ledger_account_drop(&alice);
    stop();
}

TestSuite(window_ask, .init = begin, .fini = end);

static bool ask_in(struct window *of, unsigned subjects, unsigned worker, uint64_t bytes,
                   uint64_t *round, struct window_question *out)
{
    const struct window_need need = {.bytes = bytes, .spare = 50};
    return window_ask(windows, of, subjects, worker, &need, round, NOW, out);
}

static bool ask(struct window *of, unsigned subjects, unsigned worker, struct window_question *out)
{
    uint64_t round = UINT64_MAX;
    return ask_in(of, subjects, worker, 0, &round, out);
}

/* The account's funds are asked for, and so much is granted. */
static void grant(uint64_t ceiling)
{
    cr_assert(ask(window, SUBJECT_ACCOUNT, 0, &question));
    const struct ledger_grant answer = {
        .funds = {.bounds = LEDGER_BY_BALANCE, .ceiling = ceiling, .bound = ceiling}};
    window_take(windows, &question, &answer, VALIDITY);
    (void)window_asked(windows, &question);
}

/* ---- who may ask ---- */

Test(window_ask, gives_one_worker_the_right_and_notes_the_others_once)
{
    struct window_question other;
    cr_expect(ask(window, SUBJECT_WINDOW, 5, &question));
    cr_expect_not(ask(window, SUBJECT_WINDOW, 0, &other));
    cr_expect_not(ask(window, SUBJECT_ACCOUNT, 63, &other));
    cr_expect_not(ask(window, SUBJECT_WINDOW, 63, &other));
    cr_expect_eq(window_asked(windows, &question), 1ULL << 63 | 1);
    cr_expect(ask(window, SUBJECT_WINDOW, 0, &question), "that question is answered");
    cr_expect_eq(window_asked(windows, &question), 0u, "whoever waited was woken");
}

Test(window_ask, about_links_alone_waits_for_no_other_link)
{
    struct window_question about[3];
    cr_expect(ask(window, ALL, 0, &about[0]));
    cr_expect(ask(other_link, SUBJECT_WINDOW, 1, &about[1]));
    cr_expect(ask(other_path, SUBJECT_WINDOW, 1, &about[2]));
    cr_expect_eq(about[1].funds.count, 0u);
    cr_expect_eq(about[1].link_funds.count, 0u);
    cr_expect_eq(about[1].subjects, (unsigned)SUBJECT_WINDOW);
    cr_expect_eq(window_asked(windows, &about[1]), 0u);
    cr_expect_not(ask(other_link, SUBJECT_ACCOUNT, 1, &about[1]), "the first is under way still");
}

Test(window_ask, has_one_question_about_an_account_under_way_whatever_the_link)
{
    struct window_question other;
    cr_expect(ask(window, SUBJECT_ACCOUNT, 0, &question));
    cr_expect_not(ask(other_link, SUBJECT_ACCOUNT, 2, &other));
    cr_expect_not(other_link->asking.is_under_way, "what waits has no right");
    cr_expect(ask(other_path, SUBJECT_LINK, 1, &other), "the link's funds are others");
    cr_expect_eq(window_asked(windows, &other), 0u);
    cr_expect_eq(window_asked(windows, &question), 1ULL << 2);
    cr_expect(ask(other_link, SUBJECT_ACCOUNT, 2, &other));
}

Test(window_ask, has_one_question_about_a_links_funds_under_way_whatever_the_path)
{
    struct window_question other;
    cr_expect(ask(window, SUBJECT_LINK, 0, &question));
    cr_expect_not(ask(other_path, SUBJECT_LINK, 4, &other));
    cr_expect(ask(other_link, SUBJECT_LINK, 1, &other));
    cr_expect_eq(window_asked(windows, &other), 0u);
    cr_expect_eq(window_asked(windows, &question), 1ULL << 4);
    cr_expect(ask(other_path, SUBJECT_LINK, 4, &other));
}

Test(window_ask, of_two_that_wait_for_different_things_wakes_both)
{
    struct window_question other;
    cr_expect(ask(window, ALL, 0, &question));
    cr_expect_not(ask(window, SUBJECT_WINDOW, 1, &other));
    cr_expect_not(ask(other_link, SUBJECT_ACCOUNT, 2, &other));
    cr_expect_not(ask(other_path, SUBJECT_LINK, 3, &other));
    cr_expect_eq(window_asked(windows, &question), 1ULL << 1 | 1ULL << 2 | 1ULL << 3);
}

/* ---- what is wanted ---- */

Test(window_ask, wants_what_all_who_waited_need_each_once_in_a_round)
{
    struct window_question other;
    uint64_t rounds[3] = {0};
    window->account_group->round = 6;
    cr_assert(ask_in(window, SUBJECT_ACCOUNT, 0, 100, &rounds[0], &question));
    cr_expect(question.funds.want == 100 && question.funds.spare == 50);
    for (unsigned i = 0; i < 3; i++) /* at each tick */
        cr_expect_not(ask_in(other_link, SUBJECT_ACCOUNT, 1, 30, &rounds[1], &other));
    cr_expect_not(ask_in(other_path, SUBJECT_ACCOUNT, 2, 4, &rounds[2], &other));
    (void)window_asked(windows, &question);
    cr_assert(ask_in(window, SUBJECT_ACCOUNT, 0, 500, &rounds[0], &question));
    cr_expect_eq(question.funds.want, 534u);
    cr_expect_not(ask_in(other_link, SUBJECT_ACCOUNT, 1, 30, &rounds[1], &other));
    (void)window_asked(windows, &question);
    cr_assert(ask_in(window, SUBJECT_ACCOUNT, 0, 0, &rounds[0], &question));
    cr_expect_eq(question.funds.want, 30u, "the next round counts it again");
    cr_expect_eq(question.funds.spare, 50u);
}

Test(window_ask, of_a_mere_renewal_wants_nothing_to_spare)
{
    cr_assert(ask(window, ALL, 0, &question));
    cr_expect(question.funds.want == 0 && question.funds.spare == 0);
    cr_expect(question.link_funds.want == 0 && question.link_funds.spare == 0);
    cr_expect_eq(question.asked_ms, (uint64_t)NOW);
    cr_expect_eq(question.window, window);
}

Test(window_ask, numbers_each_fund_of_each_question_above_all_before)
{
    struct window_question next;
    cr_assert(ask(window, ALL, 0, &question));
    cr_expect_gt(question.funds.count, 0u);
    cr_expect_gt(question.link_funds.count, question.funds.count);
    (void)window_asked(windows, &question);
    cr_assert(ask(other_link, ALL, 1, &next));
    cr_expect_gt(next.funds.count, question.link_funds.count);
}

/* ---- answers ---- */

static uint64_t ceiling(void)
{
    return atomic_load(&window->account_group->pool.ceiling);
}

Test(window_ask, gives_an_answer_to_the_pools_that_were_asked_for_alone)
{
    const struct ledger_grant answer = {
        .funds = {.bounds = LEDGER_BY_BALANCE, .ceiling = 300, .bound = 300},
        .link_funds = {.bounds = LEDGER_BY_LINK_BYTES, .posted = 40, .ceiling = 90, .bound = 90}};
    const struct pool *link = &window->link_group->pool;
    cr_assert(ask(window, ALL, 0, &question));
    window_take(windows, &question, &answer, VALIDITY);
    cr_expect_eq(ceiling(), 300u);
    cr_expect_eq(atomic_load(&link->ceiling), 90u);
    cr_expect_eq(atomic_load(&link->least), 40u);
    cr_expect_eq(atomic_load(&window->account_group->pool.valid_until_ms), NOW + 10000u);
    cr_expect_eq(atomic_load(&link->valid_until_ms), NOW + 10000u);
    (void)window_asked(windows, &question);
    cr_assert(ask(window, SUBJECT_WINDOW, 0, &question));
    const struct ledger_grant lower = {.funds = {.bounds = LEDGER_BY_BALANCE, .ceiling = 1},
                                       .link_funds = {.bounds = LEDGER_BY_LINK_BYTES}};
    window_take(windows, &question, &lower, VALIDITY);
    cr_expect_eq(ceiling(), 300u);
    cr_expect_eq(atomic_load(&link->ceiling), 90u);
}

/* A question was given up, and another worker has asked again: the answers come in any order. */
Test(window_ask, ignores_the_late_answer_to_a_question_that_was_given_up)
{
    struct window_question given_up;
    const struct ledger_grant
        early = {.funds = {.bounds = LEDGER_BY_BALANCE, .ceiling = 900, .bound = 900}},
        last = {.funds = {.bounds = LEDGER_BY_BALANCE, .ceiling = 600, .bound = 900}};
    cr_assert(ask(window, SUBJECT_ACCOUNT, 0, &given_up));
    (void)window_asked(windows, &given_up);
    cr_assert(ask(other_link, SUBJECT_ACCOUNT, 1, &question));
    window_take(windows, &given_up, &early, VALIDITY);
    cr_expect_eq(ceiling(), 0u);
    window_take(windows, &question, &last, VALIDITY);
    cr_expect_eq(ceiling(), 600u);
    window_take(windows, &given_up, &early, VALIDITY);
    cr_expect_eq(ceiling(), 600u);
}

Test(window_ask, that_learns_of_a_bound_by_the_way_has_the_next_response_ask_for_funds)
{
    struct window_question about_link;
    struct pool *pool = &window->account_group->pool;
    cr_assert(ask(window, SUBJECT_ACCOUNT, 0, &question));
    window_take(windows, &question, &(struct ledger_grant){0}, VALIDITY);
    (void)window_asked(windows, &question);
    cr_assert_not(pool_is_bounded(pool));
    cr_assert(ask(other_link, SUBJECT_WINDOW, 0, &about_link));
    window_take(windows, &about_link, &(struct ledger_grant){0}, VALIDITY);
    cr_expect_not(pool_is_bounded(pool));
    about_link.asked_ms = NOW - 1; /* before the account was asked for */
    const struct ledger_grant bound = {.funds.bounds = LEDGER_BY_BALANCE};
    window_take(windows, &about_link, &bound, VALIDITY);
    cr_expect_not(pool_is_bounded(pool), "the account's own answer is newer");
    about_link.asked_ms = NOW;
    window_take(windows, &about_link, &bound, VALIDITY);
    cr_expect(pool_is_bounded(pool));
    cr_expect_not(pool_begin(pool, 1));
}

Test(window_ask, of_an_unknown_account_leaves_the_figures_and_ends_their_validity)
{
    grant(500);
    struct pool *pool = &window->account_group->pool;
    cr_assert(pool_is_valid(pool, NOW));
    cr_assert(ask(window, ALL, 0, &question));
    cr_assert_not(pool->is_answered);
    window_take(windows, &question, &(struct ledger_grant){.admission = LEDGER_UNKNOWN}, VALIDITY);
    cr_expect(pool_is_bounded(pool), "an answer without figures does not lift the bound");
    cr_expect_eq(ceiling(), 500u);
    cr_expect_not(pool_is_valid(pool, 0));
    cr_expect(pool->is_answered && window->link_group->pool.is_answered);
    cr_expect(pool_is_bounded(&window->link_group->pool));
}

/* ---- inquiries ---- */

Test(window_ask, of_an_inquiry_tells_the_figures_as_they_are_and_takes_only_the_window)
{
    const struct window_need need = {.bytes = 70, .spare = 50};
    struct window_question other;
    grant(500);
    uint64_t last = window->account_group->pool.number;
    cr_assert(pool_begin(&window->account_group->pool, 20));
    cr_assert(window_inquire(windows, window, 0, &need, false, NOW, &question));
    cr_expect_eq(question.subjects, (unsigned)SUBJECT_WINDOW);
    cr_expect_gt(question.funds.count, last);
    cr_expect(question.funds.ceiling == 500 && question.funds.least == 20);
    cr_expect(question.funds.want == 90 && question.funds.spare == 0);
    cr_expect_eq(question.link_funds.count, 0u);
    cr_expect_eq(window->account_group->pool.number, last);
    cr_expect_not(window_inquire(windows, window, 6, &need, false, NOW, &other));
    cr_expect(ask(other_link, SUBJECT_ACCOUNT, 1, &other), "the account may be asked for");
    cr_expect_eq(window_asked(windows, &question), 1ULL << 6);
    cr_expect_eq(window_asked(windows, &other), 0u);
    cr_assert(window_inquire(windows, window, 0, &need, true, NOW, &question));
    cr_expect_neq(question.link_funds.count, 0u);
    cr_expect_eq(question.link_funds.want, 70u);
    cr_expect(question.link_funds.is_new);
}
