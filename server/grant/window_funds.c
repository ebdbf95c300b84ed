/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spare funds of windows: what a grant brings, responses take and give back, and another window
 * of the same account or link recalls. Called by grants.c, grant_take.c, demand.c and purse.c, and
 * by window.c where a window ends. It opens and frees no window, and never asks Redis for more.
 */
#include <string.h>

#include "server/grant/window_internal.h"

#define RECALL_TURN 32 /* windows whose funds are taken in one go under the shard's lock */

static struct window_quota *spare_quota(struct window *window, unsigned fund)
{
    return fund == LEDGER_FUND_ACCOUNT ? window->account_quota : window->link_quota;
}

/* Under the shard's lock. */
static void spare_join(struct window *window, unsigned fund)
{
    struct window **first = &spare_quota(window, fund)->spare;
    if (atomic_load(&window->spare_listed[fund]))
        return;
    atomic_store(&window->spare_listed[fund], true);
    window->spare_previous[fund] = NULL;
    window->spare_next[fund] = *first;
    if (*first != NULL)
        (*first)->spare_previous[fund] = window;
    *first = window;
}

/* Under the shard's lock. */
static void spare_leave(struct window *window, unsigned fund)
{
    struct window *next = window->spare_next[fund], *previous = window->spare_previous[fund];
    if (!atomic_load(&window->spare_listed[fund]))
        return;
    if (previous != NULL)
        previous->spare_next[fund] = next;
    else
        spare_quota(window, fund)->spare = next;
    if (next != NULL)
        next->spare_previous[fund] = previous;
    atomic_store(&window->spare_listed[fund], false);
}

void window_spare_leave(struct window *window)
{
    for (unsigned fund = 0; fund < LEDGER_FUNDS; fund++)
        spare_leave(window, fund);
}

/* Lists a window after funds were added to it. It stays listed when they are taken again; only a
 * recall takes it off, before it looks at the funds. */
static void spare_list(struct windows *windows, struct window *window, const struct funds *added)
{
    struct window_shard *shard = windows_shard(windows, window->account);
    for (unsigned fund = 0; fund < LEDGER_FUNDS; fund++) {
        if (added->bytes[fund] == 0 || atomic_load(&window->spare_listed[fund]))
            continue;
        pthread_mutex_lock(&shard->lock);
        spare_join(window, fund);
        pthread_mutex_unlock(&shard->lock);
    }
}

uint64_t window_take(struct window *window, unsigned set, uint64_t target, bool whole,
                     struct funds *purse)
{
    pthread_mutex_lock(&window->lock);
    struct funds filled = *purse, left = window->spare;
    uint64_t had = funds_least(purse, set);
    uint64_t has = funds_fill(&filled, &left, set, target);
    if (!whole || has == target) {
        *purse = filled;
        window->spare = left;
    } else {
        has = had < target ? had : target;
    }
    pthread_mutex_unlock(&window->lock);
    return has;
}

void window_give(struct windows *windows, struct window *window, struct funds *purse)
{
    if (funds_are_empty(purse))
        return;
    struct funds added = *purse;
    pthread_mutex_lock(&window->lock);
    funds_move(&window->spare, purse);
    pthread_mutex_unlock(&window->lock);
    spare_list(windows, window, &added);
}

void window_fund(struct windows *windows, struct window *window, unsigned set, uint64_t bytes,
                 struct funds *purse, uint64_t target)
{
    pthread_mutex_lock(&window->lock);
    funds_add(&window->spare, set, bytes);
    if (purse != NULL)
        (void)funds_fill(purse, &window->spare, set, target);
    struct funds added = window->spare;
    pthread_mutex_unlock(&window->lock);
    spare_list(windows, window, &added);
}

uint64_t window_level(struct window *window, unsigned set, struct funds *purse,
                      struct funds *surplus)
{
    pthread_mutex_lock(&window->lock);
    uint64_t each = funds_level(purse, &window->spare, set, surplus);
    pthread_mutex_unlock(&window->lock);
    return each;
}

/* Funds taken from a window, which may have ended by the time that they are released. */
struct recalled {
    unsigned char link_id[LEDGER_LINK_ID_BYTES];
    struct funds funds;
};

/* Under the shard's lock: takes some windows off the list, and their funds. Returns how many
 * windows. */
static unsigned recall_some(struct window_quota *quota, const struct window *except,
                            enum ledger_fund fund, uint64_t needed, struct recalled *out)
{
    unsigned count = 0;
    uint64_t sum = 0;
    struct window *window = quota->spare, *next;
    for (; window != NULL && count < RECALL_TURN && sum < needed; window = next) {
        next = window->spare_next[fund];
        if (window == except)
            continue;
        spare_leave(window, fund);
        memcpy(out[count].link_id, window->link_id, LEDGER_LINK_ID_BYTES);
        pthread_mutex_lock(&window->lock);
        out[count].funds = window->spare;
        window->spare = (struct funds){0};
        pthread_mutex_unlock(&window->lock);
        sum += out[count++].funds.bytes[fund];
    }
    return count;
}

uint64_t windows_recall(struct windows *windows, const struct window *except, enum ledger_fund fund,
                        uint64_t needed, windows_release *release, void *context)
{
    struct recalled recalled[RECALL_TURN];
    struct window_shard *shard = windows_shard(windows, except->account);
    struct window_quota *quota =
        fund == LEDGER_FUND_ACCOUNT ? except->account_quota : except->link_quota;
    uint64_t sum = 0;
    for (unsigned looked = 0, count = 1;
         count > 0 && sum < needed && (sum == 0 || looked < WINDOWS_RECALL_MAX); looked += count) {
        pthread_mutex_lock(&shard->lock);
        count = recall_some(quota, except, fund, needed - sum, recalled);
        pthread_mutex_unlock(&shard->lock);
        for (unsigned i = 0; i < count; i++) {
            sum += recalled[i].funds.bytes[fund];
            if (!funds_are_empty(&recalled[i].funds))
                release(context, except->account, recalled[i].link_id, &recalled[i].funds);
        }
    }
    return sum;
}
