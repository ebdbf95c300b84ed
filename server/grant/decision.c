/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what responses do next about their grants. See decision.h. It changes nothing but the
 * response's claim and patience.
 */
#include "server/grant/decision.h"

enum readiness decision_readiness(const struct grants *grants)
{
    switch (ledger_state(grants->ledger)) {
    case LEDGER_READY:
    case LEDGER_FULL: /* open windows go on; window_open opens no other */
        return grants_may_ask(grants) ? READINESS_SERVES : READINESS_NO_REDIS;
    case LEDGER_CATCHING_UP:
        return READINESS_NO_REDIS;
    case LEDGER_EXHAUSTED:
    case LEDGER_FAILED:
        return READINESS_NO_JOURNAL;
    case LEDGER_REFUSED:
        return READINESS_STARTING;
    }
    return READINESS_STARTING;
}

/* Of what no outage lets on. */
static enum decision stay(const struct demand *demand, uint64_t now_ms)
{
    return demand->is_under_way && coverage_is_valid(demand->window, now_ms) ? DECISION_WAIT
                                                                             : DECISION_REFUSE;
}

enum decision decision_unanswered(const struct grants *grants, const struct demand *demand,
                                  uint64_t now_ms)
{
    return outage_claim(grants, demand, now_ms) ? DECISION_GO : stay(demand, now_ms);
}

enum decision decision_more(const struct grants *grants, const struct demand *demand,
                            uint64_t now_ms)
{
    if (outage_claim(grants, demand, now_ms))
        return DECISION_GO;
    return grants_may_ask(grants) ? DECISION_ASK : stay(demand, now_ms);
}

/* When the ceilings end that pay for the transfer. */
static uint64_t funded_until_ms(const struct demand *demand)
{
    const struct pool *account = &demand->window->account_group->pool;
    const struct pool *link = &demand->window->link_group->pool;
    uint64_t until_ms = UINT64_MAX;
    if (pool_is_bounded(account))
        until_ms = atomic_load(&account->valid_until_ms);
    if (demand->link_bounds && atomic_load(&link->valid_until_ms) < until_ms)
        until_ms = atomic_load(&link->valid_until_ms);
    return until_ms;
}

enum decision decision_next(const struct grants *grants, const struct demand *demand,
                            uint64_t now_ms, bool *renew)
{
    uint64_t until_ms = coverage_until_ms(demand->window, now_ms);
    uint64_t funded_ms = funded_until_ms(demand);
    *renew = false;
    if (funded_ms < until_ms)
        until_ms = funded_ms;
    if (now_ms >= until_ms || !coverage_holds(grants->ledger, demand->window, demand->iat, now_ms))
        return DECISION_ASK;
    *renew = until_ms - now_ms < grants->settings.validity_ms / 2 && grants_may_ask(grants);
    return DECISION_GO;
}

/* Whether a response that is short of funds waits on, PATIENCE_SHORT_MS in all. decision_retry decides
 * it again, but not at each answer to another: they would keep each other asking. */
static bool may_wait(struct patience *patience, uint64_t now_ms)
{
    if (patience->short_until_ms == 0)
        patience->short_until_ms = now_ms + PATIENCE_SHORT_MS;
    patience->short_retry_ms = now_ms + PATIENCE_RETRY_MS;
    return now_ms < patience->short_until_ms;
}

static enum shortage shortage_of(const struct ledger_credit *credit)
{
    switch (credit->bounds) {
    case LEDGER_BY_ACCOUNT_BYTES:
        return SHORTAGE_ACCOUNT_BYTES;
    case LEDGER_BY_LINK_BYTES:
        return SHORTAGE_LINK_BYTES;
    case LEDGER_BY_BALANCE:
    case LEDGER_BY_NOTHING:
        break;
    }
    return SHORTAGE_BALANCE;
}

/* Bytes of the window's own responses that have not arrived yet. */
static uint64_t own_bytes(struct window *window)
{
    struct window_use *use = window_use_hold(window);
    uint64_t bytes = atomic_load(&use->promised);
    window_use_drop(&use);
    return bytes;
}

/*
 * The pool has not what the response needs. Where the fund cannot pay, whatever is given back, it is
 * refused: at once, unless only responses of its own window stand in the way, since a player that seeks
 * asks again before it has closed the old one. Where it can, another node holds the funds idle, and has
 * been told to give them back; or it has the money in a journal that Redis has lost (`lacks_data`).
 */
