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

/* Where the words of a command stand. */
#define AT(name, ...) AT_##name,
enum {
    AT_LAST_KEY =
        2 + LEDGER_COUNT(LEDGER_GRANT_KEYS), /* FCALL, the function, how many keys, the keys */
    LEDGER_ADMIT_ARGUMENTS(AT) LEDGER_TERMS_ARGUMENTS(AT) AT_END
};
#undef AT
#define AT_TELL(name, ...) AT_TELL_##name,
enum {
    AT_TELL_LAST_KEY = 2 + LEDGER_COUNT(LEDGER_TELL_KEYS),
    LEDGER_TELL_ARGUMENTS(AT_TELL) AT_TELL_END
};
#undef AT_TELL

/* A command that was sent. */
struct sent {
    char words[AT_END][160];
    int count;
    ledger_redis_done *done;
    ledger_redis_late *late;
    void *context;
    ledger_redis_done *confirmed; /* of the question for the birth that was sent right behind it */
};

static struct sent sent[32];
static unsigned sent_count;
static bool is_up, refuses;
/* The birth of this Redis; NULL: the question for it is kept like others. How often it was told. */
#define BIRTH "ab"
static const char *birth;
static unsigned confirmed;
static struct window *contested; /* worker 1 wants to ask for it while worker 0 sends */

static inline bool is_ready(const void *self)
{
    (void)self;
    return is_up;
}

/* Redis says at once which birth it has. */
static inline void tell_birth(ledger_redis_done *done, void *context)
{
    char text[24];
    snprintf(text, sizeof(text), "%s", birth);
    const redisReply reply = {.type = REDIS_REPLY_STRING, .str = text, .len = strlen(text)};
    confirmed++;
    done(context, &reply);
}

static inline int keep(void *self, int count, const char *const words[], const size_t lengths[],
                       ledger_redis_done *done, ledger_redis_late *late, void *context)
{
    (void)self;
    if (contested != NULL) {
        const struct window_need nothing = {0};
        struct window_question other;
        uint64_t round = 0;
        cr_assert_not(
            window_ask(windows, contested, SUBJECT_WINDOW, 1, &nothing, &round, now_ms, &other));
    }
    if (!is_up || refuses)
        return -ENOTCONN;
    bool confirms = strcmp(words[0], "HGET") == 0;
    struct sent *last = sent_count > 0 ? &sent[sent_count - 1] : NULL;
    if (confirms && last != NULL && last->done != NULL && last->context == context) {
        last->confirmed = done;
        return 0;
    }
    if (confirms && birth != NULL) { /* what Redis denied is to be confirmed */
        tell_birth(done, context);
        return 0;
    }
    cr_assert_lt(sent_count, 32u);
    cr_assert_leq(count, AT_END);
    struct sent *kept = &sent[sent_count++];
    *kept = (struct sent){.count = count, .done = done, .late = late, .context = context};
    for (int i = 0; i < count; i++)
        snprintf(kept->words[i], sizeof(kept->words[i]), "%.*s", (int)lengths[i], words[i]);
    return 0;
}

static const struct ledger_redis test_redis = {.is_ready = is_ready, .send = keep};

static inline uint64_t word(unsigned number, int at)
{
    cr_assert_lt(number, sent_count);
    cr_assert_lt(at, sent[number].count);
    return strtoull(sent[number].words[at], NULL, 10);
}

/* Answers a question, and what was asked right behind it; `reply` NULL: the connection is lost. */
static inline void reply_with(unsigned number, const redisReply *reply)
{
    cr_assert_lt(number, sent_count);
    struct sent *of = &sent[number];
    ledger_redis_done *done = of->done, *then = of->confirmed;
    cr_assert_not_null(done);
    of->done = of->confirmed = NULL;
    done(of->context, reply);
    if (then != NULL && reply == NULL)
        then(of->context, NULL);
    else if (then != NULL && birth == NULL)
        of->done = then;
    else if (then != NULL)
        tell_birth(then, of->context);
}

