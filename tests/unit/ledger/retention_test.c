/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When segments leave the journal, what the archive has of them then, and what a start, a Redis that lost data and
 * the readers from outside do without them.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "storage/ledger/archive.h"
#include "storage/ledger/evidence.h"
#include "storage/ledger/retention.h"
#include "storage/ledger/segment.h"
#include "storage/ledger/verify.h"
#include "tests/unit/ledger/fixture.h"

#define DOWNLOADS 32
#define SEGMENT   73728u /* 288 records */

static struct fixture fx;
static uint64_t sent;
static char archive[128];
static char said[65536]; /* by the ledger, one line for each event */
static pthread_mutex_t said_lock = PTHREAD_MUTEX_INITIALIZER;

static void hear(void *context, enum ledger_event event, const char *kind, const char *text)
{
    (void)context, (void)event, (void)kind;
    pthread_mutex_lock(&said_lock);
    size_t length = strlen(said);
    snprintf(said + length, sizeof(said) - length, "%s\n", text);
    pthread_mutex_unlock(&said_lock);
}

static bool was_said(const char *part)
{
    pthread_mutex_lock(&said_lock);
    bool was = strstr(said, part) != NULL;
    pthread_mutex_unlock(&said_lock);
    return was;
}

static void setup(void)
{
    fixture_start(&fx);
    fx.options.segment_bytes = SEGMENT;
    fx.options.downloads_max = DOWNLOADS;
    fx.options.checkpoint_records = 1;
    fx.options.event = hear;
    snprintf(archive, sizeof(archive), "%s/archive", fx.directory);
    cr_assert_eq(mkdir(archive, 0700), 0);
    fx.options.archive = archive;
    fixture_open_ready(&fx);
    sent = 0;
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_retention, .init = setup, .fini = teardown, .timeout = 120);

/* ---- what the tests share ---- */

static struct ledger_stats stats_now(void)
{
    struct ledger_stats stats;
    ledger_stats(fx.ledger, &stats);
    return stats;
}

/* Delivers to some accounts until the journal has this segment, and a checkpoint of the one before. */
static void deliver_to(uint32_t number)
{
    static const char *const accounts[] = {"gina", "hugo", "ivan"};
    for (unsigned i = 1; journal_segments(&fx.ledger->journal) < number; i++) {
        fixture_deliver(&fx, accounts[i % 3], i % 2 == 0 ? "/f" : "/g", i);
        sent += i;
        if (i % 8 == 0)
            cr_assert_eq(writer_mark(fx.ledger, clock_monotonic_ms() + 20000), 0);
    }
    while (stats_now().checkpoint_segment < number - 1)
        fixture_pause();
}

static void fill_to(uint32_t number)
{
    deliver_to(number);
    cr_assert_eq(ledger_settle(fx.ledger, 20000), 0);
}

/* Behind a checkpoint its thread looks whether a segment may go, and then makes the next one. */
static void look_twice(void)
{
    for (uint32_t more = 1; more <= 3; more++)
        deliver_to(journal_segments(&fx.ledger->journal) + 1);
}

/* Has a journal of six segments, of which all but two may go, and the checkpoints of 4 and 5. */
static void fill(void)
{
    fill_to(6);
}

static void open_again(uint64_t keep_bytes)
{
    cr_assert_eq(fixture_close(&fx), 0);
    fx.options.keep_bytes = keep_bytes;
    fixture_open_ready(&fx);
}

static uint32_t first_now(void)
{
    return atomic_load(&fx.ledger->journal.first);
}

static const char *in_archive(uint32_t number)
{
    static char path[300];
    char name[ARCHIVE_NAME_SIZE];
    archive_name(fx.ledger->instance, number, name);
    snprintf(path, sizeof(path), "%s/%s", archive, name);
    return path;
}

static const char *in_journal(uint32_t number)
{
    static char path[200];
    char name[SEGMENT_NAME_MAX];
    segment_name(number, name);
    snprintf(path, sizeof(path), "%s/lane-a/journal/%s", fx.state, name);
    return path;
}

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

static void await_first(uint32_t number)
{
    while (first_now() < number || is_there(in_journal(number - 1)))
        fixture_pause();
    cr_assert_eq(first_now(), number);
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s", path);
    close(fd);
}

static struct ledger_verification verified(const char *where, int expected)
{
    struct ledger_verification found = {.archive = where};
    char error[600];
    int result = ledger_verify(fx.state, 0, &found, error, sizeof(error));
    cr_expect_eq(result, expected, "%d %s", result, error);
    return found;
}

