/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spare funds of windows: at 0, 1 and the most that there is, what a recall takes and leaves,
 * threads that take and give at once, and that the cost of a recall for one account does not grow
 * with the table.
 *
 * TOLLGATE_TEST_WINDOWS=1000000 makes `cost_a_recall_nothing_by_their_number` open that many
 * windows, each of an account of its own, and print the processor time of the longest recalls.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "tests/unit/grant/window_fixture.h"

Test(window_funds, of_an_account_that_is_short_release_what_they_can_spare_and_no_more)
{
    start(100, 100);
    struct ledger_account *alice = account("alice"), *bob = account("bob");
    struct window *window[4];
    struct funds purse = {0};
    for (uint64_t i = 0; i < 4; i++) {
        window[i] = open_window(i < 3 ? alice : bob, i, file);
        window_fund(windows, window[i], ACCOUNT, 100, NULL, 0);
    }
    /* A response holds 70 of the second window's 100 bytes. */
    cr_assert_eq(window_take(window[1], ACCOUNT, 70, true, &purse), 70u);
    cr_expect_eq(windows_recall(windows, window[0], LEDGER_FUND_ACCOUNT, 1000, release, NULL),
                 130u);
    cr_expect_eq(released.bytes[LEDGER_FUND_ACCOUNT], 130u);
    cr_expect_eq(windows_recall(windows, window[0], LEDGER_FUND_ACCOUNT, 1000, release, NULL), 0u);
    /* Bytes that come back later can be recalled, too, up to what is needed. */
    window_give(windows, window[1], &purse);
    window_fund(windows, window[2], ACCOUNT, 50, NULL, 0);
    releases = 0;
    cr_expect_geq(windows_recall(windows, window[0], LEDGER_FUND_ACCOUNT, 1, release, NULL), 50u);
    cr_expect_eq(releases, 1u, "one would have been enough");
    struct funds own = {0}, others = {0};
    cr_expect_eq(window_take(window[0], ACCOUNT, 100, true, &own), 100u, "its own were taken");
    cr_expect_eq(window_take(window[3], ACCOUNT, 100, true, &others), 100u, "bob's were taken");
    for (uint64_t i = 0; i < 4; i++)
        window_drop(&window[i], 1000);
    ledger_account_drop(&alice);
    ledger_account_drop(&bob);
    stop();
}

Test(window_funds, of_a_link_that_is_short_release_for_themselves)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    struct window *one = open_window(alice, 1, file), *same = open_window(alice, 1, other_file),
                  *other = open_window(alice, 2, file);
    window_fund(windows, same, ACCOUNT | LINK, 100, NULL, 0);
    window_fund(windows, other, ACCOUNT | LINK, 100, NULL, 0);
    cr_expect_eq(windows_recall(windows, one, LEDGER_FUND_LINK, 1000, release, NULL), 100u);
    cr_expect_eq(releases, 1u);
    cr_expect_eq(released.bytes[LEDGER_FUND_ACCOUNT], 100u, "both funds go back together");
    cr_expect_eq(windows_recall(windows, one, LEDGER_FUND_ACCOUNT, 1000, release, NULL), 100u);
    /* A window that has ended must be on no list. */
    window_fund(windows, other, ACCOUNT | LINK, 7, NULL, 0);
    struct window *ended = other;
    window_drop(&other, 1000);
    cr_assert(window_sweep(windows, ended, 5000, WINDOW_IDLE_MS, release, NULL));
    cr_expect_eq(released.bytes[LEDGER_FUND_ACCOUNT], 207u);
    cr_expect_eq(windows_recall(windows, one, LEDGER_FUND_ACCOUNT, 1000, release, NULL), 0u);
    window_drop(&one, 1000);
    window_drop(&same, 1000);
    ledger_account_drop(&alice);
    stop();
}

Test(window_funds, gives_what_was_granted_to_whoever_asked_for_it)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    struct window *window = open_window(alice, 1, file);
    struct funds asker = {0}, other = {0};
    window_fund(windows, window, ACCOUNT, 30, NULL, 0);
    cr_expect_eq(window_take(window, ACCOUNT, 100, true, &asker), 0u, "all or nothing");
    cr_expect_eq(window_take(window, ACCOUNT, 30, true, &other), 30u);
    window_fund(windows, window, ACCOUNT, 70, &asker, 100);
    cr_expect_eq(window_take(window, ACCOUNT, 1, true, &other), 1u, "it has 30");
    cr_expect_eq(window_take(window, ACCOUNT, 31, true, &other), 30u, "the 70 are the asker's");
    window_give(windows, window, &other);
    cr_expect_eq(window_take(window, ACCOUNT, 100, true, &asker), 100u);
    window_drop(&window, 1000);
    ledger_account_drop(&alice);
    stop();
}

