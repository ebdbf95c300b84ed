/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A journal that cannot grow: downloads under way end and are billed, new ones are refused early,
 * the ledger neither aborts nor flaps, and it heals by itself, whatever the reason was. The disks
 * are tmpfs in the test's own mount namespace, so these tests need root.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "tests/unit/ledger/fixture.h"

#define SMALL_DOWNLOADS 32
#define SMALL_SEGMENT   73728u /* 288 records: few more than 32 downloads need */
#define MARK_WAIT_MS    20000

static struct fixture fx;
static bool mounted;
/* What the ledger has logged about its journal, by any of its threads. */
static _Atomic unsigned warnings, errors;

static void count_event(void *context, enum ledger_event event, const char *kind, const char *text)
{
    (void)kind;
    (void)context;
    /* The ledger logs about Redis, too, which these tests do not count. */
    if (strstr(text, "cannot grow") == NULL)
        return;
    atomic_fetch_add(event == LEDGER_EVENT_WARNING ? &warnings : &errors, 1);
}

static void disk_options(const char *options)
{
    unsigned long flags = mounted ? MS_REMOUNT : 0;
    if (mount("tmpfs", fx.state, "tmpfs", flags, options) != 0)
        cr_assert_fail("tmpfs %s: %s", options, strerrordesc_np(errno));
    mounted = true;
}

static void setup(void)
{
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        cr_skip_test("only root may mount");
    fixture_start(&fx);
    cr_assert_eq(mkdir(fx.state, 0700), 0);
    fx.options.event = count_event;
    fx.options.segment_bytes = SMALL_SEGMENT;
    fx.options.downloads_max = SMALL_DOWNLOADS;
}

static void teardown(void)
{
    if (fx.ledger != NULL)
        fixture_close(&fx);
    if (mounted)
        umount(fx.state);
    fixture_end(&fx);
}

TestSuite(ledger_room, .init = setup, .fini = teardown, .timeout = 120);

static struct ledger_download *open_one(const char *account, const char *path, int expected)
{
    struct ledger_account *owner = fixture_account(&fx, account);
    struct ledger_file *file = fixture_file(&fx, path);
    struct ledger_download *download = NULL;
    cr_assert_eq(ledger_download_open(fx.ledger, owner, file, &download), expected);
    ledger_account_drop(&owner);
    ledger_file_drop(&file);
    return download;
}

/* The state of the writer alone, without the poster's. */
static bool writer_is(enum ledger_state state)
{
    return atomic_load(&fx.ledger->writer_state) == (int)state;
}

static void await_writer(enum ledger_state state)
{
    for (int i = 0; i < 15000 && !writer_is(state); i++)
        fixture_pause();
    char text[512];
    ledger_state_text(fx.ledger, text, sizeof(text));
    cr_assert(writer_is(state), "the writer's state is %d: %s",
              atomic_load(&fx.ledger->writer_state), text);
}

/* Adds to each download and has the writer mark, until the writer is in the state. Returns the sum
 * of the bytes. */
static uint64_t add_until(struct ledger_download **downloads, size_t count, enum ledger_state state)
{
    uint64_t sum = 0;
    for (unsigned round = 0; !writer_is(state); round++) {
        cr_assert_lt(round, 1000000);
        for (size_t i = 0; i < count; i++) {
            ledger_download_add(downloads[i], 1000, 0);
            sum += 1000;
        }
        (void)writer_mark(fx.ledger, clock_monotonic_ms() + 100); /* is late once nothing fits */
    }
    return sum;
}

static void await_closed(void)
{
    for (int i = 0; i < 15000 && atomic_load(&fx.ledger->downloads) > 0; i++)
        fixture_pause();
    cr_assert_eq(atomic_load(&fx.ledger->downloads), 0);
}

static void expect_billed(uint64_t bytes)
{
    struct fixture_sums sums;
    cr_assert_eq(ledger_settle(fx.ledger, MARK_WAIT_MS), 0);
    cr_assert_eq(fixture_account_field(&fx, "shop/nora", "used"), (int64_t)bytes);
    fixture_read_journal(fx.state, &sums);
    cr_assert_eq(sums.bytes, bytes, "%llu of %llu", (unsigned long long)sums.bytes,
                 (unsigned long long)bytes);
}

