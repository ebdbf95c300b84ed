/* SPDX-License-Identifier: Apache-2.0 */
/* The step ADMIT: what Redis has granted already, what is asked and waited for, and the refusal for
 * each answer. What decides is tested in tests/unit/grant/; here it comes to a connection. */
#include "server/link/token_cache.h"
#include "storage/ledger/ledger_internal.h"
#include "tests/unit/delivery/stage.h"

TestSuite(admission_step, .init = stage_begin, .fini = stage_end);

static struct connection *connection;
static struct exchange *exchange;

/* A request that has come to the step, on a new connection. */
static void begin(const char *text)
{
    connection = stage_connect();
    exchange = &connection->exchange;
    stage_stop_at(STATE_ADMIT);
    driver_input(stage.worker, connection, text, strlen(text));
    cr_assert_eq(connection->state, STATE_ADMIT);
    stage_stop_at(STATE_ANSWER);
}

static const char *get(const char *claims)
{
    return stage_head("GET", "/music/a.mp3", claims, NULL);
}

static void expect_waits(unsigned questions)
{
    cr_expect_eq(stage_step(connection), STEP_WAIT);
    cr_expect_eq(exchange->waiting, WAIT_GRANT);
    cr_expect(connection->listed[LIST_PARKED]);
    cr_expect_eq(stage_asked(), questions);
}

static void expect_admitted(void)
{
    cr_expect_eq(connection->state, STATE_ANSWER);
    cr_expect_eq(exchange->answer, ANSWER_FILE);
    cr_expect_eq(exchange->claim.bytes, exchange_need(exchange));
    cr_expect_not(connection->listed[LIST_PARKED]);
}

/* The driver was told to refuse. */
static void expect_refused(enum refusal refusal)
{
    cr_expect_eq(connection->state, STATE_ANSWER);
    cr_expect_eq(exchange->answer, ANSWER_REFUSAL);
    cr_expect_eq(exchange->refusal, refusal, "%s", refusal_name(exchange->refusal));
    cr_expect_eq(exchange->claim.bytes, 0u);
    cr_expect_not(connection->listed[LIST_PARKED]);
}

static void expect_step_refuses(enum refusal refusal)
{
    cr_expect_eq(stage_step(connection), STEP_REFUSE);
    cr_expect_eq(exchange->refusal, refusal, "%s", refusal_name(exchange->refusal));
    cr_expect_not(connection->listed[LIST_PARKED]);
    cr_expect_eq(stage_asked(), 0u);
}

Test(admission_step, asks_nothing_for_an_answer_without_bytes)
{
    connection = stage_connect();
    exchange = &connection->exchange;
    stage_reach(connection, STATE_ADMIT, stage_head("GET", "/music/e.mp3", NULL, NULL));
    cr_assert_eq(stage_step(connection), STEP_NEXT);
    cr_assert_null(exchange->window);
    connection = stage_connect();
    exchange = &connection->exchange;
    stage_reach(connection, STATE_ADMIT, stage_head("HEAD", "/music/a.mp3", NULL, NULL));
    cr_assert_eq(stage_step(connection), STEP_NEXT);
    cr_assert_null(exchange->window);
}

Test(admission_step, waits_for_the_first_grant_and_takes_the_next_at_once)
{
    const char *head = get(NULL);
    begin(head);
    expect_waits(1);
    cr_assert_not_null(exchange->window);
    stage_grant(1000000);
    expect_admitted();
    begin(head);
    cr_assert_eq(stage_step(connection), STEP_NEXT, "the window was granted");
    cr_assert_eq(exchange->claim.bytes, (uint64_t)STAGE_LONG);
    cr_assert_eq(stage_asked(), 0u);
}

Test(admission_step, one_question_serves_all_that_wait_for_a_window)
{
    const char *head = get(NULL);
    begin(head);
    struct connection *first = connection;
    expect_waits(1);
    begin(head);
    expect_waits(1);
    stage_grant(1000000);
    ticks_look_again(stage.worker);
    while (stage_asked() > 0)
        stage_grant(1000000);
    ticks_look_again(stage.worker);
    expect_admitted();
    connection = first;
    exchange = &first->exchange;
    expect_admitted();
}

