/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of windows: opens a link's window of a file, says which worker may ask Redis for it,
 * and ends it when it is idle. window.h says which thread may do what. Called by grants.c,
 * question.c and metering.c. It counts no quota, and moves no funds but those that are left when a
 * window ends.
 */
#include "server/grant/window.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "server/grant/window_internal.h"

/* Sizes a shard's buckets: all windows may be of one account, and so in one shard. Untouched
 * buckets cost no memory. */
#define BUCKET_WINDOWS 4

static void windows_free_tables(struct windows *windows)
{
    for (unsigned i = 0; i < WINDOW_SHARDS; i++) {
        free(windows->shards[i].buckets);
        free(windows->shards[i].quotas);
        pthread_mutex_destroy(&windows->shards[i].lock);
    }
    free(windows);
}

int windows_create(struct windows **out, struct ledger *ledger, uint64_t capacity)
{
    struct windows *windows = aligned_alloc(64, sizeof(*windows));
    if (windows == NULL)
        return -ENOMEM;
    memset(windows, 0, sizeof(*windows));
    windows->ledger = ledger;
    windows->capacity = capacity;
    windows->buckets = 64;
    while (windows->buckets * BUCKET_WINDOWS < capacity)
        windows->buckets *= 2;
    int status = 0;
    for (unsigned i = 0; i < WINDOW_SHARDS; i++) {
        struct window_shard *shard = &windows->shards[i];
        pthread_mutex_init(&shard->lock, NULL);
        shard->buckets = calloc(windows->buckets, sizeof(*shard->buckets));
        shard->quotas = calloc(windows->buckets, sizeof(*shard->quotas));
        if (shard->buckets == NULL || shard->quotas == NULL)
            status = -ENOMEM;
    }
    if (status != 0)
        windows_free_tables(windows);
    else
        *out = windows;
    return status;
}

/* The window's quotas must have been dropped before. */
static void window_free(struct window *window)
{
    free(window->jti);
    pthread_mutex_destroy(&window->lock);
    window_use_drop(&window->use);
    ledger_account_drop(&window->account);
    ledger_file_drop(&window->file);
    free(window);
}

void windows_destroy(struct windows **windows)
{
    if (*windows == NULL)
        return;
    for (unsigned i = 0; i < WINDOW_SHARDS; i++) {
        struct window_shard *shard = &(*windows)->shards[i];
        for (size_t j = 0; j < (*windows)->buckets; j++) {
            while (shard->buckets[j] != NULL) {
                struct window *window = shard->buckets[j];
                shard->buckets[j] = window->next;
                window_free(window);
            }
        }
        window_quotas_free(*windows, shard);
    }
    windows_free_tables(*windows);
    *windows = NULL;
}

static struct window **bucket_of(const struct windows *windows, struct window_shard *shard,
                                 const unsigned char link_id[LEDGER_LINK_ID_BYTES],
                                 const struct ledger_file *file)
{
    uint64_t hash;
    memcpy(&hash, link_id, sizeof(hash)); /* a SHA-256: uniform already */
    hash ^= (uint64_t)(uintptr_t)file * 0x9e3779b97f4a7c15ULL;
    return &shard->buckets[(hash >> 16) & (windows->buckets - 1)];
}

static struct window *find(struct window *window, const unsigned char link_id[LEDGER_LINK_ID_BYTES],
                           const struct ledger_file *file)
{
    for (; window != NULL; window = window->next) {
        if (window->file == file && memcmp(window->link_id, link_id, LEDGER_LINK_ID_BYTES) == 0)
            return window;
    }
    return NULL;
}