Test(ledger_room, of_300_downloads_on_a_small_disk_is_enough_for_them_to_end)
{
    enum { COUNT = 300 };
    struct ledger_download *downloads[COUNT];
    fx.options.segment_bytes = (uint64_t)64 << 20; /* with downloads_max: the program's defaults */
    fx.options.downloads_max = 32768;
    disk_options("size=90m");
    fixture_open_ready(&fx);
    uint64_t segment = fx.options.segment_bytes / JOURNAL_RECORD_BYTES;
    for (unsigned i = 0; i < COUNT; i++) {
        char path[32];
        snprintf(path, sizeof(path), "/%u", i % 100);
        downloads[i] = open_one("nora", path, 0);
    }
    uint64_t sum = add_until(downloads, COUNT, LEDGER_FULL);
    cr_assert_gt(journal_spare(&fx.ledger->journal), segment * 3 / 4, "refused too late");
    open_one("nora", "/new", -ENOSPC);
    sum += add_until(downloads, COUNT, LEDGER_EXHAUSTED);
    for (unsigned i = 0; i < COUNT; i++) {
        ledger_download_add(downloads[i], 7, 1);
        sum += 7;
        ledger_download_close(&downloads[i]);
    }
    await_closed();
    /* Closing them has made some room, but the writer must not accept new downloads for it. */
    cr_assert(writer_is(LEDGER_EXHAUSTED));
    cr_assert_eq(atomic_load(&warnings), 1);
    cr_assert_eq(atomic_load(&errors), 1);
    expect_billed(sum);
    disk_options("size=180m");
    await_writer(LEDGER_READY);
    fixture_deliver(&fx, "nora", "/new", 5);
    expect_billed(sum + 5);
}

Test(ledger_room, of_closings_is_kept_where_several_come_in_one_turn)
{
    enum { COUNT = 5 };
    static const char *const paths[COUNT] = {"/a", "/b", "/c", "/d", "/e"};
    struct ledger_download *downloads[COUNT], *other;
    disk_options("size=120k");
    fixture_open_ready(&fx);
    for (unsigned i = 0; i < COUNT; i++)
        downloads[i] = open_one("nora", paths[i], 0);
    other = open_one("nora", "/other", 0);
    uint64_t sum = add_until(&other, 1, LEDGER_EXHAUSTED);
    while (journal_spare(&fx.ledger->journal) > 0) { /* until only the reserved room is left */
        ledger_download_add(other, 1, 0);
        sum++;
        cr_assert_eq(writer_mark(fx.ledger, clock_monotonic_ms() + MARK_WAIT_MS), 0);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        ledger_download_add(downloads[i], 100 + i, 1);
        sum += 100 + i;
    }
    /* Under the writer's lock, so that all of them close in one of its turns. */
    pthread_mutex_lock(&fx.ledger->writer.lock);
    for (unsigned i = 0; i < COUNT; i++)
        ledger_download_close(&downloads[i]);
    ledger_download_close(&other);
    pthread_mutex_unlock(&fx.ledger->writer.lock);
    await_closed();
    expect_billed(sum);
    /* There is room for STOP and for the START of the next process, too. */
    cr_assert_eq(fixture_close(&fx), 0);
    fixture_open(&fx);
}

/* ---- every reason for a full journal ---- */

static char in_the_way[160];

static void take_inodes(bool taken)
{
    disk_options(taken ? "nr_inodes=10" : "nr_inodes=100");
}

static void put_in_the_way(bool there)
{
    snprintf(in_the_way, sizeof(in_the_way), "%s/lane-a/journal/%08u.seg", fx.state, 2u);
    cr_assert_eq(there ? mkdir(in_the_way, 0700) : rmdir(in_the_way), 0, "%s",
                 strerrordesc_np(errno));
}

/* Leaves only those of the standard streams, which are open: others that are closed now, as a connection
 * of the thread that looks for Redis may be at any time, are not to be had again. */
static void take_descriptors(bool taken)
{
    static struct rlimit before;
    if (taken) {
        cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
        const struct rlimit none = {.rlim_cur = STDERR_FILENO + 1, .rlim_max = before.rlim_max};
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    } else {
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    }
}

static void take_rights(bool taken)
{
    cr_assert_eq(seteuid(taken ? 65534 : 0), 0);
}

