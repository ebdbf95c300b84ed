/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts that are set aside because what Redis holds of them is not as it should be: a key of
 * another type, a field that no function has written. The poster sets them aside and tries them
 * again; other threads ask which they are. It changes nothing in Redis.
 */
#include "storage/ledger/aside.h"

#include <errno.h>

int aside_set(struct poster *poster, struct ledger_account *account, const char *said)
{
    struct ledger *ledger = poster->ledger;
    if (atomic_exchange(&account->is_aside, true))
        return 0;
    pending_drop(&poster->pending, account);
    uint32_t count = atomic_fetch_add(&ledger->accounts_aside, 1) + 1;
    if (!account->was_aside)
        ledger_say(ledger, LEDGER_EVENT_ERROR,
                   "account %.200s is set aside: Redis holds something damaged of it (%.120s); "
                   "nothing of it is granted or posted, and its records stay in the journal; bring "
                   "its keys back or delete them all, and start this node again, which then posts "
                   "them",
                   account->tag, said);
    account->was_aside = true;
    if (count <= LEDGER_ASIDE_MAX)
        return 0;
    snprintf(poster->error, sizeof(poster->error),
             "Redis holds damaged data of more than %d accounts, so it is not the ledger's; check "
             "`redis`",
             LEDGER_ASIDE_MAX);
    poster_not_current(poster, poster->error);
    return -EAGAIN;
}

void aside_posted(struct poster *poster, struct ledger_account *account)
{
    if (!account->was_aside)
        return;
    account->was_aside = false;
    ledger_say(poster->ledger, LEDGER_EVENT_INFO, "account %.200s is set aside no longer",
               account->tag);
}

void aside_try_again(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    atomic_store(&ledger->releases, false);
    if (atomic_load(&ledger->accounts_aside) == 0)
        return;
    struct ledger_account *account = names_recorded(&ledger->names);
    for (; account != NULL; account = names_recorded_next(account))
        atomic_store(&account->is_aside, false);
    atomic_store(&ledger->accounts_aside, 0);
    poster->placed = false; /* what was passed over meanwhile is read again */
}

/* ---- for other threads ---- */

bool ledger_account_is_set_aside(const struct ledger_account *account)
{
    return atomic_load_explicit(&account->is_aside, memory_order_relaxed);
}

void ledger_release(struct ledger *ledger)
{
    atomic_store(&ledger->releases, true);
    ledger_wake_poster(ledger);
}

void ledger_each_set_aside(struct ledger *ledger, unsigned most,
                           void (*each)(void *context, const struct ledger_account *account),
                           void *context)
{
    if (atomic_load(&ledger->accounts_aside) == 0)
        return;
    struct ledger_account *account = names_recorded(&ledger->names);
    for (; account != NULL && most > 0; account = names_recorded_next(account)) {
        if (!ledger_account_is_set_aside(account))
            continue;
        each(context, account);
        most--;
    }
}