static enum decision when_short(const struct demand *demand, const struct pool *pool,
                                const struct ledger_credit *credit, bool lacks_data,
                                struct patience *patience, uint64_t now_ms, enum shortage *shortage)
{
    uint64_t need = demand_unclaimed(demand);
    bool is_short = !lacks_data && pool_is_short(pool, credit, need, 0);
    *shortage = is_short ? shortage_of(credit) : SHORTAGE_ELSEWHERE;
    if (is_short &&
        (demand->is_under_way || pool_is_short(pool, credit, need, own_bytes(demand->window))))
        return DECISION_REFUSE;
    return may_wait(patience, now_ms) ? DECISION_WAIT : DECISION_REFUSE;
}

/* A pool that pays for a response, and what Redis has answered of it. */
struct payer {
    const struct pool *pool;
    const struct ledger_credit *credit;
    bool was_asked;
};

/*
 * The pool for which a response waits or is refused; its `pool` is NULL where both cover it. Redis
 * raises both or neither, so of two that lack something the one that cannot pay decides.
 */
static struct payer lacking(const struct demand *demand, const struct grants_answer *answer)
{
    uint64_t need = demand_unclaimed(demand);
    const struct payer payers[] = {
        {&demand->window->account_group->pool, &answer->funds,
         (answer->subjects & SUBJECT_ACCOUNT) != 0},
        {&demand->window->link_group->pool, &answer->link_funds,
         (answer->subjects & SUBJECT_LINK) != 0},
    };
    struct payer found = {0};
    for (unsigned i = 0; i < (demand->link_bounds ? 2 : 1); i++) {
        const struct payer *payer = &payers[i];
        if (pool_covers(payer->pool, need))
            continue;
        if (found.pool == NULL ||
            (payer->was_asked && !pool_is_short(found.pool, found.credit, need, 0) &&
             pool_is_short(payer->pool, payer->credit, need, 0)))
            found = *payer;
    }
    return found;
}

/* Redis has granted all but, perhaps, the funds. */
static enum decision when_granted(const struct demand *demand, const struct grants_answer *answer,
                                  struct patience *patience, uint64_t now_ms,
                                  enum shortage *shortage)
{
    if (demand_claim(demand, now_ms))
        return DECISION_GO;
    const struct payer payer = lacking(demand, answer);
    /* Its validity is over already; or another response was there before, and Redis was not asked for
     * funds. */
    if (payer.pool == NULL || !payer.was_asked)
        return DECISION_ASK;
    return when_short(demand, payer.pool, payer.credit, answer->lacks_data, patience, now_ms,
                      shortage);
}

/* An inquiry asks what a response would meet. */
static enum decision when_judged(const struct demand *demand, const struct grants_answer *answer,
                                 enum shortage *shortage)
{
    const struct window *window = demand->window;
    const struct ledger_credit *credit = &answer->funds;
    bool is_short = pool_is_short(&window->account_group->pool, credit, demand->need, 0);
    if (!is_short && demand->link_bounds) {
        credit = &answer->link_funds;
        is_short = pool_is_short(&window->link_group->pool, credit, demand->need, 0);
    }
    if (!is_short)
        return DECISION_GO;
    *shortage = answer->lacks_data ? SHORTAGE_ELSEWHERE : shortage_of(credit);
    return DECISION_REFUSE;
}

enum decision decision_answered(const struct demand *demand, const struct grants_answer *answer,
                                struct patience *patience, uint64_t now_ms, enum shortage *shortage)
{
    *shortage = SHORTAGE_NONE;
    if (answer->admission != LEDGER_GRANTED)
        return DECISION_REFUSE;
    if (demand->takes_nothing)
        return when_judged(demand, answer, shortage);
    return when_granted(demand, answer, patience, now_ms, shortage);
}

/* Whether a new response has waited its time for the questions of others. To ask itself now would
 * make it wait as long again, and the last of many as long as all of them together. */
static bool is_overdue(const struct demand *demand, const struct patience *patience,
                       uint64_t now_ms)
{
    return !demand->is_under_way && now_ms > patience->until_ms;
}

enum decision decision_retry(const struct grants *grants, const struct demand *demand,
                             const struct patience *patience, uint64_t now_ms)
{
    if (demand_claim_unasked(grants->ledger, demand, now_ms) ||
        outage_claim(grants, demand, now_ms))
        return DECISION_GO;
    if (is_overdue(demand, patience, now_ms))
        return DECISION_REFUSE;
    if (now_ms < patience->short_retry_ms)
        return DECISION_WAIT;
    return grants_may_ask(grants) ? DECISION_ASK : stay(demand, now_ms);
}
