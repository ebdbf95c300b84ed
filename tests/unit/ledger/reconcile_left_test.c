/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Journals whose first segments have left, compared with Redis by their checkpoints: to the byte, as with all
 * segments.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "storage/ledger/reconcile.h"
#include "storage/ledger/segment.h"
#include "tests/unit/ledger/fixture.h"

#define ACCOUNTS 3
#define SEGMENTS 6

static const char *const names[ACCOUNTS] = {"gina", "hugo", "ivan"}; /* ivan at the begin alone */
static struct fixture fx;
static struct ledger_reconcile *reconcile;
static uint64_t sent[ACCOUNTS];
static char said[9000], archive[128];

static uint32_t newest_checkpoint(void)
{
    struct ledger_stats stats;
    ledger_stats(fx.ledger, &stats);
    return (uint32_t)stats.checkpoint_segment;
}

static void deliver_to(uint32_t number)
{
    for (unsigned i = 1; journal_segments(&fx.ledger->journal) < number; i++) {
        unsigned account = i < 20 ? i % ACCOUNTS : i % 2;
        fixture_deliver(&fx, names[account], i % 2 == 0 ? "/f" : "/g", i);
        sent[account] += i;
        if (i % 8 == 0)
            cr_assert_eq(writer_mark(fx.ledger, clock_monotonic_ms() + 20000), 0);
    }
    while (newest_checkpoint() < number - 1)
        fixture_pause();
    cr_assert_eq(ledger_settle(fx.ledger, 20000), 0);
}

/* Has all segments leave that may: those before the last checkpoint's. */
static void let_go(void)
{
    cr_assert_eq(fixture_close(&fx), 0);
    fx.options.keep_bytes = 1;
    fixture_open_ready(&fx);
    while (atomic_load(&fx.ledger->journal.first) < SEGMENTS - 1)
        fixture_pause();
    cr_assert_eq(fixture_close(&fx), 0);
}

static void setup(void)
{
    memset(sent, 0, sizeof(sent));
    fixture_start(&fx);
    snprintf(archive, sizeof(archive), "%s/archive", fx.directory);
    cr_assert_eq(mkdir(archive, 0700), 0);
    fx.options.segment_bytes = 73728;
    fx.options.downloads_max = 32;
    fx.options.checkpoint_records = 1;
    fixture_open_ready(&fx);
}

static void teardown(void)
{
    ledger_reconcile_destroy(&reconcile);
    fixture_end(&fx);
}

TestSuite(ledger_reconcile_left, .init = setup, .fini = teardown, .timeout = 120);

static struct seen {
    unsigned accounts, differing;
    struct ledger_reconciled found[ACCOUNTS];
} seen;

static void take(void *context, const struct ledger_reconciled *account)
{
    struct seen *at = context;
    at->accounts++;
    at->differing += !account->agrees;
    for (unsigned i = 0; i < ACCOUNTS; i++)
        if (strcmp(account->account + strlen("shop/"), names[i]) == 0)
            at->found[i] = *account;
}

static int read_all(const char *with_archive)
{
    ledger_reconcile_destroy(&reconcile);
    cr_assert_eq(ledger_reconcile_create(&reconcile), 0);
    cr_assert_eq(ledger_reconcile_add(reconcile, fx.state, said, sizeof(said)), 1, "%s", said);
    ledger_reconcile_archive(reconcile, with_archive);
    cr_assert_eq(ledger_reconcile_redis(reconcile, &fx.options, NULL, NULL, said, sizeof(said)), 0,
                 "%s", said);
    return ledger_reconcile_journals(reconcile, NULL, NULL, said, sizeof(said));
}

static void look(const char *with_archive)
{
    int result = read_all(with_archive);
    cr_assert_eq(result, 0, "%d %s", result, said);
    seen = (struct seen){0};
    cr_assert_eq(ledger_reconcile_each(reconcile, false, take, &seen), 0);
    cr_expect_eq(seen.accounts, ACCOUNTS);
}

static void expect_all_posted(void)
{
    cr_expect_eq(seen.differing, 0);
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        cr_expect_eq(seen.found[i].figures.posted, sent[i], "%s", names[i]);
        cr_expect_eq(seen.found[i].figures.unposted, 0);
        cr_expect_eq(seen.found[i].figures.used, sent[i]);
        cr_expect_eq(seen.found[i].figures.given, sent[i]);
    }
}