/* ---- at the bounds ---- */

Test(window_funds, that_bound_nothing_are_never_short)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    struct window *window = open_window(alice, 1, file);
    struct funds purse = {0};
    cr_expect_eq(window_take(window, 0, UINT64_MAX, true, &purse), UINT64_MAX);
    cr_expect(funds_are_empty(&purse));
    cr_expect_eq(window_take(window, ACCOUNT, 0, true, &purse), 0u);
    cr_expect_eq(window_take(window, ACCOUNT, 1, false, &purse), 0u);
    window_drop(&window, 1000);
    ledger_account_drop(&alice);
    stop();
}

Test(window_funds, are_taken_to_the_last_byte_and_come_back_whole)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    struct window *window = open_window(alice, 1, file);
    struct funds purse = {0};
    window_fund(windows, window, ACCOUNT, UINT64_MAX, NULL, 0);
    cr_expect_eq(window_take(window, ACCOUNT, UINT64_MAX, true, &purse), UINT64_MAX);
    cr_expect(funds_are_empty(&window->spare));
    window_give(windows, window, &purse);
    cr_expect(funds_are_empty(&purse));
    cr_expect_eq(window_take(window, ACCOUNT, 1, true, &purse), 1u);
    cr_expect_eq(window->spare.bytes[LEDGER_FUND_ACCOUNT], UINT64_MAX - 1);
    /* Both funds bound: the lesser one decides, and `whole` takes of neither. */
    window_fund(windows, window, LINK, 5, NULL, 0);
    cr_expect_eq(window_take(window, ACCOUNT | LINK, 6, true, &purse), 0u, "the link has 5");
    cr_expect_eq(purse.bytes[LEDGER_FUND_ACCOUNT], 1u);
    cr_expect_eq(purse.bytes[LEDGER_FUND_LINK], 0u);
    cr_expect_eq(window_take(window, ACCOUNT | LINK, 6, false, &purse), 5u);
    cr_expect_eq(purse.bytes[LEDGER_FUND_ACCOUNT], 6u);
    window_drop(&window, 1000);
    ledger_account_drop(&alice);
    stop();
}

Test(window_funds, that_are_none_are_on_no_list)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    struct window *window = open_window(alice, 1, file), *other = open_window(alice, 2, file);
    struct funds none = {0};
    window_fund(windows, other, ACCOUNT, 0, NULL, 0);
    window_give(windows, other, &none);
    cr_expect_not(atomic_load(&other->spare_listed[LEDGER_FUND_ACCOUNT]));
    window_fund(windows, other, ACCOUNT, 1, NULL, 0);
    cr_expect(atomic_load(&other->spare_listed[LEDGER_FUND_ACCOUNT]));
    cr_expect_not(atomic_load(&other->spare_listed[LEDGER_FUND_LINK]));
    cr_expect_eq(windows_recall(windows, window, LEDGER_FUND_ACCOUNT, 0, release, NULL), 0u);
    cr_expect_eq(releases, 0u, "nothing was needed");
    cr_expect_eq(windows_recall(windows, window, LEDGER_FUND_ACCOUNT, 1, release, NULL), 1u);
    cr_expect_not(atomic_load(&other->spare_listed[LEDGER_FUND_ACCOUNT]));
    window_drop(&window, 1000);
    window_drop(&other, 1000);
    ledger_account_drop(&alice);
    stop();
}

/* ---- the bound of a recall ---- */

/* Opens so many windows beside `window`, each with `bytes` to spare. The first one is the last that
 * a recall looks at. */
static void open_spare(struct ledger_account *of, uint64_t count, uint64_t bytes)
{
    for (uint64_t i = 0; i < count; i++) {
        struct window *spare = open_window(of, 10 + i, file);
        window_fund(windows, spare, ACCOUNT, bytes, NULL, 0);
        window_drop(&spare, 1000);
    }
}

Test(window_funds, are_recalled_of_so_many_windows_in_one_call)
{
    enum { BEYOND = 4 };
    start(WINDOWS_RECALL_MAX + 100, WINDOWS_RECALL_MAX + 100);
    struct ledger_account *alice = account("alice");
    struct window *window = open_window(alice, 1, file);
    open_spare(alice, WINDOWS_RECALL_MAX + BEYOND, 1);
    cr_expect_eq(windows_recall(windows, window, LEDGER_FUND_ACCOUNT, UINT64_MAX, release, NULL),
                 (uint64_t)WINDOWS_RECALL_MAX);
    cr_expect_eq(windows_recall(windows, window, LEDGER_FUND_ACCOUNT, UINT64_MAX, release, NULL),
                 (uint64_t)BEYOND);
    window_drop(&window, 1000);
    ledger_account_drop(&alice);
    stop();
}

