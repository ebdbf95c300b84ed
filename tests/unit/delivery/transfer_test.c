/* SPDX-License-Identifier: Apache-2.0 */
/* The step SEND: what the stream takes of a body, what it is waited for, and why it is cut. */
#include "server/delivery/transfer.h"
#include "server/http/refusal.h"
#include "storage/ledger/ledger_internal.h"
#include "tests/unit/delivery/stage.h"

TestSuite(transfer, .init = stage_begin, .fini = stage_end);

static struct connection *begin(void)
{
    return stage_get(STATE_SEND, "/music/a.mp3");
}

/* What the exchange has paid for and not handed over is claimed again, so that nothing is lost. */
static void expect_left(const struct connection *connection, uint64_t left)
{
    const struct exchange *exchange = &connection->exchange;
    cr_expect_eq(exchange->left, left);
    cr_expect_eq(exchange->offset, STAGE_LONG - left);
    cr_expect_eq(exchange->claim.bytes, left);
    cr_expect_eq(exchange->claim.paid, 0u);
    cr_expect_eq(connection->deliveries_last->handed, STAGE_LONG - left);
    cr_expect_eq(stage_peer(connection)->body, STAGE_LONG - left);
}

static void expect_waits(const struct connection *connection, enum step_outcome outcome,
                         enum wait wait)
{
    cr_expect_eq(outcome, STEP_WAIT, "%s", step_outcome_name(outcome));
    cr_expect_eq(connection->exchange.waiting, wait, "it waits for %s",
                 step_wait_text((enum wait)connection->exchange.waiting));
}

static void expect_cut(const struct connection *connection, enum step_outcome outcome,
                       const char *why)
{
    cr_expect_eq(outcome, STEP_CUT, "%s", step_outcome_name(outcome));
    cr_assert_not_null(connection->exchange.why);
    cr_expect_str_eq(connection->exchange.why, why);
}

/* ---- what the stream takes ---- */

Test(transfer, hands_the_whole_body_over_in_chunks_of_the_stream)
{
    struct connection *connection = begin();
    cr_assert_eq(stage_peer(connection)->body, 0u);
    cr_assert_eq(stage_step(connection), STEP_DONE);
    expect_left(connection, 0);
    cr_assert_eq(stage_peer(connection)->calls, 1u + 3u, "the head and three chunks");
    cr_assert(connection->deliveries_last->done);
    cr_assert(connection->listed[LIST_UNMETERED]);
    cr_assert(connection->stream.is_owed);
}

Test(transfer, goes_on_where_the_stream_takes_one_byte)
{
    struct connection *connection = begin();
    STAGE_ANSWER(connection, 1, 1, 1, 1);
    cr_assert_eq(stage_step(connection), STEP_DONE);
    expect_left(connection, 0);
    cr_assert_eq(stage_peer(connection)->from, 0u);
    cr_assert_eq(stage_peer(connection)->calls, 4u + 3u);
}

Test(transfer, sends_the_range_that_was_asked_for)
{
    struct connection *connection = stage_connect();
    stage_reach(connection, STATE_SEND,
                stage_head("GET", "/music/a.mp3", NULL, "Range: bytes=100-20099\r\n"));
    cr_assert_eq(stage_step(connection), STEP_DONE);
    cr_assert_eq(stage_peer(connection)->from, 100u);
    cr_assert_eq(stage_peer(connection)->body, 20000u);
}

Test(transfer, waits_for_room_where_the_socket_is_full)
{
    struct connection *connection = begin();
    STAGE_ANSWER(connection, -EAGAIN);
    expect_waits(connection, stage_step(connection), WAIT_ROOM);
    expect_left(connection, STAGE_LONG);
    cr_assert(stage_has(connection, OPERATION_WRITABLE));
    cr_assert_eq(connection->deadline_ms, STAGE_NOW_MS + stage.config->stall_timeout_ms);
    cr_assert_not(connection->deliveries_last->done);
    cr_assert_eq(stage_step(connection), STEP_DONE);
    expect_left(connection, 0);
}

Test(transfer, asks_for_room_once)
{
    struct connection *connection = begin();
    STAGE_ANSWER(connection, 5000, -EAGAIN, -EAGAIN, -EAGAIN);
    for (unsigned i = 0; i < 3; i++)
        expect_waits(connection, stage_step(connection), WAIT_ROOM);
    expect_left(connection, STAGE_LONG - 5000);
    cr_assert_eq(stage_pending(connection), 1u);
}

Test(transfer, waits_for_acknowledgements_where_the_stream_must_not_grow)
{
    struct connection *connection = begin();
    STAGE_ANSWER(connection, 1, -ENOBUFS);
    expect_waits(connection, stage_step(connection), WAIT_ACKNOWLEDGED);
    expect_left(connection, STAGE_LONG - 1);
    cr_assert(connection->listed[LIST_RATED]);
    cr_assert_not(stage_has(connection, OPERATION_WRITABLE));
}

Test(transfer, ends_where_the_session_is_over)
{
    struct connection *connection = begin();
    STAGE_ANSWER(connection, 7, -EPROTO);
    cr_assert_eq(stage_step(connection), STEP_CLOSE);
    expect_left(connection, STAGE_LONG - 7);
}

