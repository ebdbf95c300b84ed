/* SPDX-License-Identifier: Apache-2.0 */
/* The step HEAD: the next head in what a client has sent, what it waits for, how long, and why a head
 * is refused before anything is asked of it. */
#include "server/delivery/framing.h"

#include <string.h>

#include "server/http/http_content.h"
#include "tests/unit/delivery/stage.h"

TestSuite(framing, .init = stage_begin, .fini = stage_end);

#define GET "GET /a HTTP/1.1\r\nHost: m\r\n\r\n"

static struct connection *connection;
static struct exchange *exchange;

/* A new connection, whose client has sent this. */
static enum step_outcome step_on(const char *text)
{
    connection = stage_connect();
    exchange = &connection->exchange;
    stage_feed(connection, text);
    return stage_step(connection);
}

static void expect_refused(enum step_outcome outcome, enum refusal refusal)
{
    cr_expect_eq(outcome, STEP_REFUSE, "%s", step_outcome_name(outcome));
    cr_expect_eq(exchange->refusal, refusal, "%s", refusal_name(exchange->refusal));
    cr_expect_eq(connection->unread_length, 0u, "nothing more is read of it");
    cr_expect_not(connection->keep_alive);
}

/* ---- whole heads ---- */

Test(framing, takes_one_head_and_leaves_the_next)
{
    cr_assert_eq(step_on(GET "HEAD /b HTTP/1.1\r\nHost: m\r\n\r\n"), STEP_NEXT);
    cr_assert_eq(exchange->head, &stage.worker->head);
    cr_assert_eq(exchange->head->method, HTTP_GET);
    cr_assert(connection->keep_alive);
    cr_assert_eq(strncmp(connection->unread, "HEAD /b", 7), 0);
    exchange->head = NULL;
    cr_assert_eq(stage_step(connection), STEP_NEXT);
    cr_assert_eq(exchange->head->method, HTTP_HEAD);
    cr_assert_eq(connection->unread_length, 0u);
    cr_assert_eq(stage_pending(connection), 0u, "nothing is received while it goes on");
}