/* The journal lacks one thing that its second segment needs, and then gets it back. */
static void expect_full_and_healed(void (*take)(bool taken), int error, const char *cure)
{
    char text[512];
    fixture_open_ready(&fx);
    struct ledger_download *download = open_one("nora", "/f", 0);
    take(true);
    uint64_t sum = add_until(&download, 1, LEDGER_FULL);
    ledger_state_text(fx.ledger, text, sizeof(text));
    struct ledger_download *refused = NULL;
    struct ledger_account *account = fixture_account(&fx, "nora");
    struct ledger_file *file = fixture_file(&fx, "/g");
    cr_assert_eq(ledger_download_open(fx.ledger, account, file, &refused), -ENOSPC);
    ledger_account_drop(&account);
    ledger_file_drop(&file);
    take(false);
    cr_assert(strstr(text, fx.state) != NULL && strstr(text, strerrordesc_np(error)) != NULL &&
                  strstr(text, cure) != NULL,
              "%s", text);
    await_writer(LEDGER_READY);
    open_one("nora", "/g", 0);
    ledger_download_add(download, 5, 1);
    ledger_download_close(&download);
    expect_billed(sum + 5);
}

Test(ledger_room, lacks_descriptors_and_heals)
{
    disk_options("size=1m");
    expect_full_and_healed(take_descriptors, EMFILE, "limit of open files");
}

Test(ledger_room, lacks_inodes_and_heals)
{
    disk_options("size=1m,nr_inodes=100");
    expect_full_and_healed(take_inodes, ENOSPC, "make room");
}

Test(ledger_room, lacks_rights_and_heals)
{
    disk_options("size=1m,mode=0700");
    expect_full_and_healed(take_rights, EACCES, "own the directory");
}

Test(ledger_room, finds_something_in_its_way_and_heals)
{
    disk_options("size=1m");
    expect_full_and_healed(put_in_the_way, EEXIST, "move");
}

