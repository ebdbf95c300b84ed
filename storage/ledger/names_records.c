/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The accounts of the table that have records: how many there may be, the list of them, what is counted of
 * each, and waking those that a checkpoint has. See names.h. Nothing here blocks on disk or network.
 */
#include <errno.h>
#include <string.h>

#include "server/base/check.h"
#include "storage/ledger/names_internal.h"

/* ---- places ---- */

static void count_place(struct names *names, struct names_issuer *issuer)
{
    names->accounts++;
    if (issuer->accounts++ < issuer->accounts_max)
        names->counted++;
}

static void place_take(struct names *names, struct ledger_account *account)
{
    account->placed = true;
    count_place(names, account->issuer);
}

static void place_give(struct names *names, struct ledger_account *account)
{
    struct names_issuer *issuer = account->issuer;
    account->placed = false;
    names->accounts--;
    if (--issuer->accounts < issuer->accounts_max)
        names->counted--;
}

int names_take_place(struct ledger_account *account)
{
    struct names *names = account->name.names;
    int result = 0;
    pthread_mutex_lock(&names->lock);
    if (!account->placed) {
        result = names->counted >= names->accounts_max                        ? -EUSERS
                 : account->issuer->accounts >= account->issuer->accounts_max ? -EDQUOT
                                                                              : 0;
        if (result == 0)
            place_take(names, account);
    }
    pthread_mutex_unlock(&names->lock);
    return result;
}

void names_give_place_back(struct ledger_account *account)
{
    struct names *names = account->name.names;
    pthread_mutex_lock(&names->lock);
    if (account->placed && account->tail_segment == 0)
        place_give(names, account);
    pthread_mutex_unlock(&names->lock);
}

int names_place(struct names *names, const char *text, size_t length)
{
    size_t split = names_split(text, length);
    struct names_issuer *issuer = split == 0 ? NULL : names_issuer_of(names, text, split);
    if (issuer == NULL)
        return split == 0 ? -EINVAL : -ENOMEM;
    pthread_mutex_lock(&names->lock);
    count_place(names, issuer);
    pthread_mutex_unlock(&names->lock);
    return 0;
}

void names_displace(struct names *names)
{
    pthread_mutex_lock(&names->lock);
    names->accounts = names->counted = 0;
    for (size_t i = 0; i < NAMES_ISSUER_BUCKETS; i++)
        for (struct names_issuer *issuer = names->issuers[i]; issuer != NULL; issuer = issuer->next)
            issuer->accounts = 0;
    pthread_mutex_unlock(&names->lock);
}

static bool is_near(uint32_t accounts, uint32_t accounts_max)
{
    return accounts_max > 0 && (uint64_t)accounts * 10 >= (uint64_t)accounts_max * 9;
}

bool names_warning(struct names *names, struct names_warning *out)
{
    struct names_issuer *near = NULL;
    pthread_mutex_lock(&names->lock);
    bool of_node = !names->warned && is_near(names->counted, names->accounts_max);
    for (size_t i = 0; !of_node && near == NULL && i < NAMES_ISSUER_BUCKETS; i++) {
        near = names->issuers[i];
        while (near != NULL && (near->warned || !is_near(near->accounts, near->accounts_max)))
            near = near->next;
    }
    if (of_node) {
        names->warned = true;
        *out =
            (struct names_warning){.accounts = names->counted, .accounts_max = names->accounts_max};
    } else if (near != NULL) {
        near->warned = true;
        *out =
            (struct names_warning){.accounts = near->accounts, .accounts_max = near->accounts_max};
        memcpy(out->issuer, near->id, sizeof(out->issuer));
    }
    pthread_mutex_unlock(&names->lock);
    return of_node || near != NULL;
}

/* ---- accounts with records ---- */

/* Appends, so that a thread that walks the list meets each account once. The caller has the lock. */
static void record_first(struct names *names, struct ledger_account *account)
{
    account->recorded_previous = names->recorded_last;
    if (names->recorded_last == NULL)
        atomic_store_explicit(&names->recorded_first, account, memory_order_release);
    else
        atomic_store_explicit(&names->recorded_last->recorded_next, account, memory_order_release);
    names->recorded_last = account;
}

