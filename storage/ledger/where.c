/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the authority on where Redis is, starts its threads, and ends them. See where.h. The ledger
 * and the probe call it.
 */
#include "storage/ledger/where.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/clock.h"
#include "storage/ledger/ledger_internal.h"
#include "storage/ledger/where_internal.h"

/* ---- making and ending ---- */

static int copy_options(struct where *where, const struct ledger_options *options)
{
    const char *const from[] = {options->redis, options->redis_user, options->redis_password,
                                options->redis_sentinel_user, options->redis_sentinel_password};
    const char **const to[] = {&where->options.redis, &where->options.redis_user,
                               &where->options.redis_password, &where->options.redis_sentinel_user,
                               &where->options.redis_sentinel_password};
    for (size_t i = 0; i < sizeof(to) / sizeof(to[0]); i++) {
        if (from[i] != NULL && (*to[i] = strdup(from[i])) == NULL)
            return -ENOMEM;
    }
    where->options.event = options->event;
    where->options.event_context = options->event_context;
    return 0;
}

int where_create(struct where **out, const struct ledger_options *options)
{
    char error[LEDGER_TEXT_MAX];
    struct where *where = calloc(1, sizeof(*where));
    if (where == NULL)
        return -ENOMEM;
    pthread_mutex_init(&where->lock, NULL);
    clock_cond_init(&where->resolve_asked);
    clock_cond_init(&where->looked_once);
    where->references = 1;
    where->look_fd = -1;
    for (unsigned i = 0; i < WHERE_SENTINELS_MAX; i++)
        where->sentinels[i].wake_fd = -1;
    atomic_store(&where->generation, 1);
    int result = where_name_parse(&where->name, options->redis, error, sizeof(error));
    if (result == 0)
        result = copy_options(where, options);
    if (result == 0 && where->name.master[0] == '\0') {
        if (where->name.at[0].port == 0)
            where->candidates[where->count++] = where->name.at[0];
        else
            (void)where_resolve(&where->name.at[0], AI_NUMERICHOST, where->candidates,
                                &where->count);
        where->is_known = where->count > 0;
        where->in_force = where->candidates[0];
    }
    if (result != 0)
        where_destroy(&where);
    *out = where;
    return result;
}

int where_watch(struct where *where)
{
    pthread_mutex_lock(&where->lock);
    int result = 0;
    if (where->name.master[0] != '\0')
        result = where_sentinels_start(where);
    else if (where->count == 0)
        result = where_resolver_start(where);
    pthread_mutex_unlock(&where->lock);
    return result == 0 ? where_looker_start(where) : result;
}

void where_settle(struct where *where, uint32_t wait_ms)
{
    struct timespec until = ledger_deadline(clock_monotonic_ms() + wait_ms);
    int result = 0;
    pthread_mutex_lock(&where->lock);
    while (where->looks_done == 0 && where->failure == 0 && result == 0)
        result = pthread_cond_timedwait(&where->looked_once, &where->lock, &until);
    pthread_mutex_unlock(&where->lock);
}

void where_destroy(struct where **pointer)
{
    struct where *where = *pointer;
    *pointer = NULL;
    if (where == NULL)
        return;
    pthread_mutex_lock(&where->lock);
    where->stop = true;
    where->listeners_count = 0;
    where->options.event = NULL; /* whoever hears it may be gone before the threads are */
    pthread_cond_signal(&where->resolve_asked);
    where_look_at_once(where);
    where_sentinels_ask(where);
    pthread_mutex_unlock(&where->lock);
    if (where->looks)
        pthread_join(where->looker, NULL);
    pthread_mutex_lock(&where->lock);
    where_drop(where);
}
