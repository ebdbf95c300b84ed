/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compares what was confirmed with the time and with what was heard of revocations. Called by
 * demand.c, decision.c, question.c and grant_take.c; it takes no lock and asks nothing. See
 * coverage.h.
 */
#include "server/grant/coverage.h"

#define UNCONFIRMED UINT64_MAX /* of heard_epoch */

static bool is_valid(const struct cover *cover, uint64_t now_ms)
{
    return now_ms < atomic_load(&cover->valid_until_ms);
}

/* Whether nothing was heard since it was confirmed. */
static bool is_unchanged(const struct cover *cover, const struct ledger_heard *now)
{
    const struct ledger_heard then = {.epoch = atomic_load(&cover->heard_epoch),
                                      .messages = atomic_load(&cover->heard_messages)};
    return ledger_heard_is_same(now, &then);
}

static bool holds(const struct cover *cover, const struct ledger_heard *now, uint64_t now_ms)
{
    return is_unchanged(cover, now) && is_valid(cover, now_ms);
}

/* Whether the account alone speaks for its links: none of them is revoked. */
static bool covers_links(const struct window_group *account, uint64_t now_ms)
{
    return now_ms >= atomic_load(&account->revoked_until_ms);
}

static bool account_holds(const struct window_group *account, const struct ledger_heard *heard,
                          int64_t iat, uint64_t now_ms)
{
    return holds(&account->cover, heard, now_ms) &&
           iat >= (int64_t)atomic_load(&account->revoked_before);
}

bool coverage_of_account(const struct ledger *ledger, const struct window *window, int64_t iat,
                         uint64_t now_ms)
{
    const struct ledger_heard heard = ledger_heard(ledger, window->account);
    return account_holds(window->account_group, &heard, iat, now_ms);
}

bool coverage_holds(const struct ledger *ledger, const struct window *window, int64_t iat,
                    uint64_t now_ms)
{
    const struct window_group *account = window->account_group;
    const struct ledger_heard heard = ledger_heard(ledger, window->account);
    return account_holds(account, &heard, iat, now_ms) &&
           (covers_links(account, now_ms) || holds(&window->cover, &heard, now_ms));
}

uint64_t coverage_until_ms(const struct window *window, uint64_t now_ms)
{
    uint64_t account = atomic_load(&window->account_group->cover.valid_until_ms);
    uint64_t link = atomic_load(&window->cover.valid_until_ms);
    return covers_links(window->account_group, now_ms) || account < link ? account : link;
}

bool coverage_is_valid(const struct window *window, uint64_t now_ms)
{
    return now_ms < coverage_until_ms(window, now_ms);
}

static bool was_confirmed(const struct cover *cover, const struct ledger *ledger,
                          const struct ledger_account *account, uint64_t epoch)
{
    const struct ledger_heard now = {.epoch = epoch,
                                     .messages = ledger_heard(ledger, account).messages};
    return is_unchanged(cover, &now) && atomic_load(&cover->valid_until_ms) != 0;
}

bool coverage_is_known(const struct ledger *ledger, const struct window_group *account,
                       uint64_t epoch)
{
    return was_confirmed(&account->cover, ledger, account->account, epoch);
}

bool coverage_was_confirmed(const struct ledger *ledger, const struct window *window, int64_t iat,
                            uint64_t epoch, uint64_t now_ms)
{
    const struct window_group *account = window->account_group;
    return coverage_is_known(ledger, account, epoch) &&
           iat >= (int64_t)atomic_load(&account->revoked_before) &&
           (covers_links(account, now_ms) ||
            was_confirmed(&window->cover, ledger, window->account, epoch));
}

/* Never shortens the validity: a late answer may come after the answer to a later question. */
static void extend(struct cover *cover, uint64_t until_ms)
{
    unsigned long long known = atomic_load(&cover->valid_until_ms);
    while (known < until_ms &&
           !atomic_compare_exchange_weak(&cover->valid_until_ms, &known, until_ms))
        continue;
}

void cover_confirm(struct cover *cover, const struct ledger_heard *heard, uint64_t valid_until_ms)
{
    extend(cover, valid_until_ms);
    atomic_store(&cover->heard_messages, heard->messages);
    atomic_store(&cover->heard_epoch, heard->epoch);
}

void cover_drop(struct cover *cover)
{
    atomic_store(&cover->heard_epoch, UNCONFIRMED);
}
