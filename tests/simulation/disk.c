/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's files in memory. A descriptor is a segment's number. See disk.h.
 */
#include "tests/simulation/disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "storage/ledger/journal_format.h"

static struct disk_segment *segment_at(struct disk *disk, int fd)
{
    check(fd >= 1 && fd <= DISK_SEGMENTS_MAX);
    return &disk->segments[fd - 1];
}

/* Counts a call that may be the one that fails. */
static int strike(struct disk *disk)
{
    if (!disk->is_dead && disk->dies_in > 0 && --disk->dies_in == 0)
        disk->is_dead = true;
    if (disk->is_dead)
        return -EIO;
    if (disk->fails_in > 0 && --disk->fails_in == 0) {
        disk->has_failed = true;
        return -EIO;
    }
    return 0;
}

static int create(void *self, int directory, uint32_t number, uint64_t bytes)
{
    struct disk *disk = self;
    (void)directory;
    if (disk->is_dead)
        return -EIO;
    if (disk->is_full)
        return -ENOSPC;
    struct disk_segment *segment = segment_at(disk, (int)number);
    if (segment->bytes > 0 && !journal_is_zero(segment->written, JOURNAL_HEADER_BYTES))
        return -EEXIST;
    free(segment->written);
    free(segment->synced);
    *segment = (struct disk_segment){
        .bytes = bytes, .written = calloc(1, bytes), .synced = calloc(1, bytes)};
    check(segment->written != NULL && segment->synced != NULL);
    disk->opened++;
    return (int)number;
}

static int open_segment(void *self, int directory, uint32_t number, bool writable, uint64_t *size)
{
    struct disk *disk = self;
    (void)directory, (void)writable;
    if (disk->is_dead)
        return -EIO;
    if (number < 1 || number > DISK_SEGMENTS_MAX || segment_at(disk, (int)number)->bytes == 0)
        return -ENOENT;
    *size = segment_at(disk, (int)number)->bytes;
    disk->opened++;
    return (int)number;
}

static int write_segment(void *self, int fd, uint64_t offset, const uint8_t *bytes, size_t length)
{
    struct disk *disk = self;
    struct disk_segment *segment = segment_at(disk, fd);
    disk->is_overrun |= offset + length > segment->bytes;
    if (disk->is_dead || disk->is_overrun)
        return -EIO;
    int result = strike(disk);
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
    int result = strike(disk);
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

static int list(void *self, int directory, uint32_t *count, uint32_t *last)
{
    const struct disk *disk = self;
    (void)directory;
    *count = *last = 0;
    if (disk->is_dead)
        return -EIO;
    for (uint32_t i = 0; i < DISK_SEGMENTS_MAX; i++) {
        *count += disk->segments[i].bytes > 0;
        *last = disk->segments[i].bytes > 0 ? i + 1 : *last;
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
    (void)directory;
    if (disk->is_dead)
        return -EIO;
    drop(segment_at(disk, (int)number));
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
    for (uint32_t i = 0; i < DISK_SEGMENTS_MAX; i++)
        drop(&disk->segments[i]);
}

void disk_copy(struct disk *to, const struct disk *from)
{
    disk_free(to);
    for (uint32_t i = 0; i < DISK_SEGMENTS_MAX; i++) {
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
    for (uint32_t i = 0; i < DISK_SEGMENTS_MAX; i++) {
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
    uint32_t count, last;
    (void)list(disk, -1, &count, &last);
    if (last == 0)
        return false;
    drop(&disk->segments[last - 1]);
    return true;
}

void disk_revive(struct disk *disk)
{
    disk->is_dead = disk->has_failed = false;
    disk->fails_in = disk->dies_in = 0;
    disk->opened = 0;
}
