/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether a response may begin, or go on, with what this node holds already. Called by
 * admission.c and asker.c of the response's worker; it asks Redis nothing. See demand.h.
 */
#include "server/grant/demand.h"

#include "server/grant/coverage.h"

static bool has_funds(const struct pool *pool, uint64_t need, uint64_t now_ms)
{
    return (pool_is_valid(pool, now_ms) || !pool_is_bounded(pool)) && pool_covers(pool, need);
}

bool demand_claim(const struct demand *demand, uint64_t now_ms)
{
    struct window *window = demand->window;
    uint64_t need = demand_unclaimed(demand);
    if (!has_funds(&window->account_group->pool, need, now_ms) ||
        (demand->link_bounds && !has_funds(&window->link_group->pool, need, now_ms)))
        return false;
    return demand->is_under_way ||
           claim_begin(demand->claim, window, demand->link_bounds, demand->need);
}

/*
 * Whether a new response may start without a question: only while the push connection is up, so
 * that every revocation is heard. A link with terms must also be in a use whose period is not over,
 * and of which less than three times the file has arrived.
 */
static bool may_start_unasked(const struct ledger *ledger, const struct demand *demand,
                              uint64_t now_ms)
{
    struct window *window = demand->window;
    if (!ledger_push_is_up(ledger, now_ms))
        return false;
    if (!demand->has_terms)
        return true;
    return atomic_load(&window->opened_ms) != 0 && now_ms < atomic_load(&window->use_until_ms) &&
           window_arrived(window) < 3 * demand->size;
}

bool demand_claim_unasked(const struct ledger *ledger, const struct demand *demand, uint64_t now_ms)
{
    return coverage_holds(ledger, demand->window, demand->iat, now_ms) &&
           (demand->is_under_way || may_start_unasked(ledger, demand, now_ms)) &&
           demand_claim(demand, now_ms);
}
