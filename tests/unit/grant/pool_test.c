/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool by itself: what responses may begin and pay, what a question tells, what an answer changes,
 * and that lowering the ceiling never strands a response that begins or pays at the same time.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>

#include "server/grant/pool.h"

static atomic_ullong account_handed;
static struct pool pool;
static uint64_t number;

/* An account's pool of which so much is handed and posted, with a ceiling that is valid for 10 s. */
static void begin_with(uint64_t handed, uint64_t ceiling)
{
    atomic_store(&account_handed, handed);
    pool = (struct pool){0};
    pool_init(&pool, &account_handed);
    number = 1;
    (void)pool_ask(&pool, 1, 0, 0, false, 1000);
    const struct ledger_credit credit = {
        .bounds = LEDGER_BY_BALANCE, .posted = handed, .ceiling = ceiling, .bound = ceiling};
    pool_take(&pool, 1, &credit, 11000);
}

static uint64_t handed(void)
{
    return atomic_load(pool.handed);
}

static uint64_t least(void)
{
    return atomic_load(&pool.least);
}

static uint64_t ceiling(void)
{
    return atomic_load(&pool.ceiling);
}

static struct ledger_told ask(uint64_t need, uint64_t spare, bool gives_back, uint64_t now_ms)
{
    return pool_ask(&pool, ++number, need, spare, gives_back, now_ms);
}

/* ---- responses ---- */

Test(pool, of_an_account_begins_with_what_was_handed_before_and_may_hand_nothing)
{
    atomic_store(&account_handed, 500);
    pool_init(&pool, &account_handed);
    cr_expect(handed() == 500 && least() == 500 && ceiling() == 500);
    cr_expect(pool.posted == 500 && pool.is_known && pool.is_answered);
    cr_expect_not(pool_begin(&pool, 1));
    cr_expect_eq(pool_pay(&pool, 1), 0u);
    cr_expect_not(pool_is_valid(&pool, 0), "Redis was never asked");
    cr_expect_not(pool_holds(&pool));
}

Test(pool, begins_for_responses_up_to_its_ceiling_and_not_a_byte_further)
{
    begin_with(100, 200);
    cr_expect(pool_begin(&pool, 60));
    cr_expect_not(pool_begin(&pool, 41));
    cr_expect_eq(least(), 160u, "what fails changes nothing");
    cr_expect(pool_begin(&pool, 40));
    cr_expect_eq(least(), 200u);
    cr_expect_eq(handed(), 100u, "nothing is handed yet");
    pool_end(&pool, 30);
    cr_expect(pool_begin(&pool, 30), "what one gave up another may have");
    pool_end(&pool, 0);
    cr_expect_eq(least(), 200u);
}

Test(pool, whose_ceiling_fell_below_what_is_needed_begins_for_nobody)
{
    begin_with(100, 200);
    cr_assert(pool_begin(&pool, 60));
    atomic_store(&pool.ceiling, 120);
    cr_expect_not(pool_begin(&pool, 5));
    cr_expect_not(pool_begin(&pool, 0));
    cr_expect_not(pool_covers(&pool, 5));
    cr_expect(pool_covers(&pool, 0), "20 bytes can be handed still");
    cr_expect_eq(least(), 160u);
}

Test(pool, pays_what_is_wanted_or_what_the_ceiling_leaves)
{
    begin_with(100, 200);
    cr_expect_eq(pool_pay(&pool, 70), 70u);
    cr_expect_eq(handed(), 170u);
    cr_expect_eq(pool_pay(&pool, 70), 30u);
    cr_expect_eq(handed(), 200u);
    cr_expect_eq(pool_pay(&pool, 1), 0u);
    cr_expect_not(pool_covers(&pool, 0));
    pool_refund(&pool, 25);
    cr_expect_eq(handed(), 175u);
    cr_expect(pool_covers(&pool, 0));
    atomic_store(&pool.ceiling, 150);
    cr_expect_eq(pool_pay(&pool, 1), 0u, "more was handed than the ceiling is now");
    cr_expect_eq(handed(), 175u);
}

