/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what goes on without Redis. See outage.h. The cap of an account is a ceiling that the node
 * itself lends to its pool (pool_lend), so that it is kept to by the same atomics as one of Redis.
 */
#include "server/grant/outage.h"

#include "server/grant/coverage.h"
#include "server/grant/window_internal.h"

void outage_settle(struct windows *windows, const struct outage_settings *settings)
{
    struct outage *outage = &windows->outage;
    outage->longest_ms = settings->longest_ms;
    outage->bytes_max = settings->bytes_max;
    outage->journal_bytes_max = settings->journal_bytes_max;
}

void outage_observe(struct windows *windows, bool is_granting, uint64_t now_ms)
{
    struct outage *outage = &windows->outage;
    if (outage->longest_ms == 0)
        return;
    atomic_store(&outage->is_full,
                 ledger_unposted_bytes(windows->ledger) >= outage->journal_bytes_max);
    if (is_granting && ledger_push_is_up(windows->ledger, now_ms)) {
        atomic_store(&outage->epoch, ledger_push_epoch(windows->ledger));
        atomic_store(&outage->heard_ms, now_ms);
    }
}

bool outage_lets_on(const struct windows *windows, uint64_t now_ms)
{
    return outage_left_ms(windows, now_ms) > 0;
}

uint64_t outage_left_ms(const struct windows *windows, uint64_t now_ms)
{
    const struct outage *outage = &windows->outage;
    uint64_t heard_ms = atomic_load(&outage->heard_ms), until_ms = heard_ms + outage->longest_ms;
    if (heard_ms == 0 || now_ms >= until_ms || atomic_load(&outage->is_full))
        return 0;
    return until_ms - now_ms;
}

/* Whether Redis keeps a state of the link, which nobody else can judge. */
static bool has_terms(const struct demand *demand)
{
    return demand->has_terms || atomic_load(&demand->window->opened_ms) != 0;
}

/* A new response claims what it needs; one under way may send while the cap is not reached. */
static bool claim(const struct demand *demand)
{
    struct window *window = demand->window;
    if (demand->is_under_way)
        return pool_covers(&window->account_group->pool, 0);
    return claim_begin(demand->claim, window, false, demand->need);
}

bool outage_claim(const struct grants *grants, const struct demand *demand, uint64_t now_ms)
{
    struct windows *windows = grants->windows;
    struct outage *outage = &windows->outage;
    if (outage->longest_ms == 0 || !grants_are_cut_off(grants) ||
        !outage_lets_on(windows, now_ms) || has_terms(demand) ||
        !coverage_was_confirmed(windows->ledger, demand->window, demand->iat,
                                atomic_load(&outage->epoch), now_ms) ||
        !window_lend(windows, demand->window, outage->bytes_max) || !claim(demand))
        return false;
    if (!demand->claim->is_unasked && !demand->takes_nothing)
        atomic_fetch_add(&outage->responses, 1);
    demand->claim->is_unasked = true;
    return true;
}

struct outage_count outage_count_all(struct windows *windows)
{
    for (unsigned i = 0; i < WINDOW_SHARDS; i++) {
        struct window_shard *shard = &windows->shards[i];
        pthread_mutex_lock(&shard->lock);
        for (size_t j = 0; j < windows->buckets; j++)
            for (struct window_group *group = shard->groups[j]; group != NULL; group = group->next)
                group_count_lent(windows, group);
        pthread_mutex_unlock(&shard->lock);
    }
    return outage_counted(windows);
}

struct outage_count outage_counted(const struct windows *windows)
{
    return (struct outage_count){.responses = atomic_load(&windows->outage.responses),
                                 .bytes = atomic_load(&windows->outage.bytes)};
}