static uint64_t billed(void)
{
    cr_assert_eq(ledger_settle(fx.ledger, 20000), 0);
    return fixture_redis_usage(&fx, "shop/gina") + fixture_redis_usage(&fx, "shop/hugo") +
           fixture_redis_usage(&fx, "shop/ivan");
}

/* ---- leaving ---- */

Test(ledger_retention, moves_what_two_checkpoints_cover_to_the_archive_byte_for_byte)
{
    char kept[160];
    struct stat status;
    fill();
    struct ledger_verification before = verified(NULL, 0);
    snprintf(kept, sizeof(kept), "%s/kept", fx.directory);
    fixture_copy(in_journal(1), kept);
    open_again(1);
    await_first(5);
    for (uint32_t number = 1; number <= 6; number++) {
        cr_expect_eq(is_there(in_journal(number)), number >= 5, "%u", number);
        cr_expect_eq(is_there(in_archive(number)), number <= 4, "%u", number);
    }
    while (stats_now().segments_removed < 4)
        fixture_pause();
    struct ledger_stats stats = stats_now();
    cr_expect_eq(stats.segments, 2);
    cr_expect_eq(stats.segments_archived, 4);
    cr_expect_eq(stats.segments_removed, 4);
    cr_expect_gt(stats.archived_bytes, 0);
    cr_expect_lt(stats.archived_bytes, 2 * SEGMENT);
    char command[700];
    snprintf(command, sizeof(command), "zstd -qdc %s | cmp - %s", in_archive(1), kept);
    cr_expect_eq(system(command), 0, "zstd -d does not give the segment back");
    cr_assert_eq(stat(in_archive(1), &status), 0);
    cr_expect_leq(status.st_mtime, time(NULL));
    /* The process that opened it again has written what a start and its lease do. */
    struct ledger_verification whole = verified(archive, 0);
    cr_expect_eq(whole.first, 1);
    cr_expect_eq(whole.bytes, before.bytes);
    cr_expect_geq(whole.records, before.records);
}

Test(ledger_retention, leaves_a_journal_with_which_a_node_starts_and_bills_on)
{
    fill();
    open_again(1);
    await_first(5);
    open_again(1);
    cr_expect_eq(first_now(), 5);
    cr_expect_geq(fx.ledger->journal.from_checkpoint, 5);
    cr_expect_eq(billed(), sent);
    fill_to(8);
    await_first(7);
    cr_expect_eq(billed(), sent);
}

Test(ledger_retention, leaves_a_start_possible_with_the_older_of_two_checkpoints)
{
    char path[200];
    fill();
    open_again(1);
    await_first(5);
    cr_assert_eq(fixture_close(&fx), 0);
    fx.options.checkpoint_records = 1u << 20;
    snprintf(path, sizeof(path), "%s/lane-a/checkpoints/00000005.seg", fx.state);
    cr_assert(is_there(path));
    write_file(path, "damaged");
    fixture_open_ready(&fx);
    cr_expect_eq(fx.ledger->journal.from_checkpoint, 4);
    cr_expect_eq(billed(), sent);
}

Test(ledger_retention, refuses_a_start_without_a_checkpoint_of_what_has_left_and_names_the_cure)
{
    char path[200], error[600];
    fill();
    open_again(1);
    await_first(5);
    cr_assert_eq(fixture_close(&fx), 0);
    snprintf(path, sizeof(path), "%s/lane-a/checkpoints", fx.state);
    fixture_remove(path);
    cr_expect_eq(ledger_open(&fx.ledger, &fx.options, error, sizeof(error)), -EBADMSG);
    cr_expect_not_null(strstr(error, "begins with segment 00000005.seg"), "%s", error);
    cr_expect_not_null(strstr(error, "archive"), "%s", error);
}

Test(ledger_retention, goes_by_age_where_that_is_what_is_configured)
{
    fill();
    cr_assert_eq(fixture_close(&fx), 0);
    fx.options.keep_ms = 3600000;
    fixture_open_ready(&fx);
    look_twice();
    cr_expect_eq(first_now(), 1, "it is not an hour old");
    cr_assert_eq(fixture_close(&fx), 0);
    fx.options.keep_ms = 1;
    fixture_open_ready(&fx);
    await_first(8);
}

