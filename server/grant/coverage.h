/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether what Redis last confirmed still speaks for a token, without a question: the account's
 * confirmation is valid, no revocation was heard since, the token is not among those revoked by age,
 * and, while some link of the account may be revoked, the window's own link was confirmed, too. Asked
 * before each piece of a transfer, by any worker; it changes nothing.
 */
#ifndef TOLLGATE_SERVER_GRANT_COVERAGE_H
#define TOLLGATE_SERVER_GRANT_COVERAGE_H

#include "server/grant/window.h"

/* Whether the account is confirmed for a token of this `iat` at now_ms: nothing is asked of it. */
bool coverage_of_account(const struct ledger *ledger, const struct window *window, int64_t iat,
                         uint64_t now_ms);
/* Whether the account and the window's link are. */
bool coverage_holds(const struct ledger *ledger, const struct window *window, int64_t iat,
                    uint64_t now_ms);
/* When what coverage_holds found to hold ends. */
uint64_t coverage_until_ms(const struct window *window, uint64_t now_ms);
/* Whether the last confirmation is still valid, whatever was heard since. */
bool coverage_is_valid(const struct window *window, uint64_t now_ms);
/* Whether the account was confirmed in this epoch of the push connection, however long ago, and nothing
 * was heard of it since. */
bool coverage_is_known(const struct ledger *ledger, const struct window_group *account,
                       uint64_t epoch);
/* The same for a token of this `iat`; and of the window's link, where some link of the account may be
 * revoked. */
bool coverage_was_confirmed(const struct ledger *ledger, const struct window *window, int64_t iat,
                            uint64_t epoch, uint64_t now_ms);
/* Notes what an answer has confirmed, and what had been heard of revocations by then. */
void cover_confirm(struct cover *cover, const struct ledger_heard *heard, uint64_t valid_until_ms);
/* Has the next response ask in any case. */
void cover_drop(struct cover *cover);

#endif
