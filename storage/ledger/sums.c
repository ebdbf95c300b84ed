/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of the downloads that are open where a journal is read. See sums.h.
 */
#include "storage/ledger/sums.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct download_sum *slot_of(struct download_sum *slots, size_t room, uint64_t download)
{
    size_t at = (size_t)(download * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (room - 1);
    while (slots[at].download != 0 && slots[at].download != download)
        at = (at + 1) & (room - 1);
    return &slots[at];
}

/* Closed downloads never come again, so the table holds no more than were open at once. */
static int keep_room(struct sums *sums)
{
    if (sums->count * 2 < sums->room)
        return 0;
    size_t live = 0, room = 1024;
    for (size_t i = 0; i < sums->room; i++)
        live += sums->slots[i].download != 0 && !sums->slots[i].closed;
    while (room < (live + 1) * 4)
        room *= 2;
    struct download_sum *slots = calloc(room, sizeof(struct download_sum));
    if (slots == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < sums->room; i++)
        if (sums->slots[i].download != 0 && !sums->slots[i].closed)
            *slot_of(slots, room, sums->slots[i].download) = sums->slots[i];
    free(sums->slots);
    *sums = (struct sums){.slots = slots, .count = live, .room = room, .since = sums->since};
    return 0;
}

/* The download's slot, which it gets where it has none; NULL: no memory. */
static struct download_sum *sum_of(struct sums *sums, uint64_t download, bool *is_new)
{
    if (keep_room(sums) != 0)
        return NULL;
    struct download_sum *sum = slot_of(sums->slots, sums->room, download);
    *is_new = sum->download == 0;
    if (*is_new) {
        sum->download = download;
        sums->count++;
    }
    return sum;
}

/* Whether the download's first records have left the journal. */
static bool began_before(const struct sums *sums, const struct journal_record *record)
{
    uint64_t segment =
        record->download >> JOURNAL_COUNT_BITS & ((UINT64_C(1) << JOURNAL_COUNT_BITS) - 1);
    return segment < sums->since && record->bytes >= record->bytes_delta &&
           record->responses >= record->responses_delta;
}

int sums_add(struct sums *sums, const struct journal_record *record)
{
    bool is_new = false;
    struct download_sum *sum =
        record->download == 0 ? NULL : sum_of(sums, record->download, &is_new);
    if (sum == NULL)
        return record->download == 0 ? -EBADMSG : -ENOMEM;
    if (is_new && began_before(sums, record)) {
        sum->bytes = record->bytes - record->bytes_delta;
        sum->responses = record->responses - record->responses_delta;
    }
    sum->bytes += record->bytes_delta;
    sum->responses += record->responses_delta;
    if (sum->closed || sum->bytes != record->bytes || sum->responses != record->responses)
        return -EBADMSG;
    sum->closed = record->closing;
    return 0;
}

int sums_set(struct sums *sums, const struct download_sum *sum)
{
    bool is_new;
    struct download_sum *slot = sum->download == 0 ? NULL : sum_of(sums, sum->download, &is_new);
    if (slot == NULL)
        return -ENOMEM;
    *slot = *sum;
    return 0;
}

void sums_clear(struct sums *sums)
{
    if (sums->room > 0)
        memset(sums->slots, 0, sums->room * sizeof(struct download_sum));
    sums->count = 0;
}

void sums_free(struct sums *sums)
{
    free(sums->slots);
    *sums = (struct sums){0};
}
