/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what responses do next about their grants. See decision.h. It changes nothing but the
 * response's purse and patience, and gives spare funds of other windows back (grants_recall).
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

enum decision decision_unanswered(const struct demand *demand, uint64_t now_ms)
{
    return demand->is_under_way && coverage_is_valid(demand->window, now_ms) ? DECISION_WAIT
                                                                             : DECISION_REFUSE;
}

enum decision decision_more(const struct grants *grants, const struct demand *demand,
                            uint64_t now_ms)
{
    return grants_may_ask(grants) ? DECISION_ASK : decision_unanswered(demand, now_ms);
}

/*
 * Whether a response that is short of funds waits, PATIENCE_SHORT_MS at most, for others of its
 * window to end: a player that seeks asks again before it has closed the old response.
 * decision_retry decides it again. A transfer under way does not wait: it had its funds and is told
 * at once.
 */
static bool may_wait(const struct demand *demand, struct patience *patience, uint64_t now_ms)
{
    if (demand->is_under_way || atomic_load(&demand->window->paying) == 0)
        return false;
    if (patience->short_until_ms == 0)
        patience->short_until_ms = now_ms + PATIENCE_SHORT_MS;
    /* It is not decided again at each answer to another: they would keep each other asking. */
    patience->short_retry_ms = now_ms + PATIENCE_RETRY_MS;
    return now_ms < patience->short_until_ms;
}

/* The account or the link is short of funds. First the spare funds of other windows go back to
 * Redis and it asks again; failing that it goes on with the funds of its own window, or waits for
 * the end of other responses, or is refused. */
static enum decision when_short(struct grants *grants, const struct demand *demand,
                                enum ledger_fund fund, struct patience *patience, uint64_t now_ms)
{
    if (grants_recall(grants, demand, fund))
        return DECISION_ASK;
    if (demand_fill_unasked(grants->ledger, demand, now_ms))
        return DECISION_GO;
    if (!may_wait(demand, patience, now_ms))
        return DECISION_REFUSE;
    purse_return(demand->purse, grants->windows, demand->window); /* others may have it meanwhile */
    return DECISION_WAIT;
}

enum decision decision_answered(struct grants *grants, const struct demand *demand,
                                enum ledger_admission admission, struct patience *patience,
                                uint64_t now_ms)
{
    switch (admission) {
    case LEDGER_GRANTED: /* others may have taken what the window had; an inquiry takes nothing */
        return demand->takes_nothing || demand_fill(demand) ? DECISION_GO : DECISION_ASK;
    case LEDGER_INSUFFICIENT:
    case LEDGER_ACCOUNT_BYTES_UP:
        return when_short(grants, demand, LEDGER_FUND_ACCOUNT, patience, now_ms);
    case LEDGER_LINK_BYTES_UP:
        return when_short(grants, demand, LEDGER_FUND_LINK, patience, now_ms);
    case LEDGER_OUTDATED: /* never: it counts as no answer */
    case LEDGER_UNKNOWN:
    case LEDGER_SUSPENDED:
    case LEDGER_REVOKED:
    case LEDGER_USED_UP:
    case LEDGER_NOT_BEGUN:
    case LEDGER_SET_ASIDE:
        return DECISION_REFUSE;
    }
    return DECISION_REFUSE;
}

/* Whether a new response has waited its time for the questions of others. To ask itself now would
 * make it wait as long again, and the last of many as long as all of them together. */
static bool is_overdue(const struct demand *demand, const struct patience *patience,
                       uint64_t now_ms)
{
    return !demand->is_under_way && patience->short_until_ms == 0 && now_ms > patience->until_ms;
}

enum decision decision_retry(const struct grants *grants, const struct demand *demand,
                             const struct patience *patience, uint64_t now_ms)
{
    if (demand_fill_unasked(grants->ledger, demand, now_ms))
        return DECISION_GO;
    if (is_overdue(demand, patience, now_ms))
        return DECISION_REFUSE;
    if (now_ms < patience->short_retry_ms)
        return DECISION_WAIT;
    return decision_more(grants, demand, now_ms);
}
