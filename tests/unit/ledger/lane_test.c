/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lanes of a state directory: one of before, with its journal at the top, becomes the first lane,
 * whatever interrupted that; locks of both times keep a second process out.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/ledger/fixture.h"

static struct fixture fx;

static void setup(void)
{
    fixture_start(&fx);
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_lane, .init = setup, .fini = teardown, .timeout = 60);

static const char *const parts[] = {"instance", "journal", "lock"}; /* in the order of their move */

static const char *path_of(const char *name)
{
    static char paths[2][160];
    static unsigned next;
    char *path = paths[next++ % 2];
    snprintf(path, sizeof(paths[0]), "%s/%s", fx.state, name);
    return path;
}

static bool is_there(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

/* Turns the closed state directory into one of before, of which `moved` parts are in lane-a: with 0
 * the lane may be made already. */
static void make_old(unsigned moved, bool has_lane)
{
    char inside[32];
    for (unsigned i = moved; i < sizeof(parts) / sizeof(parts[0]); i++) {
        snprintf(inside, sizeof(inside), "lane-a/%s", parts[i]);
        cr_assert_eq(rename(path_of(inside), path_of(parts[i])), 0, "%s", inside);
    }
    (void)unlink(path_of("lane-a/pools"));
    (void)rmdir(path_of("lane-a/checkpoints"));
    if (!has_lane)
        cr_assert_eq(rmdir(path_of("lane-a")), 0);
    cr_assert_eq(unlink(path_of("directory")), 0);
}

static void expect_in_lane(const char *lane)
{
    char inside[32];
    for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        snprintf(inside, sizeof(inside), "%s/%s", lane, parts[i]);
        cr_expect(is_there(inside), "%s", inside);
        cr_expect_not(is_there(parts[i]), "%s is left at the top", parts[i]);
    }
    cr_expect(is_there("directory"));
}

Test(ledger_lane, a_directory_of_before_becomes_a_lane_whatever_interrupted_that)
{
    char instance[LEDGER_HEX_SIZE];
    fixture_open_ready(&fx);
    memcpy(instance, fx.ledger->instance, sizeof(instance));
    for (unsigned i = 0; i < 5; i++) {
        fixture_deliver(&fx, "alice", "/f", 10);
        cr_assert_eq(fixture_close(&fx), 0);
        make_old(i == 0 ? 0 : i - 1, i > 0);
        freeReplyObject(
            fixture_redis(&fx, "DEL tg:node:{node-1}")); /* whose directory id was lost */
        fixture_open_ready(&fx);
        expect_in_lane("lane-a");
        cr_expect_str_eq(fx.ledger->instance, instance, "with %u parts moved", i);
        cr_expect_eq(fixture_account_field(&fx, "shop/alice", "used"), 10 * (i + 1));
    }
}

Test(ledger_lane, a_process_that_locked_a_directory_at_either_place_keeps_a_second_one_out)
{
    char error[512];
    fixture_open_ready(&fx);
    cr_expect(ledger_is_running(fx.state));
    cr_assert_eq(fixture_close(&fx), 0);
    cr_expect_not(ledger_is_running(fx.state));
    for (unsigned moved = 0; moved < 3; moved += 2) {
        make_old(moved, true);
        int lock = open(path_of("lock"), O_RDWR | O_CLOEXEC);
        cr_assert(lock >= 0 && flock(lock, LOCK_EX) == 0);
        cr_expect(ledger_is_running(fx.state));
        cr_expect_eq(ledger_open(&fx.ledger, &fx.options, error, sizeof(error)), -EALREADY);
        cr_expect_not_null(strstr(error, "in use by another process"), "%s", error);
        cr_expect(is_there("lock"), "what another process uses was moved");
        close(lock);
        freeReplyObject(fixture_redis(&fx, "DEL tg:node:{node-1}"));
        fixture_open_ready(&fx);
        lock = open(path_of("lane-a/lock"), O_RDWR | O_CLOEXEC);
        cr_expect(lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK);
        close(lock);
        cr_assert_eq(fixture_close(&fx), 0);
    }
}

/* Lets go of a lock, as whoever has looked at it does. */
static void *let_go(void *context)
{
    const int *lock = context;
    for (int i = 0; i < 10; i++)
        fixture_pause();
    close(*lock);
    return NULL;
}

Test(ledger_lane, whoever_looks_whether_a_lane_is_locked_keeps_no_process_out)
{
    pthread_t looker;
    fixture_open_ready(&fx);
    cr_assert_eq(fixture_close(&fx), 0);
    int lock = open(path_of("lane-a/lock"), O_RDONLY | O_CLOEXEC);
    cr_assert(lock >= 0 && flock(lock, LOCK_SH) == 0);
    cr_assert_eq(pthread_create(&looker, NULL, let_go, &lock), 0);
    fixture_open_ready(&fx);
    pthread_join(looker, NULL);
}

