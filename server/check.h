/* check(): an assertion of an invariant, in release builds too. For programmer errors, never for
 * peer input. */
#ifndef TOLLGATE_SERVER_CHECK_H
#define TOLLGATE_SERVER_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define check(condition)                                                                           \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0)) {                                                   \
            fprintf(stderr, "%s:%d: %s: invariant broken: %s\n", __FILE__, __LINE__, __func__,     \
                    #condition);                                                                   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
