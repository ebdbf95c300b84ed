/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several links of one account: what one answer covers, and what it does not.
 */
#include "tests/unit/grant/scene_fixture.h"

TestSuite(album, .init = begin_listening, .fini = end_scene);

Test(album, of_twelve_links_asks_once)
{
    enum { LINKS = 12 };
    struct claim claims[LINKS] = {0};
    struct window *album[LINKS];
    unsigned unasked = 0;
    for (unsigned i = 0; i < LINKS; i++) {
        album[i] = open_window(alice, 10 + i, file);
        const struct demand one = demand_for(album[i], &claims[i], SIZE);
        if (demand_claim_unasked(ledger, &one, now_ms)) {
            unasked++;
            continue;
        }
        cr_assert_eq(ask(&one, &asker), 0);
        const struct ledger_grant grant = balance(SIZE + SLICE * 3, 100 * SLICE);
        answer(sent_count - 1, &grant);
        cr_assert(demand_claim(&one, now_ms));
    }
    cr_expect_eq(unasked, LINKS - 1u);
    cr_expect_eq(sent_count, 1u);
    for (unsigned i = 0; i < LINKS; i++) {
        claim_end(&claims[i], album[i]);
        window_drop(&album[i], now_ms);
    }
}

Test(album, of_an_account_of_which_a_link_is_revoked_asks_for_each)
{
    enum { LINKS = 12 };
    struct ledger_grant grant = balance(100 * SIZE, 100 * SIZE);
    struct claim own = {0};
    grant.revoked_left_ms = 5000;
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &grant);
    for (unsigned i = 0; i < LINKS; i++) {
        struct window *one = open_window(alice, 10 + i, file);
        const struct demand of_one = demand_for(one, &own, SIZE);
        cr_expect_not(demand_claim_unasked(ledger, &of_one, now_ms), "link %u", i);
        cr_assert_eq(ask(&of_one, &asker), 0);
        expect_no_funds(1 + i);
        answer(1 + i, &grant);
        cr_expect(demand_claim_unasked(ledger, &of_one, now_ms), "link %u", i);
        claim_end(&own, one);
        window_drop(&one, now_ms);
    }
}
