/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The groups of an account's windows and of a link's: how long they are remembered, and when what
 * their pools hold is told again or given back.
 */
#include "tests/unit/grant/window_fixture.h"

#define MINUTE_MS   60000
#define VALIDITY_MS 10000
#define NOW         1000 /* when the tests begin, and Redis was asked first */

static struct ledger_account *alice;
static struct window *window;

static void begin(void)
{
    start(100, 100);
    alice = account("alice");
    window = open_window(alice, 1, file);
}

static void end(void)
{
    ledger_account_drop(&alice);
    stop();
}

TestSuite(window_group, .init = begin, .fini = end);

/* Ends alice's window; her account's group, or her link's, has no window then. */
static struct window_group *leave(struct window_group *group, uint64_t now_ms)
{
    struct window *dropped = window;
    window_drop(&dropped, now_ms);
    cr_assert(window_sweep(windows, window, now_ms, 0));
    return group;
}

/* Redis grants a ceiling, of which nothing is posted, at NOW. */
static void grant(struct window_group *group, uint64_t ceiling)
{
    const struct window_need need = {.bytes = ceiling};
    const struct ledger_credit credit = {
        .bounds = LEDGER_BY_BALANCE, .ceiling = ceiling, .bound = ceiling};
    struct window_question question;
    uint64_t round = UINT64_MAX;
    cr_assert(window_ask(windows, window, SUBJECT_ACCOUNT | SUBJECT_LINK, 0, &need, &round, NOW,
                         &question));
    const struct ledger_grant both = {.funds = group->of_link ? (struct ledger_credit){0} : credit,
                                      .link_funds =
                                          group->of_link ? credit : (struct ledger_credit){0}};
    window_take(windows, &question, &both, VALIDITY_MS);
    (void)window_asked(windows, &question);
}

static bool tell(struct window_group *group, bool all, uint64_t now_ms, struct ledger_told *told)
{
    return group_tell(windows, group, VALIDITY_MS, all, now_ms, told);
}

static void recall(void)
{
    atomic_fetch_add(&alice->recalls, 1);
}

/* ---- telling ---- */

Test(window_group, tells_what_it_holds_after_half_of_the_validity)
{
    struct window_group *group = window->account_group;
    struct ledger_told told = {0};
    grant(group, 500);
    cr_assert(pool_begin(&group->pool, 200));
    cr_expect_not(tell(group, false, NOW + VALIDITY_MS / 2 - 1, &told));
    cr_expect_eq(told.count, 0u);
    cr_assert(tell(group, false, NOW + VALIDITY_MS / 2, &told));
    cr_expect_eq(told.ceiling, 500u, "it is not given back");
    cr_expect(told.least == 200 && told.want == 200 && told.spare == 0);
    cr_expect_eq(told.count, group->pool.number);
    cr_expect_not(tell(group, true, NOW + VALIDITY_MS, &told), "it is being told");
    cr_expect_eq(group_told(windows, group, told.count,
                            &(struct ledger_credit){.posted = 150, .ceiling = 500}, 77777),
                 0u);
    cr_expect_eq(group->pool.posted, 150u);
    cr_expect_eq(atomic_load(&group->pool.valid_until_ms), 77777u);
    cr_expect_not(tell(group, false, NOW + VALIDITY_MS - 1, &told), "the half has begun again");
    cr_expect(tell(group, false, NOW + VALIDITY_MS, &told));
}

Test(window_group, tells_at_once_where_all_are_to_be_told_and_keeps_what_windows_have)
{
    struct window_group *group = window->account_group;
    struct ledger_told told = {0};
    grant(group, 500);
    cr_assert(tell(group, true, NOW, &told));
    cr_expect_eq(told.ceiling, 500u);
}

Test(window_group, that_holds_nothing_tells_nothing)
{
    struct ledger_told told;
    cr_expect_not(tell(window->account_group, true, NOW + MINUTE_MS, &told));
    grant(window->link_group, 500); /* the account has no bound */
    cr_expect_not(tell(window->account_group, true, NOW + MINUTE_MS, &told));
    cr_expect(tell(window->link_group, true, NOW + MINUTE_MS, &told));
}

