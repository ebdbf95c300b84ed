/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A journal that is read record by record from outside: what each record shows, where it stands, and
 * where the reading ends.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "storage/ledger/verify.h"
#include "storage/ledger/walk.h"
#include "tests/unit/ledger/fixture.h"

static struct fixture fx;
static struct ledger_walk walk;
static char said[600];

/* What the walk has shown. */
static struct seen {
    unsigned records, usage, money, others;
    uint64_t bytes, position;
    char account[64], tag[64], file[64], operation[16], plan[16], transaction[80];
    int stop_after;
} seen;

static int take(void *context, const struct ledger_walk_record *shown)
{
    struct seen *at = context;
    const struct journal_record *record = shown->record;
    cr_expect_eq(shown->position, (uint64_t)at->records * JOURNAL_RECORD_BYTES);
    at->records++;
    at->position = shown->position;
    if (record->type == JOURNAL_USAGE) {
        at->usage++;
        at->bytes += record->bytes_delta;
        snprintf(at->account, sizeof(at->account), "%s", shown->account);
        snprintf(at->tag, sizeof(at->tag), "%s", shown->tag);
        snprintf(at->file, sizeof(at->file), "%s", shown->file);
    } else if (record->type == JOURNAL_MONEY) {
        at->money++;
        snprintf(at->operation, sizeof(at->operation), "%s", shown->operation);
        snprintf(at->plan, sizeof(at->plan), "%s", shown->plan);
        snprintf(at->transaction, sizeof(at->transaction), "%s", record->transaction);
    } else {
        at->others++;
        cr_expect_null(shown->account);
        cr_expect_null(shown->operation);
    }
    return at->stop_after != 0 && at->records == (unsigned)at->stop_after ? 7 : 0;
}

static int look(uint32_t segment, int stop_after)
{
    seen = (struct seen){.stop_after = stop_after};
    walk = (struct ledger_walk){.take = take, .context = &seen, .first = segment, .last = segment};
    return ledger_walk(fx.state, 0, &walk, said, sizeof(said));
}

static void setup(void)
{
    fixture_start(&fx);
    fixture_open_ready(&fx);
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "gina lee", 1, "order-1", NULL), 0);
    fixture_deliver(&fx, "gina lee", "/f", 100);
    fixture_deliver(&fx, "gina lee", "/g", 23);
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_walk, .init = setup, .fini = teardown, .timeout = 60);

Test(ledger_walk, shows_each_record_with_its_place_and_names)
{
    cr_assert_eq(fixture_close(&fx), 0);
    cr_assert_eq(look(0, 0), 0, "%s", said);
    cr_expect_eq(seen.usage, 2);
    cr_expect_eq(seen.bytes, 123);
    cr_expect_str_eq(seen.account, "shop/gina lee");
    cr_expect_str_eq(seen.tag, "shop/gina%20lee");
    cr_expect_eq(seen.file[0], '/');
    cr_expect_eq(seen.money, 1);
    cr_expect_str_eq(seen.operation, "open");
    cr_expect_str_eq(seen.plan, "prepaid");
    cr_expect_str_eq(seen.transaction, "order-1");
    cr_expect_str_eq(walk.lane, "lane-a");
    cr_expect_eq(strlen(walk.instance), 32);
    cr_expect_not(walk.is_written);
    cr_expect_not(walk.is_torn);
    cr_expect_eq(walk.records, seen.records);
    cr_expect_eq(walk.position, seen.position + JOURNAL_RECORD_BYTES);
    struct ledger_verification found = {0};
    cr_assert_eq(ledger_verify(fx.state, 0, &found, said, sizeof(said)), 0);
    cr_expect_eq(found.records, walk.records);
    cr_expect_eq(found.chain, walk.chain);
    cr_expect_eq(found.position, walk.position);
}

Test(ledger_walk, ends_where_its_caller_says_and_knows_which_segments_there_are)
{
    cr_assert_eq(look(0, 2), 7);
    cr_expect_eq(seen.records, 2);
    cr_expect(walk.is_written);
    cr_expect_eq(look(2, 0), -ERANGE);
    cr_expect(strstr(said, "has no segment 2; its last one is 1") != NULL, "%s", said);
    cr_expect_eq(seen.records, 0);
    cr_expect_eq(look(1, 0), 0);
    cr_expect_gt(seen.records, 2);
    cr_expect_eq(ledger_walk(fx.state, 1, &walk, said, sizeof(said)), -ENOENT);
    cr_expect_str_eq(said, "");
}

static int take_between(void *context, const struct ledger_walk_record *shown)
{
    (void)context;
    cr_expect(shown->segment == 2 || shown->segment == 3, "%u", shown->segment);
    seen.records += shown->position == 0;
    seen.position = shown->segment;
    return 0;
}

Test(ledger_walk, reads_the_segments_that_are_asked_for_and_no_others)
{
    fixture_end(&fx);
    fixture_start(&fx);
    fx.options.downloads_max = 4;
    fx.options.segment_bytes = 16384; /* 64 records */
    fixture_open_ready(&fx);
    for (int i = 0; i < 150; i++) { /* a name and an operation each */
        char name[16];
        snprintf(name, sizeof(name), "a%d", i);
        cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, name, 1, name, NULL), 0);
    }
    seen = (struct seen){0};
    walk = (struct ledger_walk){.take = take_between, .first = 2, .last = 3};
    cr_assert_eq(ledger_walk(fx.state, 0, &walk, said, sizeof(said)), 0, "%s", said);
    cr_expect_eq(seen.records, 2, "both begin with a header");
    cr_expect_eq(seen.position, 3);
    cr_expect_gt(walk.segments, 3);
    cr_expect_eq(walk.segment, 3);
}

Test(ledger_walk, ends_before_what_a_crash_has_torn_and_says_so)
{
    char segment[160];
    cr_assert_eq(fixture_close(&fx), 0);
    cr_assert_eq(look(0, 0), 0);
    unsigned records = seen.records;
    snprintf(segment, sizeof(segment), "%s/lane-a/journal/%08u.seg", fx.state, 1u);
    int fd = open(segment, O_WRONLY | O_CLOEXEC);
    cr_assert_eq(pwrite(fd, "torn", 4, (off_t)walk.position), 4);
    close(fd);
    cr_expect_eq(look(0, 0), 0, "%s", said);
    cr_expect(walk.is_torn);
    cr_expect_eq(seen.records, records);
}

Test(ledger_walk, refuses_a_record_that_does_not_belong_there_and_names_its_place)
{
    char segment[160];
    uint8_t bytes[JOURNAL_RECORD_BYTES];
    cr_assert_eq(fixture_close(&fx), 0);
    /* A header where none may be: its chain is right, too. */
    cr_assert_eq(look(0, 0), 0);
    struct journal_record record = {.type = JOURNAL_SEGMENT, .format = LEDGER_JOURNAL_FORMAT};
    journal_encode(&record, walk.chain, bytes);
    uint64_t end = walk.position;
    snprintf(segment, sizeof(segment), "%s/lane-a/journal/%08u.seg", fx.state, 1u);
    int fd = open(segment, O_WRONLY | O_CLOEXEC);
    cr_assert_eq(pwrite(fd, bytes, sizeof(bytes), (off_t)end), (ssize_t)sizeof(bytes));
    close(fd);
    cr_expect_eq(look(0, 0), -EBADMSG);
    char place[64];
    snprintf(place, sizeof(place), "00000001.seg is damaged at byte %llu;",
             (unsigned long long)end);
    cr_expect(strstr(said, place) != NULL, "%s", said);
}
