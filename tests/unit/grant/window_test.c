/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of windows at its bounds: which key finds which window and groups, what a full table
 * answers, when a window ends, and what must never end.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>

#include "tests/unit/grant/window_fixture.h"

/* The key of a link whose 32 bytes are 0 but for the last. All of these share a bucket. */
static struct window_key key_of(struct ledger_account *of, unsigned char last,
                                struct ledger_file *name)
{
    static unsigned char link_id[LEDGER_LINK_ID_BYTES];
    link_id[LEDGER_LINK_ID_BYTES - 1] = last;
    return (struct window_key){.link_id = link_id, .account = of, .file = name, .size = SIZE};
}

/* Opens the window of that key at `now_ms`. */
static struct window *opened(struct ledger_account *of, unsigned char last,
                             struct ledger_file *name, uint64_t now_ms, bool is_new)
{
    const struct window_key key = key_of(of, last, name);
    struct window *window = NULL;
    struct windows_made made;
    cr_assert_eq(window_open(windows, &key, now_ms, &window, &made), 0);
    cr_assert_eq(made.window, is_new ? window : NULL, "link %u", last);
    return window;
}

static int status_of_open(struct ledger_account *of, unsigned char last)
{
    const struct window_key key = key_of(of, last, file);
    struct window *window = NULL;
    struct windows_made made;
    int status = window_open(windows, &key, 1000, &window, &made);
    cr_expect_null(made.window);
    cr_expect_null(window);
    return status;
}

/* Drops the last reference and ends the window, both at `now_ms`. */
static void end(struct window *window, uint64_t now_ms)
{
    struct window *dropped = window;
    window_drop(&dropped, now_ms);
    cr_assert_null(dropped);
    cr_assert(window_sweep(windows, window, now_ms, 0));
}

/* ---- which key finds which window ---- */

Test(window, finds_a_window_under_its_link_and_file_and_under_no_other)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    struct window *window = opened(alice, 1, file, 1000, true);
    struct window *others[] = {opened(alice, 2, file, 1000, true),
                               opened(alice, 1, other_file, 1000, true)};
    struct window *same = opened(alice, 1, file, 1000, false);
    cr_expect_eq(same, window);
    cr_expect_eq(atomic_load(&window->references), 2u);
    cr_expect_neq(others[0], window, "another link");
    cr_expect_neq(others[1], window, "another file");
    cr_expect_eq(others[0]->account_group, window->account_group, "one account");
    cr_expect_neq(others[0]->link_group, window->link_group, "another link");
    cr_expect_eq(others[1]->link_group, window->link_group, "one link, of two files");
    window_drop(&same, 1000);
    end(window, 1000);
    end(others[0], 1000);
    end(others[1], 1000);
    ledger_account_drop(&alice);
    stop();
}

/* So many accounts that some share a bucket. The name of a link has its account's within. */
Test(window, finds_a_group_under_its_account_and_under_no_other)
{
    enum { ACCOUNTS = 300 };
    static struct window *window[ACCOUNTS];
    start(ACCOUNTS, ACCOUNTS);
    for (uint64_t i = 0; i < ACCOUNTS; i++) {
        char name[24];
        snprintf(name, sizeof(name), "a%llu", (unsigned long long)i);
        struct ledger_account *own = account(name);
        window[i] = open_window(own, i + 1, file);
        ledger_account_drop(&own);
    }
    for (size_t i = 0; i < ACCOUNTS; i++) {
        cr_expect_eq(window[i]->account_group->account, window[i]->account, "account %zu", i);
        cr_expect_eq(window[i]->account_group->references, 1u, "account %zu", i);
        cr_expect_neq(window[i]->account_group, window[i]->link_group, "account %zu", i);
    }
    stop();
}

/* So many files that, with 64 buckets, some share one. */
Test(window, opens_a_window_for_each_file_of_a_link)
{
    enum { FILES = 70 };
    start(100, 100);
    struct ledger_account *alice = account("alice");
    for (unsigned i = 0; i < FILES; i++) {
        struct ledger_file *one = NULL;
        char path[16];
        int length = snprintf(path, sizeof(path), "/%u", i);
        cr_assert_eq(ledger_file_get(ledger, path, (size_t)length, &one), 0);
        const struct window *window = opened(alice, 1, one, 1000, true);
        cr_expect_eq(window->file, one);
        cr_expect_eq(window->link_group->references, i + 1);
        ledger_file_drop(&one);
    }
    ledger_account_drop(&alice);
    stop();
}

