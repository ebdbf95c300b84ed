/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the last grant of a window still speaks for a token, without a question to Redis: it is
 * valid, no revocation was heard since, and it was given for a token at least as old. Asked
 * before each piece of a transfer, by any worker; it changes nothing.
 */
#ifndef TOLLGATE_SERVER_GRANT_COVERAGE_H
#define TOLLGATE_SERVER_GRANT_COVERAGE_H

#include "server/grant/window.h"

/* Whether the window's grant is valid at now_ms, no revocation was heard since it was confirmed, and
 * it was confirmed for a token at least as old as one of this `iat`. */
bool coverage_holds(const struct ledger *ledger, const struct window *window, int64_t iat,
                    uint64_t now_ms);
/* Of a grant that covers: whether more than half of its validity_ms is over, so that it is to be
 * renewed while transfers go on. */
static inline bool coverage_is_due(const struct window *window, uint64_t validity_ms,
                                   uint64_t now_ms)
{
    return atomic_load(&window->valid_until_ms) - now_ms < validity_ms / 2;
}
/* Whether the grant is still valid, whatever was heard since. */
static inline bool coverage_is_valid(const struct window *window, uint64_t now_ms)
{
    return now_ms < atomic_load(&window->valid_until_ms);
}

#endif