static int window_make(struct windows *windows, struct window_shard *shard,
                       const struct window_key *key, uint64_t now_ms, struct window **out)
{
    if (atomic_fetch_add(&windows->count, 1) >= windows->capacity) {
        atomic_fetch_sub(&windows->count, 1);
        return -EMFILE;
    }
    struct window *window = calloc(1, sizeof(*window));
    if (window == NULL) {
        atomic_fetch_sub(&windows->count, 1);
        return -ENOMEM;
    }
    window->link_quota = window_quota_get(windows, shard, key->link_id, key->account, now_ms);
    window->account_quota = window_quota_get(windows, shard, NULL, key->account, now_ms);
    window->jti = key->jti != NULL ? strdup(key->jti) : NULL;
    int status = window->link_quota == NULL || window->account_quota == NULL
                     ? -ENOMEM
                     : window_use_open(windows->ledger, key->account, key->file, &window->use);
    if (status == 0)
        ledger_download_tell(window->use->download, key->link_id, key->size);
    if (status != 0) {
        if (window->link_quota != NULL)
            window_quota_drop(windows, shard, window->link_quota, now_ms);
        if (window->account_quota != NULL)
            window_quota_drop(windows, shard, window->account_quota, now_ms);
        free(window->jti);
        free(window);
        atomic_fetch_sub(&windows->count, 1);
        return status;
    }
    pthread_mutex_init(&window->lock, NULL);
    ledger_account_hold(key->account);
    ledger_file_hold(key->file);
    memcpy(window->link_id, key->link_id, LEDGER_LINK_ID_BYTES);
    window->account = key->account;
    window->file = key->file;
    window->size = key->size;
    window->owner = key->owner;
    *out = window;
    return 0;
}

int window_open(struct windows *windows, const struct window_key *key, uint64_t now_ms,
                struct window **out, bool *created)
{
    struct window_shard *shard = windows_shard(windows, key->account);
    struct window **bucket = bucket_of(windows, shard, key->link_id, key->file);
    int status = 0;
    *created = false;
    pthread_mutex_lock(&shard->lock);
    struct window *window = find(*bucket, key->link_id, key->file);
    if (window == NULL) {
        status = window_make(windows, shard, key, now_ms, &window);
        if (status == 0) {
            window->next = *bucket;
            *bucket = window;
            *created = true;
        }
    }
    if (status == 0) {
        atomic_fetch_add(&window->references, 1);
        *out = window;
    }
    pthread_mutex_unlock(&shard->lock);
    return status;
}

void window_hold(struct window *window)
{
    unsigned before = atomic_fetch_add(&window->references, 1);
    check(before > 0);
}

void window_drop(struct window **window, uint64_t now_ms)
{
    if (*window == NULL)
        return;
    /* Before the reference goes: afterwards the owner may free it. */
    atomic_store(&(*window)->idle_since_ms, now_ms);
    unsigned before = atomic_fetch_sub(&(*window)->references, 1);
    check(before > 0);
    *window = NULL;
}

struct ledger *windows_ledger(const struct windows *windows)
{
    return windows->ledger;
}

/* ---- asking ---- */

bool window_ask(struct windows *windows, struct window *window, unsigned worker)
{
    struct window_shard *shard = windows_shard(windows, window->account);
    pthread_mutex_lock(&shard->lock);
    bool mine = !window->asking;
    if (mine)
        window->asking = true;
    else
        window->waiters |= 1ULL << worker;
    pthread_mutex_unlock(&shard->lock);
    return mine;
}

uint64_t window_asked(struct windows *windows, struct window *window)
{
    struct window_shard *shard = windows_shard(windows, window->account);
    pthread_mutex_lock(&shard->lock);
    uint64_t waiters = window->waiters;
    window->waiters = 0;
    window->asking = false;
    pthread_mutex_unlock(&shard->lock);
    return waiters;
}

bool window_sweep(struct windows *windows, struct window *window, uint64_t now_ms, uint64_t idle_ms,
                  windows_release *release, void *context)
{
    if (atomic_load(&window->references) > 0 ||
        atomic_load(&window->idle_since_ms) + idle_ms > now_ms)
        return false;
    struct window_shard *shard = windows_shard(windows, window->account);
    pthread_mutex_lock(&shard->lock);
    bool ended = atomic_load(&window->references) == 0 && !window->asking;
    if (ended) {
        struct window **at = bucket_of(windows, shard, window->link_id, window->file);
        while (*at != window)
            at = &(*at)->next;
        *at = window->next;
        window_spare_leave(window);
        window_quota_drop(windows, shard, window->link_quota, now_ms);
        window_quota_drop(windows, shard, window->account_quota, now_ms);
    }
    pthread_mutex_unlock(&shard->lock);
    if (!ended)
        return false;
    if (!funds_are_empty(&window->spare)) /* no lock: no other thread knows the window any more */
        release(context, window->account, window->link_id, &window->spare);
    window_free(window);
    atomic_fetch_sub(&windows->count, 1);
    return true;
}

uint64_t windows_idle_ms(const struct windows *windows)
{
    return atomic_load(&windows->count) > windows->capacity / 2 ? 0 : WINDOW_IDLE_MS;
}