static void spoil_checkpoint(uint32_t number)
{
    char path[300], name[SEGMENT_NAME_MAX];
    segment_name(number, name);
    snprintf(path, sizeof(path), "%s/lane-a/checkpoints/%s", fx.state, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert(fd >= 0, "%s", path);
    cr_assert_eq(pwrite(fd, "no", 2, 600), 2);
    close(fd);
}

Test(ledger_reconcile_left, agrees_to_the_byte_by_a_checkpoint_as_by_the_archive)
{
    fx.options.archive = archive;
    deliver_to(SEGMENTS);
    let_go();
    look(NULL);
    expect_all_posted();
    uint64_t responses[ACCOUNTS];
    for (unsigned i = 0; i < ACCOUNTS; i++)
        responses[i] = seen.found[i].figures.responses;
    look(archive);
    expect_all_posted();
    for (unsigned i = 0; i < ACCOUNTS; i++)
        cr_expect_eq(seen.found[i].figures.responses, responses[i]);
}

Test(ledger_reconcile_left, tells_the_byte_by_which_Redis_differs)
{
    deliver_to(SEGMENTS);
    let_go();
    freeReplyObject(fixture_redis(&fx, "HINCRBY tg:{shop/ivan}:account used -1"));
    look(NULL);
    cr_expect_eq(seen.differing, 1);
    cr_expect_eq(seen.found[2].differences.used, -1);
    cr_expect_eq(seen.found[2].differences.given, 0);
}

Test(ledger_reconcile_left, takes_an_empty_Redis_for_one_to_which_all_is_unposted)
{
    deliver_to(SEGMENTS);
    let_go();
    freeReplyObject(fixture_redis(&fx, "FLUSHALL"));
    look(NULL);
    cr_expect_eq(seen.differing, 0);
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        cr_expect_eq(seen.found[i].figures.posted, 0);
        cr_expect_eq(seen.found[i].figures.unposted, sent[i]);
        cr_expect_gt(seen.found[i].figures.unposted_records, 0);
    }
}

/* Of a Redis that was restored from a file older than the journal is kept. */
Test(ledger_reconcile_left, tells_of_records_that_Redis_lacks_and_nobody_posts)
{
    uint64_t before[ACCOUNTS];
    deliver_to(2);
    memcpy(before, sent, sizeof(before));
    freeReplyObject(fixture_redis(&fx, "EVAL %s 0",
                                  "for _, key in ipairs(redis.call('KEYS', '*')) do "
                                  "redis.call('COPY', key, key, 'DB', 1) end"));
    deliver_to(SEGMENTS);
    let_go();
    freeReplyObject(fixture_redis(&fx, "SWAPDB 0 1"));
    look(NULL);
    cr_expect_eq(seen.differing, ACCOUNTS);
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        cr_expect_gt(seen.found[i].differences.left, 0);
        cr_expect_eq(seen.found[i].differences.used, 0);
        cr_expect_eq(seen.found[i].figures.posted, before[i]);
        cr_expect_eq(seen.found[i].figures.unposted, sent[i] - before[i]);
    }
}

Test(ledger_reconcile_left, takes_the_checkpoint_before_a_damaged_one_and_refuses_without_any)
{
    deliver_to(SEGMENTS);
    let_go();
    spoil_checkpoint(SEGMENTS - 1);
    look(NULL);
    expect_all_posted();
    spoil_checkpoint(SEGMENTS - 2);
    cr_expect_eq(read_all(NULL), -ENODATA);
    cr_expect(strstr(said, "no checkpoint of them can be read; name by --archive") != NULL, "%s",
              said);
}

/* A copy whose checkpoints are newer than its journal. */
Test(ledger_reconcile_left, refuses_a_checkpoint_of_records_that_the_journal_does_not_follow)
{
    char path[300];
    deliver_to(SEGMENTS);
    let_go();
    snprintf(path, sizeof(path), "%s/lane-a/journal/00000006.seg", fx.state);
    cr_assert_eq(unlink(path), 0);
    cr_expect_eq(read_all(NULL), -EBADMSG);
    cr_expect(strstr(said, "is not of the journal beside it") != NULL, "%s", said);
}
