/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving a stopped node's lanes into another node's state directory: whatever kills the move, and whether it
 * renames or copies, the next one ends it, and no record is lost or there twice.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/ledger/retire.h"
#include "storage/ledger/verify.h"
#include "tests/unit/ledger/fixture.h"

#define KILLS_MAX 400

static struct fixture fx;
static char kept[128], old[128], far[64], said[1200];
static struct ledger_verification before[2];

/* Removes the state directory; its name may be another's. */
static void remove_node(void)
{
    fixture_remove(fx.state);
    freeReplyObject(fixture_redis(&fx, "DEL tg:node:{node-1}"));
}

/* A directory with two lanes is made once, and copied for each try. */
static void setup(void)
{
    fixture_start(&fx);
    snprintf(kept, sizeof(kept), "%s/kept", fx.directory);
    snprintf(old, sizeof(old), "%s/old", fx.directory);
    snprintf(far, sizeof(far), "/dev/shm/tollgate-retire-%d", (int)getpid());
    fixture_open_ready(&fx);
    fixture_deliver(&fx, "gina", "/f", 100);
    fixture_deliver(&fx, "hugo", "/g", 3);
    cr_assert_eq(fixture_close(&fx), 0);
    fixture_copy(fx.state, kept);
    char from[160], to[160];
    snprintf(from, sizeof(from), "%s/lane-a", fx.state);
    snprintf(to, sizeof(to), "%s/lane-c", kept);
    remove_node();
    fixture_open_ready(&fx);
    fixture_deliver(&fx, "ida", "/h", 20);
    cr_assert_eq(fixture_close(&fx), 0);
    cr_assert_eq(rename(from, to), 0);
    remove_node();
    for (unsigned i = 0; i < 2; i++)
        cr_assert_eq(ledger_verify(kept, 2 * i, &before[i], said, sizeof(said)), 0);
    fixture_open_ready(&fx); /* the node that takes over */
    cr_assert_eq(fixture_close(&fx), 0);
}

static void teardown(void)
{
    fixture_remove(far);
    fixture_end(&fx);
}

TestSuite(ledger_retire, .init = setup, .fini = teardown, .timeout = 240);

static unsigned steps_left;

static void die_at_last(void *context, const char *lane, uint64_t copied)
{
    (void)context;
    (void)lane;
    (void)copied;
    if (steps_left-- == 0)
        raise(SIGKILL);
}

/* Runs the move in a process that is killed at this step. False where it ended before that. */
static bool kill_at(unsigned step, const char *state)
{
    int status;
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        struct ledger_retirement moved = {.progress = die_at_last};
        steps_left = step;
        _exit(ledger_retire(old, state, &moved, said, sizeof(said)) == 0 ? 0 : 1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

/* Each instance is in exactly one lane of the state directory, with all of its records, and in none of the old. */
static void expect_moved(const char *state, unsigned step)
{
    struct ledger_verification found;
    unsigned times[2] = {0, 0};
    for (unsigned lane = 0; lane < LEDGER_LANES_MAX; lane++) {
        found = (struct ledger_verification){0};
        int result = ledger_verify(state, lane, &found, said, sizeof(said));
        cr_assert(result == 0 || result == -ENOENT, "killed at %u: %s", step, said);
        for (unsigned i = 0; i < 2 && result == 0; i++)
            if (strcmp(found.instance, before[i].instance) == 0) {
                times[i]++;
                cr_expect_eq(found.chain, before[i].chain, "killed at %u", step);
                cr_expect_eq(found.bytes, before[i].bytes, "killed at %u", step);
                cr_expect_neq(lane, 0u);
            }
        cr_expect_eq(ledger_verify(old, lane, &found, said, sizeof(said)), -ENOENT);
    }
    cr_expect_eq(times[0], 1u, "killed at %u", step);
    cr_expect_eq(times[1], 1u, "killed at %u", step);
}

static void kill_at_each_step(const char *state)
{
    bool was_killed = true;
    unsigned step = 0;
    char empty[160];
    snprintf(empty, sizeof(empty), "%s.empty", state);
    fixture_copy(fx.state, empty);
    for (; was_killed && step < KILLS_MAX; step++) {
        struct ledger_retirement moved = {0};
        fixture_remove(old);
        fixture_remove(state);
        fixture_copy(kept, old);
        fixture_copy(empty, state);
        was_killed = kill_at(step, state);
        cr_assert_eq(ledger_retire(old, state, &moved, said, sizeof(said)), 0, "%s", said);
        cr_expect_eq(moved.count, 2u);
        expect_moved(state, step);
        cr_assert_eq(ledger_retire(old, state, &moved, said, sizeof(said)), 0, "%s", said);
        cr_expect(moved.count == 2 && moved.moved == 0, "once more, nothing is to be moved");
    }
    fixture_remove(empty);
    cr_expect_gt(step, 2u);
    cr_expect_lt(step, KILLS_MAX);
}

Test(ledger_retire, ends_what_was_killed_at_any_step_of_a_rename)
{
    char state[128];
    snprintf(state, sizeof(state), "%s/new", fx.directory);
    kill_at_each_step(state);
}

Test(ledger_retire, ends_what_was_killed_at_any_step_of_a_copy)
{
    struct stat here, there;
    char parent[] = "/dev/shm";
    cr_assert(stat(fx.directory, &here) == 0 && stat(parent, &there) == 0);
    if (here.st_dev == there.st_dev) {
        cr_log_warn("/dev/shm is not another file system: no copy was tried");
        return;
    }
    kill_at_each_step(far);
}

static int retire(const char *from, const char *to)
{
    struct ledger_retirement moved = {0};
    return ledger_retire(from, to, &moved, said, sizeof(said));
}

static void expect_said(const char *part)
{
    cr_expect(strstr(said, part) != NULL, "%s", said);
}

Test(ledger_retire, refuses_a_directory_in_use_its_own_a_copy_and_one_that_went_elsewhere)
{
    char path[160];
    cr_expect_eq(retire(fx.state, fx.state), -EINVAL);
    expect_said("is this node's own state directory");
    cr_expect_eq(retire("/nowhere", fx.state), -ENOENT);
    fixture_copy(fx.state, old); /* of a lane that is there */
    fixture_open_ready(&fx);
    cr_assert_eq(fixture_close(&fx), 0);
    cr_expect_eq(retire(old, fx.state), -EEXIST);
    expect_said("is a copy of a lane that");
    fixture_remove(old);
    fixture_copy(kept, old);
    snprintf(path, sizeof(path), "%s/lane-c/lock", old);
    struct lane lane;
    lane_init(&lane);
    cr_assert_eq(lane_lock(&lane, old, 2, said, sizeof(said)), 0);
    cr_expect_eq(retire(old, fx.state), -EALREADY);
    expect_said("a process uses");
    struct ledger_verification found = {0};
    cr_expect_eq(ledger_verify(old, 0, &found, said, sizeof(said)), 0, "lane-a was moved");
    lane_close(&lane);
    cr_assert_eq(retire(old, fx.state), 0, "%s", said);
    snprintf(path, sizeof(path), "%s/elsewhere", fx.directory);
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_expect_eq(retire(old, path), -EINVAL);
    expect_said("was retired into");
}
