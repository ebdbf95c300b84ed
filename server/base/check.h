/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check(): an assertion of an invariant, in release builds, too. All of server/ uses it for
 * programmer errors, never for what a peer sent.
 */
#ifndef TOLLGATE_SERVER_BASE_CHECK_H
#define TOLLGATE_SERVER_BASE_CHECK_H

#define check(condition)                                                                           \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            check_failed(__FILE__, __LINE__, __func__, #condition);                                \
    } while (0)

/* Writes what failed to standard error, after the log's queued lines, and aborts. Where standard
 * error blocks, the kernel aborts the process after two seconds (log_last). */
_Noreturn void check_failed(const char *file, int line, const char *function,
                            const char *condition);

#endif
