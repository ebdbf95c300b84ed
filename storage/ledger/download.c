/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Downloads: the counters that workers add to, and the stack on which the downloads that moved
 * wait for the writer. Workers call it; the writer frees. Nothing here touches the disk or waits
 * for the writer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "storage/ledger/wake.h"

static void join_open(struct ledger *ledger, struct ledger_download *download)
{
    pthread_mutex_lock(&ledger->open_lock);
    download->open_next = ledger->open;
    if (ledger->open != NULL)
        ledger->open->open_previous = download;
    ledger->open = download;
    pthread_mutex_unlock(&ledger->open_lock);
}

static void leave_open(struct ledger *ledger, struct ledger_download *download)
{
    pthread_mutex_lock(&ledger->open_lock);
    if (download->open_next != NULL)
        download->open_next->open_previous = download->open_previous;
    if (download->open_previous != NULL)
        download->open_previous->open_next = download->open_next;
    else
        ledger->open = download->open_next;
    pthread_mutex_unlock(&ledger->open_lock);
}

static int reserve(struct ledger *ledger, uint32_t room)
{
    int state = atomic_load_explicit(&ledger->writer_state, memory_order_relaxed);
    if (state == LEDGER_FAILED)
        return -EIO;
    if (state != LEDGER_READY) {
        atomic_fetch_add_explicit(&ledger->refused_full, 1, memory_order_relaxed);
        return -ENOSPC;
    }
    if (atomic_fetch_add(&ledger->downloads, 1) >= ledger->options.downloads_max) {
        atomic_fetch_sub(&ledger->downloads, 1);
        return -EMFILE;
    }
    if (journal_reserve(&ledger->journal, room) == 0)
        return 0;
    atomic_fetch_sub(&ledger->downloads, 1);
    atomic_fetch_add_explicit(&ledger->refused_full, 1, memory_order_relaxed);
    return -ENOSPC;
}

#define COUNT_MAX   ((UINT64_C(1) << JOURNAL_COUNT_BITS) - 1)
#define COUNT_SPARE 65536 /* more than there are threads that may pass the bound at once */

void download_count_from(struct ledger *ledger, uint64_t found)
{
    const struct journal *journal = &ledger->journal;
    uint64_t segment = journal->segment & COUNT_MAX;
    uint64_t first =
        (uint64_t)ledger->lane.number << 2 * JOURNAL_COUNT_BITS | segment << JOURNAL_COUNT_BITS;
    ledger->writer.segment = journal->segment;
    atomic_store(&ledger->download_last, found > first ? found : first);
}

int ledger_download_open(struct ledger *ledger, struct ledger_account *account,
                         struct ledger_file *file, struct ledger_download **out)
{
    if (account_wake(ledger, account) != 0)
        return -EIO;
    struct ledger_download *download = calloc(1, sizeof(*download));
    if (download == NULL)
        return -ENOSPC;
    download->room = journal_name_parts(LEDGER_JOURNAL_FORMAT, account->name.length) +
                     journal_name_parts(LEDGER_JOURNAL_FORMAT, file->name.length) + 1;
    uint64_t last = atomic_load_explicit(&ledger->download_last, memory_order_relaxed);
    int result =
        (last & COUNT_MAX) < COUNT_MAX - COUNT_SPARE ? reserve(ledger, download->room) : -EMFILE;
    if (result != 0) {
        free(download);
        return result;
    }
    names_hold(&account->name);
    names_hold(&file->name);
    download->ledger = ledger;
    download->account = account;
    download->file = file;
    download->id = atomic_fetch_add_explicit(&ledger->download_last, 1, memory_order_relaxed) + 1;
    join_open(ledger, download);
    *out = download;
    return 0;
}

/* Many threads push and one takes the whole stack, never a single entry, so an address that comes
 * back between the load and the exchange (ABA) does no harm. */
void download_push(struct ledger_download *download)
{
    struct ledger *ledger = download->ledger;
    struct ledger_download *top = atomic_load_explicit(&ledger->dirty, memory_order_relaxed);
    do
        download->next = top;
    while (!atomic_compare_exchange_weak_explicit(&ledger->dirty, &top, download,
                                                  memory_order_release, memory_order_relaxed));
}

/* Has the writer look at the download. Release: where it is queued already, the writer that clears
 * the flag sees what was added. */
static void queue(struct ledger_download *download)
{
    unsigned flags =
        atomic_fetch_or_explicit(&download->flags, DOWNLOAD_QUEUED, memory_order_acq_rel);
    check((flags & DOWNLOAD_CLOSING) == 0);
    if ((flags & DOWNLOAD_QUEUED) == 0)
        download_push(download);
}

void ledger_download_tell(struct ledger_download *download,
                          const unsigned char link_id[LEDGER_LINK_ID_BYTES], uint64_t size)
{
    memcpy(download->link_id, link_id, LEDGER_LINK_ID_BYTES);
    download->size = size;
}

void ledger_download_content(struct ledger_download *download,
                             const unsigned char hash[LEDGER_CONTENT_BYTES])
{
    int unknown = CONTENT_UNKNOWN;
    if (atomic_load_explicit(&download->content_state, memory_order_relaxed) != CONTENT_UNKNOWN ||
        !atomic_compare_exchange_strong(&download->content_state, &unknown, CONTENT_CLAIMED))
        return;
    memcpy(download->content, hash, LEDGER_CONTENT_BYTES);
    atomic_store_explicit(&download->content_state, CONTENT_KNOWN, memory_order_release);
}

