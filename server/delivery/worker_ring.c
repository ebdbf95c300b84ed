/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all files of a worker have of its ring and its thread: an entry to submit, and a wake-up. See
 * worker.h.
 */
#include <unistd.h>

#include "server/base/check.h"
#include "server/base/waiting.h"
#include "server/delivery/worker.h"

#define SCARCE_PAUSE_MS  10
#define SUBMIT_TRIES_MAX 500 /* five seconds */

struct io_uring_sqe *worker_sqe(struct worker *worker)
{
    worker_reserve(worker, 1);
    return io_uring_get_sqe(&worker->ring);
}

/* A full queue is submitted to make room. Where the kernel lacks the memory to take it, the worker
 * tries again: that shortage passes. */
void worker_reserve(struct worker *worker, unsigned entries)
{
    for (int tries = 0; io_uring_sq_space_left(&worker->ring) < entries; tries++) {
        check(tries < SUBMIT_TRIES_MAX);
        if (io_uring_submit(&worker->ring) < 0)
            waiting_pause(SCARCE_PAUSE_MS);
    }
}

void worker_wake(struct worker *worker)
{
    uint64_t one = 1;
    (void)!write(worker->wake_fd, &one, sizeof(one)); /* EAGAIN: it is woken already */
}
