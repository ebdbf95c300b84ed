/* check(): an assertion of an invariant, in release builds too. For programmer errors, never for
 * peer input. */
#ifndef TOLLGATE_SERVER_CHECK_H
#define TOLLGATE_SERVER_CHECK_H

#define check(condition)                                                                           \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            check_failed(__FILE__, __LINE__, __func__, #condition);                                \
    } while (0)

/* Says so behind all that was logged before, even by a node whose log nobody reads, and aborts. */
_Noreturn void check_failed(const char *file, int line, const char *function,
                            const char *condition);

#endif
