/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After an outage of Redis a worker lets clients in at a bounded rate, for as long as a crowd may be
 * expected, and at no other time.
 */
#include <criterion/criterion.h>

#include "server/delivery/redis_connection_internal.h"
#include "server/delivery/worker.h"

static struct worker worker;

static unsigned let_in(struct redis_connection *redis)
{
    unsigned count = 0;
    for (unsigned i = 0; i < 2 * REDIS_CROWD_ADMISSIONS; i++)
        count += redis_connection_lets_in(redis);
    return count;
}

Test(redis_crowd, is_let_in_at_a_bounded_rate_after_an_outage_alone)
{
    struct redis_connection redis = {.worker = &worker};
    worker.now_ms = 1000000;
    cr_expect_eq(let_in(&redis), 2 * REDIS_CROWD_ADMISSIONS, "there was no outage");
    redis.crowd_ms = worker.now_ms;
    cr_expect_eq(let_in(&redis), REDIS_CROWD_ADMISSIONS);
    cr_expect_eq(let_in(&redis), 0);
    worker.now_ms += REDIS_CROWD_MS - 1;
    redis.let_in = 0; /* as a tick does */
    cr_expect_eq(let_in(&redis), REDIS_CROWD_ADMISSIONS, "a tick lets further ones in");
    worker.now_ms++;
    cr_expect_eq(let_in(&redis), 2 * REDIS_CROWD_ADMISSIONS, "the crowd is over");
}
