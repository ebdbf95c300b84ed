/*
 * The table of windows. See window.h for who may do what. Sharded by account, so that recalling an
 * account's idle funds looks at one shard only.
 */
#include "server/window.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "server/check.h"

#define SHARDS  64
#define BUCKETS 1024 /* of a shard: at the default of 65,536 windows, one a bucket */

struct shard {
    pthread_mutex_t lock;
    struct window *buckets[BUCKETS];
} __attribute__((aligned(64)));

struct windows {
    struct ledger *ledger; /* borrows */
    uint64_t capacity;
    atomic_ullong count;
    struct shard shards[SHARDS];
};

int windows_create(struct windows **out, struct ledger *ledger, uint64_t capacity)
{
    struct windows *windows = aligned_alloc(64, sizeof(*windows));
    if (windows == NULL)
        return -ENOMEM;
    memset(windows, 0, sizeof(*windows));
    windows->ledger = ledger;
    windows->capacity = capacity;
    for (unsigned i = 0; i < SHARDS; i++)
        pthread_mutex_init(&windows->shards[i].lock, NULL);
    *out = windows;
    return 0;
}

static void window_free(struct window *window)
{
    ledger_download_close(&window->download);
    ledger_account_drop(&window->account);
    ledger_file_drop(&window->file);
    free(window);
}

void windows_destroy(struct windows **windows)
{
    if (*windows == NULL)
        return;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *shard = &(*windows)->shards[i];
        for (unsigned j = 0; j < BUCKETS; j++) {
            while (shard->buckets[j] != NULL) {
                struct window *window = shard->buckets[j];
                shard->buckets[j] = window->next;
                window_free(window);
            }
        }
        pthread_mutex_destroy(&shard->lock);
    }
    free(*windows);
    *windows = NULL;
}

static struct shard *shard_of(struct windows *windows, const struct ledger_account *account)
{
    /* Interned: one account, one address. Its low bits are the allocator's alignment. */
    uint64_t address = (uint64_t)(uintptr_t)account;
    return &windows->shards[(address * 0x9e3779b97f4a7c15ULL) >> 58];
}

static struct window **bucket_of(struct shard *shard, const unsigned char link[WINDOW_KEY_SIZE],
                                 const struct ledger_file *file)
{
    uint64_t hash;
    memcpy(&hash, link, sizeof(hash)); /* a SHA-256: uniform already */
    hash ^= (uint64_t)(uintptr_t)file * 0x9e3779b97f4a7c15ULL;
    return &shard->buckets[(hash >> 16) % BUCKETS];
}

static struct window *find(struct window *window, const unsigned char link[WINDOW_KEY_SIZE],
                           const struct ledger_file *file)
{
    for (; window != NULL; window = window->next) {
        if (window->file == file && memcmp(window->link, link, WINDOW_KEY_SIZE) == 0)
            return window;
    }
    return NULL;
}

static int window_make(struct windows *windows, struct ledger_account *account,
                       struct ledger_file *file, struct window **out)
{
    if (atomic_fetch_add(&windows->count, 1) >= windows->capacity) {
        atomic_fetch_sub(&windows->count, 1);
        return -EMFILE;
    }
    struct window *window = calloc(1, sizeof(*window));
    int status = window == NULL
                     ? -ENOMEM
                     : ledger_download_open(windows->ledger, account, file, &window->download);
    if (status != 0) {
        free(window);
        atomic_fetch_sub(&windows->count, 1);
        return status;
    }
    ledger_account_hold(account);
    ledger_file_hold(file);
    window->account = account;
    window->file = file;
    *out = window;
    return 0;
}

int window_open(struct windows *windows, const unsigned char link[WINDOW_KEY_SIZE],
                struct ledger_account *account, struct ledger_file *file, unsigned owner,
                struct window **out, bool *created)
{
    struct shard *shard = shard_of(windows, account);
    struct window **bucket = bucket_of(shard, link, file);
    int status = 0;
    *created = false;
    pthread_mutex_lock(&shard->lock);
    struct window *window = find(*bucket, link, file);
    if (window == NULL) {
        status = window_make(windows, account, file, &window);
        if (status == 0) {
            memcpy(window->link, link, WINDOW_KEY_SIZE);
            window->owner = owner;
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

uint64_t window_take(struct window *window, uint64_t want)
{
    if (!atomic_load_explicit(&window->prepaid, memory_order_relaxed))
        return want;
    long long funds = atomic_load(&window->funds);
    for (;;) {
        if (funds <= 0)
            return 0;
        long long part = (uint64_t)funds < want ? funds : (long long)want;
        if (atomic_compare_exchange_weak(&window->funds, &funds, funds - part))
            return (uint64_t)part;
    }
}

void window_give(struct window *window, uint64_t bytes)
{
    if (bytes > 0 && atomic_load_explicit(&window->prepaid, memory_order_relaxed))
        atomic_fetch_add(&window->funds, (long long)bytes);
}

bool window_ask(struct windows *windows, struct window *window, unsigned worker)
{
    struct shard *shard = shard_of(windows, window->account);
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
    struct shard *shard = shard_of(windows, window->account);
    pthread_mutex_lock(&shard->lock);
    uint64_t waiters = window->waiters;
    window->waiters = 0;
    window->asking = false;
    pthread_mutex_unlock(&shard->lock);
    return waiters;
}

uint64_t windows_recall(struct windows *windows, const struct ledger_account *account,
                        const struct window *except)
{
    struct shard *shard = shard_of(windows, account);
    uint64_t sum = 0;
    pthread_mutex_lock(&shard->lock);
    for (unsigned i = 0; i < BUCKETS; i++) {
        for (struct window *window = shard->buckets[i]; window != NULL; window = window->next) {
            if (window == except || window->account != account ||
                atomic_load(&window->references) > 0)
                continue;
            /* Without a grant the next request of that window asks again. */
            atomic_store(&window->valid_until_ms, 0);
            long long funds = atomic_exchange(&window->funds, 0);
            sum += funds > 0 ? (uint64_t)funds : 0;
        }
    }
    pthread_mutex_unlock(&shard->lock);
    return sum;
}

bool window_sweep(struct windows *windows, struct window *window, uint64_t now_ms, uint64_t *funds,
                  struct ledger_account **account)
{
    if (atomic_load(&window->references) > 0 ||
        atomic_load(&window->idle_since_ms) + WINDOW_IDLE_MS > now_ms)
        return false;
    struct shard *shard = shard_of(windows, window->account);
    pthread_mutex_lock(&shard->lock);
    bool ended = atomic_load(&window->references) == 0 && !window->asking;
    if (ended) {
        struct window **link = bucket_of(shard, window->link, window->file);
        while (*link != window)
            link = &(*link)->next;
        *link = window->next;
    }
    pthread_mutex_unlock(&shard->lock);
    if (!ended)
        return false;
    long long left = atomic_load(&window->funds);
    *funds = left > 0 ? (uint64_t)left : 0;
    ledger_account_hold(window->account);
    *account = window->account;
    window_free(window);
    atomic_fetch_sub(&windows->count, 1);
    return true;
}

uint64_t windows_count(const struct windows *windows)
{
    return atomic_load(&windows->count);
}