Test(ledger_retention, without_an_archive_removes_segments_alone)
{
    fill();
    fx.options.archive = NULL;
    open_again(1);
    await_first(5);
    while (stats_now().segments_removed < 4)
        fixture_pause();
    cr_expect_eq(stats_now().segments_archived, 0);
    cr_expect_eq(billed(), sent);
    struct ledger_verification rest = verified(NULL, 0);
    cr_expect_eq(rest.first, 5);
    cr_expect_eq(rest.segments, 6);
    cr_expect_gt(rest.records, 100);
}

/* ---- what keeps a segment ---- */

Test(ledger_retention, keeps_what_redis_has_not)
{
    fill();
    cr_assert_eq(fixture_close(&fx), 0);
    fx.options.keep_bytes = 1;
    fixture_redis_kill(&fx);
    fixture_open(&fx);
    look_twice();
    cr_expect_eq(first_now(), 1);
    cr_expect(is_there(in_journal(1)));
}

Test(ledger_retention, keeps_the_records_of_an_account_that_is_set_aside)
{
    fill();
    cr_assert_eq(fixture_close(&fx), 0);
    fx.options.keep_bytes = 1;
    freeReplyObject(fixture_redis(&fx, "DEL tg:{shop/hugo}:account"));
    freeReplyObject(fixture_redis(&fx, "SET tg:{shop/hugo}:account text"));
    fixture_open_ready(&fx);
    while (stats_now().accounts_set_aside == 0)
        fixture_pause();
    look_twice();
    cr_expect_eq(first_now(), 1);
}

/* ---- an archive that fails ---- */

Test(ledger_retention, keeps_segments_while_the_archive_is_missing_and_says_so_once)
{
    char text[512];
    fill();
    cr_assert_eq(rmdir(archive), 0);
    open_again(1);
    while (stats_now().archive_failures < 1)
        fixture_pause();
    cr_expect_eq(first_now(), 1);
    cr_expect_eq(stats_now().segments_overdue, 4);
    ledger_retention_text(fx.ledger, text, sizeof(text));
    cr_expect_not_null(strstr(text, archive), "%s", text);
    cr_expect_not_null(strstr(text, "No such file"), "%s", text);
    cr_expect(was_said("segment 1 of lane-a stays in the journal"));
    cr_assert_eq(mkdir(archive, 0700), 0);
    await_first(5);
    cr_expect(was_said("segments leave the journal again"));
    ledger_retention_text(fx.ledger, text, sizeof(text));
    cr_expect_str_empty(text);
    cr_expect_eq(stats_now().segments_overdue, 0);
}

Test(ledger_retention, keeps_segments_while_the_disk_of_the_archive_is_full_and_serves_on)
{
    char filler[160];
    fill();
    if (mount("tmpfs", archive, "tmpfs", 0, "size=64k,mode=0700") < 0)
        cr_skip_test("no file system can be mounted here");
    snprintf(filler, sizeof(filler), "%s/filler", archive);
    int fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_eq(posix_fallocate(fd, 0, 64 * 1024), 0);
    close(fd);
    open_again(1);
    while (!was_said("No space left on device"))
        fixture_pause();
    cr_expect_geq(stats_now().archive_failures, 1);
    cr_expect_eq(first_now(), 1);
    cr_expect_eq(billed(), sent);
    fixture_deliver(&fx, "gina", "/f", 5);
    sent += 5;
    cr_expect_eq(billed(), sent);
    cr_assert_eq(unlink(filler), 0);
    await_first(5);
    cr_assert_eq(fixture_close(&fx), 0);
    cr_expect_eq(umount(archive), 0);
}

/* ---- a process that was killed between two steps ---- */

Test(ledger_retention, goes_on_where_a_process_was_killed_with_a_file_half_written)
{
    char part[400];
    fill();
    snprintf(part, sizeof(part), "%s/.%s-00000001.seg.zst.part", archive, fx.ledger->instance);
    write_file(part, "half");
    open_again(1);
    await_first(5);
    cr_expect_not(is_there(part));
    verified(archive, 0);
}

