/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A damaged journal. A tail that a power cut has torn is cut off; damage to records that were safe
 * on disk refuses the start and is left for a human to look at. No two processes write one journal.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/ledger/journal_format.h"
#include "tests/unit/ledger/fixture.h"

#define DELIVERIES 5

static struct fixture fx;
static char segment[160];
static uint8_t *whole; /* owns; the segment as it was written */
static size_t size;
static uint32_t used; /* records */

static void write_segment(const uint8_t *bytes)
{
    int fd = open(segment, O_WRONLY | O_CLOEXEC);
    cr_assert(fd >= 0 && pwrite(fd, bytes, size, 0) == (ssize_t)size);
    close(fd);
}

static uint8_t *read_segment(void)
{
    uint8_t *bytes = malloc(size);
    int fd = open(segment, O_RDONLY | O_CLOEXEC);
    cr_assert(bytes != NULL && fd >= 0 && pread(fd, bytes, size, 0) == (ssize_t)size);
    close(fd);
    return bytes;
}

/* A journal of five downloads of 1, 10, 100, ... bytes, closed; Redis is away from then on. */
static void setup(void)
{
    fixture_start(&fx);
    fixture_open_ready(&fx);
    for (uint64_t i = 0, bytes = 1; i < DELIVERIES; i++, bytes *= 10)
        fixture_deliver(&fx, "gina", "/f", bytes);
    cr_assert_eq(fixture_close(&fx), 0);
    fixture_redis_kill(&fx);
    snprintf(segment, sizeof(segment), "%s/lane-a/journal/%08u.seg", fx.state, 1u);
    size = (size_t)fx.options.segment_bytes;
    whole = read_segment();
    for (used = 0; used < size / JOURNAL_RECORD_BYTES; used++)
        if (whole[used * JOURNAL_RECORD_BYTES + 8] == JOURNAL_NOTHING)
            break;
}

static void teardown(void)
{
    free(whole);
    fixture_end(&fx);
}

TestSuite(ledger_damage, .init = setup, .fini = teardown, .timeout = 120);

static uint32_t last_usage(void)
{
    uint32_t index = used;
    while (index-- > 0)
        if (whole[index * JOURNAL_RECORD_BYTES + 8] == JOURNAL_USAGE)
            return index;
    cr_assert_fail("no usage was written");
    return 0;
}

static uint64_t bytes_in_journal(void)
{
    struct fixture_sums sums;
    fixture_read_journal(fx.state, &sums);
    return sums.bytes;
}

Test(ledger_damage, a_tail_torn_at_any_byte_is_cut_off)
{
    uint64_t all = bytes_in_journal();
    cr_assert_eq(all, 11111);
    uint32_t last = last_usage();
    uint8_t *torn = malloc(size);
    uint64_t before = 0;
    for (size_t offset = 0; offset < JOURNAL_RECORD_BYTES; offset++) {
        size_t from = last * JOURNAL_RECORD_BYTES + offset;
        memcpy(torn, whole, size);
        memset(torn + from, 0, size - from);
        /* If the cut took only zeros at the record's end, the record is whole. */
        bool intact = memcmp(torn + last * JOURNAL_RECORD_BYTES,
                             whole + last * JOURNAL_RECORD_BYTES, JOURNAL_RECORD_BYTES) == 0;
        write_segment(torn);
        fixture_open(&fx);
        cr_assert_geq(ledger_close(&fx.ledger, 0), 0);
        uint64_t kept = bytes_in_journal();
        if (offset == 0)
            before = kept;
        cr_assert_eq(kept, intact ? all : before, "torn at byte %zu: %llu", offset,
                     (unsigned long long)kept);
    }
    cr_assert(before < all && before >= 1111, "%llu", (unsigned long long)before);
    free(torn);
}

static void write_instance(const char *text)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/lane-a/instance", fx.state);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

Test(ledger_damage, a_journal_of_another_instance_is_refused_until_its_own_is_back)
{
    char own[LEDGER_HEX_SIZE + 1] = "", error[512] = "";
    for (unsigned i = 0; i < JOURNAL_ID_BYTES; i++)
        snprintf(own + 2 * i, 3, "%02x", whole[48 + i]); /* in the first record, SEGMENT */
    write_instance("0123456789abcdef0123456789abcdef\n");
    cr_assert_eq(ledger_open(&fx.ledger, &fx.options, error, sizeof(error)), -EBADMSG);
    cr_assert(strstr(error, "00000001.seg was written by another instance") != NULL &&
                  strstr(error, "put the file back") != NULL,
              "%s", error);
    uint8_t *after = read_segment();
    cr_assert_eq(memcmp(after, whole, size), 0, "the journal was changed");
    free(after);
    own[LEDGER_HEX_SIZE - 1] = '\n';
    write_instance(own);
    fixture_open(&fx);
    cr_assert_geq(ledger_close(&fx.ledger, 0), 0);
    cr_assert_eq(bytes_in_journal(), 11111);
}

Test(ledger_damage, a_flipped_bit_refuses_the_start_and_nothing_is_written)
{
    cr_assert_gt(used, 4);
    for (size_t at = 0; at < 3 * JOURNAL_RECORD_BYTES; at++) {
        whole[at] ^= 0x10;
        write_segment(whole);
        char error[512] = "";
        int result = ledger_open(&fx.ledger, &fx.options, error, sizeof(error));
        cr_assert_eq(result, -EBADMSG, "byte %zu: %d %s", at, result, error);
        cr_assert(strstr(error, "00000001.seg") != NULL && strstr(error, "damaged") != NULL, "%s",
                  error);
        uint8_t *after = read_segment();
        cr_assert_eq(memcmp(after, whole, size), 0, "byte %zu: the evidence was changed", at);
        free(after);
        whole[at] ^= 0x10;
    }
    write_segment(whole);
    fixture_open(&fx);
    cr_assert_geq(ledger_close(&fx.ledger, 0), 0);
    cr_assert_eq(bytes_in_journal(), 11111);
}

Test(ledger_damage, a_missing_segment_is_named)
{
    char moved[160], error[512] = "";
    snprintf(moved, sizeof(moved), "%s/lane-a/journal/%08u.seg", fx.state, 2u);
    cr_assert_eq(rename(segment, moved), 0);
    cr_assert_eq(ledger_open(&fx.ledger, &fx.options, error, sizeof(error)), -EBADMSG);
    cr_expect(strstr(error, "begins with segment 00000002.seg"), "%s", error);
    cr_assert_eq(rename(moved, segment), 0);
    snprintf(moved, sizeof(moved), "%s/lane-a/journal/%08u.seg", fx.state, 3u);
    fixture_copy(segment, moved);
    cr_assert_eq(ledger_open(&fx.ledger, &fx.options, error, sizeof(error)), -EBADMSG);
    cr_expect(strstr(error, "lacks a segment before 00000003.seg"), "%s", error);
}

Test(ledger_damage, one_process_writes_a_journal)
{
    struct ledger *second = NULL;
    char error[512] = "";
    fixture_open(&fx);
    cr_assert_eq(ledger_open(&second, &fx.options, error, sizeof(error)), -EALREADY, "%s", error);
    cr_assert_neq(error[0], '\0');
    cr_assert_null(second);
    cr_assert_geq(ledger_close(&fx.ledger, 0), 0);
}