Test(pool, covers_what_pool_begin_would_begin_for)
{
    begin_with(100, 200);
    cr_expect(pool_covers(&pool, 100));
    cr_expect_not(pool_covers(&pool, 101));
    cr_assert(pool_begin(&pool, 100));
    cr_expect_not(pool_covers(&pool, 1));
    cr_expect(pool_covers(&pool, 0), "nothing of it was handed");
}

Test(pool, counts_bytes_that_never_arrived_neither_as_handed_nor_as_needed)
{
    begin_with(100, 200);
    cr_assert(pool_begin(&pool, 80));
    cr_assert_eq(pool_pay(&pool, 80), 80u);
    pool_return(&pool, 50);
    cr_expect_eq(handed(), 130u);
    cr_expect_eq(least(), 130u);
    cr_expect(pool_begin(&pool, 70));
}

Test(pool, is_short_where_the_bound_is_passed_by_a_byte)
{
    struct ledger_credit credit = {.bounds = LEDGER_BY_BALANCE, .bound = 250};
    begin_with(100, 200);
    cr_assert(pool_begin(&pool, 50));
    cr_expect_not(pool_is_short(&pool, &credit, 100, 0));
    cr_expect(pool_is_short(&pool, &credit, 101, 0));
    cr_expect_not(pool_is_short(&pool, &credit, 121, 21), "what is set aside does not count");
    cr_expect(pool_is_short(&pool, &credit, 122, 21));
    credit.bounds = LEDGER_BY_NOTHING;
    cr_expect_not(pool_is_short(&pool, &credit, UINT32_MAX, 0));
}

/* ---- questions ---- */

Test(pool, tells_its_ceiling_its_least_and_what_is_wanted_beyond)
{
    begin_with(100, 200);
    cr_assert(pool_begin(&pool, 30));
    const struct ledger_told told = ask(400, 7, false, 2000);
    cr_expect(told.count == 2 && !told.is_new);
    cr_expect_eq(told.ceiling, 200u);
    cr_expect_eq(told.least, 130u);
    cr_expect_eq(told.want, 530u);
    cr_expect_eq(told.spare, 7u);
    cr_expect_eq(ceiling(), 200u, "nothing is given back");
    cr_expect_not(pool.is_answered);
    cr_expect_eq(pool.asked_ms, 2000u);
    cr_expect_eq(pool.number, 2u);
    cr_expect_eq(pool.told, 200u, "Redis has the ceiling as held");
}

Test(pool, gives_back_all_but_what_is_under_way_before_it_tells)
{
    begin_with(100, 200);
    cr_assert(pool_begin(&pool, 30));
    const struct ledger_told told = ask(0, 0, true, 2000);
    cr_expect_eq(told.ceiling, 130u);
    cr_expect_eq(ceiling(), 130u);
    cr_expect_eq(pool_pay(&pool, 30), 30u, "what has begun goes on");
    cr_expect_not(pool_begin(&pool, 1));
}

Test(pool, tells_only_what_it_has_handed_once_the_validity_is_over)
{
    begin_with(100, 200);
    cr_assert(pool_begin(&pool, 30));
    cr_assert_eq(pool_pay(&pool, 10), 10u);
    cr_expect(pool_is_valid(&pool, 10999));
    cr_expect_eq(ask(0, 0, false, 10999).ceiling, 200u);
    cr_expect_not(pool_is_valid(&pool, 11000));
    const struct ledger_told told = ask(5, 0, false, 11000);
    cr_expect_eq(told.ceiling, 110u, "Redis may have voided the rest");
    cr_expect_eq(told.least, 130u);
    cr_expect_eq(told.want, 135u);
    cr_expect_eq(ceiling(), 110u);
    cr_expect_eq(pool_pay(&pool, 20), 0u);
}

