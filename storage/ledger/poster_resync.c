/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the poster begins: it asks Redis for the watermark of every account in memory, a page at a time, and
 * puts the cursor where the first missing record is. Those that are asleep are proven, or swept
 * (poster_proof.c, poster_sweep.c). poster.c calls it after each connection, and
 * where Redis refused a post. It posts nothing.
 */
#include <errno.h>
#include <stdio.h>

#include "storage/ledger/checkpoints.h"
#include "storage/ledger/keys.h"
#include "storage/ledger/poster_internal.h"

/* ---- watermarks and the cursor ---- */

static int take_watermark(struct poster *poster, size_t index, const redisReply *reply)
{
    return poster_take_watermark(poster, poster->page[index], reply);
}

static int ask_page(struct poster *poster)
{
    char key[LEDGER_KEY_MAX], field[LEDGER_HEX_SIZE + 2];
    const char *const words[] = {"HGET", key, field};
    snprintf(field, sizeof(field), "w:%s", poster->ledger->instance);
    poster_enter(poster, POSTER_RESYNCING, take_watermark);
    while (poster->next_account != NULL && poster->page_count < POSTER_PIPELINE) {
        poster->page[poster->page_count++] = poster->next_account;
        poster->next_account->resync = poster->resync;
        ledger_key(key, poster->next_account, "account");
        poster->next_account = names_recorded_next(poster->next_account);
        int result = poster_send(poster, 3, words);
        if (result != 0)
            return result;
    }
    return 0;
}

static int place_cursor(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    uint32_t segment = poster->placed ? poster->safe_segment : poster->missing;
    uint32_t first = atomic_load(&ledger->journal.first);
    if (segment < first) /* Redis had all of it, and it has left the journal */
        segment = first;
    int result = poster_place(poster, segment);
    if (result == 0 && (result = poster_sweep_begin(poster)) != 0)
        snprintf(poster->error, sizeof(poster->error), "no memory");
    if (result != 0)
        return -EAGAIN;
    poster->placed = true;
    poster_publish(poster);
    if (!atomic_exchange(&ledger->redis_up, true))
        atomic_fetch_add_explicit(&ledger->redis_connects, 1, memory_order_relaxed);
    poster->turn_due = true;
    poster_enter(poster, POSTER_RESTING, NULL);
    return 0;
}

int poster_resync_on(struct poster *poster)
{
    int result = 0;
    for (size_t i = 0; result == 0 && i < poster->page_count; i++)
        result = poster_needs_from(poster, poster->page[i]);
    poster->page_count = 0;
    if (result == -ENOMEM)
        snprintf(poster->error, sizeof(poster->error), "no memory");
    if (result != 0)
        return -EAGAIN;
    /* A million accounts take longer than a lease lasts. */
    if (lease_is_due(&poster->lease, poster->ledger))
        return poster_ask_lease(poster, LEASE_TO_RESYNC);
    return poster->next_account != NULL ? ask_page(poster) : place_cursor(poster);
}

int poster_resync(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    poster_fill_forget(poster);
    poster_sweep_forget(poster);
    poster->proof.mark = 0;
    poster->proof.resync_mark = poster->proof.found_mark;
    poster->proof.resync_found = poster->proof.found;
    if (atomic_exchange(&ledger->distrusts, false))
        poster->proof.resync_found = 0;
    poster->checkpoint = checkpoints_segment(ledger);
    if (poster->checkpoint == poster->unreadable)
        poster->checkpoint = 0;
    poster->target = atomic_load(&ledger->journal.durable_records);
    poster->missing = journal_segments(&ledger->journal);
    poster->next_account = names_recorded(&ledger->names);
    poster->page_count = 0;
    poster->resync++;
    poster->lost = false;
    return poster_resync_on(poster);
}
