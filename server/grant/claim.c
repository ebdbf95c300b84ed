/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether a response may begin, or go on, with what its window has been granted already.
 * Called by admission.c and asker.c of the response's worker; it asks Redis nothing. See claim.h.
 */
#include "server/grant/claim.h"

#include "server/grant/coverage.h"

bool claim_fill(const struct claim *claim)
{
    unsigned set = claim_set(claim);
    if (set == 0)
        return true;
    uint64_t has =
        window_take(claim->window, set, claim->need, !claim->is_under_way, &claim->purse->funds);
    return claim->is_under_way ? has > 0 : has == claim->need;
}

/*
 * Whether a new response may start without a question: only while the push connection is up, so
 * that every revocation is heard. A link with terms must also be in a use whose period is not over,
 * and of which less than three times the file has arrived.
 */
static bool may_start_unasked(const struct ledger *ledger, const struct claim *claim,
                              uint64_t now_ms)
{
    struct window *window = claim->window;
    uint64_t opened = atomic_load(&window->opened_ms);
    if (!ledger_push_is_up(ledger, now_ms))
        return false;
    if (opened == 0)
        return !claim->has_terms;
    return now_ms < atomic_load(&window->use_until_ms) && window_arrived(window) < 3 * claim->size;
}

bool claim_fill_unasked(const struct ledger *ledger, const struct claim *claim, uint64_t now_ms)
{
    return coverage_holds(ledger, claim->window, claim->iat, now_ms) &&
           (claim->is_under_way || may_start_unasked(ledger, claim, now_ms)) && claim_fill(claim);
}
