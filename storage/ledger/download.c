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
#include "storage/ledger/ledger_internal.h"

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

int ledger_download_open(struct ledger *ledger, struct ledger_account *account,
                         struct ledger_file *file, struct ledger_download **out)
{
    struct ledger_download *download = calloc(1, sizeof(*download));
    if (download == NULL)
        return -ENOSPC;
    download->room = journal_name_parts(LEDGER_JOURNAL_FORMAT, account->name.length) +
                     journal_name_parts(LEDGER_JOURNAL_FORMAT, file->name.length) + 1;
    int result = reserve(ledger, download->room);
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

void ledger_download_add(struct ledger_download *download, uint64_t bytes, uint32_t responses)
{
    atomic_fetch_add_explicit(&download->bytes, bytes, memory_order_relaxed);
    if (responses > 0)
        atomic_fetch_add_explicit(&download->responses, responses, memory_order_relaxed);
    /* Release: where the download is queued already, the writer that clears the flag
     * sees these bytes. */
    unsigned flags =
        atomic_fetch_or_explicit(&download->flags, DOWNLOAD_QUEUED, memory_order_acq_rel);
    check((flags & DOWNLOAD_CLOSING) == 0);
    if ((flags & DOWNLOAD_QUEUED) == 0)
        download_push(download);
}

void ledger_download_use(struct ledger_download *download,
                         const unsigned char link_id[LEDGER_LINK_ID_BYTES], uint64_t opened_ms,
                         uint64_t till_ms, uint64_t keep_ms)
{
    check(opened_ms > 0);
    if (atomic_load_explicit(&download->opened_ms, memory_order_relaxed) == opened_ms)
        return;
    if (atomic_load_explicit(&download->opened_ms, memory_order_relaxed) == 0)
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
    leave_open(ledger, download);
    names_drop(&download->account->name);
    names_drop(&download->file->name);
    atomic_fetch_sub(&ledger->downloads, 1);
    free(download);
}
