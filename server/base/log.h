/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's log: one line per event on standard error, "2026-11-23T10:00:00.123Z level message".
 * Called from any thread. Callers never give it a token or a key; they log issuer, kid and jti.
 *
 * Until log_start and after log_stop (and so in every command but `serve`) a line is written by its
 * caller. Between them a thread of the log writes, and no other thread ever waits for the reader of
 * standard error:
 *
 *   log_* --over its site's limit--> counted ------> "left out N more of: ..." within a second
 *     '----> queue, full ----------> counted --.
 *              '---> thread --not written------'---> "left out N lines ..." once there is room
 */
#ifndef TOLLGATE_SERVER_BASE_LOG_H
#define TOLLGATE_SERVER_BASE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/metric.h"

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_TRACE, /* each step of each connection */
};

/* How often one message may be logged, by all threads together: LOG_SITE_BURST times at once, and
 * LOG_SITE_PER_S times a second after that. So every message that clients or Redis can cause is
 * bounded, also where its author did not think of that. */
#define LOG_SITE_BURST  50
#define LOG_SITE_PER_S  10
#define LOG_QUEUE_BYTES ((size_t)256 * 1024) /* some 2,000 lines */
#define LOG_STOP_MS     2000 /* how long the end of the node waits for standard error, at most */
#define LOG_LINE_MAX    ((size_t)8 * 1024 + 128)

/* A place in the code that logs, and how many of its lines were left out. Zeroes at first. */
struct log_site {
    _Atomic(const char *) text; /* names the lines left out; NULL until then, then the format */
    atomic_ullong due_ms;
    atomic_ullong left_out;
    atomic_bool listed;
    enum log_level level;
    struct log_site *next;
};

/* From now on, messages that are less severe than `level` are not logged. */
void log_set_level(enum log_level level);
/* 0 or -EINVAL; name is error, warning, info, debug or trace. */
int log_level_parse(const char *name, enum log_level *out);
/* Logs a message. Its control characters (C0, C1, those of text direction) and bytes that are not
 * UTF-8 are written as \xNN, so that a peer cannot forge a line; what may be a token (strike.h) is
 * struck out. `site` lives as long as the process. NULL: no line is left out for being one of many;
 * that is for lines that must be found later and are bounded by something else. errno is kept. */
void log_write(struct log_site *site, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/*
 * The site for messages of one `kind` that a library hands over. Kinds are string constants,
 * told apart by their addresses. There are LOG_KINDS_MAX sites; kinds that come later share
 * the last one.
 */
struct log_site *log_site_of(const char *kind);
#define LOG_KINDS_MAX 64

#define LOG_HERE(level, ...)                                                                       \
    do {                                                                                           \
        static struct log_site log_here;                                                           \
        log_write(&log_here, level, __VA_ARGS__);                                                  \
    } while (0)
#define log_error(...)   LOG_HERE(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) LOG_HERE(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    LOG_HERE(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   LOG_HERE(LOG_LEVEL_DEBUG, __VA_ARGS__)
/* Nothing is left out but at the queue's bound: whoever follows one connection needs each line. */
#define log_trace(...)   log_write(NULL, LOG_LEVEL_TRACE, __VA_ARGS__)
/* Whether such messages are logged, so that nobody prepares one in vain. */
extern atomic_bool log_is_tracing; /* log_set_level alone writes it */
static inline bool log_traces(void)
{
    return atomic_load_explicit(&log_is_tracing, memory_order_relaxed);
}

/* Starts the log's thread, before any other thread. 0, or a negative errno. */
int log_start(void);
/*
 * Called after all other threads have ended: writes what is queued and how much was left out. Where
 * standard error has not taken that within LOG_STOP_MS, the rest is given up, and descriptor 2 is
 * /dev/null from then on, so that nothing waits that still writes to it.
 */
void log_stop(void);
/*
 * Writes the last line of a process that is about to abort, which ends in a newline. Queued lines
 * come first, where the thread writes them within a second. It takes no lock, and has the kernel
 * abort the process after two seconds, should standard error block.
 */
void log_last(const char *line, size_t length);

/* The columns are explained in metric.h. */
#define LOG_METRICS(X)                                                                             \
    X(left_out, COUNTER, "lines", "", left_out,                                                    \
      "Lines of the node's log that standard error did not take, or not in time.")

struct log_stats {
    LOG_METRICS(METRIC_FIELD)
};
/* Since the process began. From any thread. */
void log_stats(struct log_stats *out);

#endif
