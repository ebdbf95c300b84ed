/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer: brings what moved into the journal, makes it durable, keeps a segment ahead. Its
 * thread waits and calls writer_step, which does all of it. Workers and the admin thread reach it
 * through the stack `dirty`, tickets and money operations. It never talks to Redis.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "storage/ledger/ledger_internal.h"
#include "storage/ledger/segment.h"
#include "storage/ledger/wake.h"

#define ALLOCATE_RETRY_MS 500
#define TURN_MS           50 /* so that a download is marked soon after its last response has ended */

static void append_money(struct ledger *ledger, struct ledger_turn *turn)
{
    for (struct money *money = turn->money; money != NULL; money = money->next) {
        snprintf(money->record.node, sizeof(money->record.node), "%s", ledger->options.node);
        money->result = journal_append(&ledger->journal, money->account, NULL, &money->record, 0);
    }
}

/* The poster says so, too, but not while Redis is away. */
static void note_unposted(struct ledger *ledger, uint64_t durable)
{
    uint64_t now_ms = ledger_real_ms(ledger);
    pthread_mutex_lock(&ledger->lock);
    if (ledger->unposted_since_ms == 0 && durable > ledger->posted)
        ledger->unposted_since_ms = now_ms;
    pthread_mutex_unlock(&ledger->lock);
}

static void sync_turn(struct ledger *ledger, struct ledger_turn *turn)
{
    struct journal *journal = &ledger->journal;
    int result = journal_sync(journal);
    if (result != 0) {
        for (struct money *money = turn->money; money != NULL; money = money->next)
            money->result = -EIO;
        if (atomic_load(&ledger->writer_state) != LEDGER_FAILED) {
            char text[LEDGER_TEXT_MAX];
            snprintf(text, sizeof(text),
                     "journal segment %08u.seg: %s: %s; nothing is served until the disk is "
                     "repaired and the node is restarted",
                     journal->segment, journal->failed_call,
                     strerrordesc_np(journal->failed_error));
            ledger_set_writer_state(ledger, LEDGER_FAILED, text);
            ledger_say(ledger, LEDGER_EVENT_ERROR, "%s", text);
        }
        return;
    }
    uint64_t durable = atomic_load(&journal->durable_records);
    if (durable != ledger->writer.told) {
        note_unposted(ledger, durable);
        ledger_wake_poster(ledger);
    }
    ledger->writer.told = durable;
}

static void set_full(struct ledger *ledger, enum ledger_state state)
{
    const struct writer *writer = &ledger->writer;
    char text[LEDGER_TEXT_MAX];
    snprintf(
        text, sizeof(text),
        "the journal in %.200s/%s/journal cannot grow by %08u.seg: %s; %s, and the node recovers "
        "by itself; until then %s",
        ledger->options.state_dir, ledger->lane.name, ledger->journal.segment + 1,
        strerrordesc_np(writer->allocation_error), segment_cure(writer->allocation_error),
        state == LEDGER_EXHAUSTED ? "nothing is served, because its room is used up"
                                  : "no new download begins");
    ledger_set_writer_state(ledger, state, text);
    ledger_say(ledger, state == LEDGER_FULL ? LEDGER_EVENT_WARNING : LEDGER_EVENT_ERROR, "%s",
               text);
}

/*
 * Keeps a segment ahead. Where none can be made, whatever the reason, the state goes from READY
 * over FULL to EXHAUSTED, and only a segment that was made leads back: closings give some room
 * back, and if that counted, the state would flap.
 */
static void keep_room(struct ledger *ledger)
{
    struct writer *writer = &ledger->writer;
    struct journal *journal = &ledger->journal;
    int was = atomic_load(&ledger->writer_state), error = writer->allocation_error;
    uint64_t now = ledger_monotonic_ms(ledger);
    if (journal->failed)
        return;
    bool wanted = journal_wants_next(journal, was != LEDGER_READY);
    if (!wanted) {
        writer->allocation_error = 0;
    } else if (now >= writer->retry_ms) {
        writer->allocation_error = -journal_allocate_next(journal);
        writer->retry_ms = now + ALLOCATE_RETRY_MS;
    }
    if (writer->allocation_error == 0) {
        writer->retry_ms = 0;
        if (was != LEDGER_READY) {
            ledger_set_writer_state(ledger, LEDGER_READY, "");
            marks_hasten(ledger);
            ledger_say(ledger, LEDGER_EVENT_INFO, "the journal has room again");
        }
        return;
    }
    bool exhausted = was == LEDGER_EXHAUSTED || writer->deferred != NULL || writer->starved ||
                     journal_spare(journal) < JOURNAL_DOWNLOAD_ROOM_MAX;
    enum ledger_state state = exhausted ? LEDGER_EXHAUSTED : LEDGER_FULL;
    if ((int)state != was || error != writer->allocation_error)
        set_full(ledger, state);
}

