/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens the lanes that an earlier process left, each as soon as its lock is free. See drains.h.
 */
#include "storage/ledger/drains.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/base/clock.h"

struct drains {
    struct ledger *owner; /* borrows */
    drains_open *open;
    drains_close *close;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t stopped;
    bool stop;                         /* under lock */
    struct ledger *ledgers[LANES_MAX]; /* own; NULL: not open. Written by the thread, under lock */
    char why[LANES_MAX][LEDGER_TEXT_MAX]; /* under lock: why the lane does not open; "" : it may */
    bool said[LANES_MAX];                 /* of the thread: that the lane does not open */
};

static void try_lane(struct drains *drains, unsigned lane)
{
    char error[LEDGER_TEXT_MAX];
    struct ledger *ledger = NULL;
    int result = drains->open(drains->owner, lane, &ledger, error, sizeof(error));
    pthread_mutex_lock(&drains->lock);
    drains->ledgers[lane] = ledger;
    snprintf(drains->why[lane], sizeof(drains->why[lane]), "%s", result == 0 ? "" : error);
    pthread_mutex_unlock(&drains->lock);
    if (result == 0) {
        ledger_say(drains->owner, LEDGER_EVENT_INFO,
                   "%s, which an earlier process has left, is posted as well", ledger->lane.name);
    } else if (result != -EALREADY && !drains->said[lane]) {
        ledger_say(drains->owner, LEDGER_EVENT_ERROR,
                   "what an earlier process has left is not posted: %s", error);
        drains->said[lane] = true;
    }
}

static void try_lanes(struct drains *drains)
{
    const struct ledger *owner = drains->owner;
    for (unsigned lane = 0; lane < LANES_MAX; lane++)
        if (lane != owner->lane.number && drains->ledgers[lane] == NULL &&
            lane_exists(owner->options.state_dir, lane))
            try_lane(drains, lane);
}

static void *drains_main(void *argument)
{
    struct drains *drains = argument;
    for (bool stop = false; !stop;) {
        try_lanes(drains);
        struct timespec until =
            ledger_deadline(ledger_monotonic_ms(drains->owner) + DRAINS_RETRY_MS);
        pthread_mutex_lock(&drains->lock);
        int result = 0;
        while (!drains->stop && result == 0)
            result = pthread_cond_timedwait(&drains->stopped, &drains->lock, &until);
        stop = drains->stop;
        pthread_mutex_unlock(&drains->lock);
    }
    return NULL;
}

static void drains_free(struct drains *drains)
{
    pthread_mutex_destroy(&drains->lock);
    pthread_cond_destroy(&drains->stopped);
    free(drains);
}

int drains_start(struct ledger *owner, drains_open *open, drains_close *close)
{
    struct drains *drains = calloc(1, sizeof(*drains));
    if (drains == NULL)
        return -ENOMEM;
    drains->owner = owner;
    drains->open = open;
    drains->close = close;
    pthread_mutex_init(&drains->lock, NULL);
    clock_cond_init(&drains->stopped);
    int result = ledger_thread_start(&drains->thread, drains_main, drains);
    if (result == 0)
        owner->drains = drains;
    else
        drains_free(drains);
    return result;
}

uint64_t drains_stop(struct ledger *owner, uint64_t deadline_ms)
{
    struct drains *drains = owner->drains;
    uint64_t unposted = 0;
    if (drains == NULL)
        return 0;
    owner->drains = NULL;
    pthread_mutex_lock(&drains->lock);
    drains->stop = true;
    pthread_cond_signal(&drains->stopped);
    pthread_mutex_unlock(&drains->lock);
    pthread_join(drains->thread, NULL);
    for (unsigned lane = 0; lane < LANES_MAX; lane++) {
        uint64_t now_ms = ledger_monotonic_ms(owner);
        int64_t left = drains->close(&drains->ledgers[lane],
                                     deadline_ms > now_ms ? (uint32_t)(deadline_ms - now_ms) : 0);
        unposted += left > 0 ? (uint64_t)left : 0;
    }
    drains_free(drains);
    return unposted;
}

void drains_each(const struct ledger *owner, void (*each)(void *context, struct ledger *drain),
                 void *context)
{
    struct drains *drains = owner->drains;
    if (drains == NULL)
        return;
    pthread_mutex_lock(&drains->lock);
    for (unsigned lane = 0; lane < LANES_MAX; lane++)
        if (drains->ledgers[lane] != NULL)
            each(context, drains->ledgers[lane]);
    pthread_mutex_unlock(&drains->lock);
}

bool drains_look(const struct ledger *owner, unsigned lane,
                 void (*look)(void *context, struct ledger *drain), void *context, char *why,
                 size_t why_size)
{
    struct drains *drains = owner->drains;
    snprintf(why, why_size, "%s", "");
    if (drains == NULL)
        return false;
    pthread_mutex_lock(&drains->lock);
    bool is_open = drains->ledgers[lane] != NULL;
    if (is_open)
        look(context, drains->ledgers[lane]);
    else
        snprintf(why, why_size, "%s", drains->why[lane]);
    pthread_mutex_unlock(&drains->lock);
    return is_open;
}

uint64_t drains_unposted(const struct ledger *owner)
{
    struct drains *drains = owner->drains;
    uint64_t unposted = 0;
    if (drains == NULL)
        return 0;
    pthread_mutex_lock(&drains->lock);
    for (unsigned lane = 0; lane < LANES_MAX; lane++) {
        struct ledger *ledger = drains->ledgers[lane];
        if (ledger == NULL)
            continue;
        uint64_t durable = atomic_load(&ledger->journal.durable_records);
        pthread_mutex_lock(&ledger->lock);
        unposted += durable > ledger->posted ? durable - ledger->posted : 0;
        pthread_mutex_unlock(&ledger->lock);
    }
    pthread_mutex_unlock(&drains->lock);
    return unposted;
}
