/* SPDX-License-Identifier: Apache-2.0 */
/* What time does to a connection: deadlines of each state, what is owed, and the node's stop. */
#include "server/delivery/framing.h"
#include "tests/unit/delivery/stage.h"

TestSuite(ticks, .init = stage_begin, .fini = stage_end);

static struct connection *connection;

/* So much time passes, in which the worker has its ticks. */
static void pass(uint64_t ms)
{
    for (uint64_t left = ms; left > 0;) {
        uint64_t step = left < WORKER_TICK_MS ? left : WORKER_TICK_MS;
        stage_pass(step);
        ticks_run(stage.worker);
        stage_check();
        left -= step;
    }
}

/* A transfer that waits for room, of which the peer has acknowledged nothing. */
static void begin_transfer(void)
{
    connection = stage_connect();
    stage_reach(connection, STATE_SEND, stage_head("GET", "/music/a.mp3", NULL, NULL));
    stage_stop_at(STATE_CLOSE);
    STAGE_ANSWER(connection, 5000, -EAGAIN);
    driver_run(stage.worker, connection);
    cr_assert_eq(connection->exchange.waiting, WAIT_ROOM);
}

static void begin_idle(const char *text)
{
    connection = stage_connect();
    stage_stop_at(STATE_CLOSE);
    driver_run(stage.worker, connection);
    driver_input(stage.worker, connection, text, strlen(text));
    cr_assert_eq(connection->state, STATE_HEAD);
}

static void expect_ended(void)
{
    if (connection->state == STATE_CLOSE)
        stage_finish();
    cr_assert_eq(connection->state, STATE_FREE, "%s",
                 step_state_name((enum connection_state)connection->state));
}

/* ---- deadlines ---- */

Test(ticks, a_client_that_sends_nothing_is_closed)
{
    begin_idle("");
    pass(stage.config->head_timeout_ms - WORKER_TICK_MS);
    cr_assert_eq(connection->state, STATE_HEAD);
    pass(2 * WORKER_TICK_MS);
    expect_ended();
    cr_assert_eq(stage_peer(connection)->text_length, 0u);
}

Test(ticks, a_head_that_does_not_come_whole_is_answered)
{
    begin_idle("GET /music/a");
    pass(stage.config->head_timeout_ms + WORKER_TICK_MS);
    cr_assert_eq(strncmp(stage_peer(connection)->text, "HTTP/1.1 408 ", 13), 0);
    cr_assert_eq(connection->state, STATE_LINGER);
    pass(5000 + 2 * WORKER_TICK_MS);
    expect_ended();
}

Test(ticks, a_kept_connection_may_be_idle_for_longer)
{
    begin_idle("OPTIONS * HTTP/1.1\r\nHost: m\r\n\r\n");
    cr_assert_eq(connection->answers, 1u);
    pass(stage.config->idle_timeout_ms - WORKER_TICK_MS);
    cr_assert_eq(connection->state, STATE_HEAD);
    pass(2 * WORKER_TICK_MS);
    expect_ended();
}

Test(ticks, a_client_that_takes_nothing_is_cut)
{
    begin_transfer();
    pass(stage.config->stall_timeout_ms - WORKER_TICK_MS);
    cr_assert_eq(connection->state, STATE_SEND);
    uint64_t cut = atomic_load(&stage.worker->stats.transfers_cut);
    pass(3 * WORKER_TICK_MS);
    expect_ended();
    cr_assert_eq(atomic_load(&stage.worker->stats.transfers_cut), cut + 1);
}

Test(ticks, a_client_that_acknowledges_a_byte_now_and_then_is_not)
{
    begin_transfer();
    for (unsigned i = 0; i < 4; i++) {
        pass(stage.config->stall_timeout_ms - WORKER_TICK_MS);
        stage_peer(connection)->acknowledged++;
        pass(WORKER_TICK_MS);
        cr_assert_eq(connection->state, STATE_SEND);
    }
    pass(stage.config->stall_timeout_ms + 2 * WORKER_TICK_MS);
    expect_ended();
}

