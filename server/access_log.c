/* The queues and the thread of the access log. See access_log.h. */
#include "server/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "server/check.h"
#include "server/log.h"

#define BATCH_BYTES ((size_t)256 * 1024)
#define TURN_MS     200
#define CLOSE_MS    2000

/*
 * One worker puts, the log's thread takes: bytes between `taken` and `put`, which only grow.
 * Records lie whole; one that would not fit before the end begins at the start, behind a size of 0.
 */
struct queue {
    _Alignas(64) atomic_ullong put;
    _Alignas(64) atomic_ullong taken;
    char *bytes; /* owns */
};

struct access_log {
    char *path; /* owns */
    enum access_format format;
    unsigned workers;
    struct queue *queues; /* owns */
    int fd, wake_fd;      /* own */
    pthread_t thread;
    bool started;
    atomic_bool stop, reopen;
    atomic_ullong lines, dropped;

    /* the thread's */
    char *batch; /* owns; BATCH_BYTES */
    size_t batch_length;
    bool failing; /* said so already */
    bool torn;    /* the file ends in half a line */
};

int access_format_parse(const char *text, enum access_format *out)
{
    bool json = strcmp(text, "json") == 0;
    if (!json && strcmp(text, "combined") != 0)
        return -EINVAL;
    *out = json ? ACCESS_JSON : ACCESS_COMBINED;
    return 0;
}

/* ---- queues ---- */

static size_t aligned(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

static void wake(const struct access_log *log)
{
    uint64_t one = 1;
    (void)!write(log->wake_fd, &one, sizeof(one));
}

bool access_log_put(struct access_log *log, unsigned worker, const struct access_record *record)
{
    check(worker < log->workers);
    struct queue *queue = &log->queues[worker];
    uint64_t put = atomic_load_explicit(&queue->put, memory_order_relaxed);
    uint64_t taken = atomic_load_explicit(&queue->taken, memory_order_acquire);
    size_t size = aligned(record->size), at = put % ACCESS_QUEUE_BYTES;
    size_t gap = ACCESS_QUEUE_BYTES - at < size ? ACCESS_QUEUE_BYTES - at : 0;
    if (size + gap > ACCESS_QUEUE_BYTES - (put - taken)) {
        atomic_fetch_add_explicit(&log->dropped, 1, memory_order_relaxed);
        return false;
    }
    if (gap > 0) {
        memset(queue->bytes + at, 0, sizeof(record->size));
        at = 0;
    }
    memcpy(queue->bytes + at, record, record->size);
    atomic_store_explicit(&queue->put, put + gap + size, memory_order_release);
    /* Once, when it becomes half full; else the thread looks by itself. */
    if (put - taken < ACCESS_QUEUE_BYTES / 2 && put - taken + size >= ACCESS_QUEUE_BYTES / 2)
        wake(log);
    return true;
}

/* ---- the file ---- */

/* Of a pipe, O_NONBLOCK lets a reader that does not read be noticed; files ignore it. */
static int open_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0640);
    return fd < 0 ? -errno : fd;
}

static void reopen(struct access_log *log)
{
    int fd = open_file(log->path);
    if (fd < 0) {
        log_error("access_log: %s: %s; lines go on into the file that was open", log->path,
                  strerrordesc_np(-fd));
        return;
    }
    close(log->fd);
    log->fd = fd;
    log->torn = false;
    log_info("access_log: opened %s again", log->path);
}

static uint64_t lines_in(const char *data, size_t length)
{
    uint64_t lines = 0;
    for (const char *at = data; (at = memchr(at, '\n', (size_t)(data + length - at))) != NULL; at++)
        lines++;
    return lines;
}

static uint64_t monotonic_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* As much as the file takes; how much, fewer where it fails or the node stops. */
static size_t write_out(struct access_log *log, const char *data, size_t length)
{
    size_t done = 0;
    uint64_t stop_ms = 0;
    while (done < length) {
        ssize_t written = write(log->fd, data + done, length - done);
        if (written >= 0) {
            done += (size_t)written;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR)
            break;
        struct pollfd room = {.fd = log->fd, .events = POLLOUT};
        (void)poll(&room, 1, TURN_MS);
        if (!atomic_load(&log->stop))
            continue;
        if (stop_ms == 0)
            stop_ms = monotonic_ms() + CLOSE_MS;
        if (monotonic_ms() >= stop_ms)
            break;
    }
    return done;
}

static void flush(struct access_log *log)
{
    if (log->batch_length == 0)
        return;
    if (log->torn && write_out(log, "\n", 1) == 1)
        log->torn = false;
    size_t done = log->torn ? 0 : write_out(log, log->batch, log->batch_length);
    int error = errno;
    uint64_t whole = lines_in(log->batch, done);
    uint64_t lost = lines_in(log->batch, log->batch_length) - whole;
    atomic_fetch_add_explicit(&log->lines, whole, memory_order_relaxed);
    if (lost > 0) {
        atomic_fetch_add_explicit(&log->dropped, lost, memory_order_relaxed);
        log->torn = log->torn || (done > 0 && log->batch[done - 1] != '\n');
        if (!log->failing)
            log_error("access_log: %s: %s; lines are dropped until it can be written", log->path,
                      strerrordesc_np(error));
    } else if (log->failing) {
        log_info("access_log: %s can be written again", log->path);
    }
    log->failing = lost > 0;
    log->batch_length = 0;
}

