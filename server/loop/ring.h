/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the io_uring that a worker runs on, and explains why the kernel refuses one. Called by the
 * workers and by `tollgate doctor`, which tries the same calls, so that it finds what a start would
 * meet. It handles no completions: worker.c does.
 */
#ifndef TOLLGATE_SERVER_LOOP_RING_H
#define TOLLGATE_SERVER_LOOP_RING_H

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>

#define RING_ENTRIES      1024
/*
 * The most kernel threads of a ring, which run operations that would block (openat2, reading
 * ahead). Further operations wait in a queue; without a bound, each reader of a slow disk would
 * occupy a thread.
 */
#define RING_THREADS_MAX  16
#define RING_KERNEL_MAJOR 6 /* DEFER_TASKRUN came with Linux 6.1 */
#define RING_KERNEL_MINOR 1

/* The facts of this host that decide whether the process may have a ring. */
struct ring_host {
    unsigned kernel_major, kernel_minor;
    int disabled;  /* sysctl kernel.io_uring_disabled: 0, 1, 2; -1 where the kernel has none */
    bool filtered; /* a seccomp filter is on this process */
};
void ring_host_read(struct ring_host *out);

/*
 * Says in one sentence why `call` ("io_uring_setup") gave `status`, a negative errno, on this host,
 * and what cures it.
 */
void ring_explain(const struct ring_host *host, const char *call, int status, char *text,
                  size_t size);

/*
 * Makes a ring as a worker needs it, still disabled. 0, and the caller ends it with
 * io_uring_queue_exit; or a negative errno with the explanation in `error`, and ring->ring_fd = -1.
 */
int ring_open(struct io_uring *ring, char *error, size_t error_size);

/*
 * Enables the ring and binds it to the calling thread (SINGLE_ISSUER), the only one that may submit
 * from then on; limits its kernel threads to RING_THREADS_MAX. 0 or a negative errno, explained in
 * `error`.
 */
int ring_enable(struct io_uring *ring, char *error, size_t error_size);

/*
 * Registers a ring of `count` (a power of two, up to 32768) receive buffers of `buffer_size` bytes
 * each as `group`. The caller frees *buffers (munmap) and *memory (free), also after an error where
 * they are set. 0 or a negative errno, explained in `error`.
 */
int ring_add_buffers(struct io_uring *ring, unsigned count, unsigned buffer_size,
                     unsigned short group, struct io_uring_buf_ring **buffers, char **memory,
                     char *error, size_t error_size);

#endif
