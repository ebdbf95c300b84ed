/* SPDX-License-Identifier: Apache-2.0 */
/* The step ANSWER: the head of what was decided, and what the stream does not take of it. */
#include <pthread.h>
#include <string.h>

#include "server/base/waiting.h"
#include "server/delivery/inquiry.h"
#include "tests/unit/delivery/stage.h"

TestSuite(answer, .init = stage_begin, .fini = stage_end);

static struct connection *connection;
static struct exchange *exchange;

static void begin(const char *head)
{
    connection = stage_connect();
    exchange = &connection->exchange;
    stage_reach(connection, STATE_ANSWER, head);
}

static const char *get(const char *path, const char *fields)
{
    return stage_head("GET", path, NULL, fields);
}

static void expect_text(const char *beginning, const char *within)
{
    const char *text = stage_peer(connection)->text;
    cr_expect_eq(strncmp(text, beginning, strlen(beginning)), 0, "%s", text);
    cr_expect_not_null(strstr(text, within), "no %s in %s", within, text);
}

/* ---- files ---- */

Test(answer, sends_the_head_of_a_file_and_leaves_the_body_to_send)
{
    begin(get("/music/a.mp3", NULL));
    cr_assert_eq(stage_step(connection), STEP_NEXT);
    expect_text("HTTP/1.1 200 OK\r\n", "Content-Length: 40000\r\n");
    const struct stage_peer *peer = stage_peer(connection);
    cr_assert_str_eq(peer->text + peer->text_length - 4, "\r\n\r\n");
    cr_assert_eq(exchange->left, (uint64_t)STAGE_LONG);
    cr_assert_eq(exchange->waiting, WAIT_NONE);
    cr_assert_eq(connection->delivery_count, 1u);
    cr_assert_eq(connection->deliveries->start, peer->text_length);
    cr_assert_eq(connection->deliveries->handed, 0u, "a head is free");
    cr_assert_eq(connection->answers, 1u);
}

Test(answer, sends_a_small_body_with_its_head_and_pays_for_it)
{
    begin(get("/music/s.mp3", "Range: bytes=1-4\r\n"));
    cr_assert_eq(stage_step(connection), STEP_NEXT);
    expect_text("HTTP/1.1 206 Partial Content\r\n", "Content-Range: bytes 1-4/100\r\n");
    expect_text("HTTP/1.1 206 Partial Content\r\n", "\r\n\r\nbcde");
    cr_assert_eq(exchange->left, 0u);
    cr_assert_eq(exchange->claim.bytes + exchange->claim.paid, 0u);
    cr_assert_eq(connection->deliveries->handed, 4u);
    cr_assert_eq(stage_peer(connection)->calls, 1u);
}

Test(answer, sends_no_body_to_a_head_request)
{
    begin(stage_head("HEAD", "/music/a.mp3", NULL, NULL));
    cr_assert_eq(stage_step(connection), STEP_NEXT);
    expect_text("HTTP/1.1 200 OK\r\n", "Content-Length: 40000\r\n");
    cr_assert_eq(exchange_need(exchange), 0u);
    cr_assert_null(connection->deliveries);
}

Test(answer, begins_several_ranges_with_the_first_of_them)
{
    begin(get("/music/a.mp3", "Range: bytes=0-2,20000-39999\r\n"));
    cr_assert_eq(exchange_need(exchange), 20003u);
    cr_assert_eq(stage_step(connection), STEP_NEXT);
    expect_text("HTTP/1.1 206 Partial Content\r\n", "Content-Range: bytes 0-2/40000\r\n\r\nabc");
    cr_assert_eq(exchange->left, 0u);
    cr_assert_eq(exchange->left_after, 20000u);
    cr_assert_eq(exchange->parts->next, 1u);
}

/* ---- what the stream does not take ---- */

Test(answer, keeps_what_the_stream_does_not_take)
{
    const ssize_t answers[] = {-EAGAIN, -ENOBUFS, 1};
    for (unsigned i = 0; i < 3; i++) {
        begin(get("/music/s.mp3", NULL));
        STAGE_ANSWER(connection, answers[i]);
        cr_assert_eq(stage_step(connection), STEP_NEXT, "SEND waits for it");
        size_t taken = answers[i] > 0 ? 1 : 0;
        cr_assert_not_null(exchange->output);
        cr_assert_eq(exchange->output_sent, 0u);
        cr_assert_eq(exchange->output_length + taken, connection->deliveries->start + STAGE_SHORT);
        cr_assert_eq(exchange->output_head + taken, connection->deliveries->start);
        cr_assert_eq(connection->stream.sent, taken);
        cr_assert_eq(stage_pending(connection), 0u, "it waits for nothing");
    }
}

