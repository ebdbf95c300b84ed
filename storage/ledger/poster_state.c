/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the poster says of itself: its state, its objections, how far it came, its lease. Called by the
 * poster's other parts, in its thread.
 */
#include <errno.h>
#include <xxhash.h>

#include "server/base/clock.h"
#include "storage/ledger/lease.h"
#include "storage/ledger/poster_internal.h"

/* ---- states and waiting ---- */

/*
 * Whether an objection was not told since Redis last took posts. Numbers, such as the time left, do
 * not make it another one. After POSTER_OBJECTIONS_MAX kinds, only `doctor` and the health answer
 * tell more.
 */
static bool is_news(struct poster *poster, const char *text)
{
    char kind[256];
    size_t length = 0;
    for (; *text != '\0' && length < sizeof(kind); text++) {
        if (*text < '0' || *text > '9')
            kind[length++] = *text;
    }
    uint64_t hash = XXH3_64bits(kind, length);
    for (unsigned i = 0; i < poster->said_count; i++) {
        if (poster->said[i] == hash)
            return false;
    }
    if (poster->said_count == POSTER_OBJECTIONS_MAX)
        return false;
    poster->said[poster->said_count++] = hash;
    return true;
}

void poster_waiting(struct poster *poster, const char *text)
{
    struct ledger *ledger = poster->ledger;
    if (atomic_load(&ledger->poster_state) == LEDGER_CATCHING_UP)
        ledger_set_poster_state(ledger, LEDGER_CATCHING_UP, text);
    /* The embedded Redis may still be starting. */
    if (atomic_load(&ledger->redis_connects) == 0 &&
        clock_monotonic_ms() < poster->begun_ms + POSTER_PATIENCE_MS)
        return;
    if (is_news(poster, text))
        ledger_say(ledger, LEDGER_EVENT_WARNING, "%s; the node keeps trying", text);
}

void poster_object(struct poster *poster, enum ledger_state state, const char *text)
{
    struct ledger *ledger = poster->ledger;
    bool changes = atomic_load(&ledger->poster_state) != (int)state;
    ledger_set_poster_state(ledger, state, text);
    if (is_news(poster, text) || changes)
        ledger_say(ledger, state == LEDGER_CATCHING_UP ? LEDGER_EVENT_WARNING : LEDGER_EVENT_ERROR,
                   "%s", text);
}

void poster_not_current(struct poster *poster, const char *text)
{
    struct ledger *ledger = poster->ledger;
    poster->current = false;
    pthread_mutex_lock(&ledger->lock);
    ledger->run_id[0] = '\0';
    atomic_fetch_add(&ledger->redis_generation, 1);
    pthread_mutex_unlock(&ledger->lock);
    if (atomic_load(&ledger->poster_state) == LEDGER_READY)
        ledger_set_poster_state(ledger, LEDGER_CATCHING_UP, text);
}

static void become_current(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    poster->current = true;
    pthread_mutex_lock(&ledger->lock);
    snprintf(ledger->run_id, sizeof(ledger->run_id), "%s", poster->run_id);
    pthread_mutex_unlock(&ledger->lock);
    ledger_set_poster_state(ledger, LEDGER_READY, "");
    ledger_say(ledger, LEDGER_EVENT_INFO, "every record of the journal is in Redis");
}

void poster_publish(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    pthread_mutex_lock(&ledger->lock);
    ledger->posted = poster->reader.count;
    pthread_cond_broadcast(&ledger->posted_moved);
    pthread_mutex_unlock(&ledger->lock);
    if (!poster->current && poster->reader.count >= poster->target)
        become_current(poster);
}

void poster_rest(struct poster *poster, uint64_t milliseconds, bool for_records)
{
    struct ledger *ledger = poster->ledger;
    struct timespec until = ledger_deadline(clock_monotonic_ms() + milliseconds);
    int result = 0;
    pthread_mutex_lock(&ledger->lock);
    while (result == 0 && !ledger->given_up && !(for_records && ledger->stopping) &&
           !(for_records && (notices_are_waiting(ledger) ||
                             atomic_load(&ledger->journal.durable_records) > poster->reader.count)))
        result = pthread_cond_timedwait(&ledger->durable_moved, &ledger->lock, &until);
    pthread_mutex_unlock(&ledger->lock);
}

bool poster_at_end(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    bool all_posted =
        poster->current && poster->reader.count >= atomic_load(&ledger->journal.durable_records);
    bool refused = atomic_load(&ledger->poster_state) >= LEDGER_FAILED;
    pthread_mutex_lock(&ledger->lock);
    bool end = ledger->given_up || (ledger->stopping && (all_posted || refused));
    pthread_mutex_unlock(&ledger->lock);
    return end;
}

/* ---- the lease ---- */

int poster_take_lease(struct poster *poster)
{
    char text[LEDGER_TEXT_MAX];
    switch (lease_renew(&poster->lease, &poster->link, poster->ledger, text)) {
    case LEASE_HELD:
        return 0;
    case LEASE_NEW:
        return -ESTALE;
    case LEASE_WAIT:
        poster_not_current(poster, text);
        poster_object(poster, LEDGER_CATCHING_UP, text);
        return -EBUSY;
    case LEASE_REFUSED:
        poster_not_current(poster, text);
        poster_object(poster, LEDGER_REFUSED, text);
        return -EPERM;
    case LEASE_LINK:
        break;
    }
    return -EAGAIN;
}

int poster_renew_lease(struct poster *poster)
{
    int result = poster_take_lease(poster);
    if (result == 0)
        return 0;
    snprintf(poster->link.error, sizeof(poster->link.error),
             "the node no longer holds the lease of its name");
    return result == -ESTALE ? -EAGAIN : result;
}

int poster_keep_lease(struct poster *poster)
{
    return lease_is_due(&poster->lease) ? poster_renew_lease(poster) : 0;
}
