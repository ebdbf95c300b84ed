/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a node is: a copy of its state directory is refused before it serves a byte, whatever its name
 * is and wherever it lies, and a node that was killed is back at once. How long that takes is told, and not asserted: a busy machine may be slow.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/integration/harness.h"

#define RESTARTS 3

static void copy_directory(const char *from, const char *to)
{
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        execlp("cp", "cp", "-a", from, to, (char *)NULL);
        _exit(EXIT_FAILURE);
    }
    int status;
    cr_assert(waitpid(child, &status, 0) == child && status == 0, "cp -a %s %s", from, to);
}

static void remove_directory(const char *path)
{
    pid_t child = fork();
    if (child == 0) {
        execlp("rm", "rm", "-rf", "--", path, (char *)NULL);
        _exit(EXIT_FAILURE);
    }
    cr_assert(child > 0 && waitpid(child, NULL, 0) == child);
}

/* A copy of the running node's directory, at `where` and under `name`, serves nothing, and says what
 * to do. */
static void expect_refused(struct site *site, const char *where, const char *name)
{
    size_t length;
    site_media_bytes(site, TRACK_TINY, &length);
    uint64_t before = site_usage_settled(site, "alice");
    copy_directory(site_state_dir(site), where);
    struct site *copy = site_create(.redis = site_redis_address(site), .state_dir = where,
                                    .node = name, .beside = site, .stays_down = true);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    site_node_start(copy);
    for (unsigned i = 0; i < 20; i++) {
        cr_expect_eq(fetch(copy, link)->status, 503, "the copy %s serves under the name %s", where,
                     name);
        harness_pause();
    }
    const char *log =
        site_log_await(copy, "another process runs with a copy of the state directory");
    cr_expect(strstr(log, "start the copy with an empty directory under another node name") !=
              NULL);
    cr_expect_eq(fetch(copy, link)->status, 503);
    cr_expect_eq(fetch(site, link)->status, 200, "the original serves beside the copy");
    site_destroy(&copy);
    site_usage_await(site, "alice", before + length);
    remove_directory(where);
}

Test(identity, of_a_running_node_is_refused_to_each_copy_of_its_directory, .timeout = 120)
{
    struct site *site = site_create(.own_redis = true);
    char elsewhere[64];
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    cr_assert_eq(fetch(site, link)->status, 200);
    const char *beside = site_format(site, "%s/copy", site_directory(site));
    snprintf(elsewhere, sizeof(elsewhere), "/dev/shm/tollgate-copy-%d", (int)getpid());
    expect_refused(site, beside, "test-node");
    expect_refused(site, beside, "other-node");
    expect_refused(site, elsewhere, "test-node");
    expect_refused(site, elsewhere, "other-node");
    site_destroy(&site);
}

/* The lease of the process that was killed is not waited for: its lock is free. */
Test(identity, of_a_node_that_was_killed_is_the_next_processes_at_once, .timeout = 120)
{
    struct site *site = site_create(.own_redis = true);
    uint64_t least_ms = UINT64_MAX;
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    for (unsigned i = 0; i < RESTARTS; i++) {
        cr_assert_eq(fetch(site, link)->status, 200);
        site_node_kill(site);
        uint64_t begun_ms = harness_now_ms();
        site_node_start(site);
        while (fetch(site, link)->status != 200)
            harness_pause();
        uint64_t took_ms = harness_now_ms() - begun_ms;
        least_ms = took_ms < least_ms ? took_ms : least_ms;
    }
    cr_log_info("from the start after SIGKILL to the first 200: %d ms", (int)least_ms);
    cr_expect_null(strstr(site_log(site), "runs out in"), "a lease was waited for: %s",
                   site_log(site));
    site_destroy(&site);
}

static void write_step(const char *path, int64_t nanoseconds)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert(fd >= 0 && pwrite(fd, &nanoseconds, sizeof(nanoseconds), 0) == sizeof(nanoseconds));
    close(fd);
}

static void await_served(struct site *site, const char *link, const char *since)
{
    uint64_t begun_ms = harness_now_ms();
    while (fetch(site, link)->status != 200) {
        cr_assert_lt(harness_now_ms(), begun_ms + HARNESS_DEADLINE_MS, "%s", site_log(site));
        harness_pause();
    }
    cr_log_info("served %d ms after %s", (int)(harness_now_ms() - begun_ms), since);
}

/* A lease taken before the step ends in an hour by Redis' clock. */
Test(identity, of_a_node_serves_again_soon_after_a_clock_of_redis_was_set_back, .timeout = 180)
{
    struct site *site = site_create(.own_redis = true, .stays_down = true);
    const char *step = site_format(site, "%s/step", site_directory(site));
    write_step(step, 0);
    setenv("CLOCK_STEP_FILE", step, 1);
    setenv("LD_PRELOAD", WALL_CLOCK, 1);
    site_redis_start(site);
    unsetenv("LD_PRELOAD");
    unsetenv("CLOCK_STEP_FILE");
    site_node_start(site);
    site_node_await_ready(site);
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    await_served(site, link, "the start");
    int64_t before = site_redis_number(site, "return tonumber(redis.call('TIME')[1])");
    write_step(step, -3600 * INT64_C(1000000000));
    int64_t after = site_redis_number(site, "return tonumber(redis.call('TIME')[1])");
    cr_assert_lt(after, before - 3500, "the clock of Redis was not set");
    await_served(site, link, "the clock was set");
    site_node_kill(site);
    site_node_start(site);
    await_served(site, link, "a SIGKILL");
    /* As after a reboot: the lease was not taken with this lock. */
    site_node_kill(site);
    cr_assert_eq(site_redis_number(site,
                                   "local key = redis.call('KEYS', 'tg:lease:*')[1] return "
                                   "redis.call('HSET', key, 'boot', 'another', 'until', "
                                   "tostring((tonumber(redis.call('TIME')[1]) + 3600) * 1000))"),
                 0);
    site_node_start(site);
    await_served(site, link, "what was as a reboot");
    site_destroy(&site);
}
