/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What arrived, and what is promised, of the use that a window delivers, at the edges of both.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>

#include "tests/unit/grant/window_fixture.h"

/* ---- references ---- */

Test(window_use, closes_its_download_with_its_last_reference_and_not_before)
{
    start(100, 2);
    struct ledger_account *alice = account("alice");
    struct window *window = open_window(alice, 1, file);
    struct window_use *one = window_use_hold(window), *two = window_use_hold(window), *other = NULL;
    cr_expect_eq(one, two);
    grant_use(window, 1000, 0); /* deliveries hold the first use, so the window gets another one */
    cr_expect_neq(window->use, one);
    cr_expect_eq(window_use_open(ledger, alice, file, &other), -EMFILE, "both are open");
    window_use_drop(&one);
    cr_expect_null(one);
    window_use_drop(&one);
    cr_expect_eq(atomic_load(&two->references), 1u, "one delivery is left");
    cr_expect_eq(window_use_arrived(two), 0u);
    window_use_drop(&two);
    await_room_for_a_download(alice);
    window_drop(&window, 1000);
    ledger_account_drop(&alice);
    stop();
}

/* ---- promised ---- */

Test(window_use, promises_nothing_one_byte_and_all_that_there_is)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    struct window *window = open_window(alice, 1, file);
    struct window_use *use = window->use;
    static const uint64_t amounts[] = {0, 1, UINT64_MAX};
    for (size_t i = 0; i < 3; i++) {
        window_use_promise(use, amounts[i]);
        cr_expect_eq(window_under_way(window), amounts[i]);
        cr_expect_eq(window_arrived(window), 0u, "a promise has not arrived");
        window_use_promise_end(use, amounts[i]);
        cr_expect_eq(window_under_way(window), 0u);
    }
    window_use_promise(use, 10);
    ledger_download_add(use->download, 4, 0);
    window_use_promise_end(use, 4);
    cr_expect_eq(window_under_way(window), 10u, "what arrives is no longer promised");
    cr_expect_eq(window_arrived(window), 4u);
    window_drop(&window, 1000);
    ledger_account_drop(&alice);
    stop();
}

Test(window_use, breaks_off_where_more_ends_than_was_promised, .signal = SIGABRT)
{
    struct window_use use = {.promised = 1};
    window_use_promise_end(&use, 1);
    window_use_promise_end(&use, 1);
}

/* ---- grants of uses ---- */

Test(window_use, keeps_its_download_for_the_next_use_where_nothing_was_begun)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    struct window *window = open_window(alice, 1, file);
    const struct window_use *use = window->use;
    grant_use(window, 1000, 30);
    cr_expect_eq(window->use, use);
    cr_expect_eq(window_arrived(window), 30u);
    grant_use(window, 2000, 0);
    cr_expect_eq(window->use, use);
    cr_expect_eq(window_arrived(window), 0u, "less of another use is not a lag of Redis");
    ledger_download_add(use->download, 1, 0);
    grant_use(window, 3000, 0);
    cr_expect_neq(window->use, use, "one byte has arrived of the use before");
    window_drop(&window, 1000);
    ledger_account_drop(&alice);
    stop();
}

Test(window_use, adds_what_arrived_on_other_nodes_and_never_less_than_before)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    struct window *window = open_window(alice, 1, file);
    static const struct {
        uint64_t acknowledged, arrived;
    } grants[] = {{0, 0}, {1, 1}, {0, 1}, {40, 40}, {39, 40}, {41, 41}};
    for (size_t i = 0; i < sizeof(grants) / sizeof(*grants); i++) {
        grant_use(window, 1000, grants[i].acknowledged);
        cr_expect_eq(window_arrived(window), grants[i].arrived, "grant %zu", i);
    }
    window_drop(&window, 1000);
    ledger_account_drop(&alice);
    stop();
}

Test(window_use, that_finds_no_room_for_a_download_of_its_own_begins_at_nothing_all_the_same)
{
    start(100, 1);
    struct ledger_account *alice = account("alice");
    struct window *window = open_window(alice, 1, file);
    struct window_use *use = window->use;
    grant_use(window, 1000, 0);
    ledger_download_add(use->download, 600, 1);
    grant_use(window, 2000, 0);
    cr_expect_eq(window->use, use);
    cr_expect_eq(window_arrived(window), 0u);
    ledger_download_add(use->download, 5, 0);
    cr_expect_eq(window_arrived(window), 5u);
    atomic_store(&use->arrived_elsewhere, -606);
    cr_expect_eq(window_arrived(window), 0u, "less than nothing never arrives");
    window_drop(&window, 1000);
    ledger_account_drop(&alice);
    stop();
}

Test(window_use, is_complete_from_the_last_byte_of_the_file_on)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    struct window *window = open_window(alice, 1, file);
    grant_use(window, 1000, SIZE - 1);
    cr_expect_not(atomic_load(&window->completed));
    grant_use(window, 1000, SIZE);
    cr_expect(atomic_load(&window->completed));
    window_drop(&window, 1000);
    ledger_account_drop(&alice);
    stop();
}

Test(window_use, ends_as_long_after_the_question_as_the_grant_says)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    struct window *window = open_window(alice, 1, file);
    struct ledger_grant grant = {.opened_ms = 77, .till_ms = 100, .left_ms = 0};
    window_grant_use(windows, window, &grant, 500, 100000);
    cr_expect_eq(atomic_load(&window->use_until_ms), 500u, "nothing is left of it");
    cr_expect_eq(atomic_load(&window->opened_ms), 77u);
    grant.left_ms = 1;
    window_grant_use(windows, window, &grant, 500, 100000);
    cr_expect_eq(atomic_load(&window->use_until_ms), 501u);
    window_drop(&window, 1000);
    ledger_account_drop(&alice);
    stop();
}

Test(window_use, counts_what_arrived_of_one_use_to_no_other)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    struct window *window = open_window(alice, 1, file);
    grant_use(window, 1000, 40);
    struct window_use *old = window_use_hold(window);
    window_use_promise(old, 900);
    ledger_download_add(old->download, 600, 0);
    cr_expect_eq(window_arrived(window), 640u);
    grant_use(window, 1000, 30);
    cr_expect_eq(window_arrived(window), 640u, "Redis lags behind");
    /* A second use begins while a response of the first is under way. */
    grant_use(window, 2000, 0);
    cr_expect_eq(window_under_way(window), 0u);
    ledger_download_add(old->download, 300, 1);
    window_use_promise_end(old, 900);
    cr_expect_eq(window_arrived(window), 0u);
    cr_expect_eq(window_use_arrived(old), 940u);
    struct window_use *next = window_use_hold(window);
    cr_expect_neq(ledger_download_id(next->download), ledger_download_id(old->download));
    window_use_drop(&old);
    ledger_download_add(next->download, 5, 0);
    grant_use(window, 2000, 7);
    cr_expect_eq(window_arrived(window), 7u);
    window_use_drop(&next);
    window_drop(&window, 1000);
    ledger_account_drop(&alice);
    stop();
}