Test(transfer, is_cut_without_a_word_where_the_peer_has_reset)
{
    const int errors[] = {-ECONNRESET, -EPIPE, -ENOTCONN};
    for (unsigned i = 0; i < 3; i++) {
        struct connection *connection = begin();
        STAGE_ANSWER(connection, errors[i]);
        cr_assert_eq(stage_step(connection), STEP_CUT);
        cr_assert_null(connection->exchange.why, "the client knows why");
        expect_left(connection, STAGE_LONG);
    }
}

Test(transfer, is_cut_with_the_reason_where_the_file_fails)
{
    struct connection *connection = begin();
    STAGE_ANSWER(connection, -EIO);
    expect_cut(connection, stage_step(connection), strerrordesc_np(EIO));
    connection = begin();
    STAGE_ANSWER(connection, 100, 0);
    expect_cut(connection, stage_step(connection), "the file was truncated while it was sent");
    expect_left(connection, STAGE_LONG - 100);
}

/* ---- what lies before a body ---- */

Test(transfer, sends_what_the_stream_left_of_the_head_and_bills_none_of_it)
{
    struct connection *connection = stage_connect();
    STAGE_ANSWER(connection, -EAGAIN);
    stage_reach(connection, STATE_SEND, stage_head("GET", "/music/a.mp3", NULL, NULL));
    cr_assert_not_null(connection->exchange.output);
    STAGE_ANSWER(connection, 1, 20, -EAGAIN);
    expect_waits(connection, stage_step(connection), WAIT_ROOM);
    expect_left(connection, STAGE_LONG);
    cr_assert_eq(connection->stream.sent, 21u);
    cr_assert_eq(stage_step(connection), STEP_DONE);
    expect_left(connection, 0);
    cr_assert_null(connection->exchange.output);
    cr_assert_eq(connection->stream.sent, stage_peer(connection)->text_length + STAGE_LONG);
    cr_assert_eq(strncmp(stage_peer(connection)->text, "HTTP/1.1 200 OK\r\n", 17), 0);
    cr_assert_not_null(strstr(stage_peer(connection)->text, "\r\n\r\n"));
}

Test(transfer, bills_of_a_small_body_behind_its_head_what_was_taken)
{
    struct connection *connection = stage_connect();
    STAGE_ANSWER(connection, 10);
    stage_reach(connection, STATE_SEND, stage_head("GET", "/music/s.mp3", NULL, NULL));
    const struct delivery *delivery = connection->deliveries;
    size_t head = connection->exchange.output_head + 10;
    cr_assert_eq(connection->exchange.output_length, head - 10 + STAGE_SHORT);
    STAGE_ANSWER(connection, (ssize_t)head - 10 - 1, -EAGAIN);
    expect_waits(connection, stage_step(connection), WAIT_ROOM);
    cr_assert_eq(delivery->handed, 0u);
    STAGE_ANSWER(connection, 3, -EAGAIN); /* the head's last byte, and two of the body */
    expect_waits(connection, stage_step(connection), WAIT_ROOM);
    cr_assert_eq(delivery->handed, 2u);
    cr_assert_eq(stage_step(connection), STEP_DONE);
    cr_assert_eq(delivery->handed, (uint64_t)STAGE_SHORT);
    cr_assert_eq(delivery->start, head);
    cr_assert(delivery->done);
    cr_assert_eq(stage_peer(connection)->body, 0u, "it came from memory");
}

Test(transfer, is_not_done_before_the_transport_holds_nothing)
{
    struct connection *connection = begin();
    STAGE_ANSWER(connection, STAGE_CHUNK, STAGE_CHUNK);
    stage_peer(connection)->flush = -EAGAIN;
    expect_waits(connection, stage_step(connection), WAIT_ROOM);
    expect_left(connection, STAGE_LONG);
    stage_peer(connection)->flush = -ENOBUFS;
    expect_waits(connection, stage_step(connection), WAIT_ACKNOWLEDGED);
    stage_peer(connection)->flush = -EPROTO;
    cr_assert_eq(stage_step(connection), STEP_CLOSE);
    stage_peer(connection)->flush = -EPIPE;
    cr_assert_eq(stage_step(connection), STEP_CUT);
    stage_peer(connection)->flush = 0;
    cr_assert_eq(stage_step(connection), STEP_DONE);
    expect_left(connection, 0);
}

/* ---- several ranges ---- */

Test(transfer, sends_each_part_with_its_head_and_the_last_boundary)
{
    struct connection *connection = stage_connect();
    stage_reach(
        connection, STATE_SEND,
        stage_head("GET", "/music/a.mp3", NULL, "Range: bytes=0-9,22000-39999,100-102\r\n"));
    cr_assert_eq(stage_step(connection), STEP_DONE);
    const struct stage_peer *peer = stage_peer(connection);
    cr_assert_not_null(
        strstr(peer->text, "Content-Range: bytes 0-9/40000\r\n\r\nabcdefghij\r\n--"));
    cr_assert_not_null(strstr(peer->text, "Content-Range: bytes 100-102/40000\r\n\r\nwxy\r\n--"));
    cr_assert_eq(peer->from, 22000u);
    cr_assert_eq(peer->body, 18000u);
    cr_assert_str_eq(peer->text + peer->text_length - 4, "--\r\n");
    cr_assert_eq(connection->delivery_count, 3u);
    const struct delivery *first = connection->deliveries;
    cr_assert(first->done && first->part && first->next->part && !first->next->next->part);
    cr_assert(first->next->next->done);
}

