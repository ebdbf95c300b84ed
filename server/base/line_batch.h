/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines that the thread of a log (log.c, access_log.c) writes at once. Where the file does not take
 * them, because the disk is full, nobody reads the pipe or the descriptor is closed, the lost ones
 * are counted. A line never continues half of another one. A batch belongs to one thread.
 */
#ifndef TOLLGATE_SERVER_BASE_LINE_BATCH_H
#define TOLLGATE_SERVER_BASE_LINE_BATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINE_BATCH_BYTES ((size_t)256 * 1024)

struct line_batch {
    size_t length;
    bool torn; /* the last write ended within a line */
    char bytes[LINE_BATCH_BYTES];
};

struct line_batch_outcome {
    uint64_t written, lost; /* lines */
    int error;              /* an errno, where some are lost */
};

/*
 * Writes all lines of the batch and leaves it empty. Blocks as the descriptor does. Where that does
 * not block, it waits for room until *give_up_ms (of CLOCK_MONOTONIC; 0: for ever), which another
 * thread may set meanwhile.
 */
struct line_batch_outcome line_batch_write(struct line_batch *batch, int fd,
                                           const atomic_ullong *give_up_ms);

#endif
