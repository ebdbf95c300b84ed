/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in force: the address, the run id of its Redis, and the generation; and what is asked of
 * the threads of where_internal.h, which it wakes. Whoever connects calls it. It connects to
 * nothing, and calls none of the others.
 */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "server/base/check.h"
#include "server/base/clock.h"
#include "storage/ledger/ledger_internal.h"
#include "storage/ledger/where_internal.h"

/* ---- what is in force ---- */

bool where_is_same(const struct ledger_redis_address *a, const struct ledger_redis_address *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

static void begin_generation(struct where *where, const char *run_id)
{
    snprintf(where->run_id, sizeof(where->run_id), "%s", run_id);
    atomic_store(&where->served, 0); /* before the generation: what is served is never older */
    atomic_fetch_add(&where->generation, 1);
    for (unsigned i = 0; i < where->listeners_count; i++)
        (void)eventfd_write(where->listeners[i], 1);
}

void where_put(struct where *where, const struct ledger_redis_address *address, const char *run_id)
{
    where->in_force = *address;
    where->is_known = true;
    begin_generation(where, run_id);
}

void where_look_at_once(struct where *where)
{
    where->look_asked = true;
    if (where->look_fd >= 0)
        (void)eventfd_write(where->look_fd, 1);
}

void where_take(struct where *where, const struct ledger_redis_address *addresses, unsigned count)
{
    bool same = count == where->count;
    for (unsigned i = 0; same && i < count; i++)
        same = where_is_same(&addresses[i], &where->candidates[i]);
    if (same)
        return;
    memcpy(where->candidates, addresses, sizeof(*addresses) * count);
    where->count = count;
    where->takes++;
    /* A name's first address is tried unseen, so that who connects says what is wrong with it. What
     * a Sentinel says may be old, and is looked at first. */
    if (!where->is_known && where->name.master[0] == '\0')
        where_put(where, &addresses[0], "");
    where_look_at_once(where);
}

uint64_t where_generation(const struct where *where)
{
    return atomic_load_explicit(&where->generation, memory_order_acquire);
}

uint64_t where_served(const struct where *where)
{
    return atomic_load_explicit(&where->served, memory_order_acquire);
}

/* ---- what is asked ---- */

void where_resolver_ask(struct where *where)
{
    if (!where->resolves)
        return;
    where->asked = true;
    if (where->asked_ms == 0)
        where->asked_ms = clock_monotonic_ms();
    pthread_cond_signal(&where->resolve_asked);
}

void where_sentinels_ask(struct where *where)
{
    for (unsigned i = 0; i < where->name.count; i++) {
        where->sentinels[i].asked = true;
        if (where->sentinels[i].wake_fd >= 0)
            (void)eventfd_write(where->sentinels[i].wake_fd, 1);
    }
}

static void say_unresolved(const struct where *where, char *error, size_t size)
{
    if (where->failure != 0)
        snprintf(error, size, "%s; correct the host name in `redis`, or give an IP address",
                 gai_strerror(where->failure));
    else if (clock_monotonic_ms() < where->asked_ms + LEDGER_REDIS_RESOLVE_MS)
        snprintf(error, size, "the name is being resolved");
    else
        snprintf(error, size,
                 "the name was not resolved within %d ms; check the resolver (/etc/resolv.conf)",
                 LEDGER_REDIS_RESOLVE_MS);
}

static void say_unnamed(const struct where *where, char *error, size_t size)
{
    const char *said = "";
    for (unsigned i = 0; i < where->name.count && said[0] == '\0'; i++)
        said = where->sentinels[i].error;
    if (where->count > 0)
        snprintf(error, size, "%.400s, and the Sentinels name no other master",
                 where->look_error[0] != '\0' ? where->look_error : "the master is looked for");
    else
        snprintf(error, size, "%s",
                 said[0] != '\0' ? said : "the Sentinels have not said yet where the master is");
}

int where_get(struct where *where, struct ledger_redis_address *out, char *error, size_t error_size)
{
    pthread_mutex_lock(&where->lock);
    bool known = where->is_known;
    *out = where->in_force;
    out->generation = atomic_load(&where->generation);
    if (!known && where->name.master[0] != '\0') {
        say_unnamed(where, error, error_size);
    } else if (!known) {
        say_unresolved(where, error, error_size);
        where_resolver_ask(where); /* the last question failed; each wish to connect asks again */
    }
    pthread_mutex_unlock(&where->lock);
    return known ? 0 : -EAGAIN;
}

void where_failed(struct where *where, uint64_t generation)
{
    pthread_mutex_lock(&where->lock);
    if (generation == atomic_load(&where->generation)) {
        where_look_at_once(where);
        where_resolver_ask(where);
        where_sentinels_ask(where);
    }
    pthread_mutex_unlock(&where->lock);
}

static bool is_met(const struct where *where, const char *run_id)
{
    return where->run_id[0] != '\0' && strcmp(where->run_id, run_id) == 0;
}

bool where_is_other(struct where *where, uint64_t generation, const char *run_id)
{
    if (generation != where_generation(where))
        return true;
    pthread_mutex_lock(&where->lock);
    bool other = run_id[0] != '\0' && where->run_id[0] != '\0' && !is_met(where, run_id);
    pthread_mutex_unlock(&where->lock);
    return other;
}

bool where_is_current(struct where *where, uint64_t generation, const char *run_id)
{
    pthread_mutex_lock(&where->lock);
    bool current =
        generation != 0 && generation == atomic_load(&where->served) && is_met(where, run_id);
    pthread_mutex_unlock(&where->lock);
    return current;
}

uint64_t where_lead(struct where *where, uint64_t generation, const char *run_id)
{
    pthread_mutex_lock(&where->lock);
    bool in_force = generation == atomic_load(&where->generation);
    if (in_force && where->run_id[0] == '\0')
        snprintf(where->run_id, sizeof(where->run_id), "%s", run_id);
    else if (in_force && !is_met(where, run_id))
        begin_generation(where, run_id);
    uint64_t belongs = in_force ? atomic_load(&where->generation) : 0;
    pthread_mutex_unlock(&where->lock);
    return belongs;
}

void where_serve(struct where *where, uint64_t generation)
{
    pthread_mutex_lock(&where->lock);
    if (generation == atomic_load(&where->generation))
        atomic_store(&where->served, generation);
    pthread_mutex_unlock(&where->lock);
}

void where_serve_none(struct where *where)
{
    pthread_mutex_lock(&where->lock);
    atomic_store(&where->served, 0);
    pthread_mutex_unlock(&where->lock);
}

/* ---- listeners ---- */

void where_listen(struct where *where, int event_fd)
{
    pthread_mutex_lock(&where->lock);
    check(where->listeners_count < WHERE_LISTENERS_MAX);
    where->listeners[where->listeners_count++] = event_fd;
    pthread_mutex_unlock(&where->lock);
}

void where_unlisten(struct where *where, int event_fd)
{
    pthread_mutex_lock(&where->lock);
    for (unsigned i = 0; i < where->listeners_count; i++) {
        if (where->listeners[i] == event_fd) {
            where->listeners[i] = where->listeners[--where->listeners_count];
            break;
        }
    }
    pthread_mutex_unlock(&where->lock);
}

/* ---- the end ---- */

static void free_text(const char **text)
{
    if (*text != NULL)
        explicit_bzero((void *)(uintptr_t)*text, strlen(*text));
    free((void *)(uintptr_t)*text);
    *text = NULL;
}

static void free_all(struct where *where)
{
    const char **const strings[] = {
        &where->options.redis, &where->options.redis_user, &where->options.redis_password,
        &where->options.redis_sentinel_user, &where->options.redis_sentinel_password};
    for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
        free_text(strings[i]);
    for (unsigned i = 0; i < WHERE_SENTINELS_MAX; i++) {
        if (where->sentinels[i].wake_fd >= 0)
            close(where->sentinels[i].wake_fd);
    }
    if (where->look_fd >= 0)
        close(where->look_fd);
    pthread_cond_destroy(&where->resolve_asked);
    pthread_cond_destroy(&where->looked_once);
    pthread_mutex_destroy(&where->lock);
    free(where);
}

void where_drop(struct where *where)
{
    bool last = --where->references == 0;
    pthread_mutex_unlock(&where->lock);
    if (last)
        free_all(where);
}

int where_start(struct where *where, void *(*run)(void *), void *argument)
{
    pthread_t thread;
    where->references++;
    int result = ledger_thread_start(&thread, run, argument);
    if (result == 0)
        pthread_detach(thread);
    else
        where->references--;
    return result;
}