/* Somebody ran a program of before in a directory that has lanes: it made another journal. */
Test(ledger_lane, a_journal_that_an_older_program_made_beside_lanes_becomes_the_next_lane)
{
    char inside[32];
    fixture_open_ready(&fx);
    fixture_deliver(&fx, "alice", "/f", 10);
    cr_assert_eq(fixture_close(&fx), 0);
    for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        snprintf(inside, sizeof(inside), "lane-a/%s", parts[i]);
        fixture_copy(path_of(inside), path_of(parts[i]));
    }
    /* Both lanes have one instance here, so that one of the two may be refused its lease. */
    fixture_open(&fx);
    expect_in_lane("lane-a");
    expect_in_lane("lane-b");
}

Test(ledger_lane, a_state_directory_keeps_its_id_and_one_that_is_no_id_refuses_the_start)
{
    char before[LEDGER_HEX_SIZE], error[512];
    fixture_open_ready(&fx);
    memcpy(before, fx.ledger->lane.state_id, sizeof(before));
    cr_expect_str_neq(before, fx.ledger->instance);
    cr_assert_eq(fixture_close(&fx), 0);
    fixture_open_ready(&fx);
    cr_expect_str_eq(fx.ledger->lane.state_id, before);
    cr_assert_eq(fixture_close(&fx), 0);
    cr_assert_eq(truncate(path_of("directory"), 7), 0);
    cr_expect_eq(ledger_open(&fx.ledger, &fx.options, error, sizeof(error)), -EBADMSG);
    cr_expect_not_null(strstr(error, "/directory is not 32 hexadecimal digits"), "%s", error);
}

/* ---- further lanes ---- */

/* Leaves lane-b with `bytes` of alice that Redis does not have, and no other lane. */
static void leave_lane_b(uint64_t bytes)
{
    char away[160];
    snprintf(away, sizeof(away), "%s.away", fx.socket);
    cr_assert_eq(rename(fx.socket, away), 0);
    fixture_open(&fx);
    fixture_deliver(&fx, "alice", "/f", bytes);
    cr_assert_gt(ledger_close(&fx.ledger, 0), 0);
    cr_assert_eq(rename(away, fx.socket), 0);
    cr_assert_eq(rename(path_of("lane-a"), path_of("lane-b")), 0);
}

static void wait_for(const char *account, int64_t bytes)
{
    for (int i = 0; fixture_account_field(&fx, account, "used") != bytes; i++) {
        cr_assert_lt(i, 15000, "%s has %" PRId64 " bytes, not %" PRId64, account,
                     fixture_account_field(&fx, account, "used"), bytes);
        fixture_pause();
    }
}

/* Redis has the figures before the poster has read its answer. */
static void wait_until_all_is_posted(void)
{
    struct ledger_stats stats;
    ledger_stats(fx.ledger, &stats);
    for (int i = 0; stats.records_unposted > 0; i++) {
        cr_assert_lt(i, 15000, "%" PRIu64 " records are not posted", stats.records_unposted);
        fixture_pause();
        ledger_stats(fx.ledger, &stats);
    }
}

Test(ledger_lane, what_is_left_in_another_lane_is_posted_under_its_own_instance)
{
    leave_lane_b(1000);
    fixture_open_ready(&fx);
    fixture_deliver(&fx, "alice", "/f", 20);
    wait_for("shop/alice", 1020);
    cr_expect_eq(fixture_redis_integer(&fx, "HLEN tg:node:{node-1}"), 2);
    /* A Redis that loses its data gets it from both lanes. */
    freeReplyObject(fixture_redis(&fx, "FLUSHALL"));
    wait_for("shop/alice", 1020);
    wait_until_all_is_posted();
    cr_assert_eq(fixture_close(&fx), 0);
    fixture_open_ready(&fx);
    wait_for("shop/alice", 1020);
}

Test(ledger_lane, a_lane_that_another_process_holds_is_left_alone_until_it_is_free)
{
    leave_lane_b(1000);
    int lock = open(path_of("lane-b/lock"), O_RDWR | O_CLOEXEC);
    cr_assert(lock >= 0 && flock(lock, LOCK_EX) == 0);
    fixture_open_ready(&fx);
    fixture_deliver(&fx, "bob", "/f", 20);
    wait_for("shop/bob", 20);
    cr_expect_eq(fixture_account_field(&fx, "shop/alice", "used"), 0);
    close(lock);
    wait_for("shop/alice", 1000);
}
