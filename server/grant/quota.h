/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A quota holds a link, or an account, to its limits across all workers of the node: of responses
 * under way, and of bytes per second. It consists of atomics only; the table in window.c owns it.
 *
 * Token buckets and not SO_MAX_PACING_RATE divided among the connections: that must be divided
 * again whenever a connection comes or goes, and what a slow one leaves is lost to the others.
 *
 * A bucket is a rate with a burst, as one number: the moment until which the bytes that were taken
 * have been paid for (the virtual scheduling of ITU-T I.371). Taking is a compare and swap.
 */
#ifndef TOLLGATE_SERVER_GRANT_QUOTA_H
#define TOLLGATE_SERVER_GRANT_QUOTA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* The longest wait of a limited connection; a bucket holds the bytes of twice that time. */
#define QUOTA_TURN_MS 100

struct bucket {
    atomic_ullong rate;    /* bytes per second; 0: no limit */
    atomic_ullong paid_us; /* monotonic microseconds */
    uint64_t burst_us;
};

/* Begins a bucket; `filled_us`, burst_us at most, is the time whose bytes it holds at first. */
void bucket_init(struct bucket *bucket, uint64_t rate, uint64_t burst_us, uint64_t filled_us,
                 uint64_t now_ms);
/*
 * Takes up to `want` bytes, and not more than one of `sharers` equal parts of what there is, so
 * that nobody is starved; a part is one byte at least. Returns the bytes, 0 where there are none.
 */
uint64_t bucket_take(struct bucket *bucket, uint64_t want, unsigned sharers, uint64_t now_ms);
/* Gives bytes back that were taken and not sent. */
void bucket_give(struct bucket *bucket, uint64_t bytes);
/*
 * The same for a bucket whose rate and burst each taker brings along: the takers share its time,
 * and one with a higher rate gets more bytes for it. `*paid_us` is 0 at first, which is a full
 * bucket.
 */
uint64_t bucket_take_at(atomic_ullong *paid_us, uint64_t rate, uint64_t burst_us, uint64_t want,
                        unsigned sharers, uint64_t now_ms);
void bucket_give_at(atomic_ullong *paid_us, uint64_t rate, uint64_t bytes);
static inline bool bucket_is_limited(const struct bucket *bucket)
{
    return atomic_load_explicit(&bucket->rate, memory_order_relaxed) != 0;
}

struct quota {
    atomic_uint responses; /* under way */
    atomic_uint max_conns; /* 0: no limit */
    struct bucket bucket;
    atomic_ullong unacknowledged; /* minute << 32 | see quota_count_unacknowledged */
};

void quota_init(struct quota *quota, uint64_t now_ms);
static inline bool quota_is_limited(const struct quota *quota)
{
    return bucket_is_limited(&quota->bucket) ||
           atomic_load_explicit(&quota->max_conns, memory_order_relaxed) != 0;
}
/* Counts a response; false where max_conns are under way. */
bool quota_enter(struct quota *quota);
/* Counts a response that is under way already, whatever max_conns says. */
void quota_join(struct quota *quota);
void quota_leave(struct quota *quota);
/* Counts a response that ended with more bytes unacknowledged than acknowledged; returns how many
 * did in this minute. */
uint32_t quota_count_unacknowledged(struct quota *quota, uint64_t now_ms);
uint32_t quota_unacknowledged(const struct quota *quota, uint64_t now_ms);

#endif
