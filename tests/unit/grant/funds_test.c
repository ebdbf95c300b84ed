/* Funds: filling, spending and levelling move bytes but never create any. */
#include <criterion/criterion.h>

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
