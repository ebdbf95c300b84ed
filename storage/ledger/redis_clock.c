/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time of Redis' wall clock, by which nodes whose own clocks differ agree. The poster asks for
 * it with each question for the lease; in between, the node's monotonic clock carries it on, so
 * that a wall clock that is set is seen at once. No order of operations depends on it.
 */
#include "storage/ledger/ledger_internal.h"
#include "storage/ledger/redis_talk.h"

void redis_clock_take(struct ledger *ledger, uint64_t asked_ms, const redisReply *reply)
{
    int64_t redis_ms;
    uint64_t now_ms = ledger_monotonic_ms(ledger);
    if (!redis_read_time(reply, &redis_ms))
        return;
    /* Redis answered somewhere between question and reply. */
    int64_t middle_ms = (int64_t)(asked_ms + (now_ms - asked_ms) / 2);
    atomic_store_explicit(&ledger->redis_beyond_ms, redis_ms - middle_ms, memory_order_relaxed);
}

bool ledger_redis_time(const struct ledger *ledger, int64_t *now_ms)
{
    int64_t beyond_ms = atomic_load_explicit(&ledger->redis_beyond_ms, memory_order_relaxed);
    *now_ms = beyond_ms != LEDGER_CLOCK_UNKNOWN ? beyond_ms + (int64_t)ledger_monotonic_ms(ledger)
                                                : (int64_t)ledger_real_ms(ledger);
    return beyond_ms != LEDGER_CLOCK_UNKNOWN;
}

int64_t ledger_clock_ahead_ms(const struct ledger *ledger)
{
    int64_t redis_ms;
    if (!ledger_redis_time(ledger, &redis_ms))
        return LEDGER_CLOCK_UNKNOWN;
    return (int64_t)ledger_real_ms(ledger) - redis_ms;
}
