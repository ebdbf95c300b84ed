/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts responses and bytes against limits that the workers share. Called by limits.c and
 * metering.c; it never waits: a connection that gets no bytes asks again at the next tick. See
 * quota.h.
 */
#include "server/grant/quota.h"

#include "server/base/check.h"
#include "server/base/uint128.h"

#define SECOND_US UINT64_C(1000000)
#define MINUTE_MS 60000

void bucket_init(struct bucket *bucket, uint64_t rate, uint64_t burst_us, uint64_t filled_us,
                 uint64_t now_ms)
{
    uint64_t now_us = now_ms * 1000;
    check(filled_us <= burst_us);
    bucket->burst_us = burst_us;
    atomic_store(&bucket->paid_us, now_us > filled_us ? now_us - filled_us : 0);
    atomic_store(&bucket->rate, rate);
}

/* How long `bytes` take, rounded up: a limit is never passed by rounding. */
static uint64_t duration_us(uint64_t bytes, uint64_t rate)
{
    return (uint64_t)(((uint128)bytes * SECOND_US + rate - 1) / rate);
}

uint64_t bucket_take(struct bucket *bucket, uint64_t want, unsigned sharers, uint64_t now_ms)
{
    uint64_t rate = atomic_load_explicit(&bucket->rate, memory_order_relaxed);
    return bucket_take_at(&bucket->paid_us, rate, bucket->burst_us, want, sharers, now_ms);
}

uint64_t bucket_take_at(atomic_ullong *paid_us, uint64_t rate, uint64_t burst_us, uint64_t want,
                        unsigned sharers, uint64_t now_ms)
{
    if (rate == 0)
        return want;
    uint64_t now_us = now_ms * 1000;
    unsigned long long paid = atomic_load(paid_us);
    /* At the slowest rates a byte takes longer than the burst, but one byte must fit in. */
    if (burst_us < 2 * duration_us(1, rate))
        burst_us = 2 * duration_us(1, rate);
    for (;;) {
        uint64_t from = now_us > burst_us && paid < now_us - burst_us ? now_us - burst_us : paid;
        uint64_t there =
            from < now_us ? (uint64_t)((uint128)(now_us - from) * rate / SECOND_US) : 0;
        if (there == 0)
            return 0;
        uint64_t part = there / (sharers > 0 ? sharers : 1);
        uint64_t taken = part == 0 ? 1 : part;
        taken = taken < want ? taken : want;
        if (atomic_compare_exchange_weak(paid_us, &paid, from + duration_us(taken, rate)))
            return taken;
    }
}

void bucket_give(struct bucket *bucket, uint64_t bytes)
{
    bucket_give_at(&bucket->paid_us, atomic_load_explicit(&bucket->rate, memory_order_relaxed),
                   bytes);
}

void bucket_give_at(atomic_ullong *paid_us, uint64_t rate, uint64_t bytes)
{
    if (rate == 0 || bytes == 0)
        return;
    /* Rounded down: giving back must not make bytes. The rate may have changed since they were
     * taken, so the result is clamped at 0. */
    uint128 duration = (uint128)bytes * SECOND_US / rate;
    unsigned long long paid = atomic_load(paid_us), earlier;
    do
        earlier = duration < paid ? paid - (unsigned long long)duration : 0;
    while (!atomic_compare_exchange_weak(paid_us, &paid, earlier));
}

void quota_init(struct quota *quota, uint64_t now_ms)
{
    /* Empty at first: a link of 1 MB/s brings no more than that in its first second. */
    bucket_init(&quota->bucket, 0, UINT64_C(2) * QUOTA_TURN_MS * 1000, 0, now_ms);
}

bool quota_enter(struct quota *quota)
{
    unsigned max = atomic_load_explicit(&quota->max_conns, memory_order_relaxed);
    unsigned before = atomic_fetch_add(&quota->responses, 1);
    if (max == 0 || before < max)
        return true;
    atomic_fetch_sub(&quota->responses, 1);
    return false;
}

void quota_join(struct quota *quota)
{
    atomic_fetch_add(&quota->responses, 1);
}

void quota_leave(struct quota *quota)
{
    unsigned before = atomic_fetch_sub(&quota->responses, 1);
    check(before > 0);
}

uint32_t quota_count_unacknowledged(struct quota *quota, uint64_t now_ms)
{
    uint64_t minute = now_ms / MINUTE_MS;
    unsigned long long known = atomic_load(&quota->unacknowledged), next;
    do
        next = known >> 32 == minute && (uint32_t)known < UINT32_MAX ? known + 1 : minute << 32 | 1;
    while (!atomic_compare_exchange_weak(&quota->unacknowledged, &known, next));
    return (uint32_t)next;
}

uint32_t quota_unacknowledged(const struct quota *quota, uint64_t now_ms)
{
    unsigned long long known = atomic_load(&quota->unacknowledged);
    return known >> 32 == now_ms / MINUTE_MS ? (uint32_t)known : 0;
}