Test(pool, never_raises_its_ceiling_where_it_gives_back)
{
    begin_with(100, 200);
    cr_assert(pool_begin(&pool, 100));
    atomic_store(&pool.ceiling, 150);
    cr_expect_eq(ask(0, 0, true, 2000).ceiling, 150u);
    cr_expect_eq(ceiling(), 150u);
}

Test(pool, without_a_bound_has_no_ceiling_and_tells_what_it_has_handed)
{
    begin_with(100, 200);
    (void)ask(0, 0, false, 2000);
    pool_take(&pool, 2, &(struct ledger_credit){.bounds = LEDGER_BY_NOTHING}, 12000);
    cr_expect_not(pool_is_bounded(&pool));
    cr_expect(pool_begin(&pool, 1000000));
    cr_expect_eq(pool_pay(&pool, 400), 400u);
    const struct ledger_told told = ask(0, 0, true, 20000);
    cr_expect_eq(told.ceiling, 500u);
    cr_expect_eq(told.least, 1000100u);
    cr_expect_not(pool_is_bounded(&pool), "it is not lowered");
    cr_expect_not(pool_is_idle(&pool));
    cr_expect_not(pool_holds(&pool));
}

Test(pool, is_not_changed_by_an_inquiry)
{
    begin_with(100, 200);
    cr_assert(pool_begin(&pool, 30));
    const struct ledger_told told = pool_inquire(&pool, 9, 50);
    cr_expect(told.count == 9 && !told.is_new && told.ceiling == 200);
    cr_expect(told.least == 130 && told.want == 180 && told.spare == 0);
    cr_expect(pool.number == 1 && pool.is_answered && least() == 130 && ceiling() == 200);
}

Test(pool, breaks_off_where_a_question_is_not_numbered_above_the_last, .signal = SIGABRT)
{
    begin_with(100, 200);
    (void)pool_ask(&pool, 1, 0, 0, false, 2000);
}

/* ---- answers ---- */

Test(pool, takes_the_answer_to_its_last_question_alone)
{
    const struct ledger_credit late = {
        .bounds = LEDGER_BY_BALANCE, .posted = 100, .ceiling = 900, .bound = 900};
    const struct ledger_credit last = {
        .bounds = LEDGER_BY_BALANCE, .posted = 150, .ceiling = 600, .bound = 600};
    begin_with(100, 200);
    (void)ask(700, 0, false, 2000);
    (void)ask(400, 0, false, 3000); /* the one before was given up */
    pool_take(&pool, 2, &late, 12000);
    pool_told(&pool, 2, 170, 12000);
    cr_expect_eq(ceiling(), 200u);
    cr_expect_eq(pool.posted, 100u);
    cr_expect_eq(atomic_load(&pool.valid_until_ms), 11000u);
    cr_expect_not(pool.is_answered);
    pool_take(&pool, 3, &last, 13000);
    cr_expect_eq(ceiling(), 600u);
    cr_expect_eq(pool.posted, 150u);
    cr_expect_eq(atomic_load(&pool.valid_until_ms), 13000u);
    cr_expect(pool.is_answered);
    pool_take(&pool, 2, &late, 14000);
    cr_expect_eq(ceiling(), 600u);
    cr_expect_eq(handed(), 100u, "what an account has handed is known");
}

Test(pool, takes_a_lower_ceiling_too)
{
    begin_with(100, 200);
    (void)ask(0, 0, false, 2000);
    pool_take(
        &pool, 2,
        &(struct ledger_credit){.bounds = LEDGER_BY_ACCOUNT_BYTES, .ceiling = 120, .bound = 120},
        12000);
    cr_expect_eq(ceiling(), 120u);
    cr_expect_not(pool_begin(&pool, 21));
}

Test(pool, gives_back_what_is_idle_of_a_ceiling_that_its_fund_cannot_pay_any_more)
{
    begin_with(100, 900);
    cr_assert(pool_begin(&pool, 50));
    (void)ask(0, 0, false, 2000);
    const struct ledger_credit credit = {
        .bounds = LEDGER_BY_BALANCE, .posted = 100, .ceiling = 900, .bound = 400};
    pool_take(&pool, 2, &credit, 12000);
    cr_expect_eq(ceiling(), 150u, "what the response needs");
    cr_expect(pool_is_lowered(&pool), "Redis is to be told");
    (void)ask(0, 0, false, 2000);
    cr_expect_not(pool_is_lowered(&pool));
}