/* An account that has a byte somewhere is not refused because many of its windows have none. */
Test(window_funds, are_looked_for_in_all_windows_until_some_are_found)
{
    start(WINDOWS_RECALL_MAX + 100, WINDOWS_RECALL_MAX + 100);
    struct ledger_account *alice = account("alice");
    struct window *window = open_window(alice, 1, file);
    struct funds purse = {0};
    open_spare(alice, 1, 2);
    for (uint64_t i = 0; i < WINDOWS_RECALL_MAX + 4; i++) {
        struct window *spent = open_window(alice, 1000 + i, file);
        window_fund(windows, spent, ACCOUNT, 1, NULL, 0);
        cr_assert_eq(window_take(spent, ACCOUNT, 1 + i, false, &purse), 1 + i);
        window_drop(&spent, 1000);
    }
    cr_expect_eq(windows_recall(windows, window, LEDGER_FUND_ACCOUNT, 1, release, NULL), 2u);
    cr_expect_eq(releases, 1u, "those without are not released");
    window_drop(&window, 1000);
    ledger_account_drop(&alice);
    stop();
}

Test(window_funds, are_recalled_no_further_than_needed_over_several_turns)
{
    start(200, 200);
    struct ledger_account *alice = account("alice");
    struct window *window = open_window(alice, 1, file);
    open_spare(alice, 100, 1);
    cr_expect_eq(windows_recall(windows, window, LEDGER_FUND_ACCOUNT, 33, release, NULL), 33u);
    window_drop(&window, 1000);
    ledger_account_drop(&alice);
    stop();
}

/* A window that ends without funds is on no list: taking it off would cut the list of the others. */
Test(window_funds, stay_listed_where_a_window_that_has_none_ends)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    struct window *window = open_window(alice, 1, file), *poor = open_window(alice, 2, file);
    open_spare(alice, 2, 50);
    struct window *ended = poor;
    window_drop(&poor, 1000);
    cr_assert(window_sweep(windows, ended, 1000, 0, release, NULL));
    cr_expect_eq(windows_recall(windows, window, LEDGER_FUND_ACCOUNT, 1000, release, NULL), 100u);
    window_drop(&window, 1000);
    ledger_account_drop(&alice);
    stop();
}

static void expect_link(void *context, const struct ledger_account *of,
                        const unsigned char link_id[LEDGER_LINK_ID_BYTES],
                        const struct funds *funds)
{
    uint64_t link;
    memcpy(&link, link_id, sizeof(link));
    cr_expect_eq(link, funds->bytes[LEDGER_FUND_ACCOUNT], "the funds of another link");
    cr_expect_eq(of, context);
    releases++;
}

Test(window_funds, are_recalled_under_the_link_that_had_them)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    struct window *window = open_window(alice, 1, file);
    for (uint64_t link = 20; link < 23; link++) {
        struct window *spare = open_window(alice, link, file);
        window_fund(windows, spare, ACCOUNT, link, NULL, 0);
        window_drop(&spare, 1000);
    }
    cr_expect_eq(windows_recall(windows, window, LEDGER_FUND_ACCOUNT, 1000, expect_link, alice),
                 20u + 21 + 22);
    cr_expect_eq(releases, 3u);
    window_drop(&window, 1000);
    ledger_account_drop(&alice);
    stop();
}

/* ---- threads ---- */

enum { THREADS = 4, WINDOWS = 8, ROUNDS = 20000 };
static struct window *shared[WINDOWS];
static pthread_mutex_t released_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t released_together;

static void release_together(void *context, const struct ledger_account *of,
                             const unsigned char link_id[LEDGER_LINK_ID_BYTES],
                             const struct funds *funds)
{
    (void)context, (void)of, (void)link_id;
    pthread_mutex_lock(&released_lock);
    released_together += funds->bytes[LEDGER_FUND_ACCOUNT];
    pthread_mutex_unlock(&released_lock);
}

