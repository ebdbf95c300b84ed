/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker does for its windows and their groups: it ends those that are idle, tells Redis again
 * what is held, gives back what is recalled, and frees what holds nothing.
 */
#include "tests/unit/grant/question_fixture.h"

static struct ledger_account *alice;

static void begin(void)
{
    start_asking();
    alice = account("alice");
}

static void end(void)
{
    ledger_account_drop(&alice);
    stop();
}

TestSuite(grants, .init = begin, .fini = end);

static int open_status(unsigned worker, uint64_t link, struct window **out)
{
    unsigned char bytes[LEDGER_LINK_ID_BYTES] = {0};
    memcpy(bytes, &link, sizeof(link));
    const struct window_key key = {.link_id = bytes, .account = alice, .file = file, .size = SIZE};
    return grants_open_window(&grants[worker], &key, now_ms, out);
}

static struct window *open_by(unsigned worker, uint64_t link)
{
    struct window *window = NULL;
    cr_assert_eq(open_status(worker, link, &window), 0);
    return window;
}

/* The window is idle from now on. */
static void leave(struct window *window)
{
    window_drop(&window, now_ms);
}

/* Worker 0 asks for the account's funds, and gets so many. */
static void grant(struct window *window, uint64_t ceiling)
{
    struct claim none = {0};
    struct grants_asker asker = {0};
    const struct demand demand = demand_for(window, &none, ceiling);
    const struct ledger_grant answered = balance(ceiling, ceiling);
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(sent_count - 1, &answered);
}

static void expect_tell(unsigned number, uint64_t ceiling, uint64_t least)
{
    cr_assert_lt(number, sent_count);
    cr_expect_str_eq(sent[number].words[1], "tollgate_tell");
    cr_expect_eq(word(number, AT_TELL_validity_ms), VALIDITY);
    cr_expect_eq(word(number, AT_TELL_ceiling), ceiling);
    cr_expect_eq(word(number, AT_TELL_least), least);
}

static unsigned groups_of(const struct grants *of)
{
    unsigned count = 0;
    for (const struct window_group *group = of->groups; group != NULL; group = group->owned_next)
        count++;
    return count;
}

/* ---- windows ---- */

Test(grants, end_idle_windows_of_their_worker_alone)
{
    struct window *used = open_by(0, 1), *idle = open_by(0, 2), *others = open_by(1, 3);
    cr_expect_eq(open_by(1, 1), used, "the other worker finds the same window");
    leave(idle);
    leave(others);
    now_ms += WINDOW_IDLE_MS - 1;
    grants_sweep(&grants[0], now_ms, false);
    cr_expect_eq(grants[0].owned, idle, "it was not idle for long enough");
    now_ms += 1;
    grants_sweep(&grants[0], now_ms, false);
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
    cr_expect_eq(sent_count, 0u, "nothing was held");
}

Test(grants, keep_each_group_with_the_worker_that_made_it_until_no_window_has_it)
{
    struct window *first = open_by(0, 1), *second = open_by(1, 2);
    cr_expect_eq(groups_of(&grants[0]), 2u, "the account's and the link's");
    cr_expect_eq(groups_of(&grants[1]), 1u);
    leave(first);
    grants_sweep(&grants[0], now_ms, true);
    cr_expect_eq(groups_of(&grants[0]), 1u, "the account has a window still");
    leave(second);
    grants_sweep(&grants[1], now_ms, true);
    cr_expect_null(grants[1].groups);
    grants_sweep(&grants[0], now_ms, true);
    cr_expect_null(grants[0].groups);
}