Test(answer, ends_where_the_stream_fails)
{
    begin(get("/music/s.mp3", NULL));
    STAGE_ANSWER(connection, -EPROTO);
    cr_assert_eq(stage_step(connection), STEP_CLOSE);
    begin(get("/music/s.mp3", NULL));
    STAGE_ANSWER(connection, -ECONNRESET);
    cr_assert_eq(stage_step(connection), STEP_CUT);
    cr_assert_null(exchange->why);
    cr_assert_eq(connection->deliveries->handed, 0u);
}

/* ---- without a file ---- */

Test(answer, tells_a_refusal_and_whether_the_connection_is_kept)
{
    begin("GET /music/a.mp3 HTTP/1.1\r\nHost: m\r\n\r\n");
    cr_assert_eq(stage_step(connection), STEP_NEXT);
    expect_text("HTTP/1.1 403 Forbidden\r\n", "\"reason\":\"token_missing\"");
    cr_assert(connection->keep_alive);
    begin("GET  / HTTP/1.1\r\n\r\n");
    cr_assert_eq(stage_step(connection), STEP_NEXT);
    expect_text("HTTP/1.1 400 Bad Request\r\n", "Connection: close\r\n");
    cr_assert_not(connection->keep_alive);
    cr_assert_null(connection->deliveries, "nothing is billed");
}

Test(answer, a_refusal_takes_the_place_of_several_ranges)
{
    connection = stage_connect();
    exchange = &connection->exchange;
    stage_stop_at(STATE_ANSWER);
    const char *head = get("/music/a.mp3", "Range: bytes=0-2,20000-39999\r\n");
    driver_input(stage.worker, connection, head, strlen(head));
    cr_assert_not_null(exchange->parts);
    stage_deny(LEDGER_SUSPENDED);
    cr_assert_eq(stage_step(connection), STEP_NEXT);
    expect_text("HTTP/1.1 402 ", "\"reason\":\"account_suspended\"");
    cr_assert_null(exchange->parts);
    cr_assert_eq(exchange_need(exchange), 0u);
}

Test(answer, answers_options_and_redirects)
{
    begin("OPTIONS * HTTP/1.1\r\nHost: m\r\n\r\n");
    cr_assert_eq(stage_step(connection), STEP_NEXT);
    expect_text("HTTP/1.1 204 No Content\r\n", "Allow: GET, HEAD, OPTIONS\r\n");
    stage.worker->redirects = true;
    begin("GET /x?y HTTP/1.1\r\nHost: m\r\n\r\n");
    cr_assert_eq(stage_step(connection), STEP_NEXT);
    expect_text("HTTP/1.1 308 ", "/x?y\r\n");
}

Test(answer, says_close_with_the_last_answer_of_a_connection)
{
    stage.config->requests_max = 2;
    begin(get("/music/s.mp3", NULL));
    cr_assert_eq(stage_step(connection), STEP_NEXT);
    cr_assert(connection->keep_alive);
    cr_assert_null(strstr(stage_peer(connection)->text, "Connection:"));
    cr_assert_eq(stage_step(connection), STEP_NEXT);
    cr_assert_not(connection->keep_alive);
    cr_assert_not_null(strstr(stage_peer(connection)->text, "Connection: close\r\n"));
}

/* ---- inquiries ---- */

static const char *asked_about;

static void *ask(void *refusal)
{
    return inquiry_ask(&stage.node, asked_about, strlen(asked_about), refusal) == 0 ? refusal
                                                                                    : NULL;
}

/* What an inquiry about the head is answered. */
static enum refusal inquire(const char *head)
{
    pthread_t thread;
    enum refusal refusal = REFUSAL_NODE_BUSY;
    void *answered;
    asked_about = head;
    cr_assert_eq(pthread_create(&thread, NULL, ask, &refusal), 0);
    while (atomic_load(&stage.worker->inquiries) == NULL)
        waiting_pause(1);
    events_take_inquiries(stage.worker);
    while (stage_asked() > 0)
        stage_grant(1000000);
    cr_assert_eq(pthread_join(thread, &answered), 0);
    cr_assert_not_null(answered, "it was not answered");
    return refusal;
}

Test(answer, an_inquiry_is_answered_in_place_of_a_client)
{
    const char *good = get("/music/a.mp3", NULL);
    cr_assert_eq(inquire(good), REFUSAL_NONE);
    cr_assert_eq(inquire("GET /music/a.mp3 HTTP/1.1\r\nHost: m\r\n\r\n"),
                 refusal_of_verdict(REFUSED_TOKEN_MISSING));
    cr_assert_eq(stage.worker->open_count, 0u, "its connection is over");
    cr_assert_eq(atomic_load(&stage.worker->stats.requests), 0u, "it counts as no request");
}
