/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a journal and its checkpoints in memory. A descriptor is the place of a segment among
 * all of them, plus 1. See disk.h.
 */
#include "tests/simulation/disk.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/check.h"
#include "storage/ledger/journal_format.h"

static struct disk_segment *segment_at(struct disk *disk, int fd)
{
    check(fd >= 1 && fd <= 2 * DISK_SEGMENTS_MAX);
    return &disk->segments[fd - 1];
}

/* Where the segments of the directory begin: the directory itself is a real one. */
static uint32_t first_of(int directory)
{
    static const char checkpoints[] = "/checkpoints";
    char link[32], path[PATH_MAX] = "";
    snprintf(link, sizeof(link), "/proc/self/fd/%d", directory);
    ssize_t length = directory < 0 ? 0 : readlink(link, path, sizeof(path) - 1);
    size_t tail = sizeof(checkpoints) - 1;
    bool is_other =
        length > (ssize_t)tail && memcmp(path + (size_t)length - tail, checkpoints, tail) == 0;
    return is_other ? DISK_SEGMENTS_MAX : 0;
}

static bool is_known(uint32_t number)
{
    return number >= 1 && number <= DISK_SEGMENTS_MAX;
}

/* Counts a call that may be the one that fails. */
static int strike(struct disk *disk, int fd)
{
    if (!disk->is_dead && disk->dies_in > 0 && --disk->dies_in == 0)
        disk->is_dead = true;
    if (disk->is_dead)
        return -EIO;
    if (disk->fails_in > 0 && --disk->fails_in == 0) {
        disk->has_failed |= fd <= DISK_SEGMENTS_MAX;
        return -EIO;
    }
    return 0;
}

static int create(void *self, int directory, uint32_t number, uint64_t bytes)
{
    struct disk *disk = self;
    if (disk->is_dead)
        return -EIO;
    if (disk->is_full)
        return -ENOSPC;
    check(is_known(number));
    int fd = (int)(first_of(directory) + number);
    struct disk_segment *segment = segment_at(disk, fd);
    if (segment->bytes > 0 && !journal_is_zero(segment->written, JOURNAL_HEADER_BYTES))
        return -EEXIST;
    free(segment->written);
    free(segment->synced);
    *segment = (struct disk_segment){
        .bytes = bytes, .written = calloc(1, bytes), .synced = calloc(1, bytes)};
    check(segment->written != NULL && segment->synced != NULL);
    disk->opened++;
    return fd;
}

static int open_segment(void *self, int directory, uint32_t number, bool writable, uint64_t *size)
{
    struct disk *disk = self;
    int fd = (int)(first_of(directory) + number);
    (void)writable;
    if (disk->is_dead)
        return -EIO;
    if (!is_known(number) || segment_at(disk, fd)->bytes == 0)
        return -ENOENT;
    *size = segment_at(disk, fd)->bytes;
    disk->opened++;
    return fd;
}

static int write_segment(void *self, int fd, uint64_t offset, const uint8_t *bytes, size_t length)
{
    struct disk *disk = self;
    struct disk_segment *segment = segment_at(disk, fd);
    disk->is_overrun |= offset + length > segment->bytes;
    if (disk->is_dead || disk->is_overrun)
        return -EIO;
    int result = strike(disk, fd);
    /* A process that dies here has written a part. */
    uint64_t count = length / JOURNAL_RECORD_BYTES;
    size_t written = result == 0 ? length : (size_t)(count / 2) * JOURNAL_RECORD_BYTES;
    memcpy(segment->written + offset, bytes, written);
    if (segment->dirty_from == segment->dirty_to)
        segment->dirty_from = segment->dirty_to = offset;
    segment->dirty_from = offset < segment->dirty_from ? offset : segment->dirty_from;
    segment->dirty_to = offset + written > segment->dirty_to ? offset + written : segment->dirty_to;
    return result;
}

static int read_segment(void *self, int fd, uint64_t offset, uint8_t *bytes, size_t length)
{
    struct disk *disk = self;
    const struct disk_segment *segment = segment_at(disk, fd);
    if (disk->is_dead || offset + length > segment->bytes)
        return -EIO;
    memcpy(bytes, segment->written + offset, length);
    return 0;
}

