/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker gives up: spare funds of other windows when one is short, and those of windows that
 * are idle. And what a response may take without a question.
 */
#include "tests/unit/grant/question_fixture.h"

static struct window *open_by(unsigned worker, struct ledger_account *of, uint64_t link)
{
    unsigned char bytes[LEDGER_LINK_ID_BYTES] = {0};
    struct window *window = NULL;
    memcpy(bytes, &link, sizeof(link));
    const struct window_key key = {.link_id = bytes, .account = of, .file = file, .size = SIZE};
    cr_assert_eq(grants_open_window(&grants[worker], &key, now_ms, &window), 0);
    return window;
}

/* The window is idle from now on. */
static void leave(struct window *window)
{
    window_drop(&window, now_ms);
}

Test(grants, give_back_what_other_windows_can_spare_where_one_is_short)
{
    start_asking();
    struct ledger_account *alice = account("alice");
    struct window *window = open_window(alice, 1, file), *rich = open_window(alice, 2, file);
    struct purse purse = {0};
    struct demand demand = demand_for(window, &purse, 700);
    atomic_store(&window->account_bounds, true);
    window_fund(windows, window, ACCOUNT, 400, NULL, 0);
    window_fund(windows, rich, ACCOUNT, 1000, NULL, 0);
    cr_expect(grants_recall(&grants[0], &demand, LEDGER_FUND_ACCOUNT));
    cr_assert_eq(sent_count, 1u);
    expect_sent(0, "tollgate_release", 1000, 0);
    cr_expect_null(sent[0].done, "nobody waits for the answer to a release");
    cr_expect_not(grants_recall(&grants[0], &demand, LEDGER_FUND_ACCOUNT), "there are none left");
    cr_expect_eq(spare(window, LEDGER_FUND_ACCOUNT), 400u, "its own are not given back");
    demand.need = 400;
    cr_expect(grants_recall(&grants[0], &demand, LEDGER_FUND_ACCOUNT), "it has what it needs");
    cr_expect_eq(sent_count, 1u);
    window_drop(&window, now_ms);
    window_drop(&rich, now_ms);
    ledger_account_drop(&alice);
    stop();
}

Test(grants, count_the_purse_to_what_a_response_has)
{
    start_asking();
    struct ledger_account *alice = account("alice");
    struct window *window = open_window(alice, 1, file);
    struct purse purse = {.funds.bytes[LEDGER_FUND_ACCOUNT] = 50};
    struct demand demand = demand_for(window, &purse, 700);
    cr_expect_eq(grants_need(&grants[0], &demand), 700u, "no fund bounds it, so none is counted");
    atomic_store(&window->account_bounds, true);
    window_fund(windows, window, ACCOUNT, 600, NULL, 0);
    cr_expect_eq(grants_need(&grants[0], &demand), 50u);
    demand.need = 649;
    cr_expect_eq(grants_need(&grants[0], &demand), 0u);
    cr_expect_eq(sent_count, 0u);
    purse_return(&purse, windows, window);
    window_drop(&window, now_ms);
    ledger_account_drop(&alice);
    stop();
}

Test(grants, end_idle_windows_of_their_worker_and_give_their_funds_back)
{
    start_asking();
    struct ledger_account *alice = account("alice");
    struct window *used = open_by(0, alice, 1), *idle = open_by(0, alice, 2),
                  *others = open_by(1, alice, 3);
    cr_expect_eq(open_by(1, alice, 1), used, "the other worker finds the same window");
    window_fund(windows, idle, ACCOUNT, 300, NULL, 0);
    leave(idle);
    leave(others);
    now_ms += WINDOW_IDLE_MS - 1;
    grants_sweep(&grants[0], now_ms, false);
    cr_expect_eq(sent_count, 0u, "it was not idle for long enough");
    now_ms += 1;
    grants_sweep(&grants[0], now_ms, false);
    cr_assert_eq(sent_count, 1u);
    expect_sent(0, "tollgate_release", 300, 0);
    cr_expect_eq(grants[0].owned, used);
    cr_expect_null(used->owned_next);
    cr_expect_eq(grants[1].owned, others, "only its owner may end it");
    leave(used);
    grants_sweep(&grants[0], now_ms, false);
    cr_expect_eq(grants[0].owned, used, "the other worker still uses it");
    leave(used);
    grants_sweep(&grants[0], now_ms, true);
    cr_expect_null(grants[0].owned, "all that are idle end when the worker stops");
    grants_sweep(&grants[1], now_ms, true);
    ledger_account_drop(&alice);
    stop();
}

