/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a response begins without a question, on a grant that its window has. A Redis that the test
 * plays confirms the subscription, so that the push connection is up.
 */
#include "tests/unit/grant/scene_fixture.h"

static void setup(void)
{
    begin_granted(5000);
}

TestSuite(demand, .init = setup, .fini = end_scene, .timeout = 30);

static bool begins(void)
{
    bool filled = demand_fill_unasked(ledger, &demand, now_ms);
    purse_return(&purse, windows, window);
    return filled;
}

Test(demand, begins_unasked_only_while_revocations_are_heard)
{
    cr_expect(begins());
    now_ms += LEDGER_PUSH_LOST_MS;
    cr_expect_not(begins(), "the push connection is silent");
    demand.is_under_way = true;
    cr_expect(begins(), "what is under way goes on");
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

Test(demand, of_a_transfer_needs_at_least_one_byte)
{
    demand.is_under_way = true;
    cr_assert_eq(window_take(window, ACCOUNT, 4999, true, &(struct funds){0}), 4999u);
    cr_expect(begins());
    cr_assert_eq(window_take(window, ACCOUNT, 1, true, &(struct funds){0}), 1u);
    cr_expect_not(begins(), "nothing is left to go on with");
}
