/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A journal that is only looked at: what is found in it, what is said of damage and of a torn tail, and
 * that nothing in it changes.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/ledger/journal_format.h"
#include "storage/ledger/verify.h"
#include "tests/unit/ledger/fixture.h"

#define THIRD ((off_t)2 * JOURNAL_RECORD_BYTES) /* where the third record begins */

static struct fixture fx;
static struct ledger_verification found;
static char said[600], segment[160];

static void setup(void)
{
    fixture_start(&fx);
    fixture_open_ready(&fx);
    fixture_deliver(&fx, "gina", "/f", 100);
    fixture_deliver(&fx, "gina", "/f", 20);
    fixture_deliver(&fx, "hugo", "/g", 3);
    snprintf(segment, sizeof(segment), "%s/lane-a/journal/%08u.seg", fx.state, 1u);
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_verify, .init = setup, .fini = teardown, .timeout = 60);

static int verify(void)
{
    found = (struct ledger_verification){0};
    return ledger_verify(fx.state, 0, &found, said, sizeof(said));
}

static void expect_all(void)
{
    cr_expect_str_eq(found.lane, "lane-a");
    cr_expect_eq(strlen(found.instance), 32);
    cr_expect_eq(found.accounts, 2);
    cr_expect_eq(found.bytes, 123);
    cr_expect_eq(found.responses, 3);
    cr_expect_eq(found.segments, 1);
    cr_expect_eq(found.segment, 1);
}

/* Changes one byte of the segment; a second time changes it back. */
static void damage(off_t at)
{
    uint8_t byte;
    int fd = open(segment, O_RDWR | O_CLOEXEC);
    cr_assert(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= 1;
    cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static uint8_t *read_segment(void)
{
    size_t size = fx.options.segment_bytes;
    uint8_t *bytes = malloc(size);
    int fd = open(segment, O_RDONLY | O_CLOEXEC);
    cr_assert(bytes != NULL && fd >= 0 && pread(fd, bytes, size, 0) == (ssize_t)size);
    close(fd);
    return bytes;
}

Test(ledger_verify, reads_a_journal_beside_the_process_that_writes_it)
{
    do { /* its writer takes its time */
        fixture_pause();
        cr_assert_eq(verify(), 0, "%s", said);
        cr_expect(found.is_written);
        cr_expect_not(found.is_stopped);
        cr_expect_leq(found.bytes, 123);
    } while (found.bytes < 123);
    damage(THIRD + 30);
    cr_assert_eq(verify(), -EBADMSG, "a writer does not change what it has written");
    cr_expect(strstr(said, "00000001.seg is damaged at byte 512") != NULL, "%s", said);
    damage(THIRD + 30);
    cr_assert_eq(fixture_close(&fx), 0);
    cr_assert_eq(verify(), 0, "%s", said);
    expect_all();
    cr_expect_not(found.is_written);
    cr_expect(found.is_stopped);
    cr_expect_eq(found.position, found.records * JOURNAL_RECORD_BYTES);
    cr_expect_eq(found.torn, 0);
    cr_expect(found.first_ms > 0 && found.first_ms <= found.last_ms);
}

Test(ledger_verify, changes_nothing_and_counts_what_a_crash_has_cut)
{
    cr_assert_eq(fixture_close(&fx), 0);
    cr_assert_eq(verify(), 0);
    uint64_t records = found.records, chain = found.chain;
    /* The first half of a record, behind the last one. */
    int fd = open(segment, O_WRONLY | O_CLOEXEC);
    cr_assert_eq(pwrite(fd, "torn", 4, (off_t)found.position), 4);
    close(fd);
    uint8_t *before = read_segment();
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(verify(), 0, "%s", said);
        expect_all();
        cr_expect_eq(found.torn, 1, "it is still there");
        cr_expect_eq(found.records, records);
        cr_expect_eq(found.chain, chain);
    }
    uint8_t *after = read_segment();
    cr_expect_eq(memcmp(before, after, fx.options.segment_bytes), 0);
    free(before);
    free(after);
}

Test(ledger_verify, names_the_place_of_damage_and_what_is_sound_before_it)
{
    cr_assert_eq(fixture_close(&fx), 0);
    cr_assert_eq(verify(), 0);
    uint64_t records = found.records;
    damage(THIRD + 30);
    cr_assert_eq(verify(), -EBADMSG);
    cr_expect(strstr(said, "00000001.seg is damaged at byte 512") != NULL, "%s", said);
    cr_expect_eq(found.records, 2);
    cr_expect_eq(found.position, THIRD);
    damage(THIRD + 30);
    cr_assert_eq(verify(), 0, "%s", said);
    cr_expect_eq(found.records, records);
}

/* Writes as fast as the disk takes it. */
static void *write_on(void *context)
{
    atomic_bool *over = context;
    char transaction[32];
    for (unsigned i = 0; !atomic_load(over); i++) {
        snprintf(transaction, sizeof(transaction), "order-%u", i);
        (void)fixture_change(&fx, LEDGER_TOP_UP, "gina", 1, transaction, NULL);
    }
    return NULL;
}

Test(ledger_verify, takes_no_record_that_is_being_written_for_damage)
{
    atomic_bool over = false;
    pthread_t writer;
    uint64_t records = 0;
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "gina", 1, "first", NULL), 0);
    cr_assert_eq(pthread_create(&writer, NULL, write_on, &over), 0);
    for (int i = 0; i < 200; i++) {
        cr_assert_eq(verify(), 0, "%s", said);
        cr_assert_geq(found.records, records);
        records = found.records;
    }
    cr_expect_gt(found.operations, 1, "it wrote meanwhile");
    atomic_store(&over, true);
    pthread_join(writer, NULL);
    cr_expect_eq(fixture_close(&fx), 0);
}

Test(ledger_verify, names_a_segment_that_cannot_be_opened_and_is_not_silent_about_its_lane)
{
    cr_assert_eq(fixture_close(&fx), 0);
    cr_assert_eq(unlink(segment), 0);
    cr_assert_eq(symlink("/nowhere", segment), 0);
    int result = verify();
    cr_expect(result != 0 && result != -ENOENT, "%d", result);
    cr_expect(strlen(said) > 0);
}

Test(ledger_verify, tells_a_lane_that_is_not_there_from_one_that_lacks_a_part)
{
    char path[160], command[400];
    cr_expect_eq(ledger_verify(fx.state, 1, &found, said, sizeof(said)), -ENOENT);
    cr_expect_str_eq(said, "");
    cr_assert_eq(fixture_close(&fx), 0);
    snprintf(path, sizeof(path), "%s/lane-a/instance", fx.state);
    cr_assert_eq(unlink(path), 0);
    cr_expect_eq(verify(), -EBADMSG);
    cr_expect(strstr(said, "`instance` is damaged") != NULL, "%s", said);
    cr_expect_eq(access(path, F_OK), -1, "it is not made");
    snprintf(command, sizeof(command), "rm -r '%s/lane-a/journal'", fx.state);
    cr_assert_eq(system(command), 0);
    cr_expect_eq(verify(), -ENOENT, "no process has begun a journal there");
}
