/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compares a window's last grant with the time and with what was heard of revocations. Called by
 * demand.c and admission.c; it takes no lock and asks nothing. See coverage.h.
 */
#include "server/grant/coverage.h"

bool coverage_holds(const struct ledger *ledger, const struct window *window, int64_t iat,
                    uint64_t now_ms)
{
    const struct ledger_heard now = ledger_heard(ledger, window->account),
                              then = {.epoch = atomic_load(&window->heard_epoch),
                                      .messages = atomic_load(&window->heard_messages)};
    return ledger_heard_is_same(&now, &then) && now_ms < atomic_load(&window->valid_until_ms) &&
           iat >= atomic_load(&window->iat);
}