Test(ticks, a_client_that_takes_no_answer_without_a_body_is_cut)
{
    connection = stage_connect();
    stage_stop_at(STATE_CLOSE);
    STAGE_ANSWER(connection, 1, -EAGAIN);
    driver_input(stage.worker, connection, "OPTIONS * HTTP/1.1\r\nHost: m\r\n\r\n", 31);
    cr_assert_eq(connection->exchange.waiting, WAIT_ROOM);
    cr_assert_null(connection->deliveries);
    pass(stage.config->stall_timeout_ms - WORKER_TICK_MS);
    stage_peer(connection)->acknowledged = 1; /* its kernel takes some */
    pass(stage.config->stall_timeout_ms - WORKER_TICK_MS);
    cr_assert_eq(connection->state, STATE_SEND);
    pass(3 * WORKER_TICK_MS);
    expect_ended();
}

Test(ticks, a_slow_client_is_cut_only_where_places_are_few)
{
    begin_transfer();
    for (unsigned i = 0; i < 10; i++) {
        pass(4900);
        stage_peer(connection)->acknowledged++; /* far below rate_min_bytes_per_s */
    }
    cr_assert_eq(connection->state, STATE_SEND);
    atomic_fetch_add(&stage.node.connections, STAGE_PLACES - 2);
    for (unsigned i = 0; i < 110 && connection->state == STATE_SEND; i++) {
        stage_pass(WORKER_TICK_MS);
        ticks_run(stage.worker);
    }
    atomic_fetch_sub(&stage.node.connections, STAGE_PLACES - 2);
    expect_ended();
}

/* ---- what is owed ---- */

Test(ticks, one_that_lingers_ends_when_all_is_acknowledged_and_the_client_has_ended)
{
    connection = stage_connect();
    stage_reach(connection, STATE_LINGER,
                stage_head("GET", "/music/s.mp3", NULL, "Connection: close\r\n"));
    stage_stop_at(STATE_CLOSE);
    driver_run(stage.worker, connection);
    connection->peer_ended = true;
    pass(10000); /* its deadline does not count while something is owed */
    cr_assert_eq(connection->state, STATE_LINGER);
    stage_peer(connection)->acknowledges_all = true;
    pass(WORKER_TICK_MS);
    expect_ended();
}

Test(ticks, one_whose_socket_is_dead_ends)
{
    begin_transfer();
    stage_peer(connection)->is_dead = true;
    pass(WORKER_TICK_MS);
    expect_ended();
}

Test(ticks, one_that_closes_waits_for_what_still_arrives)
{
    begin_transfer();
    driver_apply(stage.worker, connection, STEP_CLOSE);
    stage_finish();
    cr_assert_eq(connection->state, STATE_CLOSE);
    cr_assert(connection->listed[LIST_UNMETERED]);
    stage_peer(connection)->acknowledged = 4000;
    pass(WORKER_TICK_MS);
    cr_assert_eq(connection->state, STATE_CLOSE, "some is on its way");
    stage_peer(connection)->acknowledges_all = true;
    uint64_t billed = atomic_load(&stage.worker->stats.bytes_acknowledged);
    pass(WORKER_TICK_MS);
    cr_assert_eq(connection->state, STATE_FREE);
    cr_assert_gt(atomic_load(&stage.worker->stats.bytes_acknowledged), billed);
}

Test(ticks, one_that_closes_waits_no_longer_than_its_peer_acknowledges)
{
    begin_transfer();
    driver_apply(stage.worker, connection, STEP_CLOSE);
    stage_finish();
    for (unsigned i = 1; i <= 20; i++) {
        stage_peer(connection)->acknowledged += 10;
        pass(WORKER_TICK_MS);
        cr_assert_eq(connection->state, STATE_CLOSE);
    }
    pass(1000);
    cr_assert_eq(connection->state, STATE_FREE);
}