bool ledger_download_has_content(const struct ledger_download *download)
{
    return atomic_load_explicit(&download->content_state, memory_order_relaxed) != CONTENT_UNKNOWN;
}

void ledger_download_begin(struct ledger_download *download)
{
    atomic_fetch_add_explicit(&download->under_way, 1, memory_order_relaxed);
}

/* Claims a free place; NULL where there is none. */
static struct download_place *claim(struct ledger_download *download, uint32_t *bit)
{
    uint32_t claimed = atomic_load_explicit(&download->claimed, memory_order_relaxed);
    for (;;) {
        uint32_t free = ~claimed & ((1u << DOWNLOAD_PLACES) - 1);
        if (free == 0)
            return NULL;
        *bit = free & -free;
        /* Acquire: the writer has emptied the place. */
        if (atomic_compare_exchange_weak_explicit(&download->claimed, &claimed, claimed | *bit,
                                                  memory_order_acquire, memory_order_relaxed))
            return &download->places[__builtin_ctz(*bit)];
    }
}

/* Counts a response and describes it where there is a place. It is counted first, so that the
 * journal never describes more responses than it counts. */
static void describe(struct ledger_download *download, const struct ledger_response *response)
{
    uint32_t bit;
    struct download_place *place = claim(download, &bit);
    atomic_fetch_add_explicit(&download->responses, 1, memory_order_relaxed);
    if (place == NULL) {
        atomic_fetch_add_explicit(&download->undescribed, 1, memory_order_relaxed);
        return;
    }
    place->response = (struct journal_response){.used = true,
                                                .proxied = response->proxied,
                                                .started_ms = response->started_ms,
                                                .first = response->first,
                                                .length = response->length,
                                                .client_bits = response->client_bits,
                                                .tls = response->tls};
    memcpy(place->response.client, response->client, sizeof(place->response.client));
    place->key = response->key;
    if (place->key != NULL)
        names_hold(&place->key->name);
    atomic_fetch_or_explicit(&download->ready, bit, memory_order_release);
}

void ledger_download_end(struct ledger_download *download, const struct ledger_response *response)
{
    if (response != NULL)
        describe(download, response);
    uint32_t before = atomic_fetch_sub_explicit(&download->under_way, 1, memory_order_release);
    check(before > 0);
    queue(download);
}

void ledger_download_add(struct ledger_download *download, uint64_t bytes, uint32_t responses)
{
    atomic_fetch_add_explicit(&download->bytes, bytes, memory_order_relaxed);
    if (responses > 0) {
        atomic_fetch_add_explicit(&download->responses, responses, memory_order_relaxed);
        atomic_fetch_add_explicit(&download->undescribed, responses, memory_order_relaxed);
    }
    queue(download);
}

void ledger_download_use(struct ledger_download *download,
                         const unsigned char link_id[LEDGER_LINK_ID_BYTES], uint64_t opened_ms,
                         uint64_t till_ms, uint64_t keep_ms)
{
    check(opened_ms > 0);
    if (atomic_load_explicit(&download->opened_ms, memory_order_relaxed) == opened_ms)
        return;
    if (atomic_load_explicit(&download->opened_ms, memory_order_relaxed) == 0 &&
        memcmp(download->link_id, link_id, LEDGER_LINK_ID_BYTES) != 0)
        memcpy(download->link_id, link_id, LEDGER_LINK_ID_BYTES);
    atomic_store(&download->till_ms, till_ms);
    atomic_store(&download->keep_ms, keep_ms);
    atomic_store_explicit(&download->opened_ms, opened_ms, memory_order_release);
}

void ledger_download_take(struct ledger_download *download)
{
    atomic_store(&download->taken, true);
    ledger_download_add(download, 0, 0);
}

uint64_t ledger_download_id(const struct ledger_download *download)
{
    return download->id;
}

uint64_t ledger_download_bytes(const struct ledger_download *download)
{
    return atomic_load_explicit(&download->bytes, memory_order_relaxed);
}

void ledger_download_close(struct ledger_download **download)
{
    struct ledger_download *closing = *download;
    if (closing == NULL)
        return;
    *download = NULL;
    unsigned flags = atomic_fetch_or_explicit(&closing->flags, DOWNLOAD_QUEUED | DOWNLOAD_CLOSING,
                                              memory_order_acq_rel);
    check((flags & DOWNLOAD_CLOSING) == 0);
    if ((flags & DOWNLOAD_QUEUED) == 0)
        download_push(closing);
}

void download_free(struct ledger_download *download)
{
    struct ledger *ledger = download->ledger;
    /* The last mark has emptied the places, but where the journal has failed. */
    for (uint32_t i = 0; i < DOWNLOAD_PLACES; i++) {
        if ((atomic_load(&download->ready) & 1u << i) != 0 && download->places[i].key != NULL)
            names_drop(&download->places[i].key->name);
    }
    leave_open(ledger, download);
    names_drop(&download->account->name);
    names_drop(&download->file->name);
    atomic_fetch_sub(&ledger->downloads, 1);
    free(download);
}
