/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a response begins, or goes on, without a question, on a grant that its account has. A Redis
 * that the test plays confirms the subscription, so that the push connection is up.
 */
#include "tests/unit/grant/scene_fixture.h"

static void setup(void)
{
    begin_granted(5000);
}

TestSuite(demand, .init = setup, .fini = end_scene, .timeout = 30);

/* Whether it begins; what it has claimed is given back. */
static bool begins(void)
{
    bool claimed = demand_claim_unasked(ledger, &demand, now_ms);
    claim_end(&claim, window);
    return claimed;
}

Test(demand, begins_unasked_only_while_revocations_are_heard)
{
    cr_expect(begins());
    now_ms += LEDGER_PUSH_LOST_MS;
    cr_expect_not(begins(), "the push connection is silent");
    demand.is_under_way = true;
    cr_expect(begins(), "what is under way goes on");
}

Test(demand, begins_unasked_only_while_what_redis_confirmed_holds)
{
    demand.iat = -1;
    cr_expect_not(begins(), "it is older than what is revoked");
    demand.iat = 100;
    hear(alice, 7);
    cr_expect_not(begins());
    demand.is_under_way = true;
    cr_expect_not(begins());
}

Test(demand, with_terms_begins_unasked_in_an_open_use_alone)
{
    demand.has_terms = true;
    cr_expect_not(begins(), "no use is open yet");
    grant_use(window, 500, 0);
    cr_expect(begins());
    /* The end of the use's period, as the push connection stays up for longer. */
    atomic_store(&window->use_until_ms, now_ms + 1);
    cr_expect(begins());
    atomic_store(&window->use_until_ms, now_ms);
    cr_expect_not(begins(), "the use's period is over");
}

Test(demand, with_terms_begins_unasked_until_three_times_the_file_has_arrived)
{
    demand.has_terms = true;
    grant_use(window, 500, 3 * SIZE - 1);
    cr_expect(begins());
    grant_use(window, 500, 3 * SIZE);
    cr_expect_not(begins());
    grant_use(window, 600, 0);
    cr_expect(begins(), "Redis has opened another use");
}

Test(demand, of_a_new_response_claims_all_that_it_needs_or_nothing)
{
    demand.need = 5001;
    cr_expect_not(demand_claim(&demand, now_ms));
    cr_expect_eq(claim.bytes, 0u);
    demand.need = 5000;
    cr_expect(demand_claim(&demand, now_ms));
    cr_expect_eq(claim.bytes, 5000u);
    cr_expect_eq(unclaimed(), 0u);
}

Test(demand, of_a_transfer_claims_nothing_more_and_needs_a_byte_to_pay_with)
{
    cr_assert(demand_claim(&demand, now_ms));
    demand.is_under_way = true;
    demand.need = 6000;
    cr_expect(demand_claim(&demand, now_ms));
    cr_expect_eq(claim.bytes, 700u);
    atomic_store(&window->account_group->pool.ceiling, 1);
    cr_expect(demand_claim(&demand, now_ms));
    cr_assert_eq(claim_pay(&claim, window, 700), 1u);
    cr_expect_not(demand_claim(&demand, now_ms), "nothing is left to go on with");
}

Test(demand, is_paid_by_a_ceiling_only_until_its_validity_ends)
{
    cr_expect(demand_claim(&demand, VALID_END - 1));
    claim_end(&claim, window);
    cr_expect_not(demand_claim(&demand, VALID_END));
    demand.is_under_way = true;
    cr_expect_not(demand_claim(&demand, VALID_END));
    atomic_store(&window->account_group->pool.ceiling, POOL_UNBOUNDED);
    cr_expect(demand_claim(&demand, VALID_END), "an account without a bound has no ceiling");
}

Test(demand, of_a_link_with_max_bytes_is_paid_by_the_links_pool_too)
{
    struct pool *link = &window->link_group->pool;
    cr_expect(demand_claim(&demand, now_ms), "it has no max_bytes");
    claim_end(&claim, window);
    demand.link_bounds = true;
    cr_expect_not(demand_claim(&demand, now_ms));
    atomic_store(&link->ceiling, 700);
    cr_expect_not(demand_claim(&demand, now_ms), "its ceiling has no validity");
    atomic_store(&link->valid_until_ms, now_ms + 1);
    cr_expect(demand_claim(&demand, now_ms));
    cr_expect_eq(atomic_load(&link->least), 700u);
    claim_end(&claim, window);
    demand.need = 701;
    cr_expect_not(demand_claim(&demand, now_ms));
    cr_expect_eq(unclaimed(), 5000u);
}