Test(pool, of_a_link_counts_from_what_redis_says_was_posted)
{
    pool_init(&pool, NULL);
    cr_expect(least() == 0 && ceiling() == 0 && !pool.is_known);
    const struct ledger_told first = pool_ask(&pool, 1, 40, 0, false, 1000);
    cr_expect(first.is_new && first.ceiling == 0 && first.want == 40);
    const struct ledger_credit credit = {
        .bounds = LEDGER_BY_LINK_BYTES, .posted = 700, .ceiling = 740, .bound = 1000};
    pool_take(&pool, 1, &credit, 11000);
    cr_expect(handed() == 700 && least() == 700 && ceiling() == 740);
    cr_expect(pool_begin(&pool, 40));
    const struct ledger_told second = pool_ask(&pool, 2, 0, 0, false, 2000);
    cr_expect(!second.is_new && second.ceiling == 740 && second.least == 740);
    pool_take(&pool, 2,
              &(struct ledger_credit){
                  .bounds = LEDGER_BY_LINK_BYTES, .posted = 720, .ceiling = 740, .bound = 740},
              12000);
    cr_expect_eq(handed(), 700u, "it learns that once");
    cr_expect_eq(least(), 740u);
    cr_expect_eq(pool.posted, 720u);
}

Test(pool, of_a_link_that_only_told_learns_what_was_posted_and_may_hand_nothing)
{
    pool_init(&pool, NULL);
    (void)pool_ask(&pool, 1, 0, 0, false, 1000);
    pool_told(&pool, 1, 300, 11000);
    cr_expect(handed() == 300 && least() == 300 && ceiling() == 300 && pool.posted == 300);
    cr_expect(pool.is_known && pool.is_answered);
    cr_expect_not(pool_begin(&pool, 1));
}

Test(pool, that_was_told_has_another_validity_and_the_same_ceiling)
{
    begin_with(100, 200);
    (void)ask(0, 0, false, 5000);
    pool_told(&pool, 2, 140, 15000);
    cr_expect_eq(ceiling(), 200u);
    cr_expect_eq(pool.posted, 140u);
    cr_expect_eq(handed(), 100u);
    cr_expect(pool_is_valid(&pool, 14999) && !pool_is_valid(&pool, 15000));
    cr_expect(pool.is_answered);
}

Test(pool, that_gets_a_bound_may_hand_nothing_until_redis_is_asked)
{
    begin_with(100, 200);
    pool_bind(&pool);
    cr_expect(ceiling() == 200 && pool_is_valid(&pool, 2000), "it has a bound already");
    (void)ask(0, 0, false, 2000);
    pool_take(&pool, 2, &(struct ledger_credit){.bounds = LEDGER_BY_NOTHING}, 12000);
    cr_assert(pool_begin(&pool, 50));
    cr_assert_eq(pool_pay(&pool, 20), 20u);
    pool_bind(&pool);
    cr_expect(pool_is_bounded(&pool));
    cr_expect_eq(ceiling(), 120u);
    cr_expect_eq(pool_pay(&pool, 1), 0u);
    cr_expect_not(pool_is_valid(&pool, 2000));
}

/* ---- what it holds ---- */

Test(pool, is_idle_as_far_as_nobody_needs_its_ceiling)
{
    begin_with(100, 200);
    cr_expect(pool_is_idle(&pool));
    cr_assert(pool_begin(&pool, 99));
    cr_expect(pool_is_idle(&pool));
    cr_assert(pool_begin(&pool, 1));
    cr_expect_not(pool_is_idle(&pool));
}

