/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes an answer of Redis into its window. See grant_take.h. Several answers for one window may be
 * under way, where one is late: what an older answer may still change stands at each field.
 */
#include "server/grant/grant_take.h"

/* Whether funds alone are short: the link is not revoked, nor the account suspended. */
static bool is_short(enum ledger_admission admission)
{
    return admission == LEDGER_INSUFFICIENT || admission == LEDGER_ACCOUNT_BYTES_UP ||
           admission == LEDGER_LINK_BYTES_UP;
}

/* Notes that Redis let this token pass: for tokens no older, the window asks only when it needs
 * funds. False, and nothing is noted, where a revocation has overtaken the answer. */
static bool confirm(const struct ledger *ledger, const struct grant_asked *asked,
                    const struct ledger_grant *grant)
{
    struct window *window = asked->window;
    /* Read before the test below: a push that comes in between must be news to the window. */
    const struct ledger_heard now = ledger_heard(ledger, window->account);
    if (ledger_grant_is_stale(ledger, window->account, grant, &asked->heard))
        return false;
    atomic_store(&window->iat, asked->iat);
    atomic_store(&window->heard_messages, now.messages);
    atomic_store(&window->heard_epoch, now.epoch);
    return true;
}

/* Never shortens it: a late answer may come after the answer to a later question. */
static void extend_validity(struct window *window, uint64_t until_ms)
{
    unsigned long long known = atomic_load(&window->valid_until_ms);
    while (known < until_ms &&
           !atomic_compare_exchange_weak(&window->valid_until_ms, &known, until_ms))
        continue;
}

static void take_limits(struct window *window, const struct ledger_grant *grant)
{
    struct quota *quota = &window->account_quota->quota;
    atomic_store_explicit(&quota->bucket.rate, grant->rate, memory_order_relaxed);
    atomic_store_explicit(&quota->max_conns, grant->max_conns, memory_order_relaxed);
}

/* Of an inquiry: the window was given nothing, so only the account's limits are noted. */
static bool take_judgement(const struct ledger *ledger, const struct grant_asked *asked,
                           const struct ledger_grant *grant)
{
    if (grant->admission == LEDGER_GRANTED)
        take_limits(asked->window, grant);
    return !ledger_grant_is_stale(ledger, asked->window->account, grant, &asked->heard);
}

static void take_funds(struct windows *windows, const struct grant_asked *asked,
                       const struct ledger_grant *grant, const struct demand *demand)
{
    struct window *window = asked->window;
    /* A late answer may be older than the last one: it may set the bound but not lift it. */
    bool bounds = funds_has(grant->funds, LEDGER_FUND_ACCOUNT);
    if (bounds || !asked->is_late)
        atomic_store(&window->account_bounds, bounds);
    window_fund(windows, window, grant->funds, grant->granted,
                demand != NULL ? &demand->purse->funds : NULL, demand != NULL ? demand->need : 0);
    /* A late question has lost the right to ask, and only its holder may write the slice. */
    if (!asked->is_late && (grant->granted > 0 || window->slice == 0))
        window->slice = grant->granted + 1; /* never 0 again: the window has had its first grant */
}

bool grant_take(struct windows *windows, const struct grant_asked *asked,
                const struct ledger_grant *grant, const struct demand *demand)
{
    const struct ledger *ledger = windows_ledger(windows);
    struct window *window = asked->window;
    if (asked->takes_nothing)
        return take_judgement(ledger, asked, grant);
    if (is_short(grant->admission))
        return confirm(ledger, asked, grant); /* transfers may go on with the window's own funds */
    if (grant->admission != LEDGER_GRANTED) {
        /* No response waits for this refusal, so the window's transfers would not learn of it: each
         * of them must ask, and is refused itself. */
        if (demand == NULL)
            atomic_store(&window->heard_epoch, WINDOW_UNCONFIRMED);
        return true;
    }
    take_funds(windows, asked, grant, demand);
    if (grant->opened_ms != 0 &&
        (!asked->is_late || grant->opened_ms >= atomic_load(&window->opened_ms)))
        window_grant_use(windows, window, grant, asked->asked_ms, asked->keep_ms);
    take_limits(window, grant);
    /* The validity counts from the question, not from the answer, so that it never outlasts the
     * reservation in Redis. It does not help a window that must ask (coverage_holds). */
    extend_validity(window, asked->asked_ms + asked->validity_ms);
    return confirm(ledger, asked, grant);
}
