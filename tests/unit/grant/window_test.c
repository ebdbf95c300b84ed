/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of windows at its bounds: which key finds which window, what a full table answers, when
 * a window and a quota end, and what must never end.
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
    bool created = !is_new;
    cr_assert_eq(window_open(windows, &key, now_ms, &window, &created), 0);
    cr_assert_eq(created, is_new, "link %u", last);
    return window;
}

static int status_of_open(struct ledger_account *of, unsigned char last)
{
    const struct window_key key = key_of(of, last, file);
    struct window *window = NULL;
    bool created = true;
    int status = window_open(windows, &key, 1000, &window, &created);
    cr_expect_not(created);
    cr_expect_null(window);
    return status;
}

/* Drops the last reference and ends the window, both at `now_ms`. */
static void end(struct window *window, uint64_t now_ms)
{
    struct window *dropped = window;
    window_drop(&dropped, now_ms);
    cr_assert_null(dropped);
    cr_assert(window_sweep(windows, window, now_ms, 0, release, NULL));
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
    cr_expect_eq(others[0]->account_quota, window->account_quota, "one account");
    cr_expect_neq(others[0]->link_quota, window->link_quota, "another link");
    cr_expect_eq(others[1]->link_quota, window->link_quota, "one link, of two files");
    window_drop(&same, 1000);
    end(window, 1000);
    end(others[0], 1000);
    end(others[1], 1000);
    ledger_account_drop(&alice);
    stop();
}

/* So many accounts that some share a bucket. The name of a link has its account's within. */
Test(window, finds_a_quota_under_its_account_and_under_no_other)
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
        cr_expect_eq(window[i]->account_quota->account, window[i]->account, "account %zu", i);
        cr_expect_eq(window[i]->account_quota->references, 1u, "account %zu", i);
        cr_expect_neq(window[i]->account_quota, window[i]->link_quota, "account %zu", i);
    }
    stop();
}

/* So many files that, with 64 buckets, some share one. */
/* So many accounts share buckets. */
Test(window, gives_each_of_many_accounts_a_quota_of_its_own)
{
    enum { ACCOUNTS = 256 };
    static struct window *window[ACCOUNTS];
    start(ACCOUNTS, ACCOUNTS);
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "a%u", i);
        struct ledger_account *of = account(name);
        window[i] = open_window(of, i, file);
        cr_expect_eq(window[i]->account_quota->account, of, "%s has another's quota", name);
        ledger_account_drop(&of);
    }
    for (unsigned i = 0; i < ACCOUNTS; i++)
        window_drop(&window[i], 1000);
    stop();
}

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
        cr_expect_eq(window->link_quota->references, i + 1);
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
    bool created;
    key.jti = jti;
    key.owner = 3;
    key.size = UINT64_MAX;
    cr_assert_eq(window_open(windows, &key, 1000, &window, &created), 0);
    memset(jti, 'x', sizeof(jti) - 1);
    cr_expect_str_eq(window->jti, "order-1");
    cr_expect_eq(window->owner, 3u);
    cr_expect_eq(window->size, UINT64_MAX);
    cr_expect_eq(window->link_id[LEDGER_LINK_ID_BYTES - 1], 7);
    cr_expect_eq(atomic_load(&window->valid_until_ms), 0u, "no grant yet");
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
    cr_expect_eq(window->account_quota->references, 1u);
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
    cr_expect_not(window_sweep(windows, window, 5000, 2000, release, NULL));
    cr_expect_not(window_sweep(windows, window, 6999, 2000, release, NULL));
    cr_assert(window_sweep(windows, window, 7000, 2000, release, NULL));
    cr_expect_eq(releases, 0u, "it had no funds");
    ledger_account_drop(&alice);
    stop();
}

Test(window, never_ends_a_window_that_is_referenced_or_asks)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    struct window *window = opened(alice, 1, file, 1000, true), *one = window, *two = window;
    window_hold(window);
    cr_expect_not(window_sweep(windows, window, UINT64_MAX, 0, release, NULL));
    window_drop(&one, 1000);
    cr_expect_not(window_sweep(windows, window, UINT64_MAX, 0, release, NULL));
    cr_assert(window_ask(windows, window, 0));
    window_drop(&two, 1000);
    cr_expect_not(window_sweep(windows, window, UINT64_MAX, 0, release, NULL));
    cr_expect_eq(window_asked(windows, window), 0u);
    cr_assert(window_sweep(windows, window, 1000, 0, release, NULL));
    ledger_account_drop(&alice);
    stop();
}

static const struct ledger_account *released_of;
static unsigned char released_link;

static void release_and_note(void *context, const struct ledger_account *of,
                             const unsigned char link_id[LEDGER_LINK_ID_BYTES],
                             const struct funds *funds)
{
    released_of = of;
    released_link = link_id[LEDGER_LINK_ID_BYTES - 1];
    release(context, of, link_id, funds);
}

