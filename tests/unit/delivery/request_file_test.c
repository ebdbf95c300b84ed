/* SPDX-License-Identifier: Apache-2.0 */
/* The step FILE: a file that the cache has, one that the ring opens, and one whose hash is waited for. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/delivery/stage.h"

TestSuite(request_file, .init = stage_begin, .fini = stage_end);

#define LATE "/music/late.mp3" /* nobody has looked the name up, so opening it may block */

static struct connection *connection;
static struct exchange *exchange;

/* A request came to the step, which has the ring open its file. */
static void begin_opening(void)
{
    connection = stage_connect();
    exchange = &connection->exchange;
    stage_reach(connection, STATE_FILE, stage_head("GET", LATE, NULL, NULL));
    cr_assert_eq(stage_step(connection), STEP_WAIT);
    cr_assert_eq(exchange->waiting, WAIT_OPEN);
    cr_assert(stage_has(connection, OPERATION_OPEN));
    cr_assert_eq(connection->in_flight, 1u);
    cr_assert_str_eq(connection->opening, LATE);
    cr_assert_not_null(exchange->kept);
}

/* The ring has opened it, and the driver runs the step again. */
static void opened(int result)
{
    stage_stop_at(STATE_BYTES);
    stage_complete(connection, OPERATION_OPEN, result);
    cr_assert_null(connection->opening);
    cr_assert_eq(connection->in_flight, 0u);
}

static int open_late(void)
{
    stage_put(LATE, 77);
    int fd = open(stage_path(LATE), O_RDONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    return fd;
}

Test(request_file, finds_what_the_cache_has_without_waiting)
{
    connection = stage_get(STATE_FILE, "/music/a.mp3");
    cr_assert_eq(stage_step(connection), STEP_NEXT);
    cr_assert_eq(connection->exchange.file->size, (uint64_t)STAGE_LONG);
    cr_assert_null(connection->exchange.kept, "its head need not be kept");
    cr_assert_eq(stage_pending(connection), 0u);
}

Test(request_file, goes_on_with_what_the_ring_has_opened)
{
    begin_opening();
    opened(open_late());
    cr_assert_eq(connection->state, STATE_BYTES);
    cr_assert_eq(exchange->file->size, 77u);
    cr_assert_str_eq(exchange->file->path, LATE);
}

Test(request_file, refuses_by_the_errno_of_the_ring)
{
    static const struct {
        int result;
        enum refusal refusal;
    } rows[] = {
        {-ENOENT, REFUSAL_FILE_NOT_FOUND}, {-EACCES, REFUSAL_FILE_NOT_FOUND},
        {-EMFILE, REFUSAL_NODE_BUSY},      {-ENFILE, REFUSAL_NODE_BUSY},
        {-ENOMEM, REFUSAL_NODE_BUSY},      {-EIO, REFUSAL_FILE_UNREADABLE},
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        stage_pass(2000); /* what was found missing is looked for again */
        begin_opening();
        opened(rows[i].result);
        cr_expect_eq(connection->state, STATE_ANSWER, "row %u", i);
        cr_expect_eq(exchange->answer, ANSWER_REFUSAL, "row %u", i);
        cr_expect_eq(exchange->refusal, rows[i].refusal, "row %u: %s", i,
                     refusal_name(exchange->refusal));
        cr_expect_null(exchange->file);
    }
}

Test(request_file, the_kernel_takes_what_the_ring_is_given)
{
    connection = stage_connect();
    exchange = &connection->exchange;
    stage_reach(connection, STATE_FILE, stage_head("GET", LATE, NULL, NULL));
    cr_assert_eq(stage_step(connection), STEP_WAIT);
    stage_stop_at(STATE_BYTES);
    stage_submit();
    cr_assert_eq(connection->state, STATE_ANSWER);
    cr_assert_eq(exchange->refusal, REFUSAL_FILE_NOT_FOUND);
}

Test(request_file, a_connection_that_was_cut_closes_what_is_opened_for_it)
{
    begin_opening();
    uint32_t generation = connection->generation;
    driver_cut(stage.worker, connection, NULL);
    cr_assert_eq(connection->state, STATE_CLOSE, "the kernel reads the name");
    cr_assert_str_eq(connection->opening, LATE);
    int fd = open_late();
    stage_complete(connection, OPERATION_OPEN, fd);
    cr_assert_eq(fcntl(fd, F_GETFD), -1);
    cr_assert_eq(connection->state, STATE_FREE);
    cr_assert_eq(connection->generation, generation + 1);
}

/* ---- the hash ---- */

/* A request that asks about the entity tag of a file that the hasher does not come to. */
static void begin_hashing(void)
{
    stage_occupy_hasher();
    connection = stage_connect();
    exchange = &connection->exchange;
    stage_reach(connection, STATE_FILE,
                stage_head("GET", "/music/s.mp3", NULL, "If-None-Match: \"a\"\r\n"));
    cr_assert_eq(stage_step(connection), STEP_WAIT);
}

Test(request_file, waits_for_the_hash_where_the_head_asks_about_the_tag)
{
    begin_hashing();
    cr_assert_eq(exchange->waiting, WAIT_HASH);
    cr_assert(connection->listed[LIST_HASHING]);
    cr_assert_not_null(exchange->kept);
    cr_assert_eq(exchange->hash_until_ms, STAGE_NOW_MS + stage.config->hash_wait_ms);
    stage_pass(stage.config->hash_wait_ms - 1);
    cr_assert_eq(stage_step(connection), STEP_WAIT);
    cr_assert(connection->listed[LIST_HASHING]);
    stage_pass(1);
    cr_assert_eq(stage_step(connection), STEP_NEXT, "without the hash");
    cr_assert_not(connection->listed[LIST_HASHING]);
    cr_assert_str_eq(exchange->file->etag, "");
}

Test(request_file, a_tick_looks_whether_the_hash_is_there)
{
    begin_hashing();
    stage_stop_at(STATE_BYTES);
    ticks_look_again(stage.worker);
    cr_assert_eq(connection->state, STATE_FILE);
    stage_pass(stage.config->hash_wait_ms);
    ticks_look_again(stage.worker);
    cr_assert_eq(connection->state, STATE_BYTES);
}

Test(request_file, does_not_wait_for_a_hash_that_nobody_asks_about)
{
    stage_occupy_hasher();
    connection = stage_get(STATE_FILE, "/music/s.mp3");
    cr_assert_eq(stage_step(connection), STEP_NEXT);
    cr_assert_str_eq(connection->exchange.file->etag, "");
    stage.config->hash_wait_ms = 0;
    connection = stage_connect();
    stage_reach(connection, STATE_FILE,
                stage_head("GET", "/music/e.mp3", NULL, "If-None-Match: \"a\"\r\n"));
    cr_assert_eq(stage_step(connection), STEP_NEXT);
}
