/* SPDX-License-Identifier: Apache-2.0 */
/* The step BYTES: which bytes of the file are sent, or which answer without bytes there is. */
#include <stdio.h>
#include <string.h>

#include "server/link/token_cache.h"
#include "tests/unit/delivery/stage.h"

TestSuite(request_bytes, .init = stage_begin, .fini = stage_end);

static struct connection *connection;
static struct exchange *exchange;

static enum step_outcome step_on(const char *method, const char *claims, const char *fields)
{
    connection = stage_connect();
    exchange = &connection->exchange;
    enum step_outcome outcome =
        stage_run_to(connection, STATE_BYTES, stage_head(method, "/music/a.mp3", claims, fields));
    cr_assert_eq(exchange->waiting, WAIT_NONE);
    cr_assert_eq(stage_pending(connection), 0u, "it never waits");
    return outcome;
}

static void expect_bytes(unsigned status, uint64_t offset, uint64_t length)
{
    cr_expect_eq(exchange->answer, ANSWER_FILE);
    cr_expect_eq(exchange->refusal, REFUSAL_NONE);
    cr_expect_eq(exchange->status, status);
    cr_expect_eq(exchange->offset, offset);
    cr_expect_eq(exchange->left, length);
    cr_expect_eq(exchange->left_after, 0u);
    cr_expect_eq(exchange->body_length, length);
    cr_expect_null(exchange->parts);
    cr_expect_null(exchange->head, "it is not needed any more");
}

static void expect_refusal(enum refusal refusal)
{
    cr_expect_eq(exchange->answer, ANSWER_REFUSAL);
    cr_expect_eq(exchange->refusal, refusal, "%s", refusal_name(exchange->refusal));
    cr_expect_eq(exchange_need(exchange), 0u);
}

Test(request_bytes, selects_the_whole_file)
{
    cr_assert_eq(step_on("GET", NULL, NULL), STEP_NEXT);
    expect_bytes(200, 0, STAGE_LONG);
    cr_assert_eq(step_on("GET", NULL, "Range: lines=1-2\r\n"), STEP_NEXT);
    expect_bytes(200, 0, STAGE_LONG);
}

Test(request_bytes, selects_a_range)
{
    cr_assert_eq(step_on("GET", NULL, "Range: bytes=100-299\r\n"), STEP_NEXT);
    expect_bytes(206, 100, 200);
    cr_assert_eq(step_on("GET", NULL, "Range: bytes=-1\r\n"), STEP_NEXT);
    expect_bytes(206, STAGE_LONG - 1, 1);
}

Test(request_bytes, selects_several_ranges)
{
    cr_assert_eq(step_on("GET", NULL, "Range: bytes=0-9,30000-30099\r\n"), STEP_NEXT);
    cr_assert_eq(exchange->status, 206u);
    cr_assert_not_null(exchange->parts);
    cr_assert_eq(exchange->parts->count, 2u);
    cr_assert_eq(exchange->parts->next, 0u);
    cr_assert_eq(exchange->body_length, 110u);
    cr_assert_eq(exchange_need(exchange), 110u, "all of it is to be paid for");
    char first[24];
    strcpy(first, exchange->parts->boundary);
    cr_assert_eq(step_on("GET", NULL, "Range: bytes=0-9,30000-30099\r\n"), STEP_NEXT);
    cr_assert_str_neq(exchange->parts->boundary, first, "a file cannot contain it on purpose");
}

/* Of a refusal whose link is authentic STANDING asks first whether it was revoked. */
Test(request_bytes, notes_a_refusal_and_goes_on_to_the_standing_of_the_link)
{
    cr_assert_eq(step_on("GET", NULL, "Range: bytes=40000-\r\n"), STEP_NEXT);
    expect_refusal(REFUSAL_RANGE_NOT_SATISFIABLE);
    cr_assert_eq(step_on("GET", NULL, "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:01 GMT\r\n"),
                 STEP_NEXT);
    expect_refusal(REFUSAL_PRECONDITION_FAILED);
}

Test(request_bytes, answers_by_the_entity_tag)
{
    char field[100];
    stage_hash("/music/a.mp3");
    cr_assert_eq(step_on("GET", NULL, NULL), STEP_NEXT);
    cr_assert_neq(exchange->file->etag[0], '\0');
    snprintf(field, sizeof(field), "If-None-Match: %s\r\n", exchange->file->etag);
    cr_assert_eq(step_on("GET", NULL, field), STEP_NEXT);
    cr_assert_eq(exchange->answer, ANSWER_NOT_MODIFIED);
    cr_assert_eq(exchange_need(exchange), 0u);
    snprintf(field, sizeof(field), "If-Match: %s\r\n", "\"another\"");
    cr_assert_eq(step_on("GET", NULL, field), STEP_NEXT);
    expect_refusal(REFUSAL_PRECONDITION_FAILED);
}

Test(request_bytes, after_its_expiry_a_link_resumes_a_download_and_begins_none)
{
    connection = stage_connect();
    exchange = &connection->exchange;
    const char *whole = stage_head("GET", "/music/a.mp3", "\"resume\":100000", NULL);
    const char *rest =
        stage_head("GET", "/music/a.mp3", "\"resume\":100000", "Range: bytes=10-\r\n");
    const char *head_only = stage_head("HEAD", "/music/a.mp3", "\"resume\":100000", NULL);
    stage.worker->now_s += 7200;
    cr_assert_eq(stage_run_to(connection, STATE_BYTES, whole), STEP_REFUSE);
    cr_assert_eq(exchange->refusal, refusal_of_verdict(REFUSED_EXPIRED));
    exchange_end(stage.worker, connection);
    cr_assert_eq(stage_run_to(connection, STATE_BYTES, rest), STEP_NEXT);
    expect_bytes(206, 10, STAGE_LONG - 10);
    exchange_end(stage.worker, connection);
    cr_assert_eq(stage_run_to(connection, STATE_BYTES, head_only), STEP_NEXT);
}

Test(request_bytes, refuses_where_the_key_was_removed_while_the_file_was_waited_for)
{
    connection = stage_get(STATE_BYTES, "/music/a.mp3");
    exchange = &connection->exchange;
    stage_remove_keys();
    cr_assert_eq(stage_step(connection), STEP_NEXT, "LINK has just looked");
    exchange_end(stage.worker, connection);

    connection = stage_connect();
    exchange = &connection->exchange;
    stage_restore_keys();
    stage_reach(connection, STATE_FILE, stage_head("GET", "/music/late.mp3", NULL, NULL));
    cr_assert_eq(stage_step(connection), STEP_WAIT);
    stage_stop_at(STATE_BYTES);
    stage_put("/music/late.mp3", 5);
    stage_submit();
    cr_assert_eq(connection->state, STATE_BYTES);
    stage_remove_keys();
    cr_assert_eq(stage_step(connection), STEP_REFUSE);
    cr_assert_eq(exchange->refusal, refusal_of_verdict(REFUSED_KEY_UNKNOWN));
}