Test(window, finds_the_neighbours_in_the_bucket_of_a_window_that_ended)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    struct window *window[3], *again[3];
    for (unsigned char i = 0; i < 3; i++)
        window[i] = opened(alice, i, file, 1000, true);
    end(window[1], 1000);
    for (unsigned char i = 0; i < 3; i++) {
        again[i] = opened(alice, i, file, 1000, i == 1);
        cr_expect(i == 1 || again[i] == window[i], "window %u", i);
    }
    cr_expect_eq(atomic_load(&again[0]->references), 2u);
    cr_expect_eq(atomic_load(&again[1]->references), 1u);
    ledger_account_drop(&alice);
    stop();
}

Test(window, copies_what_the_key_says)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    char jti[] = "order-1";
    struct window_key key = key_of(alice, 7, file);
    struct window *window = NULL;
    struct windows_made made;
    key.jti = jti;
    key.owner = 3;
    key.size = UINT64_MAX;
    cr_assert_eq(window_open(windows, &key, 1000, &window, &made), 0);
    memset(jti, 'x', sizeof(jti) - 1);
    cr_expect_str_eq(window->jti, "order-1");
    cr_expect_eq(window->owner, 3u);
    cr_expect_eq(window->size, UINT64_MAX);
    cr_expect_eq(window->link_id[LEDGER_LINK_ID_BYTES - 1], 7);
    cr_expect_eq(atomic_load(&window->cover.valid_until_ms), 0u, "no grant yet");
    cr_expect_eq(windows_ledger(windows), ledger);
    end(window, 1000);
    ledger_account_drop(&alice);
    stop();
}

/* ---- a full table ---- */

Test(window, at_its_bound_opens_none_until_one_ends_and_finds_those_it_has)
{
    start(2, 100);
    struct ledger_account *alice = account("alice");
    struct window *first = opened(alice, 1, file, 1000, true),
                  *second = opened(alice, 2, file, 1000, true);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(status_of_open(alice, 3), -EMFILE);
    struct window *same = opened(alice, 2, file, 1000, false);
    cr_expect_eq(same, second);
    window_drop(&same, 1000);
    end(first, 1000);
    struct window *third = opened(alice, 3, file, 1000, true);
    cr_expect_eq(status_of_open(alice, 1), -EMFILE, "one ended, one was opened");
    end(second, 1000);
    end(third, 1000);
    ledger_account_drop(&alice);
    stop();
}

Test(window, of_no_capacity_opens_none)
{
    start(0, 100);
    struct ledger_account *alice = account("alice");
    cr_expect_eq(status_of_open(alice, 1), -EMFILE);
    ledger_account_drop(&alice);
    stop();
}

/* Were such a window counted, the table would soon hold none that can be found. */
Test(window, keeps_nothing_of_a_window_whose_download_the_ledger_refuses)
{
    start(4, 1);
    struct ledger_account *alice = account("alice");
    struct window *window = opened(alice, 1, file, 1000, true);
    for (int i = 0; i < 20; i++)
        cr_expect_eq(status_of_open(alice, 2), -EMFILE);
    cr_expect_eq(window->account_group->references, 1u);
    cr_expect_eq(windows_idle_ms(windows), (uint64_t)WINDOW_IDLE_MS, "one of four is open");
    end(window, 1000);
    await_room_for_a_download(alice);
    ledger_account_drop(&alice);
    stop();
}

Test(window, lets_windows_be_idle_until_more_than_half_of_them_are_open)
{
    start(4, 100);
    struct ledger_account *alice = account("alice");
    struct window *window[3];
    for (unsigned char i = 0; i < 3; i++) {
        cr_expect_eq(windows_idle_ms(windows), (uint64_t)WINDOW_IDLE_MS, "%u of 4", i);
        window[i] = opened(alice, i, file, 1000, true);
    }
    cr_expect_eq(windows_idle_ms(windows), 0u, "3 of 4");
    end(window[2], 1000);
    cr_expect_eq(windows_idle_ms(windows), (uint64_t)WINDOW_IDLE_MS, "2 of 4 again");
    ledger_account_drop(&alice);
    stop();
}

