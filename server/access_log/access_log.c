/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The access log's queues, its file and the thread that writes it. start.c and stop.c in
 * server/node/ open and close it, and access.c puts lines' facts. Only the thread ever waits for
 * the file. See access_log.h.
 */
#include "server/access_log/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/line_batch.h"
#include "server/base/log.h"
#include "server/base/message_queue.h"
#include "server/base/waiting.h"

#define TURN_MS  200
#define CLOSE_MS 2000

struct access_log {
    char *path; /* owns */
    enum access_format format;
    unsigned workers;
    struct message_queue *queues; /* owns, with their bytes; one for each worker to put into */
    int fd, wake_fd;              /* owns both */
    pthread_t thread;
    bool started;
    atomic_bool stop, reopen;
    atomic_ullong give_up_ms; /* monotonic: when closing waits for the file no longer; 0: never */
    atomic_ullong lines, dropped;

    /* Used by the thread alone: */
    struct line_batch *batch; /* owns */
    bool failing;             /* the node's log says already that lines are lost */
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

static void wake(const struct access_log *log)
{
    uint64_t one = 1;
    (void)!write(log->wake_fd, &one, sizeof(one));
}

bool access_log_put(struct access_log *log, unsigned worker, const struct access_facts *facts)
{
    check(worker < log->workers);
    struct message_queue *queue = &log->queues[worker];
    size_t before = message_queue_used(queue);
    if (!message_queue_put(queue, facts, facts->size)) {
        atomic_fetch_add_explicit(&log->dropped, 1, memory_order_relaxed);
        return false;
    }
    /* Waking for each line would cost a system call: the thread looks every TURN_MS by itself. */
    if (before < ACCESS_QUEUE_BYTES / 2 && message_queue_used(queue) >= ACCESS_QUEUE_BYTES / 2)
        wake(log);
    return true;
}

/* ---- the file ---- */

/* With O_NONBLOCK a pipe whose reader does not read is noticed; regular files ignore the flag. */
static int open_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0640);
    return fd < 0 ? -errno : fd;
}

static void reopen(struct access_log *log)
{
    int fd = open_file(log->path);
    if (fd < 0) {
        log_error("access_log: %s: %s; lines still go into the file that was open", log->path,
                  strerrordesc_np(-fd));
        return;
    }
    close(log->fd);
    log->fd = fd;
    log->batch->torn = false;
    log_info("access_log: opened %s again", log->path);
}

static void flush(struct access_log *log)
{
    if (log->batch->length == 0)
        return;
    struct line_batch_outcome outcome = line_batch_write(log->batch, log->fd, &log->give_up_ms);
    atomic_fetch_add_explicit(&log->lines, outcome.written, memory_order_relaxed);
    atomic_fetch_add_explicit(&log->dropped, outcome.lost, memory_order_relaxed);
    if (outcome.lost > 0 && !log->failing)
        log_error("access_log: %s: %s; lines are dropped until it can be written", log->path,
                  strerrordesc_np(outcome.error));
    else if (outcome.lost == 0 && log->failing)
        log_info("access_log: %s can be written again", log->path);
    log->failing = outcome.lost > 0;
}

/* ---- the thread ---- */

static void take_all(struct access_log *log, struct message_queue *queue)
{
    const struct access_facts *facts;
    size_t length;
    while ((facts = message_queue_first(queue, &length)) != NULL) {
        struct line_batch *batch = log->batch;
        if (batch->length + ACCESS_LINE_MAX > LINE_BATCH_BYTES)
            flush(log);
        length = access_line_write(facts, log->format, batch->bytes + batch->length);
        if (length == 0)
            atomic_fetch_add_explicit(&log->dropped, 1, memory_order_relaxed);
        batch->length += length;
        message_queue_drop(queue);
    }
}

static void *run(void *context)
{
    struct access_log *log = context;
    bool stop;
    (void)pthread_setname_np(pthread_self(), "access-log");
    do {
        struct pollfd woken = {.fd = log->wake_fd, .events = POLLIN};
        uint64_t count;
        stop = atomic_load(&log->stop); /* read first, so that the last turn sees every line */
        if (!stop && waiting_poll(&woken, 1, TURN_MS) > 0)
            (void)!read(log->wake_fd, &count, sizeof(count));
        for (unsigned i = 0; i < log->workers; i++)
            take_all(log, &log->queues[i]);
        flush(log); /* before a reopen: these lines belong in the old file */
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
    for (log->workers = 0; log->workers < workers; log->workers++) {
        char *bytes = aligned_alloc(64, ACCESS_QUEUE_BYTES);
        if (bytes == NULL)
            return -ENOMEM;
        message_queue_init(&log->queues[log->workers], bytes, ACCESS_QUEUE_BYTES);
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
    log->batch = malloc(sizeof(*log->batch));
    if (log->batch != NULL) {
        log->batch->length = 0;
        log->batch->torn = false;
    }
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
    if (log->started) {
        atomic_store(&log->give_up_ms, clock_monotonic_ms() + CLOSE_MS);
        atomic_store(&log->stop, true);
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
