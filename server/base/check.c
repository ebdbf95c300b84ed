/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a process whose invariant is broken. See check.h. */
#include "server/base/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/base/log.h"

_Noreturn void check_failed(const char *file, int line, const char *function, const char *condition)
{
    char text[1024];
    int length = snprintf(text, sizeof(text), "%s:%d: %s: invariant broken: %s\n", file, line,
                          function, condition);
    size_t known = length > 0 ? (size_t)length : 0;
    log_last(text, known < sizeof(text) ? known : sizeof(text) - 1);
    abort();
}

/*
 * What an assertion of the libraries of others calls: defined here, it ends in check_failed, too.
 * glibc's own would wait for a reader of standard error.
 */
_Noreturn void __assert_fail(const char *condition, const char *file, unsigned line,
                             const char *function);
void __assert_fail(const char *condition, const char *file, unsigned line, const char *function)
{
    check_failed(file, (int)line, function, condition);
}
