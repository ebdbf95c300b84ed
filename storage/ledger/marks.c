/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Marks: the records of what downloads have moved. The writer's turn calls it with the downloads
 * that moved since the last turn, decides here which are due, and keeps the others waiting. It
 * never waits for the disk; the turn makes durable what is appended here.
 */
#include <errno.h>
#include <string.h>

#include "server/base/check.h"
#include "storage/ledger/ledger_internal.h"

#define MARK_MS_FULL 500 /* half of what a kill may leave unbilled */

uint32_t marks_interval_ms(const struct ledger *ledger)
{
    uint32_t interval_ms = ledger->options.mark_ms;
    /* A full journal has little room left: slower marks make it last longer. */
    if (atomic_load(&ledger->writer_state) != LEDGER_READY && interval_ms < MARK_MS_FULL)
        interval_ms = MARK_MS_FULL;
    return interval_ms;
}

/* ---- waiting ---- */

static void stop_waiting(struct writer *writer, struct ledger_download *download)
{
    if (!download->waits)
        return;
    if (download->wait_previous != NULL)
        download->wait_previous->wait_next = download->wait_next;
    else
        writer->waiting = download->wait_next;
    if (download->wait_next != NULL)
        download->wait_next->wait_previous = download->wait_previous;
    else
        writer->waiting_last = download->wait_previous;
    download->wait_next = download->wait_previous = NULL;
    download->waits = false;
}

/* All wait equally long, so that the one that comes last is due last. */
static void wait_last(struct writer *writer, struct ledger_download *download, uint64_t due_ms)
{
    download->waits = true;
    download->due_ms = due_ms;
    download->wait_previous = writer->waiting_last;
    if (writer->waiting_last != NULL)
        writer->waiting_last->wait_next = download;
    else
        writer->waiting = download;
    writer->waiting_last = download;
}

/* ---- the records ---- */

static uint32_t seconds_up(uint64_t milliseconds)
{
    uint64_t seconds = milliseconds / 1000 + (milliseconds % 1000 != 0 ? 1 : 0);
    return seconds < UINT32_MAX ? (uint32_t)seconds : UINT32_MAX;
}

/* What is taken from a download's places for one mark. */
struct described {
    struct journal_record more; /* the responses that the mark itself has no place for */
    struct journal_extra extra;
    uint32_t taken;
};

static void take_places(struct ledger_download *download, struct journal_record *mark,
                        struct described *out)
{
    uint32_t ready = atomic_load_explicit(&download->ready, memory_order_acquire);
    size_t count = 0;
    for (uint32_t i = 0; i < DOWNLOAD_PLACES; i++) {
        struct journal_response *to =
            count == 0 ? &mark->response[0] : &out->more.response[count - 1];
        if ((ready & 1u << i) == 0)
            continue;
        *to = download->places[i].response;
        out->extra.places[count] = to;
        out->extra.keys[count] =
            download->places[i].key == NULL ? NULL : &download->places[i].key->name;
        count++;
    }
    out->taken = ready;
    out->extra.count = count;
    out->extra.responses = count > 1 ? &out->more : NULL;
}

/* The mark is in the journal: its places may be filled again. */
static void give_places(struct ledger_download *download, const struct described *described,
                        uint32_t undescribed)
{
    for (uint32_t i = 0; i < DOWNLOAD_PLACES; i++) {
        if ((described->taken & 1u << i) != 0 && download->places[i].key != NULL)
            names_drop(&download->places[i].key->name);
    }
    atomic_fetch_and(&download->ready, ~described->taken);
    atomic_fetch_and_explicit(&download->claimed, ~described->taken, memory_order_release);
    atomic_fetch_sub(&download->undescribed, undescribed);
    undescribed += described->extra.dropped;
    atomic_fetch_add_explicit(&download->ledger->responses_undescribed, undescribed,
                              memory_order_relaxed);
}

static void tell_use(struct ledger_download *download, bool taken, struct journal_record *record)
{
    uint64_t opened = atomic_load_explicit(&download->opened_ms, memory_order_acquire);
    if (download->size > 0 || opened != 0)
        memcpy(record->link_id, download->link_id, sizeof(record->link_id));
    record->size = download->size;
    if (atomic_load_explicit(&download->content_state, memory_order_acquire) == CONTENT_KNOWN)
        memcpy(record->content, download->content, sizeof(record->content));
    if (opened == 0)
        return;
    record->taken = taken && !download->marked_taken;
    record->opened_ms = opened;
    record->till_s = seconds_up(atomic_load(&download->till_ms));
    record->keep_s = seconds_up(atomic_load(&download->keep_ms));
}

