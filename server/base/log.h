/*
 * The node's log: one line per event on standard error, "2026-11-23T10:00:00.123Z level message".
 * Called from any thread. Never given a token or a key: callers log issuer, kid and jti.
 *
 * Until log_start and after log_stop (and so in every command but `serve`) a line is written by its
 * caller. Between them a thread writes, and nobody else ever waits for whoever reads, or does not
 * read, standard error:
 *
 *   log_* --over its site's limit--> counted ------> "left out N more of: ..." within a second
 *     '----> queue, full ----------> counted --.
 *              '---> thread --not written------'---> "left out N lines ..." once there is room
 */
#ifndef TOLLGATE_SERVER_LOG_H
#define TOLLGATE_SERVER_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Of one message, in all threads together: as many at once, and so many a second after that. What
 * the clients and Redis can cause is so bounded, whoever forgets that they can. */
#define LOG_SITE_BURST  50
#define LOG_SITE_PER_S  10
#define LOG_QUEUE_BYTES ((size_t)256 * 1024) /* some 2,000 lines */
#define LOG_STOP_MS     2000 /* what the end of the node waits for standard error, at most */
#define LOG_LINE_MAX    ((size_t)8 * 1024 + 128)

/* A message's place in the code, and what was left out of it. Zeroes at first. */
struct log_site {
    _Atomic(const char *) text; /* what is left out is called by; NULL so far: the format */
    atomic_ullong due_ms;
    atomic_ullong left_out;
    atomic_bool listed;
    enum log_level level;
    struct log_site *next;
};

void log_set_level(enum log_level level);
/* 0 or -EINVAL; name is error, warning, info or debug. */
int log_level_parse(const char *name, enum log_level *out);
/* Control characters in the message, C1, those of text direction and bytes that are not UTF-8 are
 * written as \xNN: a peer cannot forge a line. What may be a token (strike.h) is struck. The site lives as
 * long as the process; without one (NULL) no line is left out for being one of many, which is for what
 * must be found afterwards and is bounded by something else. */
void log_write(struct log_site *site, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/*
 * The site of messages that a library hands over, all of one `kind`: a string constant, told apart
 * by its address. There are LOG_KINDS_MAX; the kinds that come after them share the last one.
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

/* Before any other thread. 0, or a negative errno. */
int log_start(void);
/*
 * After all other threads: writes what is queued and left out. Where standard error has not taken it
 * within LOG_STOP_MS, the rest is given up, and descriptor 2 is /dev/null from then on, so that
 * nothing that still writes to it waits.
 */
void log_stop(void);
/*
 * The last line of a process that is about to abort: what is queued comes first, where it is written
 * within a second. Takes no lock. The process is aborted by the kernel after two, should standard
 * error block. `line` ends in a newline.
 */
void log_last(const char *line, size_t length);

struct log_stats {
    uint64_t left_out; /* lines that standard error did not take, or not in time */
};
void log_stats(struct log_stats *out);

#endif
