/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments that leave the journal of a real node for its archive, and what an operator does with them there: verifying,
 * evidence, reconciling, an emptied Redis, and an archive that is missing or full.
 */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/harness.h"
#include "tests/integration/retire_steps.h"

TestSuite(retention, .timeout = 240);

/* Segments of 256 records, of which a checkpoint covers four. */
#define SETTINGS                                                                                   \
    "windows_max: 20\njournal_segment_bytes: 65536\naccess_log: access\n"                          \
    "journal_keep_bytes: 1\njournal_archive: archive\n"

static const char *path_of(struct site *site, const char *name)
{
    return site_format(site, "%s/%s", site_directory(site), name);
}

/* A figure of the node's own lane. */
static int64_t lane_number(struct site *site, const char *name)
{
    const struct answer *answer = site_admin(site, "GET", "/v1/ledger", NULL);
    json_t *value = json_loads((const char *)answer->body, 0, NULL);
    json_t *lane = json_array_get(json_object_get(value, "lanes"), 0);
    int64_t number = json_integer_value(json_object_get(lane, name));
    json_decref(value);
    return number;
}

static void pause_a_moment(void)
{
    const struct timespec pause = {.tv_nsec = 20000000};
    nanosleep(&pause, NULL);
}

/* Waits until the journal begins with this segment, or a later one. */
static void await_first(struct site *site, int64_t segment)
{
    while (lane_number(site, "first_segment") < segment)
        pause_a_moment();
}

/* Alice downloads, and then is topped up until the journal has 15 segments: two checkpoints cover four of them.
 * Returns her balance. */
static int64_t fill(struct site *site)
{
    size_t size;
    int64_t balance = 100000000;
    (void)site_media_bytes(site, TRACK_TINY, &size);
    site_account_open_prepaid(site, "alice", balance);
    cr_assert_eq(fetch(site, site_link(site, .account = "alice", .path = TRACK_TINY))->status, 200);
    site_usage_await(site, "alice", size);
    for (unsigned i = 0;
         i % 64 != 0 || lane_number(site, "first_segment") + lane_number(site, "segments") <= 15;
         i++) {
        const char *body = site_format(site, "{\"bytes\": 10, \"transaction\": \"top-%u\"}", i);
        const struct answer *answer =
            site_admin(site, "POST", "/v1/accounts/shop/alice/top-up", body);
        cr_assert_eq(answer->status, 200, "%s", (const char *)answer->body);
        balance += 10;
    }
    return balance - (int64_t)size;
}

static int64_t balance_of(struct site *site)
{
    return site_redis_number(
        site, "return tonumber(redis.call('HGET', 'tg:{shop/alice}:account', 'balance'))");
}

static const char *download_of_alice(struct site *site)
{
    struct command_result result = site_tollgate(site, "download", "list", "shop/alice", "--json");
    cr_assert_eq(result.exit_code, 0, "%s", result.errors);
    json_t *value = json_loads(result.output, 0, NULL);
    json_t *row = json_array_get(json_object_get(value, "downloads"), 0);
    const char *id = site_format(site, "%s", json_string_value(json_object_get(row, "download")));
    json_decref(value);
    return id;
}

/* The first segments are neither in the journal nor in the archive. */
static void expect_reconciled_by_checkpoint(struct site *site)
{
    struct command_result result =
        site_tollgate(site, "ledger", "reconcile", "--access-log", path_of(site, "access"));
    cr_expect_eq(result.exit_code, 0, "%s%s", result.output, result.errors);
    expect_in(result.output, "1 account: all agree, to the byte");
    site_redis_command(site, "HINCRBY tg:{shop/alice}:account used 1");
    result = site_tollgate(site, "ledger", "reconcile");
    cr_expect_eq(result.exit_code, 1);
    expect_in(result.output, "used (1 more)");
    site_redis_command(site, "HINCRBY tg:{shop/alice}:account used -1");
}

