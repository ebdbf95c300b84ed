/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether a response may begin, or go on, with what its window has been granted already.
 * Called by admission.c and asker.c of the response's worker; it asks Redis nothing. See demand.h.
 */
#include "server/grant/demand.h"

#include "server/grant/coverage.h"

bool demand_fill(const struct demand *demand)
{
    unsigned set = demand_set(demand);
    if (set == 0)
        return true;
    uint64_t has = window_take(demand->window, set, demand->need, !demand->is_under_way,
                               &demand->purse->funds);
    return demand->is_under_way ? has > 0 : has == demand->need;
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
    uint64_t opened = atomic_load(&window->opened_ms);
    if (!ledger_push_is_up(ledger, now_ms))
        return false;
    if (opened == 0)
        return !demand->has_terms;
    return now_ms < atomic_load(&window->use_until_ms) && window_arrived(window) < 3 * demand->size;
}

bool demand_fill_unasked(const struct ledger *ledger, const struct demand *demand, uint64_t now_ms)
{
    return coverage_holds(ledger, demand->window, demand->iat, now_ms) &&
           (demand->is_under_way || may_start_unasked(ledger, demand, now_ms)) &&
           demand_fill(demand);
}