Test(window_group, that_is_recalled_gives_back_at_once_what_nobody_needs_and_once)
{
    struct window_group *group = window->account_group;
    struct ledger_told told;
    grant(group, 500);
    cr_assert(pool_begin(&group->pool, 200));
    recall();
    cr_assert(tell(group, false, NOW + 1, &told));
    cr_expect_eq(told.ceiling, 200u);
    cr_expect_eq(atomic_load(&group->pool.ceiling), 200u, "it is lowered before Redis is told");
    (void)group_told(windows, group, told.count, &(struct ledger_credit){0}, NOW + VALIDITY_MS);
    cr_expect_not(tell(group, false, NOW + 2, &told), "that recall was answered");
    recall();
    cr_expect(tell(group, false, NOW + 3, &told));
}

Test(window_group, that_was_recalled_just_before_gives_back_what_it_came_to_hold_since)
{
    struct window_group *group = window->account_group;
    struct ledger_told told;
    recall();
    atomic_store(&alice->recalled_until_ms, (uint64_t)NOW + 300);
    grant(group, 500);
    group->recalls_told = ledger_recalls(alice); /* its question came behind the recall */
    cr_expect_not(tell(group, false, NOW + 300, &told));
    cr_assert(tell(group, false, NOW + 299, &told));
    cr_expect_eq(told.ceiling, 0u);
    (void)group_told(windows, group, told.count, &(struct ledger_credit){0}, NOW + VALIDITY_MS);
    cr_expect_not(tell(group, false, NOW + 299, &told), "it holds nothing idle");
}

Test(window_group, that_is_recalled_while_it_is_asked_for_gives_back_afterwards)
{
    struct window_group *group = window->account_group;
    const struct window_need need = {.bytes = 1};
    struct window_question question;
    struct ledger_told told;
    uint64_t round = UINT64_MAX;
    grant(group, 500);
    cr_assert(window_ask(windows, window, SUBJECT_ACCOUNT, 0, &need, &round, NOW, &question));
    recall();
    cr_expect_not(tell(group, true, NOW + 1, &told));
    (void)window_asked(windows, &question);
    cr_assert(tell(group, false, NOW + 1, &told));
    cr_expect_eq(told.ceiling, 0u);
}

Test(window_group, without_a_window_gives_back_at_once_what_nobody_needs)
{
    struct window_group *group = window->account_group;
    struct ledger_told told;
    grant(group, 500);
    cr_expect_not(tell(group, false, NOW + 1, &told), "a window has it");
    leave(group, NOW);
    cr_assert(tell(group, false, NOW + 1, &told));
    cr_expect_eq(told.ceiling, 0u);
    (void)group_told(windows, group, told.count, NULL, NOW + VALIDITY_MS);
    cr_expect_eq(atomic_load(&group->pool.valid_until_ms), (uint64_t)NOW + VALIDITY_MS);
    cr_expect_not(tell(group, false, NOW + VALIDITY_MS / 2, &told),
                  "what was lost is told again in time, not each tick");
    cr_expect(tell(group, false, NOW + 1 + VALIDITY_MS / 2, &told));
}

Test(window_group, that_is_told_makes_others_wait_and_names_them)
{
    struct window_group *group = window->account_group;
    const struct window_need need = {.bytes = 1};
    struct window_question question;
    struct ledger_told told;
    uint64_t round = UINT64_MAX;
    grant(group, 500);
    cr_assert(tell(group, true, NOW, &told));
    cr_expect_not(window_ask(windows, window, SUBJECT_ACCOUNT, 3, &need, &round, NOW, &question));
    cr_expect_eq(group_told(windows, group, told.count, NULL, 0), 1ULL << 3);
    cr_expect(window_ask(windows, window, SUBJECT_ACCOUNT, 3, &need, &round, NOW, &question));
    cr_expect_eq(question.funds.want, 2u, "what the waiter needed, and what it needs now");
}

