/*
 * The node's log: one line per event on standard error, "2026-11-23T10:00:00.123Z level message".
 * Called from any thread; a line is one write(2). Never given a token or a key: callers log issuer,
 * kid and jti.
 */
#ifndef TOLLGATE_SERVER_LOG_H
#define TOLLGATE_SERVER_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level level);
/* 0 or -EINVAL; name is error, warning, info or debug. */
int log_level_parse(const char *name, enum log_level *out);
/* Control bytes in the message are written as \xNN: a peer cannot forge a line. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