Test(ledger_room, takes_away_what_a_failed_attempt_left)
{
    disk_options("size=1m");
    fixture_open_ready(&fx);
    snprintf(in_the_way, sizeof(in_the_way), "%s/lane-a/journal/%08u.seg", fx.state, 2u);
    close(open(in_the_way, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    struct ledger_download *download = open_one("nora", "/f", 0);
    uint64_t sum = 0;
    while (journal_segments(&fx.ledger->journal) < 3) {
        ledger_download_add(download, 10, 0);
        sum += 10;
        cr_assert_eq(writer_mark(fx.ledger, clock_monotonic_ms() + MARK_WAIT_MS), 0);
    }
    ledger_download_close(&download);
    expect_billed(sum);
}

Test(ledger_room, of_descriptors_that_the_poster_lacks_is_waited_for)
{
    disk_options("size=1m");
    fixture_open_ready(&fx);
    struct ledger_download *download = open_one("nora", "/f", 0);
    uint64_t sum = 0;
    /* Waits for the second segment, so that the writer needs no further descriptor. */
    snprintf(in_the_way, sizeof(in_the_way), "%s/lane-a/journal/%08u.seg", fx.state, 2u);
    while (access(in_the_way, F_OK) != 0) {
        ledger_download_add(download, 10, 0);
        sum += 10;
        cr_assert_eq(writer_mark(fx.ledger, clock_monotonic_ms() + MARK_WAIT_MS), 0);
    }
    /* While the poster waits for Redis, the writer enters the second segment and closes the first
     * one's descriptor. */
    cr_assert_eq(kill(fx.redis, SIGSTOP), 0);
    while (journal_segments(&fx.ledger->journal) < 2) {
        ledger_download_add(download, 10, 0);
        sum += 10;
        cr_assert_eq(writer_mark(fx.ledger, clock_monotonic_ms() + MARK_WAIT_MS), 0);
    }
    take_descriptors(true);
    cr_assert_eq(kill(fx.redis, SIGCONT), 0);
    cr_assert_eq(ledger_settle(fx.ledger, 300), -ETIMEDOUT, "the poster lacks nothing");
    int state = (int)ledger_state(fx.ledger);
    take_descriptors(false);
    cr_assert(state != LEDGER_FAILED, "the poster has given up");
    fixture_wait_state(&fx, LEDGER_READY);
    ledger_download_close(&download);
    expect_billed(sum);
}

/* ---- random lives of a disk ---- */

static uint64_t chance_state;

static uint64_t chance(uint64_t below) /* splitmix64 */
{
    uint64_t z = (chance_state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % below;
}

struct life {
    struct ledger_download *downloads[SMALL_DOWNLOADS];
    uint64_t seed, sum;
    unsigned opened, refused;
    int filler; /* the file that fills the disk */
};

/* Fills the disk, or leaves less than a segment needs. */
static void fill_disk(struct life *life)
{
    struct statvfs status;
    cr_assert_eq(fstatvfs(life->filler, &status), 0);
    off_t room = (off_t)(status.f_bavail * status.f_bsize), left = (off_t)chance(SMALL_SEGMENT);
    if (room > left)
        (void)posix_fallocate(life->filler, 0, room - left);
}

static void open_by_chance(struct life *life, struct ledger_download **at)
{
    char path[192];
    snprintf(path, sizeof(path), "/%0*u", 1 + (int)chance(150), (unsigned)chance(20));
    struct ledger_account *account = fixture_account(&fx, "nora");
    struct ledger_file *file = fixture_file(&fx, path);
    int result = ledger_download_open(fx.ledger, account, file, at);
    cr_assert(result == 0 || result == -ENOSPC || result == -EMFILE, "seed %llu: %d",
              (unsigned long long)life->seed, result);
    life->refused += result == -ENOSPC;
    life->opened += result == 0;
    ledger_account_drop(&account);
    ledger_file_drop(&file);
}

static void step(struct life *life)
{
    struct ledger_download **at = &life->downloads[chance(SMALL_DOWNLOADS)];
    if (*at == NULL) {
        open_by_chance(life, at);
    } else if (chance(3) > 0) {
        uint64_t bytes = chance(100000);
        ledger_download_add(*at, bytes, 0);
        life->sum += bytes;
    } else if (chance(2) > 0) {
        ledger_download_close(at);
    }
    if (chance(4) == 0)
        (void)writer_mark(fx.ledger, clock_monotonic_ms() + 20);
}

/* Fills the disk and then the journal, and gives both room again: the ledger heals, or
 * starts again. */
static void fill_and_heal(struct life *life)
{
    fill_disk(life);
    for (unsigned steps = 0; writer_is(LEDGER_READY); steps++) {
        cr_assert_lt(steps, 100000, "seed %llu: never full", (unsigned long long)life->seed);
        step(life);
    }
    for (unsigned steps = (unsigned)chance(500); steps > 0; steps--)
        step(life);
    bool again = chance(2) > 0;
    if (again) { /* closing the ledger closes its downloads */
        cr_assert_geq(fixture_close(&fx), 0, "seed %llu", (unsigned long long)life->seed);
        memset(life->downloads, 0, sizeof(life->downloads));
    }
    cr_assert_eq(ftruncate(life->filler, 0), 0);
    if (again)
        fixture_open_ready(&fx);
    else
        await_writer(LEDGER_READY);
    for (unsigned steps = (unsigned)chance(500); steps > 0; steps--)
        step(life);
}

static void live_by_chance(uint64_t seed)
{
    enum { ROUNDS = 4 };
    struct life life = {.seed = seed};
    char path[192];
    struct fixture_sums sums;
    snprintf(path, sizeof(path), "%s/filler", fx.state);
    life.filler = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    chance_state = seed;
    fixture_open_ready(&fx);
    for (unsigned i = 0; i < ROUNDS; i++)
        fill_and_heal(&life);
    close(life.filler);
    cr_assert_geq(fixture_close(&fx), 0, "seed %llu", (unsigned long long)seed);
    fixture_read_journal(fx.state, &sums);
    cr_assert_eq(sums.bytes, life.sum, "seed %llu: the journal has %llu of %llu",
                 (unsigned long long)seed, (unsigned long long)sums.bytes,
                 (unsigned long long)life.sum);
    cr_assert(life.opened > 20, "seed %llu: %u opened, %u refused", (unsigned long long)seed,
              life.opened, life.refused);
    fixture_open_ready(&fx);
    expect_billed(life.sum);
    cr_assert_eq(fixture_close(&fx), 0);
}

Test(ledger_room, comes_and_goes_and_nothing_is_lost)
{
    static const uint64_t seeds[] = {1, 2};
    fx.options.lease_ms = 300;
    for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
        disk_options("size=3m");
        live_by_chance(seeds[i]);
        cr_assert_eq(umount(fx.state), 0);
        mounted = false;
        freeReplyObject(fixture_redis(&fx, "FLUSHALL"));
    }
}
