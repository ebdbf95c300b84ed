/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the node's log: makes a line with the time and the level, makes control bytes visible, and
 * writes it to standard error, or queues it for the thread that does (see log.h). Only that thread
 * may wait for standard error. O_NONBLOCK is never set there, because other processes share it.
 */
#include "server/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <unistr.h>

#include "server/base/clock.h"
#include "server/base/line_batch.h"
#include "server/base/log_site.h"
#include "server/base/message_queue.h"
#include "server/base/strike.h"

#define MESSAGE_BYTES_MAX 2048
#define REPORT_MS         1000
#define LAST_QUEUE_MS     1000
#define LAST_S            2

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARNING] = "warning", [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug", [LOG_LEVEL_TRACE] = "trace",
};

static atomic_int level_now = LOG_LEVEL_INFO;
atomic_bool log_is_tracing;

/* Static, because a thread that is stuck in write(2) may still use it when the process ends. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a line came, stop, the thread's end; on CLOCK_MONOTONIC */
    pthread_t thread;
    atomic_bool running;    /* written under the lock */
    bool ended;             /* under the lock: the thread is over */
    atomic_bool writing;    /* the thread has lines that it took from the queue */
    atomic_ullong left_out; /* lines, since the log last told of it */
    atomic_ullong left_out_all;
    atomic_ullong give_up_ms;   /* of the stop; 0: none */
    struct message_queue queue; /* put to under the lock */
    struct line_batch batch;    /* the thread's */
    _Alignas(64) char bytes[LOG_QUEUE_BYTES];
} node_log = {.lock = PTHREAD_MUTEX_INITIALIZER};

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&level_now, (int)level, memory_order_relaxed);
    atomic_store_explicit(&log_is_tracing, level >= LOG_LEVEL_TRACE, memory_order_relaxed);
}

int log_level_parse(const char *name, enum log_level *out)
{
    for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (strcmp(level_names[i], name) != 0)
            continue;
        *out = (enum log_level)i;
        return 0;
    }
    return -EINVAL;
}

void log_stats(struct log_stats *out)
{
    out->left_out = atomic_load_explicit(&node_log.left_out_all, memory_order_relaxed);
}

/* ---- a line ---- */

/* "2026-11-23T10:00:00.123Z level " into `line`; returns its length. */
static size_t write_lead(char *line, size_t size, enum log_level level)
{
    struct timespec now;
    struct tm date;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &date);
    size_t length = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &date);
    int rest = snprintf(line + length, size - length, ".%03ldZ %s ", now.tv_nsec / 1000000,
                        level_names[level]);
    return length + (size_t)rest;
}

/* The length of the first character of `text` where a line may show it as it is, else 0. Terminals
 * act upon C0 and C1; Unicode's line ends and the directions of its bidi algorithm (UAX 9) can make
 * a line look like another one. */
static size_t shown_length(const char *text)
{
    static const struct {
        ucs4_t first, last;
    } hidden[] = {{0, 0x1f},        {0x7f, 0x9f},     {0x61c, 0x61c},   {0x200b, 0x200f},
                  {0x2028, 0x202e}, {0x2060, 0x206f}, {0xfeff, 0xfeff}, {0xe0000, 0xe007f}};
    ucs4_t value;
    int length = u8_strmbtouc(&value, (const uint8_t *)text);
    if (length <= 0) /* not UTF-8 (RFC 3629 3) */
        return 0;
    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
        if (value >= hidden[i].first && value <= hidden[i].last)
            return 0;
    }
    return (size_t)length;
}

static __attribute__((format(printf, 3, 0))) size_t
write_line(char line[LOG_LINE_MAX], enum log_level level, const char *format, va_list arguments)
{
    static const char hex[] = "0123456789abcdef";
    _Static_assert(64 + 4 * MESSAGE_BYTES_MAX + 8 <= LOG_LINE_MAX, "a line may not fit");
    char message[MESSAGE_BYTES_MAX];
    int formatted = vsnprintf(message, sizeof(message), format, arguments);
    size_t length = write_lead(line, 64, level);
    const char *end = message + strlen(message);
    for (const char *c = message; c < end;) {
        size_t token = strike_length(message, c, end);
        size_t shown = token > 0 ? 0 : shown_length(c);
        if (token > 0) {
            memcpy(line + length, STRIKE_TEXT, sizeof(STRIKE_TEXT) - 1);
            length += sizeof(STRIKE_TEXT) - 1;
            c += token;
        } else if (shown > 0) {
            memcpy(line + length, c, shown);
            length += shown;
            c += shown;
        } else {
            unsigned char byte = (unsigned char)*c++;
            line[length++] = '\\';
            line[length++] = 'x';
            line[length++] = hex[byte >> 4];
            line[length++] = hex[byte & 15];
        }
    }
    if (formatted >= MESSAGE_BYTES_MAX) {
        for (int i = 0; i < 3; i++)
            line[length++] = '.';
    }
    line[length++] = '\n';
    return length;
}

static void leave_out(uint64_t lines)
{
    atomic_fetch_add(&node_log.left_out, lines);
    atomic_fetch_add_explicit(&node_log.left_out_all, lines, memory_order_relaxed);
}

/* Queues the line, or counts it as left out. False where no thread runs that would write it. */
static bool put(const char *line, size_t length)
{
    pthread_mutex_lock(&node_log.lock);
    bool running = atomic_load(&node_log.running);
    if (running && message_queue_put(&node_log.queue, line, length))
        pthread_cond_signal(&node_log.changed);
    else if (running)
        leave_out(1);
    pthread_mutex_unlock(&node_log.lock);
    return running;
}