Test(ledger_retention, goes_on_where_a_process_was_killed_before_the_segment_was_removed)
{
    char kept[160];
    fill();
    snprintf(kept, sizeof(kept), "%s/kept", fx.directory);
    fixture_copy(in_journal(1), kept);
    open_again(1);
    await_first(5);
    /* The journal as it was before 1 to 4 were removed, of which the archive has 4 damaged. */
    cr_assert_eq(fixture_close(&fx), 0);
    char command[700];
    for (unsigned number = 1; number <= 4; number++) {
        snprintf(command, sizeof(command),
                 "cd %s && zstd -qdf *-0000000%u.seg.zst -o %s/lane-a/journal/0000000%u.seg",
                 archive, number, fx.state, number);
        cr_assert_eq(system(command), 0);
    }
    snprintf(command, sizeof(command), "for f in %s/*-00000004.seg.zst; do echo no >\"$f\"; done",
             archive);
    cr_assert_eq(system(command), 0);
    fixture_open_ready(&fx);
    await_first(5);
    cr_expect_eq(stats_now().segments_archived, 1, "three were found there");
    cr_expect_eq(verified(archive, 0).first, 1);
}

/* ---- a Redis that has lost data ---- */

/* Keeps Redis as it is now, in its second database. */
static void keep_redis(void)
{
    freeReplyObject(fixture_redis(&fx, "EVAL %s 0",
                                  "for _, key in ipairs(redis.call('KEYS', '*')) do "
                                  "redis.call('COPY', key, key, 'DB', 1) end"));
}

Test(ledger_retention, sets_accounts_aside_whose_records_have_left_and_a_replay_brings_them_back)
{
    fill_to(2);
    keep_redis();
    fill();
    open_again(1);
    await_first(5);
    cr_assert_eq(fixture_close(&fx), 0);
    freeReplyObject(fixture_redis(&fx, "SWAPDB 0 1"));
    fixture_open_ready(&fx);
    while (stats_now().accounts_set_aside < 3)
        fixture_pause();
    cr_expect(was_said("account shop/gina is set aside: Redis has its first "));
    cr_expect(was_said(" records, and the next ones have left the journal for the archive"));
    /* The others are served meanwhile. */
    fixture_deliver(&fx, "judy", "/f", 7);
    struct ledger_account *judy = fixture_account(&fx, "judy");
    cr_expect_eq(ledger_account_settle(fx.ledger, judy, 20000), 0);
    ledger_account_drop(&judy);
    cr_expect_eq(fixture_redis_usage(&fx, "shop/judy"), 7);
    (void)fixture_close(&fx);
    fx.options.keep_bytes = 0;
    fx.options.reads_archive = true;
    fixture_open_ready(&fx);
    cr_expect_eq(first_now(), 1);
    cr_expect_eq(billed(), sent);
    cr_assert_eq(fixture_close(&fx), 0);
    fx.options.reads_archive = false;
    fixture_open_ready(&fx);
    cr_expect_eq(stats_now().accounts_set_aside, 0);
    cr_expect_eq(billed(), sent);
}

Test(ledger_retention, serves_a_watermark_in_the_segments_that_are_left)
{
    fill();
    open_again(1);
    await_first(5);
    fixture_deliver(&fx, "gina", "/f", 5);
    sent += 5;
    cr_expect_eq(billed(), sent);
    cr_assert_eq(fixture_close(&fx), 0);
    struct ledger_account *gina;
    fixture_open_ready(&fx);
    gina = fixture_account(&fx, "gina");
    cr_expect_eq(atomic_load(&gina->aside), 0);
    ledger_account_drop(&gina);
    cr_expect_eq(billed(), sent);
}

/* ---- readers from outside ---- */

Test(ledger_retention, has_the_evidence_of_a_download_in_the_archive)
{
    struct ledger_evidence found;
    struct ledger_evidence_watch watch = {0};
    char error[600];
    uint64_t download = (UINT64_C(1) << JOURNAL_COUNT_BITS) + 5; /* a-1-5 */
    fill();
    cr_assert_eq(
        ledger_evidence_find(fx.state, download, true, &watch, &found, error, sizeof(error)), 0);
    uint64_t bytes = found.bytes;
    ledger_evidence_free(&found);
    open_again(1);
    await_first(5);
    cr_expect_eq(
        ledger_evidence_find(fx.state, download, true, &watch, &found, error, sizeof(error)),
        -ENODATA);
    cr_expect_not_null(strstr(error, "-00000001.seg.zst"), "%s", error);
    ledger_evidence_free(&found);
    watch.archive = archive;
    cr_assert_eq(
        ledger_evidence_find(fx.state, download, true, &watch, &found, error, sizeof(error)), 0,
        "%s", error);
    cr_expect_eq(found.bytes, bytes);
    cr_expect_eq(found.state, LEDGER_EVIDENCE_CLOSED);
    cr_expect(found.has_head);
    ledger_evidence_free(&found);
}