Test(retention, moves_segments_to_the_archive_where_all_commands_find_them)
{
    struct site *site = site_create(.own_redis = true, .settings = SETTINGS);
    const char *archive = path_of(site, "archive"), *away = path_of(site, "away");
    /* The directory is missing at first: nothing leaves the journal. */
    int64_t balance = fill(site);
    site_log_await(site, "segment 1 of lane-a stays in the journal");
    cr_expect_eq(lane_number(site, "first_segment"), 1);
    struct command_result result = site_tollgate(site, "ledger", "status");
    cr_expect_eq(result.exit_code, 1);
    expect_in(result.output, "archive");
    result = site_tollgate(site, "health");
    expect_in(result.output, "No such file or directory");
    const char *download = download_of_alice(site);
    result = site_tollgate(site, "download", "show", download, "--evidence", "--json");
    const char *evidence = result.output;
    cr_assert_eq(mkdir(archive, 0700), 0);
    await_first(site, 5);
    result = site_tollgate(site, "ledger", "status");
    cr_expect_eq(result.exit_code, 0, "%s", result.output);
    expect_in(result.output, "have left the journal");
    result = site_tollgate(site, "ledger", "verify");
    cr_expect_eq(result.exit_code, 0, "%s", result.errors);
    cr_expect_null(strstr(result.output, "left the journal"), "%s", result.output);
    result = site_tollgate(site, "download", "show", download, "--evidence", "--json");
    cr_expect_eq(result.exit_code, 0, "%s", result.errors);
    cr_expect_str_eq(result.output, evidence, "the evidence is another one");
    result =
        site_tollgate(site, "ledger", "inspect", "--account", "shop/alice", "--download", download);
    cr_expect_eq(result.exit_code, 0, "%s", result.errors);
    expect_in(result.output, TRACK_TINY);
    result = site_tollgate(site, "ledger", "reconcile", "--access-log", path_of(site, "access"));
    cr_expect_eq(result.exit_code, 0, "%s%s", result.output, result.errors);
    /* Without the archive each says what is missing, or is told where it is now. */
    cr_assert_eq(rename(archive, away), 0);
    result = site_tollgate(site, "ledger", "verify");
    cr_expect_eq(result.exit_code, 0, "%s", result.errors);
    expect_in(result.output, "those before have left the journal");
    result = site_tollgate(site, "download", "show", download, "--evidence");
    cr_expect_eq(result.exit_code, 66);
    expect_in(result.errors, "00000001.seg.zst");
    result = site_tollgate(site, "download", "show", download, "--evidence", "--archive", away);
    cr_expect_eq(result.exit_code, 0, "%s", result.errors);
    expect_reconciled_by_checkpoint(site);
    result = site_tollgate(site, "ledger", "inspect", "--segment", "1");
    cr_expect_eq(result.exit_code, 66);
    expect_in(result.errors, "00000001.seg.zst");
    result = site_tollgate(site, "ledger", "inspect", "--segment", "1", "--archive", away);
    cr_expect_eq(result.exit_code, 0, "%s", result.errors);
    /* The next start needs none of them. */
    site_node_signal(site, SIGTERM);
    cr_assert_eq(site_node_wait(site), 0);
    cr_expect_eq(balance_of(site), balance);
    site_node_start(site);
    site_node_await_ready(site);
    cr_expect_geq(lane_number(site, "first_segment"), 5);
    cr_assert_eq(fetch(site, site_link(site, .account = "alice", .path = TRACK_TINY))->status, 200);
    site_destroy(&site);
}

/* As in a Redis that came back from a file in which only the first record was posted. */
static void forget_all_but_the_first_record(struct site *site)
{
    (void)site_redis_number(site, "local key, count = 'tg:{shop/alice}:account', 0 "
                                  "for _, field in ipairs(redis.call('HKEYS', key)) do "
                                  "if string.sub(field, 1, 2) == 'w:' then "
                                  "redis.call('HSET', key, field, '1') count = count + 1 end end "
                                  "return count");
}

