/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filling a Redis with many accounts from a checkpoint that no traffic has made. How long it takes is told
 * where more than the usual number of accounts is asked for:
 *
 *   TOLLGATE_FILL_ACCOUNTS=1000000 build/tests/ledger_test --filter '*fill_many*'
 *
 * TOLLGATE_FILL_DAYS says on how many days each of them has downloaded five files (1).
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "server/base/clock.h"
#include "tests/unit/ledger/forge_many.h"

#define ACCOUNTS 3000

static struct fixture fx;
static struct forge forge;

static void setup(void)
{
    forge_start(&fx);
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_fill_many, .init = setup, .fini = teardown, .timeout = 1200);

static unsigned asked_for(const char *name, unsigned otherwise)
{
    const char *value = getenv(name);
    return value != NULL ? (unsigned)strtoul(value, NULL, 10) : otherwise;
}

/* Processor time of this process and of Redis so far, in ms. */
static uint64_t own_cpu_ms(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

static uint64_t redis_cpu_ms(void)
{
    redisReply *reply = fixture_redis(&fx, "INFO cpu");
    cr_assert_eq(reply->type, REDIS_REPLY_STRING);
    const char *system = strstr(reply->str, "used_cpu_sys:"),
               *user = strstr(reply->str, "used_cpu_user:");
    cr_assert(system != NULL && user != NULL);
    double seconds = strtod(strchr(system, ':') + 1, NULL) + strtod(strchr(user, ':') + 1, NULL);
    freeReplyObject(reply);
    return (uint64_t)(seconds * 1000);
}

Test(ledger_fill_many, accounts_of_a_checkpoint_are_in_an_emptied_redis_once_the_node_is_ready)
{
    unsigned accounts = asked_for("TOLLGATE_FILL_ACCOUNTS", ACCOUNTS);
    struct ledger_stats stats;
    char tag[32];
    unsigned days = asked_for("TOLLGATE_FILL_DAYS", 1);
    forge_many(&forge, fx.state, accounts, days);
    uint64_t opened_ms = clock_monotonic_ms();
    fixture_open(&fx);
    uint64_t begun_ms = clock_monotonic_ms(), own_ms = own_cpu_ms(), redis_ms = redis_cpu_ms();
    while (ledger_state(fx.ledger) != LEDGER_READY) /* the suite's timeout ends it */
        fixture_pause();
    uint64_t ready_ms = clock_monotonic_ms();
    own_ms = own_cpu_ms() - own_ms;
    redis_ms = redis_cpu_ms() - redis_ms;
    ledger_stats(fx.ledger, &stats);
    cr_expect_eq(stats.accounts_filled, accounts + 1);
    cr_expect_eq(stats.accounts_filling, 0);
    for (unsigned i = 0; i < accounts; i += accounts / 10) {
        forge_many_name(i, tag);
        cr_expect_eq(fixture_account_field(&fx, tag, "balance"),
                     FORGE_MONEY - days * FORGE_FILES * FORGE_BYTES);
        cr_expect_eq(fixture_redis_usage(&fx, tag), days * FORGE_FILES * FORGE_BYTES);
    }
    if (accounts != ACCOUNTS)
        fprintf(stderr,
                "%u accounts of %d records, with 5 files on %u days each: opened in %" PRIu64
                " ms, Redis filled in %" PRIu64 " ms, %" PRIu64
                " accounts/s; processor time: node %" PRIu64 " ms, Redis %" PRIu64 " ms\n",
                accounts, FORGE_RECORDS, days, begun_ms - opened_ms, ready_ms - begun_ms,
                accounts * UINT64_C(1000) / (ready_ms - begun_ms + 1), own_ms, redis_ms);
}