/* Else, while Redis answers nothing in time, one tell follows the other, and a response waits for ever. */
Test(window_group, that_was_told_in_vain_leaves_the_next_question_to_who_waited)
{
    struct window_group *group = window->account_group;
    const struct window_need need = {.bytes = 1};
    struct window_question question;
    struct ledger_told told, again;
    uint64_t round = UINT64_MAX;
    grant(group, 500);
    cr_assert(tell(group, true, NOW, &told));
    cr_expect_not(window_ask(windows, window, SUBJECT_ACCOUNT, 3, &need, &round, NOW, &question));
    (void)group_told(windows, group, told.count, NULL, 0);
    recall();
    cr_expect_not(tell(group, false, NOW, &again));
    cr_expect(window_ask(windows, window, SUBJECT_ACCOUNT, 3, &need, &round, NOW, &question));
    (void)window_asked(windows, &question);
    cr_expect(tell(group, true, NOW, &again), "one that waits no longer holds it up once");
}

static void ask_in_vain_while_another_waits(struct window_group *group)
{
    const struct window_need need = {.bytes = 1};
    struct window_question question, other;
    uint64_t round = UINT64_MAX;
    grant(group, 500);
    cr_assert(window_ask(windows, window, SUBJECT_ACCOUNT, 2, &need, &round, NOW, &question));
    cr_expect_not(window_ask(windows, window, SUBJECT_ACCOUNT, 3, &need, &round, NOW, &other));
    (void)window_asked(windows, &question);
}

Test(window_group, that_was_asked_for_in_vain_leaves_the_next_question_to_who_waited)
{
    struct window_group *group = window->account_group;
    struct ledger_told told;
    ask_in_vain_while_another_waits(group);
    recall();
    cr_expect_not(tell(group, false, NOW, &told));
    cr_expect(tell(group, false, NOW, &told), "one that waits no longer holds it up once");
}

Test(window_group, that_somebody_waited_for_is_told_all_the_same_when_the_node_ends)
{
    struct window_group *group = window->account_group;
    struct ledger_told told;
    ask_in_vain_while_another_waits(group);
    cr_expect(tell(group, true, NOW, &told));
}

Test(window_group, ignores_a_late_answer_to_what_it_told)
{
    struct window_group *group = window->account_group;
    struct ledger_told first, second;
    grant(group, 500);
    cr_assert(tell(group, true, NOW, &first));
    (void)group_told(windows, group, first.count, NULL, 0);
    cr_assert(tell(group, true, NOW, &second));
    cr_expect_gt(second.count, first.count);
    (void)group_told(windows, group, first.count, &(struct ledger_credit){.posted = 70}, 99999);
    cr_expect_eq(group->pool.posted, 0u);
    cr_expect_not(group->pool.is_answered);
}

/* ---- how long it is remembered ---- */

Test(window_group, is_freed_once_no_window_has_it)
{
    struct window_group *group = window->link_group;
    cr_expect_not(group_sweep(windows, group, NOW));
    leave(group, NOW);
    cr_expect(group_sweep(windows, group, NOW));
    window = open_window(alice, 1, file);
    cr_expect_eq(window->link_group->references, 1u);
}

Test(window_group, is_kept_while_its_pool_holds_something)
{
    struct window_group *group = window->account_group;
    struct ledger_told told;
    grant(group, 500);
    leave(group, NOW);
    cr_expect_not(group_sweep(windows, group, NOW + MINUTE_MS));
    cr_assert(tell(group, false, NOW + MINUTE_MS, &told));
    cr_expect_not(group_sweep(windows, group, NOW + MINUTE_MS), "it is being told");
    (void)group_told(windows, group, told.count, &(struct ledger_credit){0}, NOW + MINUTE_MS);
    cr_expect(group_sweep(windows, group, NOW + MINUTE_MS));
}

Test(window_group, is_kept_while_it_is_asked_for)
{
    struct window_group *group = window->link_group;
    leave(group, NOW);
    group->asking.is_under_way = true;
    cr_expect_not(group_sweep(windows, group, NOW));
    group->asking.is_under_way = false;
    cr_expect(group_sweep(windows, group, NOW));
}

