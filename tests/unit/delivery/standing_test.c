/* SPDX-License-Identifier: Apache-2.0 */
/* The step STANDING: of an answer without bytes, whether its link was revoked; Redis is asked once. */
#include "server/link/token_cache.h"
#include "tests/unit/delivery/stage.h"

TestSuite(standing, .init = stage_begin, .fini = stage_end);

static struct connection *connection;
static struct exchange *exchange;
static const char *head;

/* A request that has come to the step, on a new connection. */
static void begin(const char *text)
{
    connection = stage_connect();
    exchange = &connection->exchange;
    stage_stop_at(STATE_STANDING);
    driver_input(stage.worker, connection, text, strlen(text));
    cr_assert_eq(connection->state, STATE_STANDING);
    stage_stop_at(STATE_ADMIT); /* so that the driver goes on as far when Redis has answered */
}

static void begin_head(void)
{
    head = stage_head("HEAD", "/music/a.mp3", NULL, NULL);
    begin(head);
}

static void expect_asks(unsigned questions)
{
    cr_expect_eq(stage_step(connection), STEP_WAIT);
    cr_expect_eq(exchange->waiting, WAIT_STANDING);
    cr_expect_eq(stage_asked(), questions);
    cr_expect_not(connection->listed[LIST_PARKED], "it takes no grant");
}

Test(standing, asks_nothing_where_bytes_are_sent)
{
    begin(stage_head("GET", "/music/a.mp3", NULL, NULL));
    cr_assert_eq(stage_step(connection), STEP_NEXT);
    cr_assert_eq(stage_asked(), 0u);
}

Test(standing, asks_redis_of_an_answer_without_bytes_and_goes_on)
{
    begin_head();
    expect_asks(1);
    stage_grant(0);
    cr_assert_eq(connection->state, STATE_ADMIT);
    cr_assert_eq(exchange->waiting, WAIT_NONE);
    cr_assert_not(exchange->standing_unknown);
    cr_assert_null(exchange->window);
}

Test(standing, remembers_the_answer_until_more_is_heard)
{
    begin_head();
    expect_asks(1);
    stage_grant(0);
    begin(head);
    cr_assert_eq(stage_step(connection), STEP_NEXT, "it is known");
    cr_assert_eq(stage_asked(), 0u);
    stage_hear(1);
    begin(head);
    expect_asks(1);
    stage_grant(0);
    stage_pass(stage.config->grant_validity_ms);
    begin(head);
    expect_asks(1);
}

Test(standing, refuses_a_link_that_was_revoked_for_good)
{
    begin_head();
    expect_asks(1);
    stage_deny(LEDGER_REVOKED);
    cr_assert_eq(connection->state, STATE_ANSWER);
    cr_assert_eq(exchange->refusal, REFUSAL_LINK_REVOKED);
    cr_assert(exchange->link->revoked);
    begin(head);
    cr_assert_eq(stage_step(connection), STEP_REFUSE);
    cr_assert_eq(stage_asked(), 0u);
}

Test(standing, goes_on_without_redis_and_says_that_it_knows_nothing)
{
    stage_redis(false);
    begin_head();
    cr_assert_eq(stage_step(connection), STEP_NEXT);
    cr_assert(exchange->standing_unknown);
    stage_redis(true);
    begin(head);
    expect_asks(1);
    stage_redis(false); /* and its answer with it */
    cr_assert_eq(connection->state, STATE_ADMIT);
    cr_assert(exchange->standing_unknown);
}

Test(standing, waits_for_redis_as_long_as_admission_does)
{
    begin_head();
    expect_asks(1);
    stage_be_late();
    cr_assert_eq(connection->state, STATE_ADMIT);
    cr_assert(exchange->standing_unknown);
    driver_cut(stage.worker, connection, NULL);
    stage_deny(LEDGER_REVOKED); /* nobody waits for it, but it is news */
    begin(head);
    cr_assert_eq(stage_step(connection), STEP_REFUSE);
}

Test(standing, asks_again_where_a_revocation_has_overtaken_the_answer)
{
    begin_head();
    expect_asks(1);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(connection->state, STATE_STANDING, "answer %u", i);
        stage_hear(i + 1);
        stage_grant_as_of(i); /* as Redis was before */
    }
    cr_assert_eq(connection->state, STATE_ADMIT, "it does not ask for ever");
    cr_assert(exchange->standing_unknown);
    cr_assert_eq(stage_asked(), 0u);
}

Test(standing, an_answer_for_an_exchange_that_is_over_runs_nobody)
{
    begin_head();
    expect_asks(1);
    uint32_t index = connection->index;
    driver_cut(stage.worker, connection, NULL);
    begin(head); /* in the same slot */
    cr_assert_eq(connection->index, index);
    stage_grant(0);
    cr_assert_eq(connection->state, STATE_STANDING);
    cr_assert_eq(stage_step(connection), STEP_NEXT, "but what it says is known");
}

Test(standing, lets_the_answer_without_bytes_through)
{
    begin(stage_head("GET", "/music/a.mp3", NULL, "Range: bytes=40000-\r\n"));
    expect_asks(1);
    stage_grant(0);
    cr_assert_eq(connection->state, STATE_ANSWER);
    cr_assert_eq(exchange->refusal, REFUSAL_RANGE_NOT_SATISFIABLE);
    begin(stage_head("GET", "/music/a.mp3", NULL, "Range: bytes=40000-\r\n"));
    expect_asks(1);
    stage_deny(LEDGER_REVOKED);
    cr_assert_eq(exchange->refusal, REFUSAL_LINK_REVOKED, "which comes first");
    begin(stage_head("GET", "/music/a.mp3", NULL, NULL));
    exchange->answer = ANSWER_NOT_MODIFIED;
    expect_asks(1);
    stage_grant(0);
    cr_assert_eq(connection->state, STATE_ANSWER);
    cr_assert_eq(exchange->answer, ANSWER_NOT_MODIFIED);
}
