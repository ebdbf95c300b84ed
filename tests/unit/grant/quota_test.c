/* SPDX-License-Identifier: Apache-2.0 */
/* Buckets and counts: what a rate allows, and that giving back and sharing never create bytes. */
#include <criterion/criterion.h>
#include <pthread.h>

#include "server/grant/quota.h"

#define BURST_US 200000

Test(quota, a_bucket_gives_its_rate_and_no_more_than_its_burst)
{
    struct bucket bucket;
    bucket_init(&bucket, 1000, BURST_US, 0, 5000);
    cr_expect_eq(bucket_take(&bucket, 500, 1, 5000), 0u, "it is empty at first");
    cr_expect_eq(bucket_take(&bucket, 500, 1, 5100), 100u);
    cr_expect_eq(bucket_take(&bucket, 500, 1, 5100), 0u);
    /* A long pause is worth no more than the burst. */
    cr_expect_eq(bucket_take(&bucket, 5000, 1, 100000), 200u);
}

Test(quota, a_bucket_without_a_rate_gives_all_that_is_asked)
{
    struct bucket bucket;
    bucket_init(&bucket, 0, BURST_US, 0, 5000);
    cr_expect_eq(bucket_take(&bucket, UINT64_MAX, 7, 5000), UINT64_MAX);
    bucket_give(&bucket, 100);
    cr_expect_not(bucket_is_limited(&bucket));
}

Test(quota, what_is_given_back_can_be_taken_again_and_no_more)
{
    struct bucket bucket;
    bucket_init(&bucket, 1000, BURST_US, 0, 5000);
    cr_assert_eq(bucket_take(&bucket, 100, 1, 5100), 100u);
    bucket_give(&bucket, 60);
    uint64_t again = bucket_take(&bucket, 100, 1, 5100);
    cr_expect(again >= 59 && again <= 60, "%llu", (unsigned long long)again);
}

Test(quota, rates_at_both_ends_neither_overflow_nor_starve)
{
    static const uint64_t rates[] = {1, 7, 1000000007, (UINT64_C(1) << 53) - 1};
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        struct bucket bucket;
        uint64_t sum = 0;
        bucket_init(&bucket, rates[i], BURST_US, 0, 1000);
        for (uint64_t now_ms = 1000; now_ms <= 11000; now_ms += 100)
            sum += bucket_take(&bucket, UINT64_MAX >> 8, 1, now_ms);
        double share = (double)sum / ((double)rates[i] * 10);
        cr_expect(share > 0.89 && share < 1.01, "rate %llu: %.3f of it",
                  (unsigned long long)rates[i], share);
    }
}

Test(quota, sharers_get_a_part_each_and_together_what_there_is)
{
    struct bucket bucket;
    uint64_t sum = 0, bytes[4] = {0};
    bucket_init(&bucket, 100000, BURST_US, 0, 1000);
    for (uint64_t tick = 1; tick <= 100; tick++) {
        for (size_t i = 0; i < 4; i++) {
            size_t who = tick % 2 == 0 ? i : 3 - i; /* in turns, as from the worker's list */
            uint64_t part = bucket_take(&bucket, 1000000, 4, 1000 + tick * 100);
            bytes[who] += part;
            sum += part;
        }
    }
    cr_expect(sum > 970000 && sum <= 1000000, "%llu", (unsigned long long)sum);
    for (size_t i = 0; i < 4; i++)
        cr_expect(bytes[i] > 180000 && bytes[i] < 320000, "%zu: %llu", i,
                  (unsigned long long)bytes[i]);
}

static struct bucket shared;

static void *take_all(void *argument)
{
    uint64_t *sum = argument;
    for (int i = 0; i < 200000; i++)
        *sum += bucket_take(&shared, 3, 1, 1200);
    return NULL;
}

Test(quota, threads_together_take_no_more_than_there_is)
{
    pthread_t threads[4];
    uint64_t sums[4] = {0}, sum = 0;
    bucket_init(&shared, 1000000, BURST_US, 0, 1000);
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, take_all, &sums[i]), 0);
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        sum += sums[i];
    }
    cr_expect_eq(sum, 200000u);
}

