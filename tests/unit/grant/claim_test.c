/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one response takes from its account's pool and its link's: from both the same, and all that it
 * did not hand over comes back.
 */
#include <criterion/criterion.h>
#include <signal.h>

#include "server/grant/claim.h"

static struct window_group account_group, link_group;
static struct window window = {.account_group = &account_group, .link_group = &link_group};
static struct claim claim;

static void give(struct pool *pool, uint64_t ceiling)
{
    *pool = (struct pool){0};
    pool_init(pool, NULL);
    atomic_store(&pool->ceiling, ceiling);
}

static void begin_with(uint64_t account, uint64_t link)
{
    give(&account_group.pool, account);
    give(&link_group.pool, link);
    claim = (struct claim){0};
}

static void expect_pool(const struct window_group *group, uint64_t handed, uint64_t least,
                        const char *what)
{
    cr_expect_eq(atomic_load(group->pool.handed), handed, "%s: %llu handed", what,
                 atomic_load(group->pool.handed));
    cr_expect_eq(atomic_load(&group->pool.least), least, "%s: least %llu", what,
                 atomic_load(&group->pool.least));
}

static void expect_both(uint64_t handed, uint64_t least)
{
    expect_pool(&account_group, handed, least, "account");
    expect_pool(&link_group, handed, least, "link");
}

Test(claim, claims_of_both_pools_or_of_neither)
{
    begin_with(100, 60);
    cr_expect_not(claim_begin(&claim, &window, true, 61));
    expect_both(0, 0);
    cr_expect_eq(claim.bytes, 0u);
    cr_expect(claim_begin(&claim, &window, true, 60));
    expect_both(0, 60);
    cr_expect(claim.bytes == 60 && claim.paid == 0 && claim.of_link);
    begin_with(50, 60);
    cr_expect_not(claim_begin(&claim, &window, true, 60));
    expect_both(0, 0);
}

Test(claim, of_a_link_without_a_bound_leaves_the_links_pool_alone)
{
    begin_with(100, 0);
    cr_assert(claim_begin(&claim, &window, false, 80));
    cr_expect_eq(claim_pay(&claim, &window, 50), 50u);
    claim_refund(&claim, &window, 10);
    expect_pool(&account_group, 40, 80, "account");
    claim_hand(&claim, 40);
    claim_end(&claim, &window);
    expect_pool(&account_group, 40, 40, "account");
    claim_return(&window, false, 15);
    expect_pool(&account_group, 25, 25, "account");
    expect_pool(&link_group, 0, 0, "link");
}

Test(claim, pays_of_both_pools_what_both_can)
{
    begin_with(100, 100);
    cr_assert(claim_begin(&claim, &window, true, 90));
    atomic_store(&link_group.pool.ceiling, 30); /* its validity is over, and it was lowered */
    cr_expect_eq(claim_pay(&claim, &window, 50), 30u);
    expect_both(30, 90);
    cr_expect(claim.bytes == 60 && claim.paid == 30);
    cr_expect_eq(claim_pay(&claim, &window, 50), 0u);
    expect_both(30, 90);
    atomic_store(&link_group.pool.ceiling, 100);
    atomic_store(&account_group.pool.ceiling, 40);
    cr_expect_eq(claim_pay(&claim, &window, 50), 10u);
    expect_both(40, 90);
    cr_expect(claim.bytes == 50 && claim.paid == 40);
}

Test(claim, takes_back_what_was_not_handed_over_and_still_needs_it)
{
    begin_with(100, 100);
    cr_assert(claim_begin(&claim, &window, true, 90));
    cr_assert_eq(claim_pay(&claim, &window, 90), 90u);
    claim_refund(&claim, &window, 20);
    expect_both(70, 90);
    cr_expect(claim.bytes == 20 && claim.paid == 70);
    cr_expect_eq(claim_pay(&claim, &window, 20), 20u);
    expect_both(90, 90);
}

Test(claim, that_ends_gives_back_all_that_was_not_handed_over)
{
    begin_with(100, 100);
    cr_assert(claim_begin(&claim, &window, true, 90));
    cr_assert_eq(claim_pay(&claim, &window, 50), 50u);
    claim_hand(&claim, 30);
    cr_expect(claim.bytes == 40 && claim.paid == 20);
    claim_end(&claim, &window);
    expect_both(30, 30);
    cr_expect(claim.bytes == 0 && claim.paid == 0 && !claim.of_link);
    claim_end(&claim, &window);
    expect_both(30, 30);
    cr_expect(claim_begin(&claim, &window, true, 70), "the connection's next response");
}

Test(claim, returns_to_both_pools_what_was_never_acknowledged)
{
    begin_with(100, 100);
    cr_assert(claim_begin(&claim, &window, true, 90));
    cr_assert_eq(claim_pay(&claim, &window, 90), 90u);
    claim_hand(&claim, 90);
    claim_end(&claim, &window);
    claim_return(&window, true, 25);
    expect_both(65, 65);
}

Test(claim, breaks_off_where_a_response_claims_twice, .signal = SIGABRT)
{
    begin_with(100, 100);
    (void)claim_begin(&claim, &window, true, 10);
    (void)claim_begin(&claim, &window, true, 10);
}

Test(claim, breaks_off_where_a_response_claims_before_it_handed_all_over, .signal = SIGABRT)
{
    begin_with(100, 100);
    (void)claim_begin(&claim, &window, true, 10);
    (void)claim_pay(&claim, &window, 10);
    (void)claim_begin(&claim, &window, true, 10);
}

Test(claim, breaks_off_where_more_is_paid_than_was_claimed, .signal = SIGABRT)
{
    begin_with(100, 100);
    (void)claim_begin(&claim, &window, true, 10);
    (void)claim_pay(&claim, &window, 11);
}

Test(claim, breaks_off_where_more_is_handed_over_than_was_paid, .signal = SIGABRT)
{
    begin_with(100, 100);
    (void)claim_begin(&claim, &window, true, 10);
    (void)claim_pay(&claim, &window, 5);
    claim_hand(&claim, 6);
}

Test(claim, breaks_off_where_more_is_taken_back_than_was_paid, .signal = SIGABRT)
{
    begin_with(100, 100);
    (void)claim_begin(&claim, &window, true, 10);
    (void)claim_pay(&claim, &window, 5);
    claim_refund(&claim, &window, 6);
}