Test(grants, end_idle_windows_to_make_room_for_another_once_in_a_millisecond)
{
    enum { MOST = 4 };
    struct window *window[MOST], *another = NULL;
    windows_destroy(&windows);
    cr_assert_eq(windows_create(&windows, ledger, MOST), 0);
    grants[1].windows = windows;
    for (uint64_t i = 0; i < MOST; i++) {
        window[i] = open_by(1, i);
        cr_expect_eq(window[i]->owner, 1u);
    }
    cr_expect_eq(open_status(1, MOST, &another), -EMFILE, "none is idle");
    leave(window[0]);
    cr_expect_eq(open_status(1, MOST, &another), -EMFILE, "it has swept just now");
    now_ms++;
    cr_assert_eq(open_status(1, MOST, &another), 0);
    cr_expect_eq(grants[1].owned, another);
    cr_expect_eq(groups_of(&grants[1]), 1u + MOST);
    leave(another);
    for (unsigned i = 1; i < MOST; i++)
        leave(window[i]);
    grants_sweep(&grants[1], now_ms, true);
    cr_expect_null(grants[1].owned);
}

/* ---- telling ---- */

Test(grants, tell_at_half_of_the_validity_what_is_held)
{
    struct window *window = open_by(0, 1);
    grant(window, 1000);
    cr_assert(pool_begin(&window->account_group->pool, 300));
    now_ms = 1000 + VALIDITY / 2 - 1;
    grants_sweep(&grants[0], now_ms, false);
    cr_expect_eq(sent_count, 1u);
    now_ms += 1;
    grants_sweep(&grants[0], now_ms, false);
    cr_assert_eq(sent_count, 2u);
    expect_tell(1, 1000, 300);
    cr_expect_gt(word(1, AT_TELL_count), word(0, AT_count));
    grants_sweep(&grants[0], now_ms, true);
    cr_expect_eq(sent_count, 2u, "it is not answered yet");
    now_ms += 40;
    answer_tell(1, 120, 1000);
    cr_expect_eq(window->account_group->pool.posted, 120u);
    cr_expect_eq(atomic_load(&window->account_group->pool.valid_until_ms),
                 1000u + VALIDITY / 2 + VALIDITY, "from when it was told");
}

Test(grants, give_back_a_recalled_ceiling_at_once)
{
    struct window *window = open_by(0, 1);
    grant(window, 1000);
    cr_assert(pool_begin(&window->account_group->pool, 300));
    grants_give_back(&grants[0], now_ms);
    cr_assert_eq(sent_count, 1u, "nobody is short");
    atomic_store(&alice->recalled_until_ms, now_ms + 1);
    atomic_fetch_add(&alice->recalls, 1);
    grants_give_back(&grants[0], now_ms);
    cr_assert_eq(sent_count, 2u);
    expect_tell(1, 300, 300);
    answer_tell(1, 0, 300);
    grants_give_back(&grants[0], now_ms);
    grants_sweep(&grants[0], now_ms, false);
    cr_expect_eq(sent_count, 2u);
}

Test(grants, give_back_with_the_next_sweep_what_was_recalled_while_redis_was_away)
{
    struct window *window = open_by(0, 1);
    grant(window, 1000);
    atomic_fetch_add(&alice->recalls, 1); /* the recall is over */
    grants_give_back(&grants[0], now_ms);
    cr_assert_eq(sent_count, 1u);
    grants_sweep(&grants[0], now_ms, false);
    cr_assert_eq(sent_count, 2u);
}

Test(grants, give_back_what_an_ended_window_left_and_then_forget_the_account)
{
    struct window *window = open_by(0, 1);
    grant(window, 1000);
    leave(window);
    now_ms += WINDOW_IDLE_MS;
    grants_sweep(&grants[0], now_ms, false);
    cr_assert_eq(sent_count, 2u);
    expect_tell(1, 0, 0);
    cr_expect_eq(groups_of(&grants[0]), 1u, "the link's holds nothing");
    answer_tell(1, 0, 0);
    now_ms =
        1000 + VALIDITY; /* what was confirmed of the account covers further links until then */
    grants_sweep(&grants[0], now_ms - 1, false);
    cr_expect_eq(groups_of(&grants[0]), 1u);
    grants_sweep(&grants[0], now_ms, false);
    cr_expect_null(grants[0].groups);
    cr_expect_eq(sent_count, 2u);
}