Test(framing, keeps_the_connection_as_the_head_says)
{
    static const struct {
        const char *head;
        bool keep_alive, is_http_1_0;
    } rows[] = {
        {GET, true, false},
        {"GET /a HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n", false, false},
        {"GET /a HTTP/1.0\r\n\r\n", false, true},
        {"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, true},
        /* Its content would be taken for the next head. */
        {"POST /a HTTP/1.1\r\nHost: m\r\nContent-Length: 3\r\n\r\nabc", false, false},
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_assert_eq(step_on(rows[i].head), STEP_NEXT, "row %u", i);
        cr_expect_eq(connection->keep_alive, rows[i].keep_alive, "row %u", i);
        cr_expect_eq(connection->is_http_1_0, rows[i].is_http_1_0, "row %u", i);
    }
}

Test(framing, a_head_that_is_kept_outlives_what_it_was_read_from)
{
    char text[] = "GET /path?query HTTP/1.1\r\nHost: m\r\nRange: bytes=1-2\r\n\r\nGET";
    cr_assert_eq(step_on(text), STEP_NEXT);
    cr_assert_eq(framing_keep_head(connection), 0);
    cr_assert_eq(framing_keep_head(connection), 0, "once is enough");
    memset(text, 'x', sizeof(text) - 1);
    stage.worker->head = (struct http_head){0};
    cr_assert_eq(exchange->head->target.length, strlen("/path?query"));
    cr_assert_eq(memcmp(exchange->head->target.data, "/path?query", 11), 0);
    cr_assert_eq(memcmp(exchange->head->range.data, "bytes=1-2", 9), 0);
}

/* ---- what it waits for ---- */

Test(framing, waits_for_the_rest_of_a_head)
{
    cr_assert_eq(step_on("GET /a HTT"), STEP_WAIT);
    cr_assert_eq(exchange->waiting, WAIT_HEAD);
    cr_assert_eq(connection->unread_length, 10u, "nothing is taken of a part");
    cr_assert(connection->receiving);
    cr_assert_eq(connection->deadline_ms, STAGE_NOW_MS + stage.config->head_timeout_ms);
    stage_pass(5000);
    cr_assert_eq(stage_step(connection), STEP_WAIT);
    cr_assert_eq(connection->deadline_ms, STAGE_NOW_MS + stage.config->head_timeout_ms,
                 "further bytes do not prolong its time");
    cr_assert_eq(stage_pending(connection), 1u, "it receives once");
}

Test(framing, a_client_has_until_its_first_head_from_the_accept_and_then_from_its_first_byte)
{
    cr_assert_eq(step_on(""), STEP_WAIT);
    cr_assert_eq(connection->deadline_ms, STAGE_NOW_MS + stage.config->head_timeout_ms);
    connection->answers = 1;
    stage_pass(100);
    cr_assert_eq(stage_step(connection), STEP_WAIT);
    cr_assert_eq(connection->deadline_ms, STAGE_NOW_MS + 100 + stage.config->idle_timeout_ms);
    stage_pass(100);
    stage_feed(connection, "G");
    cr_assert_eq(stage_step(connection), STEP_WAIT);
    cr_assert_eq(connection->deadline_ms, STAGE_NOW_MS + 200 + stage.config->head_timeout_ms);
}

Test(framing, ends_where_the_peer_has_ended_its_side)
{
    connection = stage_connect();
    connection->keep_alive = connection->peer_ended = true;
    stage_feed(connection, "GET /a HTT");
    cr_assert_eq(stage_step(connection), STEP_DONE);
    cr_assert_not(connection->keep_alive, "so that it lingers");
    cr_assert_eq(stage_pending(connection), 0u);
}

/* ---- refusals ---- */

Test(framing, refuses_what_is_not_a_head)
{
    expect_refused(step_on("GET  /a HTTP/1.1\r\n\r\n" GET), REFUSAL_HEAD_MALFORMED);
    expect_refused(step_on("GET /a HTTP/1.1\r\nHost: m\r\nA : b\r\n\r\n"), REFUSAL_HEAD_MALFORMED);
}

Test(framing, refuses_a_head_that_is_too_large_whole_or_not)
{
    static char text[65536];
    size_t length = (size_t)snprintf(text, sizeof(text), "GET /a HTTP/1.1\r\nHost: m\r\nA: ");
    memset(text + length, 'a', stage.config->head_bytes_max);
    expect_refused(step_on(text), REFUSAL_HEAD_TOO_LARGE);
    strcat(text, "\r\n\r\n");
    expect_refused(step_on(text), REFUSAL_HEAD_TOO_LARGE);
}

Test(framing, says_to_plain_http_that_tls_is_spoken_and_nothing_to_others)
{
    connection = stage_connect();
    exchange = &connection->exchange;
    connection->unencrypted = true;
    stage_feed(connection, "GET /a HTTP/1.1\r\nA : b\r\n\r\n");
    expect_refused(stage_step(connection), REFUSAL_PLAIN_HTTP);
    stage_feed(connection, "\x05\x01\x02 /a\r\n\r\n");
    cr_assert_eq(stage_step(connection), STEP_CLOSE);
    stage_feed(connection, GET);
    cr_assert_eq(stage_step(connection), STEP_NEXT, "LINK refuses it, or redirects it");
    cr_assert_not(connection->keep_alive);
}

/* ---- a proxy's header ---- */

Test(framing, reads_the_header_of_a_proxy_before_the_first_head)
{
    static const char header[] = "PROXY TCP4 192.0.2.77 192.0.2.1 4711 80\r\n";
    char address[CLIENT_ADDRESS_TEXT], both[200];
    connection = stage_connect();
    exchange = &connection->exchange;
    connection->expects_proxy = true;
    stage_feed(connection, "PROXY TCP4 192");
    cr_assert_eq(stage_step(connection), STEP_WAIT);
    cr_assert_eq(exchange->waiting, WAIT_HEAD);
    cr_assert(connection->expects_proxy);
    snprintf(both, sizeof(both), "%s%s", header, GET);
    stage_feed(connection, both);
    cr_assert_eq(stage_step(connection), STEP_NEXT);
    cr_assert_eq(exchange->head->method, HTTP_GET);
    client_address_write(&connection->client, address);
    cr_assert_str_eq(address, "192.0.2.77:4711");
    cr_assert(connection->counted && connection->introduced && !connection->expects_proxy);
}

Test(framing, refuses_a_proxy_that_does_not_say_whom_it_speaks_for)
{
    connection = stage_connect();
    exchange = &connection->exchange;
    connection->expects_proxy = true;
    stage_feed(connection, GET);
    expect_refused(stage_step(connection), REFUSAL_PROXY_HEADER_MISSING);
}

/* ---- too many deliveries ---- */

/* A client that has pipelined more heads than it may have deliveries, and acknowledged nothing. */
static void pipeline(void)
{
    static char heads[80 * 600];
    const char *head = stage_head("GET", "/music/s.mp3", NULL, NULL);
    for (unsigned i = 0; i < METERING_QUEUE_MAX + 5; i++)
        strcat(heads, head);
    connection = stage_connect();
    exchange = &connection->exchange;
    driver_input(stage.worker, connection, heads, strlen(heads));
    stage_grant(1000000);
}

Test(framing, holds_heads_back_until_enough_is_acknowledged)
{
    pipeline();
    cr_assert_eq(connection->delivery_count, METERING_QUEUE_MAX);
    cr_assert(framing_is_held_back(connection));
    cr_assert_eq(connection->answers, METERING_QUEUE_MAX);
    cr_assert_eq(framing_late(stage.worker, connection), STEP_WAIT, "the stall timeout applies");
    driver_run(stage.worker, connection);
    cr_assert(framing_is_held_back(connection));
    stage_peer(connection)->acknowledged = connection->deliveries->start + STAGE_SHORT;
    driver_run(stage.worker, connection);
    cr_assert(framing_is_held_back(connection));
    cr_assert_eq(connection->answers, METERING_QUEUE_MAX + 1u, "one more was acknowledged");
    stage_peer(connection)->acknowledges_all = true;
    driver_run(stage.worker, connection);
    cr_assert_not(framing_is_held_back(connection));
    cr_assert_eq(connection->answers, METERING_QUEUE_MAX + 5u);
    cr_assert_eq(connection->input_length, 0u);
}

/* ---- late ---- */

static enum step_outcome late_after(const char *text)
{
    connection = stage_connect();
    exchange = &connection->exchange;
    driver_input(stage.worker, connection, text, strlen(text));
    return framing_late(stage.worker, connection);
}

Test(framing, answers_a_head_that_is_late)
{
    expect_refused(late_after("GET /a HT"), REFUSAL_HEAD_TIMEOUT);
}

Test(framing, closes_where_nothing_has_come)
{
    connection = stage_connect();
    driver_run(stage.worker, connection);
    cr_assert_eq(framing_late(stage.worker, connection), STEP_CLOSE);
}

Test(framing, does_not_close_while_bytes_are_owed)
{
    connection = stage_get(STATE_SEND, "/music/s.mp3");
    stage_stop_at(STATE_LINGER);
    driver_run(stage.worker, connection);
    cr_assert_eq(connection->state, STATE_HEAD);
    cr_assert_not_null(connection->deliveries);
    cr_assert_eq(framing_late(stage.worker, connection), STEP_WAIT);
    stage_peer(connection)->acknowledges_all = true;
    cr_assert_not(metering_read(stage.worker, connection));
    cr_assert_eq(framing_late(stage.worker, connection), STEP_CLOSE);
}

Test(framing, closes_on_a_proxy_whose_header_is_late)
{
    connection = stage_connect();
    connection->expects_proxy = true;
    driver_input(stage.worker, connection, "PROXY TC", 8);
    cr_assert_eq(framing_late(stage.worker, connection), STEP_CLOSE);
}
