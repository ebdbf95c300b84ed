/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes an answer of Redis into its window. See grant_take.h. Several answers for one window may be
 * under way, where one is late: what an older answer may still change stands at each field.
 */
#include "server/grant/grant_take.h"

#include "server/grant/coverage.h"

/* From the question on, so that it ends before what Redis has voided. */
static uint64_t valid_until(const struct grant_asked *asked)
{
    return asked->question.asked_ms + asked->validity_ms;
}

static void raise(atomic_ullong *at, uint64_t value)
{
    unsigned long long known = atomic_load(at);
    while (known < value && !atomic_compare_exchange_weak(at, &known, value))
        continue;
}

/* Notes what is revoked of the account. It never falls, since a late answer may be older. */
static void note_revocations(const struct grant_asked *asked, const struct ledger_grant *grant)
{
    struct window_group *account = asked->question.window->account_group;
    uint64_t valid_until_ms = valid_until(asked);
    if (grant->revoked_left_ms > 0)
        raise(&account->revoked_until_ms, valid_until_ms + grant->revoked_left_ms);
    raise(&account->revoked_before, (uint64_t)grant->revoked_before);
}

/*
 * Notes that Redis let this link pass: until the validity is over, other links of the account are
 * covered, too, unless some link is revoked. False, and nothing is noted, where a revocation has
 * overtaken the answer.
 */
static bool confirm(const struct ledger *ledger, const struct grant_asked *asked,
                    const struct ledger_grant *grant)
{
    struct window *window = asked->question.window;
    uint64_t valid_until_ms = valid_until(asked);
    /* Read before the test below: a push that comes in between must be news to the window. */
    const struct ledger_heard now = ledger_heard(ledger, window->account);
    if (ledger_grant_is_stale(ledger, window->account, grant, &asked->heard))
        return false;
    cover_confirm(&window->cover, &now, valid_until_ms);
    cover_confirm(&window->account_group->cover, &now, valid_until_ms);
    return true;
}

/* Each node takes its part, so that all together keep to the account's limits. */
static void take_limits(struct window *window, const struct ledger_grant *grant)
{
    struct quota *quota = &window->account_group->quota;
    uint64_t rate = grant->rate / grant->sharers;
    uint32_t max_conns = grant->max_conns / grant->sharers;
    if (grant->rate > 0 && rate == 0)
        rate = 1;
    if (grant->max_conns > 0 && max_conns == 0)
        max_conns = 1;
    atomic_store_explicit(&quota->bucket.rate, rate, memory_order_relaxed);
    atomic_store_explicit(&quota->max_conns, max_conns, memory_order_relaxed);
}

/* Transfers that go on with what was confirmed before must ask, and are refused themselves. */
static void refused(struct window *window, enum ledger_admission admission)
{
    if (admission == LEDGER_REVOKED)
        cover_drop(&window->cover);
    else if (admission == LEDGER_SUSPENDED || admission == LEDGER_UNKNOWN ||
             admission == LEDGER_SET_ASIDE)
        cover_drop(&window->account_group->cover);
}

/* Of an inquiry: nothing was given. */
static bool take_judgement(const struct ledger *ledger, const struct grant_asked *asked,
                           const struct ledger_grant *grant)
{
    return !ledger_grant_is_stale(ledger, asked->question.window->account, grant, &asked->heard);
}

bool grant_take(struct windows *windows, const struct grant_asked *asked,
                const struct ledger_grant *grant)
{
    const struct ledger *ledger = windows_ledger(windows);
    struct window *window = asked->question.window;
    if (asked->takes_nothing)
        return take_judgement(ledger, asked, grant);
    if (grant->admission != LEDGER_SET_ASIDE) { /* what Redis has of it does not count */
        window_take(windows, &asked->question, grant, asked->validity_ms);
        note_revocations(asked, grant);
    }
    if (grant->admission != LEDGER_GRANTED) {
        refused(window, grant->admission);
        return true;
    }
    if (grant->opened_ms != 0 &&
        (!asked->is_late || grant->opened_ms >= atomic_load(&window->opened_ms)))
        window_grant_use(windows, window, grant, asked->question.asked_ms, asked->keep_ms);
    take_limits(window, grant);
    return confirm(ledger, asked, grant);
}