void log_write(struct log_site *site, enum log_level level, const char *format, ...)
{
    if ((int)level > atomic_load_explicit(&level_now, memory_order_relaxed))
        return;
    int saved = errno; /* callers may still need it after they have logged */
    if (site == NULL || !atomic_load_explicit(&node_log.running, memory_order_relaxed) ||
        log_site_admits(site, level, format)) {
        char line[LOG_LINE_MAX];
        va_list arguments;
        va_start(arguments, format);
        size_t length = write_line(line, level, format, arguments);
        va_end(arguments);
        if (!put(line, length))
            (void)!write(STDERR_FILENO, line, length); /* a failure could be told nowhere */
    }
    errno = saved;
}

/* ---- the thread ---- */

/* Waits until there is something to write, or to report. False once the log stops. */
static bool await_lines(void)
{
    const struct timespec until = clock_monotonic_after(REPORT_MS * UINT64_C(1000000));
    int status = 0;
    pthread_mutex_lock(&node_log.lock);
    while (atomic_load(&node_log.running) && message_queue_used(&node_log.queue) == 0 &&
           status == 0)
        status = pthread_cond_timedwait(&node_log.changed, &node_log.lock, &until);
    bool running = atomic_load(&node_log.running);
    pthread_mutex_unlock(&node_log.lock);
    return running;
}

static bool write_batch(void)
{
    struct line_batch_outcome outcome =
        line_batch_write(&node_log.batch, STDERR_FILENO, &node_log.give_up_ms);
    if (outcome.lost > 0)
        leave_out(outcome.lost);
    return outcome.lost == 0;
}

static void write_queued(void)
{
    struct line_batch *batch = &node_log.batch;
    const void *line;
    size_t length;
    atomic_store(&node_log.writing, true);
    while ((line = message_queue_first(&node_log.queue, &length)) != NULL) {
        if (batch->length + length > LINE_BATCH_BYTES)
            (void)write_batch();
        memcpy(batch->bytes + batch->length, line, length);
        batch->length += length;
        message_queue_drop(&node_log.queue);
    }
    if (batch->length > 0)
        (void)write_batch();
    atomic_store(&node_log.writing, false);
}

/* Writes a line of the log's own. False where it was not written; it is not counted as left out. */
static __attribute__((format(printf, 2, 3))) bool say(enum log_level level, const char *format, ...)
{
    struct line_batch *batch = &node_log.batch;
    va_list arguments;
    va_start(arguments, format);
    batch->length = write_line(batch->bytes, level, format, arguments);
    va_end(arguments);
    return line_batch_write(batch, STDERR_FILENO, &node_log.give_up_ms).lost == 0;
}

static void report_left_out(void)
{
    unsigned long long lines = atomic_exchange(&node_log.left_out, 0);
    if (lines > 0 &&
        !say(LOG_LEVEL_WARNING,
             "left out %llu lines, which standard error did not take as fast as they came", lines))
        atomic_fetch_add(&node_log.left_out, lines);
}

static void *run(void *nothing)
{
    uint64_t reported_ms = clock_monotonic_ms();
    bool running;
    (void)pthread_setname_np(pthread_self(), "log");
    do {
        running = await_lines();
        write_queued();
        report_left_out();
        if (running && clock_monotonic_ms() - reported_ms < REPORT_MS)
            continue;
        log_sites_report(say);
        reported_ms = clock_monotonic_ms();
    } while (running);
    pthread_mutex_lock(&node_log.lock);
    node_log.ended = true;
    pthread_cond_signal(&node_log.changed);
    pthread_mutex_unlock(&node_log.lock);
    return nothing;
}

/* ---- from outside ---- */

int log_start(void)
{
    sigset_t all, before;
    clock_cond_init(&node_log.changed);
    message_queue_init(&node_log.queue, node_log.bytes, sizeof(node_log.bytes));
    node_log.ended = false;
    atomic_store(&node_log.give_up_ms, 0);
    atomic_store(&node_log.running, true);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = pthread_create(&node_log.thread, NULL, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    atomic_store(&node_log.running, status == 0);
    return -status;
}

void log_stop(void)
{
    const struct timespec until = clock_monotonic_after(LOG_STOP_MS * UINT64_C(1000000));
    int status = 0;
    if (!atomic_load(&node_log.running))
        return;
    pthread_mutex_lock(&node_log.lock);
    atomic_store(&node_log.give_up_ms, clock_monotonic_ms() + LOG_STOP_MS);
    atomic_store(&node_log.running, false);
    pthread_cond_signal(&node_log.changed);
    while (!node_log.ended && status == 0)
        status = pthread_cond_timedwait(&node_log.changed, &node_log.lock, &until);
    bool ended = node_log.ended;
    pthread_mutex_unlock(&node_log.lock);
    if (ended) {
        pthread_join(node_log.thread, NULL);
        pthread_cond_destroy(&node_log.changed);
        return;
    }
    pthread_detach(node_log.thread); /* it is within write(2), and ends with the process */
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null >= 0)
        (void)dup2(null, STDERR_FILENO);
}

void log_last(const char *line, size_t length)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGABRT};
    const struct itimerspec alarm = {.it_value = {.tv_sec = LAST_S}};
    const struct timespec pause = {.tv_nsec = 1000000};
    timer_t timer;
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) == 0)
        (void)timer_settime(timer, 0, &alarm, NULL);
    bool waits = atomic_load(&node_log.running) && !pthread_equal(pthread_self(), node_log.thread);
    uint64_t end_ms = clock_monotonic_ms() + LAST_QUEUE_MS;
    while (waits && clock_monotonic_ms() < end_ms &&
           (message_queue_used(&node_log.queue) > 0 || atomic_load(&node_log.writing)))
        nanosleep(&pause, NULL);
    (void)!write(STDERR_FILENO, line, length);
}
