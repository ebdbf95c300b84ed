/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of questions share: a Redis that keeps what was sent and answers when the test
 * says so, a clock that the test sets, and two workers that note what they were told. The functions
 * assert that their own steps succeed, so that a test holds only its subject.
 */
#ifndef TOLLGATE_TESTS_QUESTION_FIXTURE_H
#define TOLLGATE_TESTS_QUESTION_FIXTURE_H

#include <errno.h>
#include <hiredis/hiredis.h>

#include "server/grant/coverage.h"
#include "server/grant/question.h"
#include "tests/unit/grant/window_fixture.h"

#define VALIDITY 10000 /* ms of each grant */
#define SLICE    5000  /* bytes that a question asks for at most, unless it needs more */

static uint64_t now_ms;

static inline uint64_t read_clock(void *self)
{
    (void)self;
    return now_ms;
}

static const struct ledger_clock test_clock = {.monotonic_ms = read_clock};

/* ---- Redis ---- */

/* A command that was sent: its function, its first two numbers behind node and epoch, and the words
 * behind those. */
struct sent {
    char function[32];
    uint64_t numbers[2];
    char rest[200];
    ledger_redis_done *done;
    ledger_redis_late *late;
    void *context;
};

static struct sent sent[32];
static unsigned sent_count;
static bool is_up, refuses;
static struct window *contested; /* worker 1 wants to ask for it while worker 0 sends */

static inline bool is_ready(const void *self)
{
    (void)self;
    return is_up;
}

static inline int keep(void *self, int count, const char *const words[], const size_t lengths[],
                       ledger_redis_done *done, ledger_redis_late *late, void *context)
{
    size_t used = 0;
    (void)self;
    if (contested != NULL)
        cr_assert_not(window_ask(windows, contested, 1));
    if (!is_up || refuses)
        return -ENOTCONN;
    cr_assert_lt(sent_count, 32u);
    cr_assert_geq(count, 11);
    struct sent *kept = &sent[sent_count++];
    *kept = (struct sent){.numbers = {strtoull(words[9], NULL, 10), strtoull(words[10], NULL, 10)},
                          .done = done,
                          .late = late,
                          .context = context};
    snprintf(kept->function, sizeof(kept->function), "%s", words[1]);
    for (int i = 11; i < count && used < sizeof(kept->rest); i++)
        used += (size_t)snprintf(kept->rest + used, sizeof(kept->rest) - used, "%s%.*s",
                                 i > 11 ? " " : "", (int)lengths[i], words[i]);
    return 0;
}

static const struct ledger_redis test_redis = {.is_ready = is_ready, .send = keep};

/* Answers the command that was sent as the `number`th, from 0. */
static inline void answer(unsigned number, const struct ledger_grant *grant)
{
    const uint64_t values[10] = {
        grant->admission, grant->granted,   grant->funds,   grant->revision,     grant->rate,
        grant->max_conns, grant->opened_ms, grant->till_ms, grant->acknowledged, grant->left_ms};
    redisReply integers[10], *elements[10];
    for (unsigned i = 0; i < 10; i++) {
        integers[i] = (redisReply){.type = REDIS_REPLY_INTEGER, .integer = (long long)values[i]};
        elements[i] = &integers[i];
    }
    const redisReply reply = {.type = REDIS_REPLY_ARRAY, .elements = 10, .element = elements};
    cr_assert_lt(number, sent_count);
    cr_assert_not_null(sent[number].done);
    sent[number].done(sent[number].context, &reply);
    sent[number].done = NULL;
}

/* The connection is lost before the answer. */
static inline void lose(unsigned number)
{
    cr_assert_not_null(sent[number].done);
    sent[number].done(sent[number].context, NULL);
    sent[number].done = NULL;
}

static inline void be_late(unsigned number)
{
    sent[number].late(sent[number].context);
}

/* ---- workers ---- */

static struct grants grants[2]; /* of the workers 0 and 1 */
/* What the last answer said and to whom, how many there were, and who was to be woken. */
static struct grants_answer told;
static struct grants_asker told_asker;
static unsigned told_count;
static uint64_t woken;
/* The one response that waits: its demand, as long as `waits`. */
static struct demand waiting;
static bool waits;

static inline bool find(void *self, const struct grants_asker *asker, struct demand *out)
{
    (void)self, (void)asker;
    *out = waiting;
    return waits;
}

static inline void note(void *self, const struct grants_asker *asker,
                        const struct grants_answer *said)
{
    (void)self;
    told = *said;
    told_asker = *asker;
    told_count++;
}

static inline void wake(void *self, uint64_t workers)
{
    (void)self;
    woken |= workers;
}

static inline void start_asking_in(const struct ledger_outside *outside)
{
    now_ms = 1000;
    start_in(outside, 100, 100);
    sent_count = told_count = 0;
    woken = 0;
    is_up = true;
    refuses = waits = false;
    contested = NULL;
    for (unsigned i = 0; i < 2; i++) {
        grants[i] = (struct grants){
            .windows = windows,
            .ledger = ledger,
            .redis = &test_redis,
            .clock = &test_clock,
            .worker = {.find = find, .answered = note, .wake = wake},
            .settings = {.validity_ms = VALIDITY,
                         .slice_bytes = SLICE,
                         .use_period_ms = 1000,
                         .link_lifetime_ms = 1000},
            .number = i,
        };
    }
}

static inline void start_asking(void)
{
    start_asking_in(NULL);
}

static inline struct demand demand_for(struct window *window, struct purse *purse, uint64_t need)
{
    return (struct demand){
        .window = window, .purse = purse, .need = need, .size = SIZE, .iat = 100};
}

/* Asks for the demand, which waits for the answer from then on, as worker 0. */
static inline int ask(const struct demand *demand, struct grants_asker *asker)
{
    static const struct question_terms terms = {.till_ms = 100000, .stage = LEDGER_BEGINNING};
    int status = question_ask(&grants[0], demand, &terms, asker);
    if (status == 0) {
        waiting = *demand;
        waits = true;
    }
    return status;
}

/* A revocation in the account is heard, with which its revision becomes this one. */
static inline void hear(struct ledger_account *of, uint64_t revision)
{
    atomic_store(&of->heard, revision);
    atomic_fetch_add(&of->messages, 1);
}

static inline bool covers(const struct window *window, int64_t iat)
{
    return coverage_holds(ledger, window, iat, now_ms);
}

/* How many bytes the window has that no response has taken. */
static inline uint64_t spare(struct window *window, enum ledger_fund fund)
{
    struct purse purse = {0};
    (void)window_take(window, LEDGER_FUND_BIT(fund), UINT64_MAX, false, &purse.funds);
    uint64_t bytes = purse.funds.bytes[fund];
    purse_return(&purse, windows, window);
    return bytes;
}

static inline void expect_sent(unsigned number, const char *function, uint64_t first,
                               uint64_t second)
{
    cr_assert_lt(number, sent_count);
    cr_expect_str_eq(sent[number].function, function);
    cr_expect_eq(sent[number].numbers[0], first, "%s: %llu", function,
                 (unsigned long long)sent[number].numbers[0]);
    cr_expect_eq(sent[number].numbers[1], second, "%s: %llu", function,
                 (unsigned long long)sent[number].numbers[1]);
}

#endif
