/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of windows: opens a link's window of a file, and ends it when it is idle. window.h says
 * which thread may do what. Called by grants.c, question.c and metering.c. It counts no quota and
 * moves no funds.
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
        free(windows->shards[i].groups);
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
    atomic_store(&windows->questions, 1); /* that of what a process before this one held */
    while (windows->buckets * BUCKET_WINDOWS < capacity)
        windows->buckets *= 2;
    int status = 0;
    for (unsigned i = 0; i < WINDOW_SHARDS; i++) {
        struct window_shard *shard = &windows->shards[i];
        pthread_mutex_init(&shard->lock, NULL);
        shard->buckets = calloc(windows->buckets, sizeof(*shard->buckets));
        shard->groups = calloc(windows->buckets, sizeof(*shard->groups));
        if (shard->buckets == NULL || shard->groups == NULL)
            status = -ENOMEM;
    }
    if (status != 0)
        windows_free_tables(windows);
    else
        *out = windows;
    return status;
}

/* The window's groups must have been dropped before. */
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
        window_groups_free(*windows, shard);
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

/* Gives back the groups of a window that could not be made. */
static void groups_drop(struct window *window)
{
    if (window->link_group != NULL)
        window_group_drop(window->link_group);
    if (window->account_group != NULL)
        window_group_drop(window->account_group);
}

static int window_make(struct windows *windows, struct window_shard *shard,
                       const struct window_key *key, uint64_t now_ms, struct windows_made *made)
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
    window->account_group = window_group_get(windows, shard, NULL, key, now_ms, &made->groups[0]);
    window->link_group =
        window_group_get(windows, shard, key->link_id, key, now_ms, &made->groups[1]);
    window->jti = key->jti != NULL ? strdup(key->jti) : NULL;
    int status = window->link_group == NULL || window->account_group == NULL
                     ? -ENOMEM
                     : window_use_open(windows->ledger, key->account, key->file, &window->use);
    if (status == 0)
        ledger_download_tell(window->use->download, key->link_id, key->size);
    if (status != 0) {
        groups_drop(window);
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
    made->window = window;
    return 0;
}

int window_open(struct windows *windows, const struct window_key *key, uint64_t now_ms,
                struct window **out, struct windows_made *made)
{
    struct window_shard *shard = windows_shard(windows, key->account);
    struct window **bucket = bucket_of(windows, shard, key->link_id, key->file);
    int status = 0;
    *made = (struct windows_made){0};
    pthread_mutex_lock(&shard->lock);
    struct window *window = find(*bucket, key->link_id, key->file);
    if (window == NULL) {
        status = window_make(windows, shard, key, now_ms, made);
        window = made->window;
        if (status == 0) {
            window->next = *bucket;
            *bucket = window;
        }
    }
    if (status == 0) {
        atomic_fetch_add(&window->references, 1);
        *out = window;
    }
    pthread_mutex_unlock(&shard->lock);
    return status;
}

bool windows_have(struct windows *windows, const struct window_key *key)
{
    struct window_shard *shard = windows_shard(windows, key->account);
    pthread_mutex_lock(&shard->lock);
    bool has =
        find(*bucket_of(windows, shard, key->link_id, key->file), key->link_id, key->file) != NULL;
    pthread_mutex_unlock(&shard->lock);
    return has;
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

bool window_sweep(struct windows *windows, struct window *window, uint64_t now_ms, uint64_t idle_ms)
{
    if (atomic_load(&window->references) > 0 ||
        atomic_load(&window->idle_since_ms) + idle_ms > now_ms)
        return false;
    struct window_shard *shard = windows_shard(windows, window->account);
    pthread_mutex_lock(&shard->lock);
    bool ended = atomic_load(&window->references) == 0 && !window->asking.is_under_way;
    if (ended) {
        struct window **at = bucket_of(windows, shard, window->link_id, window->file);
        while (*at != window)
            at = &(*at)->next;
        *at = window->next;
        groups_drop(window);
    }
    pthread_mutex_unlock(&shard->lock);
    if (!ended)
        return false;
    window_free(window);
    atomic_fetch_sub(&windows->count, 1);
    return true;
}

uint64_t windows_idle_ms(const struct windows *windows)
{
    return atomic_load(&windows->count) > windows->capacity / 2 ? 0 : WINDOW_IDLE_MS;
}
