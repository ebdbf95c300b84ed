/*
 * What is held to a limit across all workers of the node: the responses under way and the bytes per
 * second of a link, or of an account. Atomics only; the table in window.c owns them.
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

/* What a limited connection waits for at most; a bucket holds twice that much. */
#define QUOTA_TURN_MS 100

struct bucket {
    atomic_ullong rate;    /* bytes per second; 0: no limit */
    atomic_ullong paid_us; /* monotonic microseconds */
    uint64_t burst_us;
};

/* `filled` is what it holds at first, of burst_us at most. */
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
 * The same of a bucket whose rate and burst each taker brings along: time is what they share, and
 * one that is served faster gets more bytes for it. `*paid_us` is 0 at first: full.
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
    atomic_ullong unacknowledged; /* minute << 32 | responses that ended so in it */
};

void quota_init(struct quota *quota, uint64_t now_ms);
static inline bool quota_is_limited(const struct quota *quota)
{
    return bucket_is_limited(&quota->bucket) ||
           atomic_load_explicit(&quota->max_conns, memory_order_relaxed) != 0;
}
/* Counts a response; false where max_conns are under way. */
bool quota_enter(struct quota *quota);
/* Counts one that is under way already, whatever max_conns says. */
void quota_join(struct quota *quota);
void quota_leave(struct quota *quota);
/*
 * Counts a response that ended with more unacknowledged than acknowledged; how many in this minute.
 */
uint32_t quota_count_unacknowledged(struct quota *quota, uint64_t now_ms);
uint32_t quota_unacknowledged(const struct quota *quota, uint64_t now_ms);

#endif
