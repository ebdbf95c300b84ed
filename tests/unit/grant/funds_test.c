/* SPDX-License-Identifier: Apache-2.0 */
/* Funds: filling, spending and levelling move bytes but never create any. */
#include <criterion/criterion.h>
#include <signal.h>

#include "server/grant/funds.h"

#define ACCOUNT LEDGER_FUND_BIT(LEDGER_FUND_ACCOUNT)
#define LINK    LEDGER_FUND_BIT(LEDGER_FUND_LINK)
#define BOTH    (ACCOUNT | LINK)

#define FUNDS(account, link)                                                                       \
    {                                                                                              \
        .bytes = { account, link }                                                                 \
    }

static void expect(const struct funds *funds, uint64_t account, uint64_t link)
{
    cr_expect_eq(funds->bytes[LEDGER_FUND_ACCOUNT], account, "account: %llu, not %llu",
                 (unsigned long long)funds->bytes[LEDGER_FUND_ACCOUNT],
                 (unsigned long long)account);
    cr_expect_eq(funds->bytes[LEDGER_FUND_LINK], link, "link: %llu, not %llu",
                 (unsigned long long)funds->bytes[LEDGER_FUND_LINK], (unsigned long long)link);
}

Test(funds, that_bound_nothing_are_without_end)
{
    struct funds purse = FUNDS(3, 5);
    cr_expect_eq(funds_least(&purse, 0), UINT64_MAX);
    cr_expect_eq(funds_least(&purse, ACCOUNT), 3u);
    cr_expect_eq(funds_least(&purse, BOTH), 3u);
    funds_spend(&purse, 0, 1000);
    expect(&purse, 3, 5);
    funds_spend(&purse, LINK, 5);
    expect(&purse, 3, 0);
}

Test(funds, fill_a_purse_up_to_its_target_and_no_further)
{
    struct funds purse = FUNDS(10, 0), spare = FUNDS(1000, 70);
    cr_expect_eq(funds_fill(&purse, &spare, BOTH, 100), 70u);
    expect(&purse, 100, 70);
    expect(&spare, 910, 0);
    cr_expect_eq(funds_fill(&purse, &spare, ACCOUNT, 50), 50u, "what it has beyond stays");
    expect(&purse, 100, 70);
    expect(&spare, 910, 0);
}

Test(funds, are_levelled_out_of_the_spare_first)
{
    struct funds purse = FUNDS(10, 60), spare = FUNDS(20, 30), surplus = {0};
    cr_expect_eq(funds_level(&purse, &spare, BOTH, &surplus), 30u);
    expect(&purse, 10, 30);
    expect(&spare, 20, 0);
    expect(&surplus, 0, 60);
    surplus = (struct funds){0};
    cr_expect_eq(funds_level(&purse, &spare, BOTH, &surplus), 30u);
    cr_expect(funds_are_empty(&surplus), "it was level");
    cr_expect_eq(funds_level(&purse, &spare, LINK, &surplus), 30u);
    cr_expect(funds_are_empty(&surplus), "one fund is level with itself");
}

Test(funds, move_whole)
{
    struct funds purse = FUNDS(1, 2), spare = FUNDS(10, 20);
    funds_move(&spare, &purse);
    expect(&spare, 11, 22);
    cr_expect(funds_are_empty(&purse));
    funds_add(&purse, LINK, 7);
    expect(&purse, 0, 7);
}

Test(funds, move_whole_from_nothing_to_the_most_that_there_is)
{
    static const uint64_t amounts[] = {0, 1, UINT64_MAX};
    for (size_t i = 0; i < 3; i++) {
        struct funds from = {0}, to = {0};
        funds_add(&from, LINK, amounts[i]);
        expect(&from, 0, amounts[i]);
        cr_expect_eq(funds_are_empty(&from), amounts[i] == 0);
        cr_expect_eq(funds_fill(&to, &from, LINK, 0), 0u);
        expect(&to, 0, 0);
        cr_expect_eq(funds_fill(&to, &from, LINK, UINT64_MAX), amounts[i]);
        expect(&to, 0, amounts[i]);
        expect(&from, 0, 0);
        funds_move(&from, &to);
        expect(&from, 0, amounts[i]);
        cr_expect(funds_are_empty(&to));
        funds_spend(&from, LINK, amounts[i]);
        cr_expect(funds_are_empty(&from));
    }
}

Test(funds, break_off_where_more_is_spent_than_one_of_them_has, .signal = SIGABRT)
{
    struct funds purse = FUNDS(5, 4);
    funds_spend(&purse, BOTH, 4);
    funds_spend(&purse, BOTH, 1);
}

Test(funds, that_do_not_bound_are_neither_filled_nor_levelled)
{
    struct funds purse = FUNDS(1, 2), spare = FUNDS(10, 20), surplus = {0};
    cr_expect_eq(funds_fill(&purse, &spare, ACCOUNT, 5), 5u);
    expect(&purse, 5, 2);
    expect(&spare, 6, 20);
    cr_expect_eq(funds_level(&purse, &spare, ACCOUNT, &surplus), 11u);
    cr_expect(funds_are_empty(&surplus), "the link's bytes are beyond the account's");
    expect(&purse, 5, 2);
    expect(&spare, 6, 20);
}
