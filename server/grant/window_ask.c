/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The right to ask Redis for a window, its account and its link, and the figures that a question
 * carries. One worker has a right at a time, so that each fund has one question under way at most;
 * others wait for its end. Called by question.c; it sends nothing. See window.h.
 */
#include "server/grant/window_internal.h"

/* Whether the subject is among those asked for. */
static bool has(unsigned subjects, enum window_subject subject)
{
    return (subjects & subject) != 0;
}

static void wait_for(struct asking *asking, unsigned worker)
{
    asking->waiters |= 1ULL << worker;
}

/* Notes what a waiter needs of the group, once for each question that is under way. */
static void want(struct window_group *group, const struct window_need *need, uint64_t *round)
{
    if (*round == group->round)
        return;
    *round = group->round;
    group->wanted += need->bytes;
}

/* Under the shard's lock. Whether nobody else asks; else the worker waits. */
static bool is_free(struct window *window, unsigned subjects, unsigned worker,
                    const struct window_need *need, uint64_t *round)
{
    if (window->asking.is_under_way) {
        wait_for(&window->asking, worker);
        return false;
    }
    if (has(subjects, SUBJECT_ACCOUNT) && window->account_group->asking.is_under_way) {
        wait_for(&window->account_group->asking, worker);
        want(window->account_group, need, round);
        return false;
    }
    if (has(subjects, SUBJECT_LINK) && window->link_group->asking.is_under_way) {
        wait_for(&window->link_group->asking, worker);
        return false;
    }
    return true;
}

static struct ledger_told group_ask(struct windows *windows, struct window_group *group,
                                    const struct window_need *need, uint64_t now_ms)
{
    uint64_t number = atomic_fetch_add(&windows->questions, 1) + 1;
    uint64_t wanted = group->wanted;
    group->asking.is_under_way = true;
    group->wanted = 0;
    group->round++;
    group->losses_asked = ledger_losses(windows->ledger);
    /* A mere renewal asks for nothing more; nor does anybody while Redis lacks what others hold. */
    uint64_t bytes = ledger_data_is_lost(windows->ledger) ? 0 : need->bytes + wanted;
    return pool_ask(&group->pool, number, bytes, bytes > 0 ? need->spare : 0, false, now_ms);
}

bool window_ask(struct windows *windows, struct window *window, unsigned subjects, unsigned worker,
                const struct window_need *need, uint64_t *round, uint64_t now_ms,
                struct window_question *out)
{
    struct window_shard *shard = windows_shard(windows, window->account);
    *out = (struct window_question){
        .window = window, .subjects = subjects | SUBJECT_WINDOW, .asked_ms = now_ms};
    pthread_mutex_lock(&shard->lock);
    bool mine = is_free(window, subjects, worker, need, round);
    if (mine) {
        window->asking.is_under_way = true;
        if (has(subjects, SUBJECT_ACCOUNT))
            out->funds = group_ask(windows, window->account_group, need, now_ms);
        if (has(subjects, SUBJECT_LINK))
            out->link_funds = group_ask(windows, window->link_group, need, now_ms);
    }
    pthread_mutex_unlock(&shard->lock);
    return mine;
}

bool window_inquire(struct windows *windows, struct window *window, unsigned worker,
                    const struct window_need *need, bool of_link, uint64_t now_ms,
                    struct window_question *out)
{
    struct window_shard *shard = windows_shard(windows, window->account);
    uint64_t number = atomic_fetch_add(&windows->questions, 1) + 1, round = 0;
    *out =
        (struct window_question){.window = window, .subjects = SUBJECT_WINDOW, .asked_ms = now_ms};
    pthread_mutex_lock(&shard->lock);
    bool mine = is_free(window, SUBJECT_WINDOW, worker, need, &round);
    if (mine) {
        window->asking.is_under_way = true;
        out->funds = pool_inquire(&window->account_group->pool, number, need->bytes);
        if (of_link)
            out->link_funds = pool_inquire(&window->link_group->pool, number, need->bytes);
    }
    pthread_mutex_unlock(&shard->lock);
    return mine;
}

uint64_t window_asked(struct windows *windows, const struct window_question *question)
{
    struct window *window = question->window;
    struct window_shard *shard = windows_shard(windows, window->account);
    pthread_mutex_lock(&shard->lock);
    uint64_t waiters = window->asking.waiters;
    window->asking = (struct asking){0};
    if (has(question->subjects, SUBJECT_ACCOUNT))
        waiters = window_group_asked(window->account_group, waiters);
    if (has(question->subjects, SUBJECT_LINK))
        waiters = window_group_asked(window->link_group, waiters);
    pthread_mutex_unlock(&shard->lock);
    return waiters;
}

/* Notes that Redis took the figures of the group's question, where it was the last one. */
static void note_told(struct window_group *group, uint64_t number)
{
    if (number == group->pool.number)
        group->losses_told = group->losses_asked;
}

/* Has the group's pool outlive this process, if it holds something. */
static void note(struct windows *windows, struct window_group *group)
{
    if (group->holding < 0 && group->pool.is_kept)
        group->holding = ledger_holding_note(windows->ledger, group->account,
                                             group->of_link ? group->link_id : NULL);
}

bool window_lend(struct windows *windows, struct window *window, uint64_t bytes)
{
    struct pool *pool = &window->account_group->pool;
    if (atomic_load(&pool->is_lent))
        return true;
    struct window_shard *shard = windows_shard(windows, window->account);
    pthread_mutex_lock(&shard->lock);
    bool is_lent = pool_lend(pool, bytes);
    pthread_mutex_unlock(&shard->lock);
    return is_lent;
}

void window_take(struct windows *windows, const struct window_question *question,
                 const struct ledger_grant *grant, uint64_t validity_ms)
{
    struct window *window = question->window;
    struct window_shard *shard = windows_shard(windows, window->account);
    struct pool *account = &window->account_group->pool, *link = &window->link_group->pool;
    /* It counts from the question, not from the answer, so that it never outlasts what Redis keeps. */
    uint64_t valid_until_ms = question->asked_ms + validity_ms;
    pthread_mutex_lock(&shard->lock);
    group_count_lent(windows, window->account_group);
    if (grant->admission == LEDGER_UNKNOWN) { /* Redis has taken no figures */
        pool_told(account, question->funds.count, account->posted, 0);
        pool_told(link, question->link_funds.count, link->posted, 0);
    } else {
        if (has(question->subjects, SUBJECT_ACCOUNT)) {
            pool_take(account, question->funds.count, &grant->funds, valid_until_ms);
            note_told(window->account_group, question->funds.count);
        } else if (grant->funds.bounds != LEDGER_BY_NOTHING &&
                   question->asked_ms >= account->asked_ms) {
            pool_bind(account);
        }
        if (has(question->subjects, SUBJECT_LINK)) {
            pool_take(link, question->link_funds.count, &grant->link_funds, valid_until_ms);
            note_told(window->link_group, question->link_funds.count);
        }
    }
    if (has(question->subjects, SUBJECT_ACCOUNT))
        note(windows, window->account_group);
    if (has(question->subjects, SUBJECT_LINK))
        note(windows, window->link_group);
    pthread_mutex_unlock(&shard->lock);
}
