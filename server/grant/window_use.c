/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The use of a link that a window delivers: counts the bytes that have arrived and that are under
 * way, each use in a ledger download of its own. A delivery keeps the use that it began in. Called
 * by demand.c, grant_take.c, metering.c, and window.c where a window begins and ends. It knows
 * nothing of funds, and never looks a window up.
 */
#include <errno.h>
#include <stdlib.h>

#include "server/base/check.h"
#include "server/grant/window_internal.h"

int window_use_open(struct ledger *ledger, struct ledger_account *account, struct ledger_file *file,
                    struct window_use **out)
{
    struct window_use *use = calloc(1, sizeof(*use));
    if (use == NULL)
        return -ENOMEM;
    int status = ledger_download_open(ledger, account, file, &use->download);
    if (status != 0) {
        free(use);
        return status;
    }
    atomic_store(&use->references, 1);
    *out = use;
    return 0;
}

struct window_use *window_use_hold(struct window *window)
{
    pthread_mutex_lock(&window->lock);
    struct window_use *use = window->use;
    atomic_fetch_add(&use->references, 1);
    pthread_mutex_unlock(&window->lock);
    return use;
}

void window_use_drop(struct window_use **dropped)
{
    struct window_use *use = *dropped;
    *dropped = NULL;
    if (use == NULL || atomic_fetch_sub(&use->references, 1) > 1)
        return;
    ledger_download_close(&use->download);
    free(use);
}

void window_use_promise(struct window_use *use, uint64_t bytes)
{
    atomic_fetch_add(&use->promised, bytes);
}

void window_use_promise_end(struct window_use *use, uint64_t bytes)
{
    unsigned long long before = atomic_fetch_sub(&use->promised, bytes);
    check(before >= bytes);
}

uint64_t window_use_arrived(const struct window_use *use)
{
    long long arrived =
        atomic_load(&use->arrived_elsewhere) + (long long)ledger_download_bytes(use->download);
    return arrived > 0 ? (uint64_t)arrived : 0;
}

uint64_t window_arrived(struct window *window)
{
    struct window_use *use = window_use_hold(window);
    uint64_t arrived = window_use_arrived(use);
    window_use_drop(&use);
    return arrived;
}

uint64_t window_under_way(struct window *window)
{
    struct window_use *use = window_use_hold(window);
    uint64_t sum = window_use_arrived(use) + atomic_load(&use->promised);
    window_use_drop(&use);
    return sum;
}

/* Whether responses were, or still are, metered into the use. */
static bool was_begun(const struct window_use *use)
{
    return atomic_load(&use->references) > 1 || ledger_download_bytes(use->download) > 0;
}

void window_grant_use(struct windows *windows, struct window *window,
                      const struct ledger_grant *grant, uint64_t asked_ms, uint64_t keep_ms)
{
    struct window_use *next = NULL, *old = NULL;
    pthread_mutex_lock(&window->lock);
    bool is_other = atomic_load(&window->opened_ms) != grant->opened_ms;
    /* Where the journal has no room, the next use is counted into the last one's download; bytes of
     * that download that are not marked yet then count for the next use. */
    if (is_other && was_begun(window->use) &&
        window_use_open(windows->ledger, window->account, window->file, &next) == 0) {
        ledger_download_tell(next->download, window->link_id, window->size);
        old = window->use;
        window->use = next;
    }
    struct window_use *use = window->use;
    long long elsewhere =
        (long long)grant->acknowledged - (long long)ledger_download_bytes(use->download);
    /* Redis lags behind this node, so within one use its count of arrived bytes never lowers the
     * node's. */
    if (is_other || elsewhere > atomic_load(&use->arrived_elsewhere))
        atomic_store(&use->arrived_elsewhere, elsewhere);
    ledger_download_use(use->download, window->link_id, grant->opened_ms, grant->till_ms, keep_ms);
    if (grant->acknowledged >= window->size) /* before this window: the shop was notified */
        atomic_store(&window->completed, true);
    atomic_store(&window->use_until_ms, asked_ms + grant->left_ms);
    atomic_store(&window->opened_ms, grant->opened_ms);
    pthread_mutex_unlock(&window->lock);
    window_use_drop(&old);
}