Test(transfer, resumes_several_ranges_wherever_the_stream_is_full)
{
    struct connection *connection = stage_connect();
    ssize_t full[STAGE_ANSWERS];
    unsigned steps = 0;
    for (unsigned i = 0; i < STAGE_ANSWERS; i++)
        full[i] = i % 2 == 0 ? -EAGAIN : 3001;
    stage_answers(connection, STAGE_ANSWERS, full);
    stage_reach(connection, STATE_SEND,
                stage_head("GET", "/music/a.mp3", NULL, "Range: bytes=0-9,22000-39999\r\n"));
    enum step_outcome outcome = stage_step(connection);
    for (; outcome == STEP_WAIT && steps < 100; steps++) {
        cr_assert_eq(connection->exchange.waiting, WAIT_ROOM);
        outcome = stage_step(connection);
    }
    cr_assert_eq(outcome, STEP_DONE);
    cr_assert_gt(steps, 5u);
    cr_assert_eq(stage_peer(connection)->body, 18000u);
    cr_assert_eq(connection->deliveries->handed, 10u);
    cr_assert_eq(connection->deliveries_last->handed, 18000u);
    cr_assert_eq(connection->stream.sent, stage_peer(connection)->text_length + 18000);
}

/* ---- the disk, the turn, the rate ---- */

Test(transfer, has_the_ring_bring_what_is_not_in_memory)
{
    struct connection *connection = begin();
    const struct media_file *file = connection->exchange.file;
    uint32_t references = file->references;
    STAGE_ANSWER(connection, -ENODATA);
    expect_waits(connection, stage_step(connection), WAIT_DISK);
    expect_left(connection, STAGE_LONG);
    cr_assert_eq(connection->warming, file);
    cr_assert_eq(file->references, references + 1, "the ring reads it");
    cr_assert(stage_has(connection, OPERATION_WARM));
    stage_complete(connection, OPERATION_WARM, 1);
    cr_assert_null(connection->warming);
    cr_assert_eq(file->references, references);
    cr_assert_eq(connection->exchange.waiting, WAIT_TURN);
    cr_assert(connection->listed[LIST_READY]);
    cr_assert_eq(stage_step(connection), STEP_DONE);
}

Test(transfer, is_cut_where_the_disk_fails_and_tries_again_where_the_read_was_interrupted)
{
    struct connection *connection = begin();
    STAGE_ANSWER(connection, -ENODATA, -ENODATA);
    expect_waits(connection, stage_step(connection), WAIT_DISK);
    stage_complete(connection, OPERATION_WARM, -EINTR);
    cr_assert_eq(connection->exchange.waiting, WAIT_TURN);
    expect_waits(connection, stage_step(connection), WAIT_DISK);
    uint64_t cut = atomic_load(&stage.worker->stats.transfers_cut);
    stage_complete(connection, OPERATION_WARM, -EIO);
    cr_assert_not(driver_is_open(connection));
    cr_assert_eq(atomic_load(&stage.worker->stats.transfers_cut), cut + 1);
}

Test(transfer, the_kernel_takes_what_the_ring_is_given_for_the_disk)
{
    struct connection *connection = begin();
    STAGE_ANSWER(connection, -ENODATA);
    expect_waits(connection, stage_step(connection), WAIT_DISK);
    stage_submit();
    cr_assert_eq(connection->exchange.waiting, WAIT_TURN);
    cr_assert_eq(connection->in_flight, 0);
}

Test(transfer, lets_the_others_have_their_turn)
{
    stage_put("/music/long.mp3", (size_t)5 << 19);
    struct connection *connection = stage_get(STATE_SEND, "/music/long.mp3");
    expect_waits(connection, stage_step(connection), WAIT_TURN);
    cr_assert_eq(stage_peer(connection)->body, (uint64_t)4 << 19);
    cr_assert(connection->listed[LIST_READY]);
    connection_leave(stage.worker, connection, LIST_READY);
    cr_assert_eq(stage_step(connection), STEP_DONE);
    cr_assert_eq(stage_peer(connection)->body, (uint64_t)5 << 19);
}

Test(transfer, has_a_shorter_turn_once_it_has_waited_for_the_disk)
{
    stage_put("/music/long.mp3", (size_t)5 << 19);
    struct connection *connection = stage_get(STATE_SEND, "/music/long.mp3");
    STAGE_ANSWER(connection, -ENODATA);
    expect_waits(connection, stage_step(connection), WAIT_DISK);
    stage_complete(connection, OPERATION_WARM, 1);
    expect_waits(connection, stage_step(connection), WAIT_TURN);
    cr_assert_eq(stage_peer(connection)->body, MEDIA_BRING_MAX);
}