Test(pool, holds_something_until_redis_knows_that_it_needs_and_has_nothing)
{
    begin_with(100, 101);
    cr_expect(pool_holds(&pool), "a byte above what was posted");
    begin_with(100, 100);
    cr_expect_not(pool_holds(&pool));
    atomic_store(&pool.least, 101);
    cr_expect(pool_holds(&pool), "a response under way");
    (void)ask(0, 0, true, 2000);
    pool_end(&pool, 1);
    cr_expect(pool_holds(&pool), "an answer is under way");
    pool_told(&pool, 2, 100, 12000);
    cr_expect(pool_holds(&pool), "Redis has heard of that response");
    (void)ask(0, 0, true, 3000);
    pool_told(&pool, 3, 100, 13000);
    cr_expect_not(pool_holds(&pool));
}

/* ---- threads ---- */

#define ROUNDS 300

static pthread_barrier_t barrier;
static atomic_bool pays, ends;

struct payer {
    uint64_t begun, paid; /* in a round */
};

static void begin_and_pay(struct payer *payer)
{
    if (!pool_begin(&pool, 3))
        return;
    payer->begun += 3;
    payer->paid += pool_pay(&pool, 2);
}

static void *pay_while_it_is_lowered(void *argument)
{
    for (;;) {
        pthread_barrier_wait(&barrier);
        if (atomic_load(&ends))
            return NULL;
        while (atomic_load(&pays))
            begin_and_pay(argument);
        pthread_barrier_wait(&barrier);
    }
}

/* Lowers a pool, whose ceiling is valid or not, against two threads; the figures afterwards are those
 * of the two, and no higher than what Redis was told. */
static void lower_in_rounds(uint64_t now_ms, bool is_valid)
{
    pthread_t threads[2];
    struct payer payers[2];
    cr_assert_eq(pthread_barrier_init(&barrier, NULL, 3), 0);
    atomic_store(&ends, false);
    for (unsigned i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, pay_while_it_is_lowered, &payers[i]), 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        begin_with(1000, 1000000000);
        payers[0] = payers[1] = (struct payer){0};
        atomic_store(&pays, true);
        pthread_barrier_wait(&barrier);
        while (least() < 1000 + round % 50)
            continue;
        const struct ledger_told told = ask(0, 0, true, now_ms);
        atomic_store(&pays, false);
        pthread_barrier_wait(&barrier);
        cr_assert_eq(handed(), 1000 + payers[0].paid + payers[1].paid, "round %u", round);
        cr_assert_eq(least(), 1000 + payers[0].begun + payers[1].begun, "round %u", round);
        cr_assert_leq(handed(), told.ceiling, "round %u", round);
        cr_assert(!is_valid || least() <= told.ceiling, "round %u", round);
        cr_assert_eq(ceiling(), told.ceiling, "round %u", round);
    }
    atomic_store(&ends, true);
    pthread_barrier_wait(&barrier);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&barrier);
}

Test(pool, that_is_lowered_leaves_each_response_that_begins_meanwhile_all_it_needs)
{
    lower_in_rounds(2000, true);
}

Test(pool, that_is_void_and_lowered_hands_no_more_than_redis_was_told)
{
    lower_in_rounds(11000, false);
}

static void *begin_and_end(void *sum)
{
    for (unsigned i = 0; i < 20000; i++) {
        if (!pool_begin(&pool, 7))
            continue;
        uint64_t paid = pool_pay(&pool, 7);
        cr_assert_eq(paid, 7u, "what was begun for can be paid");
        pool_refund(&pool, 5);
        pool_end(&pool, 5);
        *(uint64_t *)sum += 2;
    }
    return NULL;
}

Test(pool, of_many_responses_at_once_hands_no_more_than_its_ceiling)
{
    pthread_t threads[3];
    uint64_t sums[3] = {0};
    begin_with(0, 100000);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, begin_and_end, &sums[i]), 0);
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(handed(), sums[0] + sums[1] + sums[2]);
    cr_expect_eq(least(), handed());
    cr_expect_leq(handed(), 100000u);
    cr_expect_gt(handed(), 100000u - 7);
}
