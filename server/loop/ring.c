/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a worker's ring, or explains with a cure why there is none. See ring.h. */
#include "server/loop/ring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

/* ---- the host ---- */

static int read_sysctl(const char *path)
{
    int value;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -1;
    if (fscanf(file, "%d", &value) != 1)
        value = -1;
    fclose(file);
    return value;
}

static bool is_filtered(void)
{
    char line[256];
    bool filtered = false;
    FILE *file = fopen("/proc/self/status", "re");
    if (file == NULL)
        return false;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "Seccomp:", 8) == 0)
            filtered = strtol(line + 8, NULL, 10) != 0;
    }
    fclose(file);
    return filtered;
}

void ring_host_read(struct ring_host *out)
{
    struct utsname name;
    *out = (struct ring_host){0};
    if (uname(&name) == 0)
        (void)sscanf(name.release, "%u.%u", &out->kernel_major, &out->kernel_minor);
    out->disabled = read_sysctl("/proc/sys/kernel/io_uring_disabled");
    out->filtered = is_filtered();
}

static bool is_old(const struct ring_host *host)
{
    return host->kernel_major < RING_KERNEL_MAJOR ||
           (host->kernel_major == RING_KERNEL_MAJOR && host->kernel_minor < RING_KERNEL_MINOR);
}

/* ---- why not ---- */

static void explain_refusal(const struct ring_host *host, char *text, size_t size)
{
    if (host->disabled == 2)
        snprintf(text, size,
                 "kernel.io_uring_disabled is 2, for everybody; run sysctl -w "
                 "kernel.io_uring_disabled=0, and keep it in /etc/sysctl.d");
    else if (host->disabled == 1)
        snprintf(text, size,
                 "kernel.io_uring_disabled is 1, for all but CAP_SYS_ADMIN and the group of "
                 "kernel.io_uring_group; put the node's user into that group, or set it to 0");
    else if (host->filtered)
        snprintf(text, size,
                 "a seccomp filter refuses it (a container's default profile does); run the "
                 "container with docker/seccomp.json, or allow io_uring_setup, io_uring_enter and "
                 "io_uring_register (systemd: SystemCallFilter=@aio)");
    else
        snprintf(text, size,
                 "a security module refuses it (SELinux: io_uring, AppArmor); allow "
                 "it for tollgate there");
}

static void explain_memory(char *text, size_t size)
{
    struct rlimit limit = {0};
    char kib[32] = "unlimited";
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        snprintf(kib, sizeof(kib), "%llu KiB", (unsigned long long)limit.rlim_cur / 1024);
    snprintf(text, size,
             "no memory for the rings (memlock is %s); raise LimitMEMLOCK or ulimit -l, or the "
             "memory limit of the container or service, or give fewer workers",
             kib);
}

void ring_explain(const struct ring_host *host, const char *call, int status, char *text,
                  size_t size)
{
    char why[400];
    if (is_old(host) && (status == -EINVAL || status == -ENOSYS))
        snprintf(why, sizeof(why), "this is Linux %u.%u; boot 6.1 or later", host->kernel_major,
                 host->kernel_minor);
    else if (status == -EPERM || status == -EACCES ||
             /* A seccomp filter returns any error that its author chose; Linux 6.1 itself knows the
              * call and its flags. */
             (host->filtered && (status == -ENOSYS || status == -EINVAL)))
        explain_refusal(host, why, sizeof(why));
    else if (status == -ENOSYS)
        snprintf(why, sizeof(why),
                 "this kernel was built without io_uring; boot one with CONFIG_IO_URING");
    else if (status == -ENOMEM)
        explain_memory(why, sizeof(why));
    else if (status == -EMFILE || status == -ENFILE)
        snprintf(why, sizeof(why), "no descriptor is left; raise LimitNOFILE or ulimit -n");
    else
        snprintf(why, sizeof(why), "Tollgate needs the io_uring of Linux 6.1 or later");
    snprintf(text, size, "%s: %s: %s", call, strerrordesc_np(-status), why);
}

static int explained(const char *call, int status, char *error, size_t error_size)
{
    struct ring_host host;
    if (status >= 0)
        return 0;
    ring_host_read(&host);
    ring_explain(&host, call, status, error, error_size);
    return status;
}

/* ---- the ring ---- */

int ring_open(struct io_uring *ring, char *error, size_t error_size)
{
    /* NO_SQARRAY must never be passed with liburing 2.3: it does not know of it and corrupts the
     * ring. */
    struct io_uring_params params = {
        .flags = IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_R_DISABLED |
                 IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL,
        .cq_entries = RING_ENTRIES * 8,
    };
    int status = io_uring_queue_init_params(RING_ENTRIES, ring, &params);
    if (status < 0)
        ring->ring_fd = -1;
    return explained("io_uring_setup", status, error, error_size);
}

int ring_enable(struct io_uring *ring, char *error, size_t error_size)
{
    /* liburing 2.3 declares io_uring_enable_rings, but Debian's library lacks it. */
    long status =
        syscall(__NR_io_uring_register, ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    status = status < 0 ? -errno : 0;
    unsigned threads[2] = {RING_THREADS_MAX, 0}; /* 0: those for sockets keep their bound */
    if (status == 0)
        status = io_uring_register_iowq_max_workers(ring, threads);
    return explained("io_uring_register", (int)status, error, error_size);
}

int ring_add_buffers(struct io_uring *ring, unsigned count, unsigned buffer_size,
                     unsigned short group, struct io_uring_buf_ring **buffers, char **memory,
                     char *error, size_t error_size)
{
    void *shared = mmap(NULL, count * sizeof(struct io_uring_buf), PROT_READ | PROT_WRITE,
                        MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (shared == MAP_FAILED)
        return explained("the receive buffers", -errno, error, error_size);
    *buffers = shared;
    *memory = malloc((size_t)count * buffer_size);
    if (*memory == NULL)
        return explained("the receive buffers", -ENOMEM, error, error_size);
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)shared,
        .ring_entries = count,
        .bgid = group,
    };
    int status = io_uring_register_buf_ring(ring, &registration, 0);
    if (status < 0)
        return explained("io_uring_register", status, error, error_size);
    io_uring_buf_ring_init(*buffers);
    for (unsigned i = 0; i < count; i++)
        io_uring_buf_ring_add(*buffers, *memory + (size_t)i * buffer_size, buffer_size,
                              (unsigned short)i, io_uring_buf_ring_mask(count), (int)i);
    io_uring_buf_ring_advance(*buffers, (int)count);
    return 0;
}
