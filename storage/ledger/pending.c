/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The accounts whose posts wait, as a list in the order of their first records, and when each is
 * due. Called by the poster's thread alone; other threads ask for an account through a stack.
 */
#include "storage/ledger/pending.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "storage/ledger/poster_internal.h"

/* Due times stand on a grid of a twentieth of the interval, so that posts leave together and the
 * lease is asked for once for all of them. */
#define GRID 20

static uint64_t on_grid(const struct ledger *ledger, uint64_t time_ms)
{
    uint64_t step_ms = ledger->options.post_interval_ms / GRID;
    return step_ms <= 1 ? time_ms : (time_ms + step_ms - 1) / step_ms * step_ms;
}

static void leave(struct pending *pending, struct ledger_account *account)
{
    if (account->wait_previous != NULL)
        account->wait_previous->wait_next = account->wait_next;
    else
        pending->first = account->wait_next;
    if (account->wait_next != NULL)
        account->wait_next->wait_previous = account->wait_previous;
    else
        pending->last = account->wait_previous;
    account->wait_next = account->wait_previous = NULL;
    account->waits = false;
}

static void join(struct pending *pending, struct ledger_account *account)
{
    account->waits = true;
    account->wait_previous = pending->last;
    if (pending->last != NULL)
        pending->last->wait_next = account;
    else
        pending->first = account;
    pending->last = account;
}

/* When the record is due at the latest. */
static uint64_t due_of(const struct ledger *ledger, const struct journal_entry *entry,
                       uint64_t now_ms)
{
    const struct ledger_account *account = entry->account;
    const struct journal_record *record = &entry->record;
    uint32_t interval_ms = ledger->options.post_interval_ms;
    if (interval_ms == 0 || record->type == JOURNAL_MONEY || record->sequence <= account->due_to ||
        (record->closing && record->opened_ms != 0)) /* the link may be used again at once */
        return 0;
    if (record->closing)
        return on_grid(ledger, now_ms);
    if (account->is_near && interval_ms > PENDING_NEAR_MS)
        interval_ms = PENDING_NEAR_MS;
    return on_grid(ledger, now_ms + interval_ms);
}

int pending_add(struct pending *pending, const struct ledger *ledger,
                const struct journal_reader *reader, const struct journal_entry *entry)
{
    struct ledger_account *account = entry->account;
    uint64_t now_ms = ledger_monotonic_ms(ledger), due_ms = due_of(ledger, entry, now_ms);
    size_t added = 0;
    if (!account->waits) {
        join(pending, account);
        account->due_ms = due_ms;
        account->wait_record = reader->count - 1;
        account->wait_segment = reader->segment;
        account->wait_time_ms = entry->record.time_ms;
    }
    int result = post_add(entry, &added);
    pending->count += added;
    if (due_ms < account->due_ms)
        account->due_ms = due_ms;
    if (due_ms < pending->due_ms)
        pending->due_ms = due_ms;
    return result;
}

void pending_take_asked(struct pending *pending, struct ledger *ledger)
{
    struct ledger_account *account = atomic_exchange(&ledger->asked, NULL);
    while (account != NULL) {
        struct ledger_account *next = account->asked_next;
        /* From here on it may be asked for again. What was journalled before the asking is seen. */
        atomic_store(&account->asked, false);
        account->due_to = atomic_load_explicit(&account->sequence, memory_order_acquire);
        account->due_ms = 0;
        if (account->waits)
            pending->due_ms = 0;
        names_drop(&account->name);
        account = next;
    }
}

int pending_collect(struct pending *pending, struct post_batch *batch, uint64_t now_ms,
                    uint64_t least)
{
    bool all = pending->count >= PENDING_MAX;
    if (pending->first == NULL ||
        (!all && pending->due_ms > now_ms && pending->first->wait_record >= least))
        return 0;
    pending->due_ms = UINT64_MAX;
    for (struct ledger_account *account = pending->first, *next; account != NULL; account = next) {
        next = account->wait_next;
        if (!all && account->due_ms > now_ms && account->wait_record >= least) {
            if (account->due_ms < pending->due_ms)
                pending->due_ms = account->due_ms;
            continue;
        }
        int result = post_batch_take(batch, account, &pending->count);
        if (result != 0)
            return result;
        leave(pending, account);
    }
    return 0;
}

void pending_drop(struct pending *pending, struct ledger_account *account)
{
    if (!account->waits)
        return;
    pending->count -= post_count(account);
    post_drop(account);
    leave(pending, account);
}

void pending_clear(struct pending *pending)
{
    while (pending->first != NULL) {
        struct ledger_account *account = pending->first;
        post_drop(account);
        leave(pending, account);
    }
    pending->count = 0;
    pending->due_ms = UINT64_MAX;
}
