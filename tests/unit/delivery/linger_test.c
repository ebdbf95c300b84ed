/* SPDX-License-Identifier: Apache-2.0 */
/* The step LINGER: our side is shut once, and the connection ends when the client has ended its side
 * and nothing is owed any more. */
#include "tests/unit/delivery/stage.h"

#define LINGERS_MS 5000

TestSuite(linger, .init = stage_begin, .fini = stage_end);

/* A connection whose one response was handed over. */
static struct connection *begin(void)
{
    struct connection *connection = stage_connect();
    stage_reach(connection, STATE_LINGER,
                stage_head("GET", "/music/s.mp3", NULL, "Connection: close\r\n"));
    cr_assert_not_null(connection->deliveries);
    cr_assert_eq(connection->exchange.waiting, WAIT_NONE);
    return connection;
}

Test(linger, ends_its_side_once_and_waits_for_the_peer)
{
    struct connection *connection = begin();
    cr_assert_eq(stage_step(connection), STEP_WAIT);
    cr_assert_eq(connection->exchange.waiting, WAIT_PEER);
    cr_assert_eq(connection->deadline_ms, STAGE_NOW_MS + LINGERS_MS);
    stage_pass(1000);
    cr_assert_eq(stage_step(connection), STEP_WAIT);
    cr_assert_eq(stage_peer(connection)->ended, 1u);
    cr_assert_eq(connection->deadline_ms, STAGE_NOW_MS + LINGERS_MS, "it does not move");
}

Test(linger, waits_for_what_is_owed_where_the_peer_has_ended)
{
    struct connection *connection = begin();
    connection->peer_ended = true;
    cr_assert_eq(stage_step(connection), STEP_WAIT);
    cr_assert_eq(stage_peer(connection)->ended, 0u,
                 "a peer that is gone would answer with a reset");
    stage_peer(connection)->acknowledged = connection->stream.sent - 1;
    cr_assert_eq(stage_step(connection), STEP_WAIT);
    cr_assert_eq(connection->deliveries->acknowledged, (uint64_t)STAGE_SHORT - 1);
    stage_peer(connection)->acknowledges_all = true;
    cr_assert_eq(stage_step(connection), STEP_CLOSE);
    cr_assert_null(connection->deliveries, "all was acknowledged, so all is billed");
    cr_assert_not(connection->listed[LIST_UNMETERED]);
}

Test(linger, waits_for_the_peer_where_nothing_is_owed)
{
    struct connection *connection = begin();
    stage_peer(connection)->acknowledges_all = true;
    cr_assert_eq(stage_step(connection), STEP_WAIT);
    cr_assert_null(connection->deliveries);
    cr_assert_eq(connection->exchange.waiting, WAIT_PEER);
    connection->peer_ended = true;
    cr_assert_eq(stage_step(connection), STEP_CLOSE);
}

Test(linger, needs_not_shut_its_side_where_both_have_ended)
{
    struct connection *connection = begin();
    stage_peer(connection)->acknowledges_all = true;
    connection->peer_ended = true;
    cr_assert_eq(stage_step(connection), STEP_CLOSE);
    cr_assert_eq(stage_peer(connection)->ended, 0u, "the driver ends the session as it closes");
}

Test(linger, waits_no_more_where_nothing_can_be_acknowledged)
{
    struct connection *connection = begin();
    connection->peer_ended = true;
    stage_peer(connection)->is_dead = true;
    cr_assert_eq(stage_step(connection), STEP_CLOSE);
    connection = begin();
    connection->peer_ended = true;
    stage_peer(connection)->measure = -EIO;
    cr_assert_eq(stage_step(connection), STEP_CLOSE, "acknowledgements cannot be read");
}
