/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the steps of checkpoints and of retention in turn, at a low priority. See upkeep.h.
 */
#include "storage/ledger/upkeep.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "storage/ledger/checkpoints.h"
#include "storage/ledger/retention.h"

#define NICENESS 10

struct upkeep {
    struct ledger *ledger; /* borrows */
    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t stopped;
    _Atomic bool stop;
};

static void *upkeep_main(void *argument)
{
    struct upkeep *upkeep = argument;
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICENESS);
    while (!atomic_load(&upkeep->stop)) {
        uint64_t due_ms = checkpoints_step(upkeep->ledger);
        uint64_t retention_ms = retention_step(upkeep->ledger);
        struct timespec until = ledger_deadline(retention_ms < due_ms ? retention_ms : due_ms);
        int result = 0;
        pthread_mutex_lock(&upkeep->lock);
        while (!atomic_load(&upkeep->stop) && result == 0)
            result = pthread_cond_timedwait(&upkeep->stopped, &upkeep->lock, &until);
        pthread_mutex_unlock(&upkeep->lock);
    }
    return NULL;
}

int upkeep_start(struct ledger *ledger)
{
    struct upkeep *upkeep = calloc(1, sizeof(*upkeep));
    if (upkeep == NULL)
        return -ENOMEM;
    upkeep->ledger = ledger;
    pthread_mutex_init(&upkeep->lock, NULL);
    clock_cond_init(&upkeep->stopped);
    ledger->upkeep = upkeep;
    int result = checkpoints_create(ledger, &upkeep->stop);
    if (result == 0)
        result = retention_create(ledger, &upkeep->stop);
    if (result == 0 && !ledger->stepped)
        result = ledger_thread_start(&upkeep->thread, upkeep_main, upkeep);
    upkeep->running = !ledger->stepped && result == 0;
    return result;
}

void upkeep_stop(struct ledger *ledger)
{
    struct upkeep *upkeep = ledger->upkeep;
    if (upkeep == NULL)
        return;
    pthread_mutex_lock(&upkeep->lock);
    atomic_store(&upkeep->stop, true);
    pthread_cond_signal(&upkeep->stopped);
    pthread_mutex_unlock(&upkeep->lock);
    if (upkeep->running)
        pthread_join(upkeep->thread, NULL);
    retention_destroy(ledger);
    checkpoints_destroy(ledger);
    pthread_mutex_destroy(&upkeep->lock);
    pthread_cond_destroy(&upkeep->stopped);
    ledger->upkeep = NULL;
    free(upkeep);
}
