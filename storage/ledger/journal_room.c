/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The room in the journal, and where its segments begin: what its writer takes, what open downloads
 * were promised, and what other threads ask. Everything here stands under the journal's lock, which
 * is never held over the disk.
 */
#include <errno.h>
#include <stdlib.h>

#include "server/base/check.h"
#include "storage/ledger/journal.h"

/* ---- room ---- */

static uint64_t free_locked(const struct journal *journal)
{
    return journal->capacity - journal->used;
}

static uint64_t spare_locked(const struct journal *journal)
{
    uint64_t room = journal->next_fd >= 0 ? journal->next_capacity - 1 : free_locked(journal);
    return room > journal->reserved ? room - journal->reserved : 0;
}

int journal_reserve(struct journal *journal, uint32_t records)
{
    pthread_mutex_lock(&journal->lock);
    uint64_t wanted = journal->reserved + records;
    bool fits = wanted <= free_locked(journal) ||
                (journal->next_fd >= 0 && wanted + 1 <= journal->next_capacity);
    if (fits)
        journal->reserved = wanted;
    pthread_mutex_unlock(&journal->lock);
    return fits ? 0 : -ENOSPC;
}

void journal_unreserve(struct journal *journal, uint32_t records)
{
    pthread_mutex_lock(&journal->lock);
    check(journal->reserved >= records);
    journal->reserved -= records;
    pthread_mutex_unlock(&journal->lock);
}

uint64_t journal_spare(struct journal *journal)
{
    pthread_mutex_lock(&journal->lock);
    uint64_t spare = spare_locked(journal);
    pthread_mutex_unlock(&journal->lock);
    return spare;
}

int journal_take_room(struct journal *journal, uint32_t records, uint32_t own)
{
    pthread_mutex_lock(&journal->lock);
    check(journal->reserved >= own);
    bool here = free_locked(journal) >= journal->reserved - own + records;
    bool next = journal->next_fd >= 0;
    if (here)
        journal->used += records;
    pthread_mutex_unlock(&journal->lock);
    if (here)
        return 0;
    return next ? -EAGAIN : -ENOSPC;
}

bool journal_wants_next(struct journal *journal, bool was)
{
    pthread_mutex_lock(&journal->lock);
    uint32_t least = journal->capacity / (was ? 2 : 4);
    bool wants = journal->next_fd < 0 &&
                 (journal->used >= journal->capacity / 8 || spare_locked(journal) < least);
    pthread_mutex_unlock(&journal->lock);
    return wants;
}

/* ---- where segments begin ---- */

uint64_t journal_base(struct journal *journal, uint32_t segment)
{
    pthread_mutex_lock(&journal->lock);
    check(segment >= 1 && segment <= journal->bases_count);
    uint64_t base = journal->bases[segment - 1];
    pthread_mutex_unlock(&journal->lock);
    return base;
}

uint32_t journal_segments(struct journal *journal)
{
    pthread_mutex_lock(&journal->lock);
    uint32_t count = journal->bases_count;
    pthread_mutex_unlock(&journal->lock);
    return count;
}

int journal_keep_base(struct journal *journal)
{
    pthread_mutex_lock(&journal->lock);
    if (journal->bases_count == journal->bases_room) {
        uint32_t room = journal->bases_room == 0 ? 64 : journal->bases_room * 2;
        uint64_t *bases = realloc(journal->bases, room * sizeof(uint64_t));
        if (bases == NULL) {
            pthread_mutex_unlock(&journal->lock);
            return -ENOMEM;
        }
        journal->bases = bases;
        journal->bases_room = room;
    }
    pthread_mutex_unlock(&journal->lock);
    return 0;
}

void journal_add_base(struct journal *journal, uint64_t base)
{
    pthread_mutex_lock(&journal->lock);
    check(journal->bases_count < journal->bases_room);
    journal->bases[journal->bases_count++] = base;
    pthread_mutex_unlock(&journal->lock);
}
