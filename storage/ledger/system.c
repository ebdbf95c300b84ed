/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clock and the disk of a running node, as the ledger's tables of functions (outside.h). The
 * writer and the poster call them; a test or a simulator puts its own in their place.
 */
#include <unistd.h>

#include "server/base/clock.h"
#include "storage/ledger/outside.h"
#include "storage/ledger/segment.h"

static uint64_t monotonic_ms(void *self)
{
    (void)self;
    return clock_monotonic_ms();
}

static uint64_t real_ms(void *self)
{
    (void)self;
    return clock_real_ms();
}

const struct ledger_clock ledger_system_clock = {.monotonic_ms = monotonic_ms, .real_ms = real_ms};

static int create_segment(void *self, int directory, uint32_t number, uint64_t bytes)
{
    (void)self;
    return segment_create(directory, number, bytes);
}

static int open_segment(void *self, int directory, uint32_t number, bool writable, uint64_t *size)
{
    (void)self;
    return segment_open(directory, number, writable, size);
}

static int write_segment(void *self, int fd, uint64_t offset, const uint8_t *bytes, size_t length)
{
    (void)self;
    return segment_write(fd, offset, bytes, length);
}

static int read_segment(void *self, int fd, uint64_t offset, uint8_t *bytes, size_t length)
{
    (void)self;
    return segment_read(fd, offset, bytes, length);
}

static int sync_segment(void *self, int fd)
{
    (void)self;
    return segment_sync(fd);
}

static void close_segment(void *self, int fd)
{
    (void)self;
    close(fd);
}

static int list_segments(void *self, int directory, struct ledger_disk_list *out)
{
    (void)self;
    return segment_list(directory, out);
}

static int remove_segment(void *self, int directory, uint32_t number)
{
    (void)self;
    return segment_remove(directory, number);
}

const struct ledger_disk ledger_system_disk = {.create = create_segment,
                                               .open = open_segment,
                                               .write = write_segment,
                                               .read = read_segment,
                                               .sync = sync_segment,
                                               .close = close_segment,
                                               .list = list_segments,
                                               .remove = remove_segment};
