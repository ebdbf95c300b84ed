/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a client that wait: in order, within bounds, and accounted for. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/delivery/stage.h"

TestSuite(connection_input, .init = stage_begin, .fini = stage_end);

static struct connection *connection;

static void append(const char *text)
{
    cr_assert(connection_input_append(stage.worker, connection, text, strlen(text)));
}

static void expect_input(const char *text)
{
    cr_expect_eq(connection->input_length, strlen(text));
    cr_expect_eq(memcmp(connection->input, text, strlen(text)), 0);
    cr_expect_eq(stage.worker->input_bytes, connection->input_size);
}

Test(connection_input, keeps_bytes_in_their_order)
{
    connection = stage_connect();
    cr_assert_null(connection->input, "an idle connection has no buffer");
    append("GET ");
    append("/a");
    expect_input("GET /a");
    connection_input_drop(stage.worker, connection, 4);
    expect_input("/a");
    append(" HTTP");
    expect_input("/a HTTP");
    connection_input_drop(stage.worker, connection, 7);
    cr_assert_null(connection->input);
    cr_assert_eq(stage.worker->input_bytes, 0u);
}

Test(connection_input, grows_as_it_must)
{
    static char bytes[5000];
    connection = stage_connect();
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 7);
    for (unsigned at = 0; at < sizeof(bytes); at += 100)
        cr_assert(connection_input_append(stage.worker, connection, bytes + at, 100));
    cr_assert_eq(connection->input_length, sizeof(bytes));
    cr_assert_eq(memcmp(connection->input, bytes, sizeof(bytes)), 0);
    cr_assert_geq(connection->input_size, sizeof(bytes));
    cr_assert_eq(stage.worker->input_bytes, connection->input_size);
}

Test(connection_input, takes_no_more_than_all_connections_may_have)
{
    connection = stage_connect();
    append("GET ");
    size_t before = stage.worker->input_bytes;
    stage.worker->input_bytes += WORKER_INPUT_MAX - before;
    append("fits"); /* in what is allocated */
    static const char bytes[2000];
    cr_assert_not(connection_input_append(stage.worker, connection, bytes, sizeof(bytes)));
    cr_assert_eq(connection->input_length, 8u, "what was there is kept");
    stage.worker->input_bytes -= WORKER_INPUT_MAX - before;
    expect_input("GET fits");
}

/* The driver cuts the client that would exceed the bound. */
Test(connection_input, the_client_that_would_exceed_the_bound_is_cut)
{
    connection = stage_get(STATE_SEND, "/music/a.mp3");
    stage.worker->input_bytes = WORKER_INPUT_MAX;
    driver_input(stage.worker, connection, "GET", 3);
    cr_assert_not(driver_is_open(connection));
    stage.worker->input_bytes = 0;
}

Test(connection_input, has_enough_past_the_longest_head)
{
    connection = stage_connect();
    char *bytes = calloc(1, stage.config->head_bytes_max + 1);
    cr_assert_not_null(bytes);
    cr_assert(
        connection_input_append(stage.worker, connection, bytes, stage.config->head_bytes_max));
    cr_assert_not(connection_has_input_enough(stage.worker, connection));
    cr_assert(connection_input_append(stage.worker, connection, bytes, 1));
    cr_assert(connection_has_input_enough(stage.worker, connection));
    free(bytes);
}

Test(connection_input, a_client_that_sends_faster_than_it_is_answered_is_paused)
{
    static const char bytes[4000];
    connection = stage_connect();
    driver_run(stage.worker, connection);
    cr_assert(stage_has(connection, OPERATION_RECEIVE));
    const char *head = stage_head("GET", "/music/a.mp3", NULL, NULL);
    stage_stop_at(STATE_SEND);
    stage_receive(connection, head, strlen(head));
    stage_grant(1000000);
    cr_assert_eq(connection->state, STATE_SEND);
    for (unsigned i = 0; i < 5; i++) {
        cr_assert_not(connection->receive_pausing);
        stage_receive(connection, bytes, sizeof(bytes));
    }
    cr_assert(connection->receive_pausing);
    stage_complete(connection, OPERATION_RECEIVE, -ECANCELED);
    cr_assert_not(connection->receiving, "as long as so much waits");
    cr_assert(driver_is_open(connection));
}