Test(window, releases_the_funds_of_a_window_that_ends_under_its_account_and_link)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    struct window *window = opened(alice, 9, file, 1000, true), *dropped = window;
    window_fund(windows, window, LINK, 1, NULL, 0);
    window_drop(&dropped, 1000);
    cr_assert(window_sweep(windows, window, 1000, 0, release_and_note, NULL));
    cr_expect_eq(releases, 1u);
    cr_expect_eq(released.bytes[LEDGER_FUND_LINK], 1u);
    cr_expect_eq(released.bytes[LEDGER_FUND_ACCOUNT], 0u);
    cr_expect_eq(released_of, alice);
    cr_expect_eq(released_link, 9);
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

/* ---- quotas ---- */

#define MINUTE_MS 60000
#define MARK      7 /* max_conns of a quota that the tests set; a new quota has 0 */

/* Opens and ends a window of the link. Its link's quota is marked, and has something to remember.
 */
static void leave_a_mark(struct ledger_account *of, unsigned char last)
{
    struct window *window = opened(of, last, file, 1000, true);
    atomic_store(&window->link_quota->quota.max_conns, MARK);
    cr_assert_eq(quota_count_unacknowledged(&window->link_quota->quota, 1000), 1u);
    end(window, 1000);
}

static bool is_marked(struct ledger_account *of, unsigned char last, uint64_t now_ms)
{
    struct window *window = opened(of, last, file, now_ms, true);
    bool is = atomic_load(&window->link_quota->quota.max_conns) == MARK;
    cr_expect_eq(window->link_quota->references, 1u);
    end(window, now_ms);
    return is;
}

Test(window, remembers_a_quota_after_its_last_window_for_as_long_as_it_counts)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    leave_a_mark(alice, 1);
    cr_expect(is_marked(alice, 1, 1000));
    cr_expect(is_marked(alice, 1, MINUTE_MS - 1), "the last moment of that minute");
    /* Another link's window comes by in the next minute and clears the bucket. */
    cr_expect_not(is_marked(alice, 2, MINUTE_MS));
    cr_expect_not(is_marked(alice, 1, 1000), "it was forgotten");
    ledger_account_drop(&alice);
    stop();
}

Test(window, forgets_a_quota_with_nothing_to_remember_with_its_last_window)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    struct window *one = opened(alice, 1, file, 1000, true),
                  *two = opened(alice, 1, other_file, 1000, true);
    atomic_store(&one->link_quota->quota.max_conns, MARK);
    end(one, 1000);
    cr_expect_eq(two->link_quota->references, 1u);
    cr_expect_eq(atomic_load(&two->link_quota->quota.max_conns), (unsigned)MARK);
    end(two, 1000);
    cr_expect_not(is_marked(alice, 1, 1000));
    ledger_account_drop(&alice);
    stop();
}

/* A table for one window remembers four quotas. With the account's own, the fourth link is the
 * fifth. */
Test(window, remembers_four_quotas_for_each_window_and_no_more)
{
    start(1, 100);
    struct ledger_account *alice = account("alice");
    for (unsigned char link = 1; link <= 4; link++)
        leave_a_mark(alice, link);
    cr_expect_not(is_marked(alice, 4, 1000));
    for (unsigned char link = 1; link <= 3; link++)
        cr_expect(is_marked(alice, link, 1000), "link %u", link);
    ledger_account_drop(&alice);
    stop();
}

Test(window, never_forgets_a_quota_that_a_window_holds)
{
    start(2, 100);
    struct ledger_account *alice = account("alice");
    struct window *held = opened(alice, 0, file, 1000, true);
    struct window_quota *quota = held->link_quota;
    atomic_store(&quota->quota.max_conns, MARK);
    for (unsigned char link = 1; link <= 40; link++) /* more than are remembered */
        leave_a_mark(alice, link);
    cr_expect_not(is_marked(alice, 41, 1000 + MINUTE_MS), "all others are over");
    struct window *same = opened(alice, 0, other_file, 1000 + MINUTE_MS, true);
    cr_expect_eq(same->link_quota, quota);
    cr_expect_eq(atomic_load(&quota->quota.max_conns), (unsigned)MARK);
    cr_expect_eq(quota->references, 2u);
    ledger_account_drop(&alice);
    stop();
}

/* ---- asking ---- */

Test(window, gives_one_worker_the_right_to_ask_and_notes_the_others_once)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    struct window *window = opened(alice, 1, file, 1000, true),
                  *other = opened(alice, 2, file, 1000, true);
    cr_expect(window_ask(windows, window, 5));
    cr_expect_not(window_ask(windows, window, 0));
    cr_expect_not(window_ask(windows, window, 63));
    cr_expect_not(window_ask(windows, window, 63));
    cr_expect(window_ask(windows, other, 63), "another window's question is its own");
    cr_expect_eq(window_asked(windows, window), 1ULL << 63 | 1);
    cr_expect(window_ask(windows, window, 0), "that question is answered");
    cr_expect_eq(window_asked(windows, window), 0u, "whoever waited was woken");
    cr_expect_eq(window_asked(windows, other), 0u);
    ledger_account_drop(&alice);
    stop();
}
