/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor's examinations of the host: kernel, rings, memory, descriptors, clock. An examination
 * tries the thing itself where that is possible, and reads a limit only where it is not. Called for
 * doctor_run.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <time.h>

#include "server/delivery/node.h"
#include "server/doctor/descriptor_needs.h"
#include "server/doctor/doctor_internal.h"
#include "server/loop/ring.h"

#define BUILD_SLACK_S  86400 /* the program's file may have its time from another machine */
#define BUFFERS_PROBED 8

void doctor_examine_kernel(const struct config *config, struct doctor_finding *out)
{
    struct ring_host host;
    (void)config;
    ring_host_read(&host);
    bool old = host.kernel_major < RING_KERNEL_MAJOR ||
               (host.kernel_major == RING_KERNEL_MAJOR && host.kernel_minor < RING_KERNEL_MINOR);
    doctor_find(out, old ? DOCTOR_FAILURE : DOCTOR_OK, "Linux %u.%u%s", host.kernel_major,
                host.kernel_minor, old ? "; boot 6.1 or later (Debian 12 has it)" : "");
}

/* Does with a ring what a worker does: makes it, gives it buffers, enables it, uses it once. 0, or
 * a negative errno with its cause in `error`. */
static int try_ring(char *error, size_t error_size)
{
    struct io_uring ring;
    struct io_uring_cqe *cqe;
    struct io_uring_buf_ring *buffers = NULL;
    char *memory = NULL;
    int status = ring_open(&ring, error, error_size);
    if (status < 0)
        return status;
    status = ring_add_buffers(&ring, BUFFERS_PROBED, 4096, 0, &buffers, &memory, error, error_size);
    if (status == 0)
        status = ring_enable(&ring, error, error_size);
    if (status == 0) {
        io_uring_prep_nop(io_uring_get_sqe(&ring));
        status = io_uring_submit_and_wait(&ring, 1);
        if (status >= 0)
            status = io_uring_peek_cqe(&ring, &cqe);
        if (status < 0) {
            struct ring_host host;
            ring_host_read(&host);
            ring_explain(&host, "io_uring_enter", status, error, error_size);
        }
    }
    io_uring_queue_exit(&ring);
    if (buffers != NULL)
        munmap(buffers, BUFFERS_PROBED * sizeof(struct io_uring_buf));
    free(memory);
    return status < 0 ? status : 0;
}

void doctor_examine_io_uring(const struct config *config, struct doctor_finding *out)
{
    (void)config;
    if (try_ring(out->text, sizeof(out->text)) < 0)
        out->verdict = DOCTOR_FAILURE;
    else
        doctor_find(out, DOCTOR_OK, "a ring was made, enabled and used");
}

/* Kernels since 5.12 count a ring as the process' memory, earlier ones as locked memory. To make as
 * many rings as the workers will have shows whether either limit is too low. */
void doctor_examine_memlock(const struct config *config, struct doctor_finding *out)
{
    struct rlimit limit = {0};
    struct io_uring rings[CONFIG_WORKERS_MAX];
    unsigned wanted = config != NULL ? node_workers(config) : 1, made = 0;
    while (made < wanted && ring_open(&rings[made], out->text, sizeof(out->text)) == 0)
        made++;
    for (unsigned i = 0; i < made; i++)
        io_uring_queue_exit(&rings[i]);
    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    if (made < wanted)
        out->verdict = DOCTOR_FAILURE;
    else if (limit.rlim_cur == RLIM_INFINITY)
        doctor_find(out, DOCTOR_OK, "%u rings fit; no limit", made);
    else
        doctor_find(out, DOCTOR_OK, "%u ring%s fit%s within %llu KiB", made, made == 1 ? "" : "s",
                    made == 1 ? "s" : "", (unsigned long long)limit.rlim_cur / 1024);
}

/* A node that starts raises its soft limit as far as the hard one, so the hard limit counts. */
void doctor_examine_nofile(const struct config *config, struct doctor_finding *out)
{
    struct rlimit limit = {0};
    const struct config one = {.workers = 1};
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    uint64_t allowed = limit.rlim_max;
    uint64_t least = descriptor_needs_least(config != NULL ? config : &one);
    uint64_t wanted = config != NULL ? descriptor_needs_most(config) : least;
    if (allowed < least)
        doctor_find(out, DOCTOR_FAILURE,
                    "%" PRIu64 " descriptors are allowed, but a node needs at least %" PRIu64
                    "%s; raise LimitNOFILE (ulimit -n)",
                    allowed, least,
                    config != NULL && config->workers > 1 ? " with so many workers" : "");
    else if (allowed < wanted)
        doctor_find(out, DOCTOR_WARNING,
                    "%" PRIu64
                    " descriptors are allowed, but connections_max and open_files_max may "
                    "need %" PRIu64 ", and when none is left, new clients wait; raise LimitNOFILE "
                    "(ulimit -n), or lower these two keys",
                    allowed, wanted);
    else
        doctor_find(out, DOCTOR_OK,
                    "%" PRIu64 " descriptors are allowed, at most %" PRIu64 " are needed", allowed,
                    wanted);
}

/* A clock that is behind serves links that have expired; one that is ahead refuses good ones. */
void doctor_examine_clock(const struct config *config, struct doctor_finding *out)
{
    struct stat program;
    struct timex kernel = {0};
    char now[32], built[32];
    (void)config;
    time_t seconds = time(NULL);
    doctor_write_day(seconds, now);
    if (stat("/proc/self/exe", &program) == 0 && seconds < program.st_mtime - BUILD_SLACK_S) {
        doctor_write_day(program.st_mtime, built);
        doctor_find(
            out, DOCTOR_FAILURE,
            "it is %s, which is before tollgate itself was made (%s); set the clock, and keep it "
            "with chrony or systemd-timesyncd",
            now, built);
    } else if (adjtimex(&kernel) == TIME_ERROR || (kernel.status & STA_UNSYNC) != 0) {
        doctor_find(out, DOCTOR_WARNING,
                    "%s, but no time service sets this clock, by which links expire; run chrony or "
                    "systemd-timesyncd (on the host, if this is a container)",
                    now);
    } else {
        doctor_find(out, DOCTOR_OK, "%s, synchronised", now);
    }
}