static inline void reply_numbers(unsigned number, const uint64_t *values, size_t count)
{
    redisReply integers[19], *elements[19];
    for (size_t i = 0; i < count; i++) {
        integers[i] = (redisReply){.type = REDIS_REPLY_INTEGER, .integer = (long long)values[i]};
        elements[i] = &integers[i];
    }
    const redisReply reply = {.type = REDIS_REPLY_ARRAY, .elements = count, .element = elements};
    reply_with(number, &reply);
}

/* Answers the question that was sent as the `number`th, from 0. No sharers are one. */
static inline void answer(unsigned number, const struct ledger_grant *grant)
{
    const struct ledger_credit *funds = &grant->funds, *link = &grant->link_funds;
    const uint64_t values[19] = {grant->admission,
                                 grant->revision,
                                 grant->rate,
                                 grant->max_conns,
                                 grant->sharers > 0 ? grant->sharers : 1,
                                 (uint64_t)grant->revoked_before,
                                 grant->revoked_left_ms,
                                 funds->bounds,
                                 funds->posted,
                                 funds->ceiling,
                                 funds->bound,
                                 grant->opened_ms,
                                 grant->till_ms,
                                 grant->acknowledged,
                                 grant->left_ms,
                                 link->bounds,
                                 link->posted,
                                 link->ceiling,
                                 link->bound};
    reply_numbers(number, values, 19);
}

/* Answers what was told of a pool. */
static inline void answer_tell(unsigned number, uint64_t posted, uint64_t ceiling)
{
    reply_numbers(number, (const uint64_t[]){0, posted, ceiling}, 3);
}

/* A prepaid account's credit, of which nothing is posted. */
static inline struct ledger_grant balance(uint64_t ceiling, uint64_t bound)
{
    return (struct ledger_grant){
        .funds = {.bounds = LEDGER_BY_BALANCE, .ceiling = ceiling, .bound = bound}};
}

/* The connection is lost before the answer. */
static inline void lose(unsigned number)
{
    reply_with(number, NULL);
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
    refuses = false;
    birth = BIRTH;
    confirmed = 0;
    atomic_store(&ledger->birth_id, 0xab);
    contested = NULL;
    for (unsigned i = 0; i < 2; i++) {
        grants[i] = (struct grants){
            .windows = windows,
            .ledger = ledger,
            .redis = &test_redis,
            .clock = &test_clock,
            .worker = {.answered = note, .wake = wake},
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

static inline struct demand demand_for(struct window *window, struct claim *claim, uint64_t need)
{
    return (struct demand){
        .window = window, .claim = claim, .need = need, .size = SIZE, .iat = 100};
}

static const struct question_terms test_terms = {.till_ms = 100000, .stage = LEDGER_BEGINNING};

static inline int ask_by(unsigned worker, const struct demand *demand, struct grants_asker *asker)
{
    return question_ask(&grants[worker], demand, &test_terms, asker);
}

/* Asks for the demand as worker 0. */
static inline int ask(const struct demand *demand, struct grants_asker *asker)
{
    return ask_by(0, demand, asker);
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

/* Of the question that was sent as the `number`th: what it says of the account's pool. */
static inline void expect_funds(unsigned number, uint64_t ceiling, uint64_t least, uint64_t want,
                                uint64_t spare)
{
    cr_expect_neq(word(number, AT_count), 0u);
    cr_expect_eq(word(number, AT_ceiling), ceiling, "ceiling %s", sent[number].words[AT_ceiling]);
    cr_expect_eq(word(number, AT_least), least, "least %s", sent[number].words[AT_least]);
    cr_expect_eq(word(number, AT_want), want, "want %s", sent[number].words[AT_want]);
    cr_expect_eq(word(number, AT_spare), spare, "spare %s", sent[number].words[AT_spare]);
}

/* It carries no funds of the account. */
static inline void expect_no_funds(unsigned number)
{
    cr_expect_str_eq(sent[number].words[1], "tollgate_admit");
    cr_expect_eq(word(number, AT_count), 0u, "question %u asks for the account", number);
}

#endif