Test(retention, leaves_what_an_emptied_Redis_is_filled_from)
{
    struct site *site = site_create(.own_redis = true, .settings = SETTINGS, .stays_down = true);
    const char *archive = path_of(site, "archive"), *state = site_state_dir(site);
    cr_assert_eq(mkdir(archive, 0700), 0);
    site_redis_start(site);
    site_node_start(site);
    site_node_await_ready(site);
    int64_t balance = fill(site);
    await_first(site, 5);
    site_node_signal(site, SIGTERM);
    cr_assert_eq(site_node_wait(site), 0);
    site_redis_command(site, "FLUSHALL");
    site_node_start(site);
    site_node_await_ready(site);
    site_node_signal(site, SIGTERM);
    cr_assert_eq(site_node_wait(site), 0);
    cr_expect_eq(balance_of(site), balance, "the checkpoint was posted");
    forget_all_but_the_first_record(site);
    site_node_start(site);
    site_log_await(site, "account shop/alice is set aside");
    expect_in(site_log(site), "the next ones have left the journal for the archive");
    site_node_signal(site, SIGTERM);
    (void)site_node_wait(site);
    /* The state directory is lost, and Redis has lost its data, too: what is in the archive comes back. */
    site_redis_command(site, "FLUSHALL");
    struct command_result result = site_tollgate(site, "ledger", "replay", "--archive", archive);
    cr_expect_eq(result.exit_code, 1);
    expect_in(result.errors, "Redis knows no lease and no watermark of this journal");
    result =
        site_tollgate(site, "ledger", "replay", "--archive", archive, "--into-empty", "--json");
    cr_expect_eq(result.exit_code, 0, "%s", result.errors);
    expect_in(result.output, "\"posted\": true");
    cr_expect_lt(balance_of(site), balance);
    cr_expect_gt(balance_of(site), 0);
    /* And the directory is found again. */
    result = site_tollgate(site, "ledger", "replay", state);
    cr_expect_eq(result.exit_code, 0, "%s", result.errors);
    cr_expect_eq(balance_of(site), balance);
    site_node_start(site);
    site_node_await_ready(site);
    site_destroy(&site);
}

static int status_for_bob(struct site *site)
{
    return fetch(site, site_link(site, .account = "bob", .path = TRACK_TINY))->status;
}

Test(retention, serves_and_bills_an_account_that_no_segment_names_any_more)
{
    size_t size;
    struct site *site = site_create(.own_redis = true, .settings = SETTINGS, .stays_down = true);
    cr_assert_eq(mkdir(path_of(site, "archive"), 0700), 0);
    site_redis_start(site);
    site_node_start(site);
    site_node_await_ready(site);
    (void)site_media_bytes(site, TRACK_TINY, &size);
    site_account_open_prepaid(site, "bob", 3 * (int64_t)size);
    cr_assert_eq(status_for_bob(site), 200);
    site_usage_await(site, "bob", size);
    (void)fill(site);
    await_first(site, 5);
    site_node_signal(site, SIGTERM);
    cr_assert_eq(site_node_wait(site), 0);
    site_node_start(site);
    site_node_await_ready(site);
    cr_expect_eq(lane_number(site, "accounts"), 2);
    cr_expect_eq(status_for_bob(site), 200);
    site_usage_await(site, "bob", 2 * size);
    cr_expect_eq(status_for_bob(site), 200);
    site_usage_await(site, "bob", 3 * size);
    cr_expect_eq(status_for_bob(site), 402, "the bytes of before the start count");
    site_destroy(&site);
}

Test(retention, keeps_segments_and_serves_on_while_the_disk_of_the_archive_is_full)
{
    struct site *site = site_create(.own_redis = true, .settings = SETTINGS, .stays_down = true);
    const char *archive = path_of(site, "archive");
    const char *filler = site_format(site, "%s/filler", archive);
    cr_assert_eq(mkdir(archive, 0700), 0);
    if (mount("tmpfs", archive, "tmpfs", 0, "size=64k,mode=0700") < 0)
        cr_skip_test("no file system can be mounted here");
    cr_assert_eq(
        system(site_format(site, "dd if=/dev/zero of='%s' bs=4096 count=16 2>/dev/null", filler)),
        0);
    site_redis_start(site);
    site_node_start(site);
    site_node_await_ready(site);
    (void)fill(site);
    site_log_await(site, "No space left on device");
    cr_expect_eq(lane_number(site, "first_segment"), 1);
    const struct answer *health = site_admin(site, "GET", "/v1/health", NULL);
    cr_expect_eq(health->status, 200);
    cr_expect_not_null(strstr((const char *)health->body, "make room on its disk"));
    cr_assert_eq(fetch(site, site_link(site, .account = "alice", .path = TRACK_TINY))->status, 200);
    cr_assert_eq(unlink(filler), 0);
    await_first(site, 5);
    site_node_signal(site, SIGTERM);
    cr_expect_eq(site_node_wait(site), 0);
    cr_assert_eq(umount(archive), 0);
    site_destroy(&site);
}
