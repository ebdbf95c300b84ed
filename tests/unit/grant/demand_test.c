/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a response begins without a question, on a grant that its window has. A Redis that the test
 * plays confirms the subscription, so that the push connection is up.
 */
#include "tests/unit/grant/question_fixture.h"

static ledger_redis_done *subscribed; /* waits for the answer to SUBSCRIBE */
static void *subscriber;

static int push_open(void *self)
{
    (void)self;
    return 0;
}

static void push_close(void *self)
{
    (void)self;
}

static bool push_ready(const void *self)
{
    (void)self;
    return true;
}

static int push_send(void *self, int count, const char *const words[], const size_t lengths[],
                     ledger_redis_done *done, ledger_redis_late *late, void *context)
{
    (void)self, (void)count, (void)lengths, (void)late;
    if (strcmp(words[0], "SUBSCRIBE") == 0) {
        subscribed = done;
        subscriber = context;
    }
    return 0;
}

static bool push_fail(void *self, bool reached)
{
    (void)self, (void)reached;
    return false;
}

static const char *push_error(const void *self)
{
    (void)self;
    return NULL;
}

static void push_hear(void *self, ledger_redis_done *heard, void *context)
{
    (void)self, (void)heard, (void)context;
}

static const struct ledger_redis played = {.open = push_open,
                                           .close = push_close,
                                           .is_ready = push_ready,
                                           .send = push_send,
                                           .fail = push_fail,
                                           .error = push_error,
                                           .hear = push_hear,
                                           .introduced = push_close};

static const struct ledger_clock clocks = {.monotonic_ms = read_clock, .real_ms = read_clock};

static struct ledger_account *alice;
static struct window *window;
static struct purse purse;
static struct demand demand;

/* A window with 5,000 bytes to spare, whose grant speaks for it, while the push connection is up. */
static void setup(void)
{
    char error[512] = "", state[64];
    const struct ledger_outside outside = {
        .clock = &clocks, .disk = &ledger_system_disk, .poster = &played, .push = &played};
    now_ms = 100000;
    cr_assert_not_null(mkdtemp(directory));
    snprintf(state, sizeof(state), "%s/state", directory);
    const struct ledger_options options = {.state_dir = state,
                                           .node = "n",
                                           .redis = "unix:/nonexistent/redis.sock",
                                           .segment_bytes = 1 << 20,
                                           .mark_ms = 1000,
                                           .downloads_max = 100,
                                           .accounts_max = 100,
                                           .lease_ms = 3000};
    cr_assert_eq(ledger_open_stepped(&ledger, &options, &outside, error, sizeof(error)), 0, "%s",
                 error);
    cr_assert_eq(windows_create(&windows, ledger, 100), 0);
    cr_assert_eq(ledger_file_get(ledger, "/f", 2, &file), 0);
    cr_assert_eq(ledger_file_get(ledger, "/g", 2, &other_file), 0);
    (void)push_step(ledger);
    (void)push_step(ledger);
    cr_assert_not_null(subscribed);
    subscribed(subscriber, &(const redisReply){.type = REDIS_REPLY_ARRAY});
    cr_assert(ledger_push_is_up(ledger, now_ms));
    alice = account("alice");
    window = open_window(alice, 1, file);
    const struct ledger_heard heard = ledger_heard(ledger, alice);
    atomic_store(&window->heard_epoch, heard.epoch);
    atomic_store(&window->heard_messages, heard.messages);
    atomic_store(&window->valid_until_ms, now_ms + 1000000);
    atomic_store(&window->account_bounds, true);
    window_fund(windows, window, ACCOUNT, 5000, NULL, 0);
    purse = (struct purse){0};
    demand = demand_for(window, &purse, 700);
}

static void teardown(void)
{
    window_drop(&window, now_ms);
    ledger_account_drop(&alice);
    stop();
}

TestSuite(demand, .init = setup, .fini = teardown, .timeout = 30);

static bool begins(void)
{
    bool filled = demand_fill_unasked(ledger, &demand, now_ms);
    purse_return(&purse, windows, window);
    return filled;
}

/* Redis grants a use that it opened just now and that stays open for a second. */
static void grant_now(uint64_t opened_ms, uint64_t acknowledged)
{
    const struct ledger_grant grant = {.opened_ms = opened_ms,
                                       .till_ms = opened_ms + 1000,
                                       .acknowledged = acknowledged,
                                       .left_ms = 1000};
    window_grant_use(windows, window, &grant, now_ms, 100000);
}

Test(demand, begins_unasked_only_while_revocations_are_heard)
{
    cr_expect(begins());
    now_ms += LEDGER_PUSH_LOST_MS;
    cr_expect_not(begins(), "the push connection is silent");
    demand.is_under_way = true;
    cr_expect(begins(), "what is under way goes on");
}

Test(demand, with_terms_begins_unasked_in_an_open_use_alone)
{
    demand.has_terms = true;
    cr_expect_not(begins(), "no use is open yet");
    grant_now(500, 0);
    cr_expect(begins());
    /* The end of the use's period, as the push connection stays up for longer. */
    atomic_store(&window->use_until_ms, now_ms + 1);
    cr_expect(begins());
    atomic_store(&window->use_until_ms, now_ms);
    cr_expect_not(begins(), "the use's period is over");
}

Test(demand, with_terms_begins_unasked_until_three_times_the_file_has_arrived)
{
    demand.has_terms = true;
    grant_now(500, 3 * SIZE - 1);
    cr_expect(begins());
    grant_now(500, 3 * SIZE);
    cr_expect_not(begins());
    grant_now(600, 0);
    cr_expect(begins(), "Redis has opened another use");
}

Test(demand, of_a_transfer_needs_at_least_one_byte)
{
    demand.is_under_way = true;
    cr_assert_eq(window_take(window, ACCOUNT, 4999, true, &(struct funds){0}), 4999u);
    cr_expect(begins());
    cr_assert_eq(window_take(window, ACCOUNT, 1, true, &(struct funds){0}), 1u);
    cr_expect_not(begins(), "nothing is left to go on with");
}