Test(grants, tell_of_a_links_pool_under_its_own_key)
{
    struct window *window = open_by(0, 1);
    struct claim none = {0};
    struct grants_asker asker = {0};
    struct demand demand = demand_for(window, &none, 400);
    const struct ledger_grant answered = {
        .link_funds = {.bounds = LEDGER_BY_LINK_BYTES, .posted = 50, .ceiling = 450, .bound = 450}};
    demand.has_terms = demand.link_bounds = true;
    cr_assert_eq(ask(&demand, &asker), 0);
    answer(0, &answered);
    grants_sweep(&grants[0], now_ms, true);
    cr_assert_eq(sent_count, 2u, "the account has no bound");
    expect_tell(1, 450, 50);
    cr_expect_not_null(strstr(sent[1].words[AT_TELL_LAST_KEY], ":grants"));
    cr_expect_str_neq(sent[1].words[AT_TELL_LAST_KEY], sent[0].words[AT_LAST_KEY - 2],
                      "not under the account's");
    cr_expect_str_eq(sent[1].words[AT_TELL_LAST_KEY], sent[0].words[AT_LAST_KEY]);
    answer_tell(1, 50, 450);
}

Test(grants, wake_those_who_waited_for_what_was_told)
{
    struct window *window = open_by(0, 1);
    struct claim none = {0};
    struct grants_asker asker = {0};
    const struct demand demand = demand_for(window, &none, 2000);
    grant(window, 1000);
    grants_sweep(&grants[0], now_ms, true);
    cr_assert_eq(sent_count, 2u);
    cr_expect_eq(ask_by(1, &demand, &asker), -EALREADY);
    cr_expect_eq(woken, 0u);
    answer_tell(1, 0, 1000);
    cr_expect_eq(woken, 2u);
    cr_expect_eq(ask_by(1, &demand, &asker), 0);
    lose(2);
}

Test(grants, whose_telling_is_late_give_up_the_right_and_ignore_the_answer)
{
    struct window *window = open_by(0, 1);
    const struct pool *pool = &window->account_group->pool;
    grant(window, 1000);
    grants_sweep(&grants[0], now_ms, true);
    be_late(1);
    cr_expect_not(window->account_group->asking.is_under_way);
    grants_sweep(&grants[0], now_ms, true);
    cr_assert_eq(sent_count, 3u);
    answer_tell(1, 77, 1000);
    cr_expect_eq(pool->posted, 0u);
    cr_expect(window->account_group->asking.is_under_way, "the next is not answered yet");
    answer_tell(2, 88, 1000);
    cr_expect_eq(pool->posted, 88u);
}

Test(grants, that_could_not_be_told_are_told_again)
{
    struct window *window = open_by(0, 1);
    grant(window, 1000);
    refuses = true;
    grants_sweep(&grants[0], now_ms, true);
    cr_expect_eq(sent_count, 1u);
    cr_expect_not(window->account_group->asking.is_under_way);
    refuses = false;
    grants_sweep(&grants[0], now_ms, true);
    cr_assert_eq(sent_count, 2u);
    lose(1);
    cr_expect_not(window->account_group->asking.is_under_way);
    cr_expect_not(window->account_group->pool.is_answered);
    is_up = false;
    uint64_t number = window->account_group->pool.number;
    grants_sweep(&grants[0], now_ms, true);
    cr_expect_eq(window->account_group->pool.number, number, "Redis cannot be asked");
    cr_expect_eq(grants[0].swept_ms, now_ms);
}

Test(grants, told_of_a_later_question_take_no_figures)
{
    struct window *window = open_by(0, 1);
    grant(window, 1000);
    grants_sweep(&grants[0], now_ms, true);
    cr_assert_eq(sent_count, 2u);
    reply_numbers(1, (const uint64_t[]){1, 55, 0}, 3);
    cr_expect_eq(window->account_group->pool.posted, 0u);
    cr_expect_not(window->account_group->pool.is_answered);
    cr_expect_not(window->account_group->asking.is_under_way);
}