static void finish_turn(struct ledger *ledger, struct ledger_turn *turn, uint64_t ticket)
{
    struct writer *writer = &ledger->writer;
    while (turn->finished != NULL) {
        struct ledger_download *next = turn->finished->next;
        download_free(turn->finished);
        turn->finished = next;
    }
    pthread_mutex_lock(&writer->lock);
    /* A ticket is not served while a mark lacks room, nor by a journal that failed. */
    if (writer->deferred == NULL && !writer->starved && !ledger->journal.failed)
        writer->served = ticket;
    while (turn->money != NULL) {
        struct money *next = turn->money->next; /* its owner may be gone once it is done */
        turn->money->done = true;
        turn->money = next;
    }
    pthread_cond_broadcast(&writer->done);
    pthread_mutex_unlock(&writer->lock);
}

static struct money *reversed(struct money *list)
{
    struct money *out = NULL;
    while (list != NULL) {
        struct money *next = list->next;
        list->next = out;
        out = list;
        list = next;
    }
    return out;
}

/* Where there is no room for it, the next turn tries again. */
static void note_lease(struct ledger *ledger)
{
    uint64_t lease = ledger_lease_number(ledger);
    if (lease > ledger->journal.lease)
        (void)journal_note_lease(&ledger->journal, lease);
}

static void one_turn(struct ledger *ledger, struct money *money, uint64_t ticket)
{
    struct writer *writer = &ledger->writer;
    struct ledger_turn turn = {.money = reversed(money), .marks_all = ticket > writer->served};
    struct ledger_download *deferred = writer->deferred;
    writer->deferred = NULL;
    struct ledger_download *dirty =
        atomic_exchange_explicit(&ledger->dirty, NULL, memory_order_acquire);
    keep_room(ledger);
    note_lease(ledger);
    writer->starved = false;
    marks_take(ledger, deferred, &turn);
    marks_take(ledger, dirty, &turn);
    marks_due(ledger, &turn);
    append_money(ledger, &turn);
    sync_turn(ledger, &turn);
    if (writer->segment != ledger->journal.segment)
        download_count_from(ledger, 0);
    keep_room(ledger); /* before the callers are answered, who may ask for its state */
    finish_turn(ledger, &turn, ticket);
}

static uint64_t next_turn_ms(const struct ledger *ledger)
{
    uint32_t pause_ms = marks_interval_ms(ledger);
    if (pause_ms > TURN_MS && atomic_load(&ledger->writer_state) == LEDGER_READY)
        pause_ms = TURN_MS;
    return ledger_monotonic_ms(ledger) + pause_ms;
}

uint64_t writer_step(struct ledger *ledger)
{
    struct writer *writer = &ledger->writer;
    pthread_mutex_lock(&writer->lock);
    struct money *money = writer->money;
    uint64_t ticket = writer->taken = writer->asked;
    writer->money = NULL;
    writer->wakes = false;
    pthread_mutex_unlock(&writer->lock);
    bool all_awake = wakes_step(ledger);
    one_turn(ledger, money, ticket);
    if (!all_awake)
        writer_wake(ledger);
    return next_turn_ms(ledger);
}

static void *writer_main(void *argument)
{
    struct ledger *ledger = argument;
    struct writer *writer = &ledger->writer;
    uint64_t until_ms = next_turn_ms(ledger);
    for (bool stop = false; !stop;) {
        uint64_t turn_ms = ledger_monotonic_ms(ledger) + LEDGER_TURN_MS;
        struct timespec until = ledger_deadline(until_ms < turn_ms ? until_ms : turn_ms);
        ledger_turn(ledger, LEDGER_WRITER);
        pthread_mutex_lock(&writer->lock);
        /* A ticket whose marks found no room is tried again after the pause, not at once. */
        if (!writer->stop && !writer->wakes && writer->money == NULL &&
            writer->asked == writer->taken)
            pthread_cond_timedwait(&writer->wake, &writer->lock, &until);
        stop = writer->stop; /* before the step, so that one follows it */
        pthread_mutex_unlock(&writer->lock);
        until_ms = writer_step(ledger);
    }
    return NULL;
}