/* Appends the mark. 0 (also where there is nothing to tell), -ENOSPC, -EIO. */
static int append_mark(struct ledger_download *download, bool closing)
{
    struct ledger *ledger = download->ledger;
    struct described described = {.more = {.type = JOURNAL_RESPONSE, .download = download->id}};
    struct journal_record record = {
        .type = JOURNAL_USAGE, .closing = closing, .download = download->id};
    /* Before the counters: a response is counted before its place is ready. */
    take_places(download, &record, &described);
    uint64_t bytes = atomic_load_explicit(&download->bytes, memory_order_relaxed);
    uint64_t responses = atomic_load_explicit(&download->responses, memory_order_relaxed);
    bool taken = atomic_load_explicit(&download->taken, memory_order_relaxed);
    bool moved = bytes != download->marked_bytes || responses != download->marked_responses ||
                 taken != download->marked_taken;
    bool known = download->marked_bytes > 0 || download->marked_responses > 0;
    if (!moved && !(closing && known))
        return 0;
    uint32_t undescribed = atomic_load(&download->undescribed);
    record.bytes = bytes;
    record.bytes_delta = bytes - download->marked_bytes;
    record.responses = responses;
    record.responses_delta = responses - download->marked_responses;
    record.undescribed = undescribed;
    tell_use(download, taken, &record);
    /* A journal that cannot grow keeps its room for marks. */
    if (atomic_load(&ledger->writer_state) != LEDGER_READY)
        journal_drop_extra(&record, &described.extra);
    int result = journal_append_usage(&ledger->journal, download->account, download->file, &record,
                                      closing ? download->room : 0, &described.extra);
    if (result != 0)
        return result;
    download->marked_bytes = bytes;
    download->marked_responses = responses;
    download->marked_taken = taken;
    give_places(download, &described, undescribed);
    return 0;
}

/* ---- a turn ---- */

static bool has_moved(const struct ledger_download *download)
{
    return atomic_load_explicit(&download->bytes, memory_order_relaxed) != download->marked_bytes ||
           atomic_load_explicit(&download->responses, memory_order_relaxed) !=
               download->marked_responses ||
           atomic_load_explicit(&download->taken, memory_order_relaxed) != download->marked_taken;
}

/* Whether it may not wait: nothing of it is under way, or its places run out. */
static bool is_urgent(const struct ledger_download *download)
{
    uint32_t ready = atomic_load_explicit(&download->ready, memory_order_relaxed);
    return atomic_load_explicit(&download->under_way, memory_order_acquire) == 0 ||
           __builtin_popcount(ready) >= (int)DOWNLOAD_PLACES - 1;
}

static void close_one(struct ledger *ledger, struct ledger_download *download,
                      struct ledger_turn *turn)
{
    struct writer *writer = &ledger->writer;
    if (append_mark(download, true) == -ENOSPC) {
        download->next = writer->deferred;
        writer->deferred = download;
        return;
    }
    stop_waiting(writer, download);
    /* Given back at once: the closings behind this one in the turn may find no other room. */
    journal_unreserve(&ledger->journal, download->room);
    download->next = turn->finished;
    turn->finished = download;
}

/* Marks one that is due. Where there is no room it stays due, at the head of those that wait. */
static void mark_now(struct ledger *ledger, struct ledger_download *download)
{
    struct writer *writer = &ledger->writer;
    stop_waiting(writer, download);
    if (append_mark(download, false) != -ENOSPC)
        return;
    writer->starved = true;
    download->waits = true;
    download->due_ms = 0;
    download->wait_next = writer->waiting;
    if (writer->waiting != NULL)
        writer->waiting->wait_previous = download;
    else
        writer->waiting_last = download;
    writer->waiting = download;
}

/*
 * QUEUED stays set until the download is marked or waits, so nobody else can push it meanwhile;
 * what is added after the counters were read is seen when the flag is cleared.
 */
static void take_one(struct ledger *ledger, struct ledger_download *download,
                     struct ledger_turn *turn)
{
    unsigned flags = atomic_load_explicit(&download->flags, memory_order_acquire);
    if ((flags & DOWNLOAD_CLOSING) != 0) {
        close_one(ledger, download, turn);
        return;
    }
    if (turn->marks_all || is_urgent(download))
        mark_now(ledger, download);
    else if (!download->waits && has_moved(download))
        wait_last(&ledger->writer, download,
                  ledger_monotonic_ms(ledger) + marks_interval_ms(ledger));
    flags = atomic_fetch_and_explicit(&download->flags, ~(unsigned)DOWNLOAD_QUEUED,
                                      memory_order_acq_rel);
    bool again =
        has_moved(download) && (!download->waits || is_urgent(download)) && !ledger->writer.starved;
    if ((flags & DOWNLOAD_CLOSING) == 0 && !again)
        return;
    /* Bytes, an end or the closing came after the counters were read and found QUEUED set: the next
     * turn looks at it. */
    flags = atomic_fetch_or_explicit(&download->flags, DOWNLOAD_QUEUED, memory_order_acq_rel);
    if ((flags & DOWNLOAD_QUEUED) == 0)
        download_push(download);
}

void marks_take(struct ledger *ledger, struct ledger_download *list, struct ledger_turn *turn)
{
    while (list != NULL) {
        struct ledger_download *next = list->next;
        take_one(ledger, list, turn);
        list = next;
    }
}

void marks_hasten(struct ledger *ledger)
{
    uint64_t latest_ms = ledger_monotonic_ms(ledger) + marks_interval_ms(ledger);
    struct ledger_download *download = ledger->writer.waiting_last;
    for (; download != NULL && download->due_ms > latest_ms; download = download->wait_previous)
        download->due_ms = latest_ms;
}

void marks_due(struct ledger *ledger, struct ledger_turn *turn)
{
    struct writer *writer = &ledger->writer;
    uint64_t now_ms = ledger_monotonic_ms(ledger);
    /* Once one finds no room, the others would not either. */
    while (writer->waiting != NULL && !writer->starved &&
           (turn->marks_all || writer->waiting->due_ms <= now_ms))
        mark_now(ledger, writer->waiting);
}