/* ---- the thread ---- */

static void take_all(struct access_log *log, struct queue *queue)
{
    uint64_t put = atomic_load_explicit(&queue->put, memory_order_acquire);
    uint64_t taken = atomic_load_explicit(&queue->taken, memory_order_relaxed);
    while (taken < put) {
        size_t at = taken % ACCESS_QUEUE_BYTES;
        const struct access_record *record = (const void *)(queue->bytes + at);
        if (ACCESS_QUEUE_BYTES - at < sizeof(record->size) || record->size == 0) {
            taken += ACCESS_QUEUE_BYTES - at;
            continue;
        }
        if (log->batch_length + ACCESS_LINE_MAX > BATCH_BYTES)
            flush(log);
        size_t length = access_line_write(record, log->format, log->batch + log->batch_length);
        if (length == 0)
            atomic_fetch_add_explicit(&log->dropped, 1, memory_order_relaxed);
        log->batch_length += length;
        taken += aligned(record->size);
        atomic_store_explicit(&queue->taken, taken, memory_order_release);
    }
    atomic_store_explicit(&queue->taken, taken, memory_order_release);
}

static void *run(void *context)
{
    struct access_log *log = context;
    bool stop;
    (void)pthread_setname_np(pthread_self(), "access-log");
    do {
        struct pollfd woken = {.fd = log->wake_fd, .events = POLLIN};
        uint64_t count;
        stop = atomic_load(&log->stop); /* before the queues are looked at a last time */
        if (!stop && poll(&woken, 1, TURN_MS) > 0)
            (void)!read(log->wake_fd, &count, sizeof(count));
        for (unsigned i = 0; i < log->workers; i++)
            take_all(log, &log->queues[i]);
        flush(log); /* into the file that was open when they came */
        if (atomic_exchange(&log->reopen, false))
            reopen(log);
    } while (!stop);
    return NULL;
}

static int start(struct access_log *log)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&log->thread, NULL, run, log);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    log->started = error == 0;
    return -error;
}

static int make_queues(struct access_log *log, unsigned workers)
{
    log->queues = aligned_alloc(64, workers * sizeof(*log->queues));
    if (log->queues == NULL)
        return -ENOMEM;
    memset(log->queues, 0, workers * sizeof(*log->queues));
    for (log->workers = 0; log->workers < workers; log->workers++) {
        log->queues[log->workers].bytes = aligned_alloc(64, ACCESS_QUEUE_BYTES);
        if (log->queues[log->workers].bytes == NULL)
            return -ENOMEM;
    }
    return 0;
}

int access_log_open(struct access_log **out, const char *path, enum access_format format,
                    unsigned workers, char *error, size_t error_size)
{
    struct access_log *log = calloc(1, sizeof(*log));
    *out = NULL;
    if (log == NULL) {
        snprintf(error, error_size, "access_log: out of memory");
        return -ENOMEM;
    }
    log->format = format;
    log->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    log->path = strdup(path);
    log->batch = malloc(BATCH_BYTES);
    log->fd = open_file(path);
    int status = log->fd;
    if (status < 0) {
        snprintf(error, error_size,
                 "access_log: %s: %s; name a file in a directory that the node may write", path,
                 strerrordesc_np(-status));
    } else {
        status = log->wake_fd < 0 || log->path == NULL || log->batch == NULL
                     ? -ENOMEM
                     : make_queues(log, workers);
        if (status == 0)
            status = start(log);
        if (status != 0)
            snprintf(error, error_size, "access_log: %s", strerrordesc_np(-status));
    }
    if (status != 0) {
        access_log_close(&log);
        return status;
    }
    *out = log;
    return 0;
}

void access_log_reopen(struct access_log *log)
{
    atomic_store(&log->reopen, true);
    wake(log);
}

void access_log_close(struct access_log **closed)
{
    struct access_log *log = *closed;
    *closed = NULL;
    if (log == NULL)
        return;
    atomic_store(&log->stop, true);
    if (log->started) {
        wake(log);
        pthread_join(log->thread, NULL);
    }
    for (unsigned i = 0; i < log->workers; i++)
        free(log->queues[i].bytes);
    if (log->fd >= 0)
        close(log->fd);
    if (log->wake_fd >= 0)
        close(log->wake_fd);
    free(log->queues);
    free(log->batch);
    free(log->path);
    free(log);
}

void access_log_stats(const struct access_log *log, struct access_log_stats *out)
{
    out->lines = atomic_load_explicit(&log->lines, memory_order_relaxed);
    out->dropped = atomic_load_explicit(&log->dropped, memory_order_relaxed);
}