/* ---- for other threads ---- */

int writer_start(struct ledger *ledger)
{
    struct writer *writer = &ledger->writer;
    keep_room(ledger); /* before the first download reserves room */
    int result = ledger->stepped ? 0 : ledger_thread_start(&writer->thread, writer_main, ledger);
    writer->running = result == 0;
    return result;
}

int writer_stop(struct ledger *ledger)
{
    struct writer *writer = &ledger->writer;
    if (!writer->running)
        return 0;
    /* Downloads that are still open are closed as their owners would have done; nobody
     * adds any more. */
    pthread_mutex_lock(&ledger->open_lock);
    for (struct ledger_download *download = ledger->open; download != NULL;
         download = download->open_next) {
        struct ledger_download *closing = download;
        if ((atomic_load(&download->flags) & DOWNLOAD_CLOSING) == 0)
            ledger_download_close(&closing);
    }
    pthread_mutex_unlock(&ledger->open_lock);
    pthread_mutex_lock(&writer->lock);
    writer->stop = true;
    pthread_cond_signal(&writer->wake);
    pthread_mutex_unlock(&writer->lock);
    if (ledger->stepped)
        (void)writer_step(ledger);
    else
        pthread_join(writer->thread, NULL);
    writer->running = false;
    int result = journal_append_end(&ledger->journal, JOURNAL_STOP);
    return result == 0 ? journal_sync(&ledger->journal) : result;
}

static void queue_money_locked(struct writer *writer, struct money *money)
{
    money->next = writer->money;
    writer->money = money;
    pthread_cond_signal(&writer->wake);
}

void writer_wake(struct ledger *ledger)
{
    struct writer *writer = &ledger->writer;
    pthread_mutex_lock(&writer->lock);
    writer->wakes = true;
    pthread_cond_signal(&writer->wake);
    pthread_mutex_unlock(&writer->lock);
}

void writer_queue_money(struct ledger *ledger, struct money *money)
{
    pthread_mutex_lock(&ledger->writer.lock);
    queue_money_locked(&ledger->writer, money);
    pthread_mutex_unlock(&ledger->writer.lock);
}

bool writer_money_is_done(struct ledger *ledger, const struct money *money)
{
    pthread_mutex_lock(&ledger->writer.lock);
    bool done = money->done;
    pthread_mutex_unlock(&ledger->writer.lock);
    return done;
}

int writer_money(struct ledger *ledger, struct money *money)
{
    struct writer *writer = &ledger->writer;
    pthread_mutex_lock(&writer->lock);
    queue_money_locked(writer, money);
    while (!money->done)
        pthread_cond_wait(&writer->done, &writer->lock);
    pthread_mutex_unlock(&writer->lock);
    return money->result;
}

uint64_t writer_queue_mark(struct ledger *ledger)
{
    struct writer *writer = &ledger->writer;
    pthread_mutex_lock(&writer->lock);
    uint64_t ticket = ++writer->asked;
    pthread_cond_signal(&writer->wake);
    pthread_mutex_unlock(&writer->lock);
    return ticket;
}

bool writer_is_marked(struct ledger *ledger, uint64_t ticket)
{
    pthread_mutex_lock(&ledger->writer.lock);
    bool marked = ledger->writer.served >= ticket;
    pthread_mutex_unlock(&ledger->writer.lock);
    return marked;
}

int writer_mark(struct ledger *ledger, uint64_t deadline_ms)
{
    struct writer *writer = &ledger->writer;
    struct timespec until = ledger_deadline(deadline_ms);
    uint64_t ticket = writer_queue_mark(ledger);
    int result = 0;
    pthread_mutex_lock(&writer->lock);
    while (writer->served < ticket && result == 0)
        result = pthread_cond_timedwait(&writer->done, &writer->lock, &until);
    bool served = writer->served >= ticket;
    pthread_mutex_unlock(&writer->lock);
    return served ? 0 : -ETIMEDOUT;
}