Test(admission_step, refuses_for_each_answer_of_redis_by_its_reason)
{
    static const struct {
        enum ledger_admission admission;
        enum refusal refusal;
    } rows[] = {
        {LEDGER_UNKNOWN, REFUSAL_ACCOUNT_UNKNOWN},
        {LEDGER_SUSPENDED, REFUSAL_ACCOUNT_SUSPENDED},
        {LEDGER_REVOKED, REFUSAL_LINK_REVOKED},
        {LEDGER_USED_UP, REFUSAL_LINK_USED_UP},
        {LEDGER_SET_ASIDE, REFUSAL_ACCOUNT_SET_ASIDE},
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin(get(NULL));
        expect_waits(1);
        stage_deny(rows[i].admission);
        expect_refused(rows[i].refusal);
        cr_expect_eq(exchange->link->revoked, rows[i].admission == LEDGER_REVOKED);
    }
}

Test(admission_step, waits_for_funds_and_refuses_in_the_end)
{
    begin(get(NULL));
    expect_waits(1);
    stage_grant(1000); /* less than the file */
    for (unsigned i = 0; i < 100 && connection->state == STATE_ADMIT; i++) {
        stage_pass(100);
        ticks_look_again(stage.worker);
        while (stage_asked() > 0)
            stage_grant(1000);
    }
    expect_refused(REFUSAL_BALANCE_INSUFFICIENT);
}

Test(admission_step, refuses_without_redis)
{
    stage_redis(false);
    begin(get(NULL));
    expect_step_refuses(REFUSAL_REDIS_UNAVAILABLE);
    stage_redis(true);
    begin(get(NULL));
    expect_waits(1);
    stage_redis(false);
    expect_refused(REFUSAL_REDIS_UNAVAILABLE);
}

Test(admission_step, refuses_where_redis_is_late)
{
    begin(get(NULL));
    expect_waits(1);
    stage_pass(stage.config->admission_timeout_ms);
    ticks_look_again(stage.worker);
    cr_assert_eq(connection->state, STATE_ADMIT, "its question is under way");
    stage_be_late();
    expect_refused(REFUSAL_REDIS_UNAVAILABLE);
    stage_grant(1000000); /* for the next one */
    cr_assert_eq(connection->state, STATE_ANSWER);
}

Test(admission_step, begins_nothing_that_cannot_be_billed)
{
    ledger_set_writer_state(stage.node.ledger, LEDGER_FAILED, "a test");
    begin(get(NULL));
    expect_step_refuses(REFUSAL_JOURNAL_UNAVAILABLE);
    ledger_set_writer_state(stage.node.ledger, LEDGER_READY, "");
    ledger_set_poster_state(stage.node.ledger, LEDGER_REFUSED, "a test");
    begin(get(NULL));
    expect_step_refuses(REFUSAL_NODE_STARTING);
    ledger_set_poster_state(stage.node.ledger, LEDGER_READY, "");
    begin(get(NULL));
    expect_waits(1);
}

Test(admission_step, holds_a_link_to_its_connections)
{
    const char *head = get("\"max_conns\":1");
    begin(head);
    expect_waits(1);
    stage_grant(1000000);
    expect_admitted();
    cr_assert(exchange->in_link_quota);
    struct connection *first = connection;
    begin(head);
    expect_step_refuses(REFUSAL_LINK_CONNECTIONS);
    driver_apply(stage.worker, connection, STEP_CLOSE);
    driver_apply(stage.worker, first, STEP_CLOSE);
    begin(head);
    cr_assert_eq(stage_step(connection), STEP_NEXT, "the first has given its place back");
}

Test(admission_step, refuses_where_the_key_goes_while_redis_is_waited_for)
{
    begin(get(NULL));
    expect_waits(1);
    stage_remove_keys();
    ticks_revise(stage.worker, true);
    expect_refused(refusal_of_verdict(REFUSED_KEY_UNKNOWN));
    stage_grant(1000000); /* nobody waits for it */
}

Test(admission_step, an_answer_for_an_exchange_that_is_over_runs_nobody)
{
    begin(get(NULL));
    expect_waits(1);
    uint32_t index = connection->index;
    driver_cut(stage.worker, connection, NULL);
    begin(get(NULL));
    cr_assert_eq(connection->index, index, "it has the slot of the first");
    expect_waits(1); /* the first one's, of the same account, is still under way */
    stage_grant(1000000);
    cr_assert_eq(connection->state, STATE_ADMIT, "that was not for this link");
    ticks_look_again(stage.worker); /* but it is of its account */
    expect_admitted();
}