Test(quota, counts_responses_up_to_max_conns)
{
    struct quota quota = {0};
    quota_init(&quota, 1000);
    cr_expect(quota_enter(&quota));
    atomic_store(&quota.max_conns, 2);
    cr_expect(quota_enter(&quota));
    cr_expect_not(quota_enter(&quota));
    quota_leave(&quota);
    cr_expect(quota_enter(&quota));
    cr_expect_eq(atomic_load(&quota.responses), 2u);
}

Test(quota, forgets_the_unacknowledged_of_another_minute)
{
    struct quota quota = {0};
    quota_init(&quota, 60000);
    cr_expect_eq(quota_count_unacknowledged(&quota, 60000), 1u);
    cr_expect_eq(quota_count_unacknowledged(&quota, 119999), 2u);
    cr_expect_eq(quota_unacknowledged(&quota, 119999), 2u);
    cr_expect_eq(quota_unacknowledged(&quota, 120000), 0u);
    cr_expect_eq(quota_count_unacknowledged(&quota, 120000), 1u);
}

Test(quota, a_bucket_begins_as_full_as_it_is_told)
{
    struct bucket bucket;
    bucket_init(&bucket, 1000, BURST_US, 100000, 5000);
    cr_expect_eq(bucket_take(&bucket, 10, 1, 5000), 10u, "no more than is wanted");
    cr_expect_eq(bucket_take(&bucket, 500, 1, 5000), 90u);
    /* Soon after the machine has started, when the time is less than a burst. */
    bucket_init(&bucket, 1000, BURST_US, 0, 100);
    cr_expect_eq(bucket_take(&bucket, 500, 1, 150), 50u);
}

Test(quota, bytes_that_take_less_than_a_microsecond_are_not_free)
{
    struct bucket bucket;
    uint64_t sum = 0;
    bucket_init(&bucket, 3000000, BURST_US, 1000, 5000); /* 3,000 bytes are there */
    for (unsigned i = 0; i < 5000; i++)
        sum += bucket_take(&bucket, 1, 1, 5000);
    cr_expect_leq(sum, 3000u, "%llu", (unsigned long long)sum);
    bucket_init(&bucket, 3000000, BURST_US, 1000, 5000);
    for (unsigned i = 0; i < 300; i++) {
        cr_assert_eq(bucket_take(&bucket, 3, 1, 5000), 3u);
        for (unsigned j = 0; j < 3; j++)
            bucket_give(&bucket, 1);
    }
    sum = bucket_take(&bucket, 1000000, 1, 5000);
    cr_expect_leq(sum, 3000u, "giving back made %llu bytes", (unsigned long long)sum - 3000);
}

Test(quota, a_sharer_gets_a_byte_where_there_is_less_than_one_for_each)
{
    struct bucket bucket;
    bucket_init(&bucket, 1000, BURST_US, 0, 5000);
    cr_expect_eq(bucket_take(&bucket, 500, 10, 5003), 1u, "three are there for ten");
}

Test(quota, holds_two_turns_of_its_rate_at_most)
{
    struct quota quota = {0};
    quota_init(&quota, 1000);
    atomic_store(&quota.bucket.rate, 1000);
    cr_expect_eq(bucket_take(&quota.bucket, 5000, 1, 1000), 0u, "it is empty at first");
    cr_expect_eq(bucket_take(&quota.bucket, 5000, 1, 100000), 2u * QUOTA_TURN_MS);
}

Test(quota, counts_a_response_that_joins_whatever_the_limit)
{
    struct quota quota = {0};
    quota_init(&quota, 1000);
    atomic_store(&quota.max_conns, 1);
    quota_join(&quota);
    quota_join(&quota);
    cr_expect_eq(atomic_load(&quota.responses), 2u);
    cr_expect_not(quota_enter(&quota));
    quota_leave(&quota);
    quota_leave(&quota);
    cr_expect(quota_enter(&quota));
}