Test(window_group, is_kept_while_a_response_ended_unacknowledged_in_this_minute)
{
    struct window_group *group = window->link_group;
    cr_assert_eq(quota_count_unacknowledged(&group->quota, NOW), 1u);
    leave(group, NOW);
    cr_expect_not(group_sweep(windows, group, MINUTE_MS - 1));
    cr_expect(group_sweep(windows, group, MINUTE_MS));
}

Test(window_group, is_kept_while_what_redis_confirmed_of_the_account_is_valid)
{
    struct window_group *group = window->account_group;
    atomic_store(&group->cover.valid_until_ms, NOW + 500);
    leave(group, NOW);
    cr_expect_not(group_sweep(windows, group, NOW + 499));
    struct window *again = open_window(alice, 2, file);
    cr_expect_eq(again->account_group, group, "an album's next link finds it");
    window = again;
    leave(group, NOW);
    cr_expect(group_sweep(windows, group, NOW + 500));
}

Test(window_group, that_is_freed_leaves_its_neighbours_to_be_found)
{
    enum { LINKS = 60 };
    static struct window *others[LINKS];
    static struct window_group *group[LINKS];
    for (unsigned i = 0; i < LINKS; i++) {
        others[i] = open_window(alice, (uint64_t)i << 8, file); /* all in one bucket */
        group[i] = others[i]->link_group;
    }
    for (unsigned i = 0; i < LINKS; i += 2) {
        struct window *dropped = others[i];
        window_drop(&dropped, NOW);
        cr_assert(window_sweep(windows, others[i], NOW, 0));
        cr_assert(group_sweep(windows, group[i], NOW));
    }
    for (unsigned i = 1; i < LINKS; i += 2) {
        struct window *same = open_window(alice, (uint64_t)i << 8, other_file);
        cr_expect_eq(same->link_group, group[i], "link %u", i);
        window_drop(&same, NOW);
    }
}

/* ---- their bound ---- */

/* Opens and ends a window of the link, which leaves a group that is remembered. */
static struct window_group *leave_a_group(uint64_t link)
{
    window = open_window(alice, link, file);
    (void)quota_count_unacknowledged(&window->link_group->quota, NOW);
    return leave(window->link_group, NOW);
}

Test(window_group, is_made_four_times_for_each_window_and_no_more)
{
    unsigned char bytes[LEDGER_LINK_ID_BYTES] = {9};
    struct window_key key = {.link_id = bytes, .account = alice, .file = file, .size = SIZE};
    struct windows_made made;
    struct window *none = NULL;
    windows_destroy(&windows);
    cr_assert_eq(windows_create(&windows, ledger, 1), 0);
    struct window_group *group[3];
    for (uint64_t link = 0; link < 3; link++) /* with the account's own, four */
        group[link] = leave_a_group(link);
    for (unsigned i = 0; i < 2; i++) {
        cr_expect_eq(window_open(windows, &key, NOW, &none, &made), -ENOMEM);
        cr_expect(made.window == NULL && made.groups[0] == NULL && made.groups[1] == NULL);
    }
    cr_expect(group_sweep(windows, group[0], NOW), "many are there, so none is remembered");
    cr_expect(group_sweep(windows, group[1], NOW));
    cr_expect_not(group_sweep(windows, group[2], NOW), "two for each window are remembered");
    cr_assert_eq(window_open(windows, &key, NOW, &none, &made), 0);
    cr_expect_eq(made.groups[1], none->link_group);
    cr_expect_null(made.groups[0]);
    cr_expect_eq(none->account_group->references, 1u, "a window that failed has left it");
}

/* ---- beyond the end of a killed process ---- */

Test(window_group, notes_once_that_it_holds_something)
{
    struct window_group *group = window->link_group;
    const struct window_group *unbounded = window->account_group;
    cr_expect_eq(group->holding, -1);
    grant(group, 500);
    int place = group->holding;
    cr_expect_geq(place, 0);
    cr_expect_eq(unbounded->holding, -1, "without a bound nothing is held");
    grant(group, 500);
    cr_expect_eq(group->holding, place);
}