static void *take_give_and_recall(void *argument)
{
    uint64_t *granted = argument, spent = 0;
    struct funds purse = {0};
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct window *window = shared[i % WINDOWS];
        if (i % 3 == 0) {
            window_fund(windows, window, ACCOUNT, 10, &purse, 25);
            *granted += 10;
        }
        (void)window_take(window, ACCOUNT, 25, i % 2 == 0, &purse);
        if (i % 5 == 0 && funds_least(&purse, ACCOUNT) >= 3) {
            funds_spend(&purse, ACCOUNT, 3);
            spent += 3;
        }
        window_give(windows, window, &purse);
        if (i % 7 == 0)
            (void)windows_recall(windows, window, LEDGER_FUND_ACCOUNT, 15, release_together, NULL);
    }
    *granted -= spent;
    return NULL;
}

Test(window_funds, neither_makes_nor_loses_a_byte_between_threads)
{
    start(100, 100);
    struct ledger_account *alice = account("alice");
    pthread_t threads[THREADS];
    uint64_t granted[THREADS] = {0}, sum = 0, left = 0;
    released_together = 0;
    for (uint64_t i = 0; i < WINDOWS; i++)
        shared[i] = open_window(alice, i, file);
    for (size_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, take_give_and_recall, &granted[i]), 0);
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        sum += granted[i];
    }
    struct window *fresh = open_window(alice, WINDOWS, file);
    left = windows_recall(windows, fresh, LEDGER_FUND_ACCOUNT, UINT64_MAX, release, NULL);
    cr_expect_eq(left + released_together, sum, "%llu and %llu of %llu", (unsigned long long)left,
                 (unsigned long long)released_together, (unsigned long long)sum);
    for (size_t i = 0; i < WINDOWS; i++)
        window_drop(&shared[i], 1000);
    window_drop(&fresh, 1000);
    ledger_account_drop(&alice);
    stop();
}

/* ---- many windows ---- */

static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Recalls and keeps the longest processor time, which bounds how long a lock is held. */
static uint64_t recall(const struct window *window, uint64_t needed, uint64_t *longest_ns)
{
    uint64_t begun = cpu_ns();
    uint64_t bytes = windows_recall(windows, window, LEDGER_FUND_ACCOUNT, needed, release, NULL);
    uint64_t taken = cpu_ns() - begun;
    *longest_ns = taken > *longest_ns ? taken : *longest_ns;
    return bytes;
}

/* If each recall walked the table, the recalls would exceed the limit of processor time. */
Test(window_funds, cost_a_recall_nothing_by_their_number)
{
    enum { RECALLS = 300000, CAPACITY = 4 << 20, SPARE = 1000 };
    const char *wanted = getenv("TOLLGATE_TEST_WINDOWS");
    uint64_t count = wanted != NULL ? strtoull(wanted, NULL, 10) : 2000;
    uint64_t nothing_ns = 0, some_ns = 0, all_ns = 0;
    start(CAPACITY, count + SPARE + 1);
    struct ledger_account *alice = account("alice");
    struct window **opened = calloc(count, sizeof(*opened));
    cr_assert_not_null(opened);
    for (uint64_t i = 0; i < count; i++) {
        char name[24];
        snprintf(name, sizeof(name), "a%llu", (unsigned long long)i);
        struct ledger_account *own = account(name);
        opened[i] = open_window(own, SPARE + 1 + i, file);
        window_fund(windows, opened[i], ACCOUNT, 100, NULL, 0);
        ledger_account_drop(&own);
    }
    struct window *window = open_window(alice, 0, file);
    const struct rlimit most = {.rlim_cur = 30, .rlim_max = 30};
    if (wanted == NULL)
        cr_assert_eq(setrlimit(RLIMIT_CPU, &most), 0);
    for (unsigned i = 0; i < RECALLS; i++)
        cr_assert_eq(recall(window, 1, &nothing_ns), 0u);
    for (uint64_t i = 0; i < SPARE; i++) {
        struct window *spare = open_window(alice, i + 1, file);
        window_fund(windows, spare, ACCOUNT, 5, NULL, 0);
        window_drop(&spare, 1000);
    }
    for (unsigned i = 0; i < SPARE / 10; i++)
        cr_assert_eq(recall(window, 5, &some_ns), 5u);
    cr_expect_eq(recall(window, UINT64_MAX, &all_ns), (uint64_t)(SPARE - SPARE / 10) * 5);
    printf("%llu accounts with a window each, longest recalls: of nothing %.3f ms, of one window "
           "%.3f ms, of %u windows %.3f ms\n",
           (unsigned long long)count, (double)nothing_ns / 1e6, (double)some_ns / 1e6,
           (unsigned)(SPARE - SPARE / 10), (double)all_ns / 1e6);
    for (uint64_t i = 0; i < count; i++)
        window_drop(&opened[i], 1000);
    free(opened);
    window_drop(&window, 1000);
    ledger_account_drop(&alice);
    stop();
}