Test(grants, let_a_transfer_go_on_with_what_there_is_and_a_response_begin_with_all_or_nothing)
{
    start_asking();
    struct ledger_account *alice = account("alice");
    struct window *window = open_window(alice, 1, file);
    struct purse purse = {0};
    struct demand demand = demand_for(window, &purse, 700);
    struct grants_asker asker = {0};
    cr_expect(demand_fill(&demand), "no fund bounds it");
    cr_assert_eq(ask(&demand, &asker), 0);
    waits = false; /* it has gone meanwhile */
    answer(0, &(struct ledger_grant){.granted = 600, .funds = ACCOUNT});
    cr_expect_not(demand_fill(&demand));
    cr_expect(funds_are_empty(&purse.funds));
    demand.need = 600; /* which the window has */
    cr_expect_not(demand_fill_unasked(ledger, &demand, now_ms), "the push connection is down");
    demand.need = 700;
    demand.is_under_way = true;
    cr_expect(demand_fill_unasked(ledger, &demand, now_ms));
    cr_expect_eq(purse.funds.bytes[LEDGER_FUND_ACCOUNT], 600u);
    cr_expect_eq(atomic_load(&window->paying), 0u);
    purse_begin(&purse, window);
    purse_begin(&purse, window);
    cr_expect_eq(atomic_load(&window->paying), 1u, "a response pays once");
    purse_end(&purse, windows, window);
    cr_expect_eq(atomic_load(&window->paying), 0u);
    cr_expect_eq(spare(window, LEDGER_FUND_ACCOUNT), 600u);
    now_ms += VALIDITY;
    cr_expect_not(demand_fill_unasked(ledger, &demand, now_ms), "the grant is no longer valid");
    window_drop(&window, now_ms);
    ledger_account_drop(&alice);
    stop();
}

/* ---- purses ---- */

Test(grants, count_a_response_as_paying_from_its_first_byte_to_its_end)
{
    start_asking();
    struct ledger_account *alice = account("alice");
    struct window *window = open_window(alice, 1, file);
    struct purse empty = {0}, purse = {.funds.bytes[LEDGER_FUND_ACCOUNT] = 50};
    purse_begin(&empty, window);
    cr_expect_eq(atomic_load(&window->paying), 0u, "it has nothing that others could wait for");
    purse_begin(&purse, window);
    purse_end(&empty, windows, window);
    cr_expect_eq(atomic_load(&window->paying), 1u, "the other one still pays");
    purse_end(&purse, windows, window);
    cr_expect_eq(spare(window, LEDGER_FUND_ACCOUNT), 50u);
    purse.funds.bytes[LEDGER_FUND_ACCOUNT] = 7; /* the next response of the connection */
    purse_begin(&purse, window);
    cr_expect_eq(atomic_load(&window->paying), 1u);
    purse_end(&purse, windows, window);
    purse_end(&purse, windows, window);
    cr_expect_eq(atomic_load(&window->paying), 0u);
    window_drop(&window, now_ms);
    ledger_account_drop(&alice);
    stop();
}

/* ---- the bound of windows ---- */

static int open_status(struct ledger_account *of, uint64_t link, struct window **out)
{
    unsigned char bytes[LEDGER_LINK_ID_BYTES] = {0};
    memcpy(bytes, &link, sizeof(link));
    const struct window_key key = {.link_id = bytes, .account = of, .file = file, .size = SIZE};
    return grants_open_window(&grants[1], &key, now_ms, out);
}

Test(grants, end_idle_windows_to_make_room_for_another_once_in_a_millisecond)
{
    enum { MOST = 4 };
    start_asking();
    struct ledger_account *alice = account("alice");
    struct window *window[MOST], *another = NULL;
    windows_destroy(&windows);
    cr_assert_eq(windows_create(&windows, ledger, MOST), 0);
    grants[1].windows = windows;
    for (uint64_t i = 0; i < MOST; i++) {
        window[i] = open_by(1, alice, i);
        cr_expect_eq(window[i]->owner, 1u);
    }
    cr_expect_eq(open_status(alice, MOST, &another), -EMFILE, "none is idle");
    leave(window[0]);
    cr_expect_eq(open_status(alice, MOST, &another), -EMFILE, "it has swept just now");
    now_ms++;
    cr_assert_eq(open_status(alice, MOST, &another), 0);
    cr_expect_eq(grants[1].owned, another);
    leave(another);
    for (unsigned i = 1; i < MOST; i++)
        leave(window[i]);
    grants_sweep(&grants[1], now_ms, true);
    cr_expect_null(grants[1].owned);
    ledger_account_drop(&alice);
    stop();
}

Test(grants, are_asked_for_again_where_other_windows_could_spare_less_than_is_needed)
{
    start_asking();
    struct ledger_account *alice = account("alice");
    struct window *window = open_window(alice, 1, file), *rich = open_window(alice, 2, file);
    struct purse purse = {0};
    const struct demand demand = demand_for(window, &purse, 700);
    atomic_store(&window->account_bounds, true);
    window_fund(windows, rich, ACCOUNT, 1, NULL, 0);
    cr_expect(grants_recall(&grants[0], &demand, LEDGER_FUND_ACCOUNT),
              "with that byte Redis may have enough");
    window_drop(&window, now_ms);
    window_drop(&rich, now_ms);
    ledger_account_drop(&alice);
    stop();
}