Test(ticks, heads_that_were_held_back_go_on_when_more_is_acknowledged)
{
    static char heads[80 * 600];
    const char *head = stage_head("GET", "/music/s.mp3", NULL, NULL);
    connection = stage_connect();
    for (unsigned i = 0; i < METERING_QUEUE_MAX + 2; i++)
        strcat(heads, head);
    driver_input(stage.worker, connection, heads, strlen(heads));
    stage_grant(1000000);
    cr_assert(framing_is_held_back(connection));
    stage_peer(connection)->acknowledges_all = true;
    pass(WORKER_TICK_MS);
    cr_assert_not(framing_is_held_back(connection));
    cr_assert_eq(connection->answers, METERING_QUEUE_MAX + 2u);
}

/* ---- lists ---- */

Test(ticks, each_tick_runs_those_that_wait_for_their_rate_or_for_acknowledgements)
{
    begin_transfer();
    STAGE_ANSWER(connection, -ENOBUFS, -ENOBUFS, -ENOBUFS);
    stage_complete(connection, OPERATION_WRITABLE, 4);
    cr_assert_eq(connection->exchange.waiting, WAIT_ACKNOWLEDGED);
    for (unsigned i = 2; i <= 3; i++) {
        pass(WORKER_TICK_MS);
        cr_assert_eq(stage_peer(connection)->calls, i);
        cr_assert(connection->listed[LIST_RATED]);
    }
    pass(WORKER_TICK_MS);
    cr_assert_eq(connection->state, STATE_HEAD, "all of it is handed over");
    cr_assert_not(connection->listed[LIST_RATED]);
}

Test(ticks, the_ready_ones_have_their_turn_one_after_the_other_up_to_their_share)
{
    struct connection *ready[3];
    stage_put("/music/long.mp3", (size_t)5 << 19);
    for (unsigned i = 0; i < 3; i++) {
        ready[i] = stage_get(STATE_SEND, "/music/long.mp3");
        stage_stop_at(STATE_CLOSE);
        driver_run(stage.worker, ready[i]);
        cr_assert_eq(ready[i]->exchange.waiting, WAIT_TURN);
    }
    ticks_run_ready(stage.worker, 1);
    cr_assert_eq(ready[0]->state, STATE_HEAD);
    cr_assert_eq(ready[1]->exchange.waiting, WAIT_TURN);
    ticks_run_ready(stage.worker, UINT64_MAX);
    cr_assert_eq(ready[1]->state, STATE_HEAD);
    cr_assert_eq(ready[2]->state, STATE_HEAD);
    cr_assert_null(stage.worker->ready.first);
}

/* ---- the node's stop ---- */

Test(ticks, a_node_that_stops_closes_idle_connections_and_lets_transfers_end)
{
    struct connection *transfer, *new_one;
    begin_transfer();
    transfer = connection;
    begin_idle("");
    new_one = connection;
    begin_idle("OPTIONS * HTTP/1.1\r\nHost: m\r\n\r\n");
    stage.worker->stopping = true;
    stage.worker->stopped_ms = stage.worker->now_ms;
    ticks_stop_idle(stage.worker);
    expect_ended();
    cr_assert_eq(new_one->state, STATE_HEAD, "its first head may be on its way");
    pass(1100);
    cr_assert_not(driver_is_open(new_one));
    cr_assert_eq(transfer->state, STATE_SEND);
    stage_peer(transfer)->acknowledges_all = true;
    driver_run(stage.worker, transfer);
    cr_assert_eq(transfer->state, STATE_LINGER, "no further request is read");
    stage.worker->stopping = false;
}

Test(ticks, a_node_that_stops_cuts_what_is_left_in_the_end)
{
    begin_transfer();
    struct connection *closing = connection;
    driver_apply(stage.worker, closing, STEP_CLOSE);
    begin_transfer();
    ticks_cut_all(stage.worker);
    stage_finish();
    cr_assert_eq(stage.worker->open_count, 0u);
    cr_assert_eq(atomic_load(&stage.worker->cut_at_stop), 1u, "the other one was closing already");
}
