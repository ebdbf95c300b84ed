/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks up the facts of the admin interface's reasons by their number. admin_routes.c calls it and
 * makes the answers; this file has no side effects.
 */
#include "server/admin/admin_reason.h"

#include <stddef.h>

#include "server/base/check.h"

static const struct {
    const char *name;
    unsigned status, retry_after_s;
} facts[ADMIN_REASON_COUNT] = {
#define X(name, status, retry_after_s) {#name, status, retry_after_s},
    ADMIN_REASONS(X)
#undef X
};

/* The names in lower case, made once before main: a table in two spellings would drift apart. */
#define NAME_SIZE 32
static char lower_names[ADMIN_REASON_COUNT][NAME_SIZE];

__attribute__((constructor)) static void make_lower_names(void)
{
    for (size_t i = 0; i < ADMIN_REASON_COUNT; i++) {
        for (size_t j = 0; facts[i].name[j] != '\0'; j++) {
            char c = facts[i].name[j];
            check(j + 1 < NAME_SIZE);
            lower_names[i][j] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
        }
    }
}

const char *admin_reason_name(enum admin_reason reason)
{
    check(reason < ADMIN_REASON_COUNT);
    return lower_names[reason];
}

unsigned admin_reason_status(enum admin_reason reason)
{
    check(reason < ADMIN_REASON_COUNT);
    return facts[reason].status;
}

unsigned admin_reason_retry_after_s(enum admin_reason reason)
{
    check(reason < ADMIN_REASON_COUNT);
    return facts[reason].retry_after_s;
}