/* ---- when a window ends ---- */

Test(window, ends_a_window_when_it_has_been_idle_for_long_enough_and_not_before)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    struct window *window = opened(alice, 1, file, 1000, true), *dropped = window;
    window_drop(&dropped, 5000);
    cr_expect_not(window_sweep(windows, window, 5000, 2000));
    cr_expect_not(window_sweep(windows, window, 6999, 2000));
    cr_assert(window_sweep(windows, window, 7000, 2000));
    ledger_account_drop(&alice);
    stop();
}

Test(window, never_ends_a_window_that_is_referenced_or_asks)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    struct window *window = opened(alice, 1, file, 1000, true), *one = window, *two = window;
    window_hold(window);
    cr_expect_not(window_sweep(windows, window, UINT64_MAX, 0));
    window_drop(&one, 1000);
    cr_expect_not(window_sweep(windows, window, UINT64_MAX, 0));
    struct window_question question;
    uint64_t round = 0;
    const struct window_need need = {0};
    cr_assert(window_ask(windows, window, SUBJECT_WINDOW, 0, &need, &round, 1000, &question));
    window_drop(&two, 1000);
    cr_expect_not(window_sweep(windows, window, UINT64_MAX, 0));
    cr_expect_eq(window_asked(windows, &question), 0u);
    cr_assert(window_sweep(windows, window, 1000, 0));
    ledger_account_drop(&alice);
    stop();
}

Test(window, breaks_off_where_a_window_is_held_without_a_reference, .signal = SIGABRT)
{
    struct window window = {.references = 0};
    window_hold(&window);
}

Test(window, breaks_off_where_a_window_is_dropped_once_too_often, .signal = SIGABRT)
{
    struct window window = {.references = 1}, *dropped = &window;
    window_drop(&dropped, 1000);
    window_drop(&dropped, 1000); /* NULL: nothing happens */
    dropped = &window;
    window_drop(&dropped, 1000);
}

/* ---- its groups ---- */

Test(window, names_what_it_made_so_that_the_owner_can_keep_it)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    struct window_key key = key_of(alice, 1, file);
    struct window *window = NULL, *second = NULL;
    struct windows_made made;
    key.owner = 5;
    cr_assert_eq(window_open(windows, &key, 1000, &window, &made), 0);
    cr_expect_eq(made.window, window);
    cr_expect_eq(made.groups[0], window->account_group);
    cr_expect_eq(made.groups[1], window->link_group);
    cr_expect_eq(made.groups[0]->owner, 5u);
    cr_expect_eq(made.groups[1]->owner, 5u);
    cr_expect(!made.groups[0]->of_link && made.groups[1]->of_link);
    cr_expect_arr_eq(made.groups[1]->link_id, window->link_id, LEDGER_LINK_ID_BYTES);
    key.file = other_file;
    cr_assert_eq(window_open(windows, &key, 1000, &second, &made), 0);
    cr_expect_eq(made.window, second);
    cr_expect(made.groups[0] == NULL && made.groups[1] == NULL, "it has found both");
    cr_expect_eq(window->account_group->references, 2u);
    cr_expect_eq(window->link_group->references, 2u);
    ledger_account_drop(&alice);
    stop();
}

Test(window, of_an_account_counts_what_the_account_had_handed_before)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    atomic_store(ledger_account_handed(alice), 4000);
    struct window *window = opened(alice, 1, file, 1000, true);
    const struct pool *of_account = &window->account_group->pool;
    const struct pool *of_link = &window->link_group->pool;
    cr_expect_eq(of_account->handed, ledger_account_handed(alice));
    cr_expect_eq(atomic_load(&of_account->least), 4000u);
    cr_expect_eq(of_link->handed, &of_link->own_handed);
    cr_expect(of_account->is_known && !of_link->is_known, "Redis knows the link's");
    ledger_account_drop(&alice);
    stop();
}
