/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks the newest checkpoint for accounts that are asleep. See wake.h. It changes no file.
 */
#include "storage/ledger/wake.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/ledger/checkpoint_index.h"
#include "storage/ledger/checkpoints.h"

#define STEP_WAKES                                                                                 \
    64 /* reads of the disk in a turn of the writer, unless they take longer than this: */
#define STEP_MS   20
#define LOOKS_MAX 3 /* where newer checkpoints are made meanwhile */

struct wakes {
    pthread_mutex_t lock; /* held over the disk, unlike the others; names.lock nests in it */
    struct checkpoint_index index;
    uint32_t opened;                /* the segment of the index; 0: none */
    int said;                       /* the errno that was told last */
    struct ledger_account *waiting; /* of the writer: taken from ledger->waking */
};

int wakes_create(struct ledger *ledger)
{
    struct wakes *wakes = calloc(1, sizeof(*wakes));
    if (wakes == NULL)
        return -ENOMEM;
    pthread_mutex_init(&wakes->lock, NULL);
    wakes->index.fd = -1;
    ledger->wakes = wakes;
    return 0;
}

static void drop_all(struct ledger_account *account)
{
    while (account != NULL) {
        struct ledger_account *next = account->wakes_next;
        names_drop(&account->name);
        account = next;
    }
}

void wakes_destroy(struct ledger *ledger)
{
    struct wakes *wakes = ledger->wakes;
    if (wakes == NULL)
        return;
    drop_all(atomic_exchange(&ledger->waking, NULL));
    drop_all(wakes->waiting);
    checkpoint_index_close(&wakes->index);
    pthread_mutex_destroy(&wakes->lock);
    ledger->wakes = NULL;
    free(wakes);
}

/* Wakes it from the checkpoint of this segment. 0 or a negative errno. */
static int wake(struct ledger *ledger, uint32_t segment, struct ledger_account *account)
{
    struct wakes *wakes = ledger->wakes;
    const struct checkpoint_place place = checkpoints_place(ledger);
    int result = 0;
    if (wakes->opened != segment) {
        checkpoint_index_close(&wakes->index);
        result = checkpoint_index_open(&wakes->index, &place, segment);
        wakes->opened = result == 0 ? segment : 0;
    }
    return result == 0 ? checkpoint_index_wake(&wakes->index, account, true) : result;
}

static void say(struct ledger *ledger, uint32_t segment, int result)
{
    if (result == 0 || ledger->wakes->said == result)
        return;
    ledger_say(ledger, LEDGER_EVENT_ERROR,
               "the checkpoint of segment %" PRIu32
               " of %s/%s cannot be read: %s; accounts that it alone has are not served; check the "
               "disk and "
               "start the node again",
               segment, ledger->options.state_dir, ledger->lane.name, strerrordesc_np(-result));
    ledger->wakes->said = result;
}

int account_wake(struct ledger *ledger, struct ledger_account *account)
{
    uint32_t segment = 0;
    int result = -ENOENT;
    if (names_is_awake(account))
        return 0;
    pthread_mutex_lock(&ledger->wakes->lock);
    for (int i = 0; i < LOOKS_MAX && result < 0; i++) {
        uint32_t newest = checkpoints_segment(ledger);
        if (newest == segment)
            break;
        segment = newest;
        result = wake(ledger, segment, account);
    }
    say(ledger, segment, result);
    pthread_mutex_unlock(&ledger->wakes->lock);
    return result;
}

/* ---- for workers ---- */

bool wakes_step(struct ledger *ledger)
{
    struct wakes *wakes = ledger->wakes;
    const struct ledger_options *options = &ledger->options;
    uint64_t until_ms = ledger_monotonic_ms(ledger) + STEP_MS;
    unsigned count = 0;
    if (wakes->waiting == NULL)
        wakes->waiting = atomic_exchange(&ledger->waking, NULL);
    for (; wakes->waiting != NULL && count < STEP_WAKES &&
           (count == 0 || ledger_monotonic_ms(ledger) < until_ms);
         count++) {
        struct ledger_account *account = wakes->waiting;
        wakes->waiting = account->wakes_next;
        (void)account_wake(ledger, account); /* else whoever needs it asks again */
        atomic_store(&account->wakes, false);
        names_drop(&account->name);
    }
    if (count > 0 && options->woken != NULL)
        options->woken(options->pushed_context);
    return wakes->waiting == NULL && atomic_load(&ledger->waking) == NULL;
}
