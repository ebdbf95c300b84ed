/*
 * Lines that a log's thread writes at once, and what becomes of them where the file does not take
 * them: a disk may be full, a pipe have nobody who reads, a descriptor be closed. No line is mixed
 * with half of another. Of one thread.
 */
#ifndef TOLLGATE_SERVER_LINE_BATCH_H
#define TOLLGATE_SERVER_LINE_BATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINE_BATCH_BYTES ((size_t)256 * 1024)

struct line_batch {
    size_t length;
    bool torn; /* what was written last ended within a line */
    char bytes[LINE_BATCH_BYTES];
};

struct line_batch_outcome {
    uint64_t written, lost; /* lines */
    int error;              /* an errno, where some are lost */
};

/*
 * Writes all lines of the batch and leaves it empty. Blocks as the descriptor does; where that does
 * not block, waits for its room until *give_up_ms, of CLOCK_MONOTONIC, which another thread may set
 * meanwhile; 0: for ever.
 */
struct line_batch_outcome line_batch_write(struct line_batch *batch, int fd,
                                           const atomic_ullong *give_up_ms);

#endif