static int sync_segment(void *self, int fd)
{
    struct disk *disk = self;
    struct disk_segment *segment = segment_at(disk, fd);
    int result = strike(disk, fd);
    if (result != 0)
        return result;
    memcpy(segment->synced + segment->dirty_from, segment->written + segment->dirty_from,
           segment->dirty_to - segment->dirty_from);
    segment->dirty_from = segment->dirty_to = 0;
    return 0;
}

static void close_segment(void *self, int fd)
{
    struct disk *disk = self;
    (void)segment_at(disk, fd);
    check(disk->opened > 0);
    disk->opened--;
}

static int list(void *self, int directory, struct ledger_disk_list *out)
{
    const struct disk *disk = self;
    const struct disk_segment *first = disk->segments + first_of(directory);
    *out = (struct ledger_disk_list){0};
    if (disk->is_dead)
        return -EIO;
    for (uint32_t i = 0; i < DISK_SEGMENTS_MAX; i++) {
        if (first[i].bytes == 0)
            continue;
        out->count++;
        out->first = out->first == 0 ? i + 1 : out->first;
        out->last = i + 1;
    }
    return 0;
}

static void drop(struct disk_segment *segment)
{
    free(segment->written);
    free(segment->synced);
    *segment = (struct disk_segment){0};
}

static int remove_segment(void *self, int directory, uint32_t number)
{
    struct disk *disk = self;
    if (disk->is_dead)
        return -EIO;
    struct disk_segment *segment = segment_at(disk, (int)(first_of(directory) + number));
    if (segment->bytes == 0)
        return -ENOENT;
    if (first_of(directory) == 0 && disk->removes != NULL)
        disk->removes(disk->removes_self, number);
    drop(segment);
    return 0;
}

void disk_init(struct disk *disk)
{
    *disk = (struct disk){.table = {.self = disk,
                                    .create = create,
                                    .open = open_segment,
                                    .write = write_segment,
                                    .read = read_segment,
                                    .sync = sync_segment,
                                    .close = close_segment,
                                    .list = list,
                                    .remove = remove_segment}};
}

void disk_free(struct disk *disk)
{
    for (uint32_t i = 0; i < 2 * DISK_SEGMENTS_MAX; i++)
        drop(&disk->segments[i]);
}

void disk_copy(struct disk *to, const struct disk *from)
{
    disk_free(to);
    for (uint32_t i = 0; i < 2 * DISK_SEGMENTS_MAX; i++) {
        const struct disk_segment *segment = &from->segments[i];
        size_t bytes = segment->bytes;
        if (bytes == 0)
            continue;
        to->segments[i] = (struct disk_segment){
            .bytes = segment->bytes, .written = malloc(bytes), .synced = malloc(bytes)};
        check(to->segments[i].written != NULL && to->segments[i].synced != NULL);
        memcpy(to->segments[i].written, segment->written, bytes);
        memcpy(to->segments[i].synced, segment->written, bytes);
    }
}

void disk_lose_power(struct disk *disk, struct random *random)
{
    for (uint32_t i = 0; i < 2 * DISK_SEGMENTS_MAX; i++) {
        struct disk_segment *segment = &disk->segments[i];
        size_t from = segment->dirty_from, to = segment->dirty_to;
        if (segment->bytes == 0)
            continue;
        /* A disk writes whole sectors, in whatever order. */
        for (size_t at = from / JOURNAL_SECTOR_BYTES * JOURNAL_SECTOR_BYTES; at < to;
             at += JOURNAL_SECTOR_BYTES) {
            if (random_happens(random, 1, 2))
                memcpy(segment->written + at, segment->synced + at, JOURNAL_SECTOR_BYTES);
        }
        segment->dirty_from = segment->dirty_to = 0;
        memcpy(segment->synced, segment->written, segment->bytes);
    }
}

bool disk_lose_segment(struct disk *disk)
{
    struct ledger_disk_list found;
    (void)list(disk, -1, &found);
    if (found.last == 0)
        return false;
    drop(&disk->segments[found.last - 1]);
    return true;
}

const struct disk_segment *disk_journal_segment(const struct disk *disk, uint32_t number)
{
    check(is_known(number));
    return &disk->segments[number - 1];
}

void disk_revive(struct disk *disk)
{
    disk->is_dead = disk->has_failed = false;
    disk->fails_in = disk->dies_in = 0;
    disk->opened = 0;
}
