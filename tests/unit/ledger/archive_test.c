/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of the archive: what is packed and read back, what shows that a file is not the segment, and which of them
 * end.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "storage/ledger/archive.h"
#include "storage/ledger/segment.h"
#include "tests/unit/ledger/fixture.h"

static struct fixture fx;
static char archive[128];

static void setup(void)
{
    fixture_start(&fx);
    fx.options.segment_bytes = 73728; /* 288 records */
    fx.options.downloads_max = 32;
    snprintf(archive, sizeof(archive), "%s/archive", fx.directory);
    cr_assert_eq(mkdir(archive, 0700), 0);
    fixture_open_ready(&fx);
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_archive, .init = setup, .fini = teardown, .timeout = 60);

/* Delivers until the first segment is full. */
static void fill(void)
{
    while (journal_segments(&fx.ledger->journal) < 3) {
        fixture_deliver(&fx, "gina", "/f", 1000);
        cr_assert_eq(writer_mark(fx.ledger, clock_monotonic_ms() + 20000), 0);
    }
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s", path);
    close(fd);
}

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

/* What segment 1 must come to. */
static struct archive_segment segment_of(const char *instance, uint32_t number)
{
    static _Atomic bool stop;
    uint8_t bytes[JOURNAL_RECORD_BYTES];
    struct journal_record next;
    uint64_t size;
    int fd = segment_open(fx.ledger->journal.directory, number + 1, false, &size);
    cr_assert(fd >= 0 && pread(fd, bytes, sizeof(bytes), 0) == (ssize_t)sizeof(bytes));
    close(fd);
    cr_assert(journal_decode(bytes, journal_format_of(bytes), &next));
    return (struct archive_segment){.disk = &ledger_system_disk,
                                    .journal = fx.ledger->journal.directory,
                                    .instance = instance,
                                    .number = number,
                                    .records = journal_base(&fx.ledger->journal, number + 1) -
                                               journal_base(&fx.ledger->journal, number),
                                    .chain = next.previous,
                                    .newest_ms = next.time_ms,
                                    .stop = &stop};
}

Test(ledger_archive, archives_nothing_that_does_not_read_back_as_the_chain_says)
{
    char name[ARCHIVE_NAME_SIZE], file[300];
    uint64_t bytes;
    uint8_t byte;
    fill();
    archive_name(fx.ledger->instance, 1, name);
    snprintf(file, sizeof(file), "%s/%s", archive, name);
    int directory = open(archive, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct archive_segment segment = segment_of(fx.ledger->instance, 1);
    cr_assert_eq(archive_verify(directory, &segment, true), -ENOENT);
    cr_assert_eq(archive_pack(directory, &segment, &bytes), 0);
    cr_assert_eq(archive_verify(directory, &segment, false), 0);
    cr_assert_eq(archive_keep(directory, &segment), 0);
    cr_assert_eq(archive_verify(directory, &segment, true), 0);
    struct archive_segment other = segment;
    other.chain++;
    cr_expect_eq(archive_verify(directory, &other, true), -EBADMSG, "another end");
    other = segment;
    other.records--;
    cr_expect_eq(archive_verify(directory, &other, true), -EBADMSG, "fewer records");
    struct stat status;
    cr_assert_eq(stat(file, &status), 0);
    int fd = open(file, O_RDWR | O_CLOEXEC);
    for (off_t at = 0; at < status.st_size; at += 97) {
        cr_assert_eq(pread(fd, &byte, 1, at), 1);
        byte ^= 4;
        cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
        cr_expect_neq(archive_verify(directory, &segment, true), 0, "byte %d", (int)at);
        byte ^= 4;
        cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    }
    cr_expect_eq(archive_verify(directory, &segment, true), 0);
    cr_assert_eq(ftruncate(fd, status.st_size - 1), 0);
    cr_expect_eq(archive_verify(directory, &segment, true), -EBADMSG, "cut short");
    close(fd);
    close(directory);
}

Test(ledger_archive, removes_from_the_archive_what_is_older_than_it_is_kept_and_nothing_else)
{
    char old[300], young[300], other[300];
    const struct timespec then[] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    uint32_t removed;
    snprintf(old, sizeof(old), "%s/%032x-00000001.seg.zst", archive, 1);
    snprintf(young, sizeof(young), "%s/%032x-00000002.seg.zst", archive, 1);
    snprintf(other, sizeof(other), "%s/notes.txt", archive);
    write_file(old, "");
    write_file(young, "");
    write_file(other, "");
    cr_assert_eq(utimensat(AT_FDCWD, old, then, 0), 0);
    cr_assert_eq(utimensat(AT_FDCWD, other, then, 0), 0);
    int directory = open(archive, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_eq(archive_prune(directory, fx.ledger->instance, 999000, &removed), 0);
    cr_expect_eq(removed, 0);
    cr_assert_eq(archive_prune(directory, fx.ledger->instance, 1000001, &removed), 0);
    cr_expect_eq(removed, 1);
    cr_expect_not(is_there(old));
    cr_expect(is_there(young));
    cr_expect(is_there(other));
    close(directory);
}
