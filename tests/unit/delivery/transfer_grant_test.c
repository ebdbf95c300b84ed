/* SPDX-License-Identifier: Apache-2.0 */
/* What SEND asks before it sends on: the validity of its grant, its rate, the journal; and where a
 * transfer stands once it waits for another thing than before. */
#include "server/delivery/transfer.h"
#include "storage/ledger/ledger_internal.h"
#include "tests/unit/delivery/stage.h"

TestSuite(transfer_grant, .init = stage_begin, .fini = stage_end);

static struct connection *connection;
static struct exchange *exchange;

static void begin(const char *claims)
{
    connection = stage_connect();
    exchange = &connection->exchange;
    stage_reach(connection, STATE_SEND, stage_head("GET", "/music/a.mp3", claims, NULL));
    stage_stop_at(STATE_LINGER); /* the driver runs SEND when Redis has answered */
}

static void expect_waits(enum step_outcome outcome, enum wait wait)
{
    cr_expect_eq(outcome, STEP_WAIT, "%s", step_outcome_name(outcome));
    cr_expect_eq(exchange->waiting, wait, "it waits for %s",
                 step_wait_text((enum wait)exchange->waiting));
}

Test(transfer_grant, asks_where_a_revocation_was_heard_and_goes_on_with_the_grant)
{
    begin(NULL);
    stage_hear(1);
    expect_waits(stage_step(connection), WAIT_GRANT);
    cr_assert(connection->listed[LIST_PARKED]);
    cr_assert_eq(stage_asked(), 1u);
    cr_assert_eq(stage_peer(connection)->body, 0u, "no byte goes out before the answer");
    stage_grant(1000000);
    cr_assert_eq(stage_peer(connection)->body, (uint64_t)STAGE_LONG);
    cr_assert_eq(connection->state, STATE_HEAD);
    cr_assert_not(connection->listed[LIST_PARKED]);
}

Test(transfer_grant, is_cut_where_the_answer_is_that_it_was_revoked)
{
    begin(NULL);
    stage_hear(1);
    expect_waits(stage_step(connection), WAIT_GRANT);
    uint64_t cut = atomic_load(&stage.worker->stats.transfers_cut);
    stage_deny(LEDGER_REVOKED);
    cr_assert_not(driver_is_open(connection));
    cr_assert_eq(stage_peer(connection)->body, 0u);
    cr_assert_eq(atomic_load(&stage.worker->stats.transfers_cut), cut + 1);
}

Test(transfer_grant, waits_without_redis_until_its_validity_ends)
{
    begin(NULL);
    stage_redis(false);
    stage_hear(1);
    expect_waits(stage_step(connection), WAIT_GRANT);
    stage_pass(stage.config->grant_validity_ms - 1);
    expect_waits(stage_step(connection), WAIT_GRANT);
    stage_pass(1);
    cr_assert_eq(stage_step(connection), STEP_CUT);
    cr_assert_str_eq(exchange->why, refusal_text(REFUSAL_REDIS_UNAVAILABLE));
    cr_assert_not(connection->listed[LIST_PARKED]);
}

Test(transfer_grant, sends_nothing_that_the_journal_cannot_bill)
{
    begin(NULL);
    ledger_set_writer_state(stage.node.ledger, LEDGER_EXHAUSTED, "a test");
    cr_assert_eq(stage_step(connection), STEP_CUT);
    cr_assert_not_null(strstr(exchange->why, "journal"));
    cr_assert_eq(stage_peer(connection)->body, 0u);
    ledger_set_writer_state(stage.node.ledger, LEDGER_READY, "");
}

Test(transfer_grant, waits_for_its_rate)
{
    begin("\"rate\":10000");
    expect_waits(stage_step(connection), WAIT_RATE);
    uint64_t sent = stage_peer(connection)->body;
    cr_assert_lt(sent, (uint64_t)STAGE_LONG);
    cr_assert(connection->listed[LIST_RATED]);
    cr_assert_eq(exchange->claim.paid, 0u);
    stage_pass(1000);
    expect_waits(stage_step(connection), WAIT_RATE);
    cr_assert_gt(stage_peer(connection)->body, sent);
    cr_assert_leq(stage_peer(connection)->body, sent + 11000);
}

/* ---- what was granted changes while it waits for something else ---- */

Test(transfer_grant, asks_at_once_where_a_revocation_is_heard_while_it_waits_for_room)
{
    begin(NULL);
    STAGE_ANSWER(connection, -EAGAIN);
    expect_waits(stage_step(connection), WAIT_ROOM);
    cr_assert_eq(transfer_revise(stage.worker, connection), STEP_WAIT);
    cr_assert_eq(exchange->waiting, WAIT_ROOM, "nothing has changed");
    stage_hear(1);
    expect_waits(transfer_revise(stage.worker, connection), WAIT_GRANT);
    cr_assert(connection->listed[LIST_PARKED]);
    stage_complete(connection, OPERATION_WRITABLE, 4);
    expect_waits(STEP_WAIT, WAIT_GRANT); /* the room runs it no more */
}

Test(transfer_grant, leaves_the_list_of_the_rated_where_it_waits_for_something_else)
{
    begin("\"rate\":10000");
    expect_waits(stage_step(connection), WAIT_RATE);
    cr_assert(connection->listed[LIST_RATED]);
    stage_hear(1);
    expect_waits(transfer_revise(stage.worker, connection), WAIT_GRANT);
    cr_assert(connection->listed[LIST_PARKED]);
    cr_assert_not(connection->listed[LIST_RATED], "the tick would run what it comes to");
}

Test(transfer_grant, is_cut_where_the_key_of_its_link_is_removed)
{
    begin(NULL);
    STAGE_ANSWER(connection, -EAGAIN);
    expect_waits(stage_step(connection), WAIT_ROOM);
    stage_remove_keys();
    ticks_revise(stage.worker, true);
    cr_assert_not(driver_is_open(connection));
}
