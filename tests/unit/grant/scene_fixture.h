/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of one response share: alice's, of a window of its own, for which the test asks.
 * Redis grants what the test says; where a test wants it, a push connection that answers at once
 * hears of revocations. Both begin with nothing asked, and end with `end_scene`.
 */
#ifndef TOLLGATE_TESTS_SCENE_FIXTURE_H
#define TOLLGATE_TESTS_SCENE_FIXTURE_H

#include "tests/unit/grant/question_fixture.h"

#define START     1000               /* now_ms at the beginning */
#define VALID_END (START + VALIDITY) /* the grant of begin_granted is valid until then */

/* A prepaid account that has 1,000 bytes, and no other node that holds any. */
static const struct ledger_grant thousand = {
    .funds = {.bounds = LEDGER_BY_BALANCE, .ceiling = 1000, .bound = 1000}};

static struct ledger_account *alice;
static struct window *window;
static struct claim claim;
static struct demand demand; /* 700 bytes; a test changes it as it wants */
static struct grants_asker asker;

static inline void set_scene(void)
{
    alice = account("alice");
    window = open_window(alice, 1, file);
    claim = (struct claim){0};
    demand = demand_for(window, &claim, 700);
    asker = (struct grants_asker){0};
}

/* The account has no grant yet, and no revocation is heard but by `hear`. */
static inline void begin_asking(void)
{
    start_asking();
    set_scene();
}

static inline void end_scene(void)
{
    claim_end(&claim, window);
    window_drop(&window, now_ms);
    ledger_account_drop(&alice);
    stop();
}

/* ---- a push connection that answers at once, as Redis does ---- */

static inline int push_open(void *self)
{
    (void)self;
    return 0;
}

static inline void push_close(void *self)
{
    (void)self;
}

static inline bool push_is_ready(const void *self)
{
    (void)self;
    return true;
}

static const char *push_fault; /* why there is no connection */

static inline const char *push_error(const void *self)
{
    (void)self;
    return push_fault;
}

static inline void push_hear(void *self, ledger_redis_done *heard, void *context)
{
    (void)self, (void)heard, (void)context;
}

static inline int push_send(void *self, int count, const char *const words[],
                            const size_t lengths[], ledger_redis_done *done,
                            ledger_redis_late *late, void *context)
{
    char info[] = "run_id:1\r\nmaster_replid:2\r\nmaxmemory_policy:noeviction\r\n";
    (void)self, (void)lengths, (void)late;
    redisReply first = {.type = REDIS_REPLY_STRING, .str = info, .len = sizeof(info) - 1};
    redisReply second = {.type = REDIS_REPLY_STRING};
    redisReply *elements[] = {&first, &second};
    const redisReply array = {.type = REDIS_REPLY_ARRAY, .elements = 2, .element = elements};
    char text[24];
    if (strcmp(words[0], "INFO") == 0) {
        done(context, &first);
        return 0;
    }
    snprintf(text, sizeof(text), "%s", words[count - 1]);
    second.str = text;
    done(context, &array);
    return 0;
}

/* The push connection is up for LEDGER_PUSH_LOST_MS from now on. */
static inline void listen_now(void)
{
    for (unsigned i = 0; i < 3; i++) /* connects, subscribes, sends a PING */
        (void)push_step(ledger);
    cr_assert(ledger_push_is_up(ledger, now_ms));
}

/* The push connection is lost, and another one is made. */
static inline void listen_again(void)
{
    push_fault = "closed";
    (void)push_step(ledger);
    cr_assert_not(ledger_push_is_up(ledger, now_ms));
    push_fault = NULL;
    now_ms += 1000; /* it tries again */
    listen_now();
}

/* ---- a window that was granted funds ---- */

/* Gives the account a ceiling, and a validity from now on, which no response waits for. */
static inline void grant_ceiling(uint64_t ceiling)
{
    struct grants_asker unnamed = {0};
    struct claim nobody = {0};
    const struct demand any = demand_for(window, &nobody, LEDGER_NUMBER_MAX / 2);
    const struct ledger_grant grant = balance(ceiling, ceiling);
    cr_assert_eq(ask(&any, &unnamed), 0);
    answer(sent_count - 1, &grant);
}

/* What of the account's ceiling no response has claimed. */
static inline uint64_t unclaimed(void)
{
    const struct pool *pool = &window->account_group->pool;
    return atomic_load(&pool->ceiling) - atomic_load(&pool->least);
}

/* Nothing is granted yet, and revocations are heard. The ledger has no threads. */
static inline void begin_listening(void)
{
    static const struct ledger_clock clock = {.monotonic_ms = read_clock, .real_ms = read_clock};
    static const struct ledger_redis push = {.open = push_open,
                                             .close = push_close,
                                             .is_ready = push_is_ready,
                                             .send = push_send,
                                             .error = push_error,
                                             .hear = push_hear,
                                             .introduced = push_close};
    const struct ledger_outside outside = {
        .clock = &clock, .disk = &ledger_system_disk, .push = &push};
    start_asking_in(&outside);
    listen_now();
    set_scene();
}

/* The same, and the account has a valid grant with such a ceiling. */
static inline void begin_granted(uint64_t ceiling)
{
    begin_listening();
    grant_ceiling(ceiling);
    cr_assert_eq(coverage_until_ms(window, now_ms), (uint64_t)VALID_END);
    sent_count = told_count = 0;
}

#endif
