/*
 * Writes the node's log: formats a line with the time and the level, makes control bytes visible
 * and hands it to standard error in one write(2). Called from any thread; it keeps nothing but the
 * level and never blocks on a lock.
 */
#include "server/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_BYTES_MAX 2048

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARNING] = "warning",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

static atomic_int level_now = LOG_LEVEL_INFO;

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&level_now, (int)level, memory_order_relaxed);
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

void log_write(enum log_level level, const char *format, ...)
{
    static const char hex[] = "0123456789abcdef";
    if ((int)level > atomic_load_explicit(&level_now, memory_order_relaxed))
        return;
    int saved = errno; /* callers log in the middle of handling it */
    char message[MESSAGE_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    int formatted = vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    char line[64 + 4 * MESSAGE_BYTES_MAX + 8];
    size_t length = write_lead(line, 64, level);
    for (const char *c = message; *c; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte >= 0x20 && byte != 0x7f) {
            line[length++] = *c;
            continue;
        }
        line[length++] = '\\';
        line[length++] = 'x';
        line[length++] = hex[byte >> 4];
        line[length++] = hex[byte & 15];
    }
    if (formatted >= MESSAGE_BYTES_MAX) {
        for (int i = 0; i < 3; i++)
            line[length++] = '.';
    }
    line[length++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, length);
    (void)written; /* there is nowhere left to say so */
    errno = saved;
}