void names_note(struct ledger_account *account, uint32_t segment, uint64_t sequence, uint64_t bytes)
{
    struct names *names = account->name.names;
    uint64_t sum = atomic_load_explicit(&account->bytes, memory_order_relaxed);
    bool is_later = account->tail_segment != segment;
    bool is_first = atomic_load_explicit(&account->sequence, memory_order_relaxed) == 0;
    check(names_is_awake(account));
    if (is_later) {
        pthread_mutex_lock(&names->lock);
        account->tail_segment = segment;
        account->tail_before = sequence - 1;
        account->tail_bytes_before = sum;
        if (!account->placed)
            place_take(names, account);
        pthread_mutex_unlock(&names->lock);
    }
    atomic_store_explicit(&account->bytes, sum + bytes, memory_order_relaxed);
    atomic_store_explicit(&account->sequence, sequence, memory_order_release);
    if (!is_first)
        return;
    pthread_mutex_lock(&names->lock);
    record_first(names, account);
    pthread_mutex_unlock(&names->lock);
}

bool names_wake(struct ledger_account *account, const struct names_records *records, bool is_posted)
{
    struct names *names = account->name.names;
    pthread_mutex_lock(&names->lock);
    bool sleeps = !names_is_awake(account);
    if (sleeps && records != NULL) {
        account->placed = true; /* it was counted by names_place */
        account->tail_segment = records->tail_segment;
        account->tail_before = records->tail_before;
        account->sent = records->sequence;
        atomic_store(&account->watermark, is_posted ? records->sequence : 0);
        atomic_fetch_add(&account->handed, records->bytes);
        atomic_store(&account->operations, records->operation_number);
        atomic_store(&account->bytes, records->bytes);
        atomic_store_explicit(&account->sequence, records->sequence, memory_order_release);
        record_first(names, account);
    }
    if (sleeps)
        atomic_store_explicit(&account->is_awake, true, memory_order_release);
    pthread_mutex_unlock(&names->lock);
    return sleeps;
}

/* The caller has both locks. */
static void record_leave(struct names *names, struct ledger_account *account)
{
    struct ledger_account *next = names_recorded_next(account);
    struct ledger_account *previous = account->recorded_previous;
    if (previous == NULL)
        atomic_store_explicit(&names->recorded_first, next, memory_order_release);
    else
        atomic_store_explicit(&previous->recorded_next, next, memory_order_release);
    if (next == NULL)
        names->recorded_last = previous;
    else
        next->recorded_previous = previous;
}

/* The caller has the lock. */
static bool may_leave(const struct ledger_account *account, uint32_t covered)
{
    uint64_t bytes = atomic_load(&account->bytes), handed = atomic_load(&account->handed);
    return atomic_load(&account->name.references) == 0 && account->tail_segment <= covered &&
           atomic_load(&account->watermark) == atomic_load(&account->sequence) &&
           atomic_load(&account->aside) == ASIDE_NOT && handed <= bytes;
}

bool names_leave(struct ledger_account *account, uint32_t covered)
{
    struct names *names = account->name.names;
    if (pthread_mutex_trylock(&names->walk) != 0)
        return false;
    pthread_mutex_lock(&names->lock);
    bool leaves = may_leave(account, covered);
    if (leaves) {
        names->base = account->tail_segment > names->base ? account->tail_segment : names->base;
        record_leave(names, account);
        names_take_out(names, &account->name);
    }
    pthread_mutex_unlock(&names->lock);
    pthread_mutex_unlock(&names->walk);
    if (!leaves)
        return false;
    atomic_fetch_add(&names->left, 1);
    names_free_one(&account->name, JOURNAL_ACCOUNT);
    return true;
}

bool names_noted(struct ledger_account *account, uint32_t segment, uint64_t *sequence,
                 uint64_t *bytes)
{
    struct names *names = account->name.names;
    pthread_mutex_lock(&names->lock);
    uint32_t tail = account->tail_segment;
    *sequence = account->tail_before;
    *bytes = account->tail_bytes_before;
    pthread_mutex_unlock(&names->lock);
    if (tail <= segment) { /* it has no later record, so both stand still */
        *sequence = atomic_load_explicit(&account->sequence, memory_order_acquire);
        *bytes = atomic_load_explicit(&account->bytes, memory_order_relaxed);
    }
    return tail <= segment + 1;
}

struct ledger_account *names_recorded(struct names *names)
{
    return atomic_load_explicit(&names->recorded_first, memory_order_acquire);
}

struct ledger_account *names_recorded_next(struct ledger_account *account)
{
    return atomic_load_explicit(&account->recorded_next, memory_order_acquire);
}
