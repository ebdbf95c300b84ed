/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of windows; window.h says which thread may do what. It is sharded by account, so that
 * recalling an account's idle funds looks at one shard only. Called by admission.c, purse.c and
 * metering.c; it sends nothing to Redis itself.
 */
#include "server/grant/window.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"

#define SHARDS         64
/* Sizes a shard's buckets: all windows may be of one account, and so in one shard. Untouched
 * buckets cost no memory. */
#define BUCKET_WINDOWS 4
#define RECALL_TURN    32 /* windows whose funds are taken in one go under the shard's lock */

struct shard {
    pthread_mutex_t lock;
    struct window **buckets;      /* owns */
    struct window_quota **quotas; /* owns; as many */
} __attribute__((aligned(64)));

struct windows {
    struct ledger *ledger; /* borrows */
    uint64_t capacity;
    size_t buckets; /* of a shard; a power of two */
    atomic_ullong count, quotas;
    struct shard shards[SHARDS];
};

static void windows_free_tables(struct windows *windows)
{
    for (unsigned i = 0; i < SHARDS; i++) {
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
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *shard = &windows->shards[i];
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

/* ---- quotas ---- */

static struct window_quota **quota_bucket(struct windows *windows, struct shard *shard,
                                          const unsigned char *link,
                                          const struct ledger_account *account)
{
    uint64_t hash = (uint64_t)(uintptr_t)account * 0x9e3779b97f4a7c15ULL >> 32;
    if (link != NULL)
        memcpy(&hash, link, sizeof(hash));
    return &shard->quotas[hash & (windows->buckets - 1)];
}

/* Whether the quota may be freed: no window uses it, and it has no unacknowledged responses to
 * remember, or the table has too many quotas. */
static bool quota_is_idle(const struct windows *windows, const struct window_quota *quota,
                          uint64_t now_ms)
{
    return quota->references == 0 && (quota_unacknowledged(&quota->quota, now_ms) == 0 ||
                                      atomic_load(&windows->quotas) > 4 * windows->capacity);
}

static void quota_free(struct windows *windows, struct window_quota *quota)
{
    atomic_fetch_sub(&windows->quotas, 1);
    ledger_account_drop(&quota->account);
    free(quota);
}

/* Under the shard's lock. Finds or makes a quota; NULL without memory. On its way it frees the idle
 * ones of the bucket. */
static struct window_quota *quota_get(struct windows *windows, struct shard *shard,
                                      const unsigned char *link, struct ledger_account *account,
                                      uint64_t now_ms)
{
    struct window_quota **bucket = quota_bucket(windows, shard, link, account), *found = NULL;
    for (struct window_quota **at = bucket; *at != NULL;) {
        struct window_quota *quota = *at;
        bool same = quota->account == account && quota->of_link == (link != NULL) &&
                    (link == NULL || memcmp(quota->link, link, WINDOW_KEY_SIZE) == 0);
        if (same) {
            found = quota;
        } else if (quota_is_idle(windows, quota, now_ms)) {
            *at = quota->next;
            quota_free(windows, quota);
            continue;
        }
        at = &quota->next;
    }
    if (found == NULL) {
        found = calloc(1, sizeof(*found));
        if (found == NULL)
            return NULL;
        atomic_fetch_add(&windows->quotas, 1);
        quota_init(&found->quota, now_ms);
        ledger_account_hold(account);
        found->account = account;
        found->of_link = link != NULL;
        if (link != NULL)
            memcpy(found->link, link, WINDOW_KEY_SIZE);
        found->next = *bucket;
        *bucket = found;
    }
    found->references++;
    return found;
}

/* Under the shard's lock. */
static void quota_drop(struct windows *windows, struct shard *shard, struct window_quota *quota,
                       uint64_t now_ms)
{
    check(quota->references > 0);
    quota->references--;
    if (!quota_is_idle(windows, quota, now_ms))
        return;
    struct window_quota **at =
        quota_bucket(windows, shard, quota->of_link ? quota->link : NULL, quota->account);
    while (*at != quota)
        at = &(*at)->next;
    *at = quota->next;
    quota_free(windows, quota);
}

/* ---- windows ---- */

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
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *shard = &(*windows)->shards[i];
        for (size_t j = 0; j < (*windows)->buckets; j++) {
            while (shard->buckets[j] != NULL) {
                struct window *window = shard->buckets[j];
                shard->buckets[j] = window->next;
                window_free(window);
            }
        }
        for (size_t j = 0; j < (*windows)->buckets; j++) {
            while (shard->quotas[j] != NULL) {
                struct window_quota *quota = shard->quotas[j];
                shard->quotas[j] = quota->next;
                quota_free(*windows, quota);
            }
        }
    }
    windows_free_tables(*windows);
    *windows = NULL;
}

static struct shard *shard_of(struct windows *windows, const struct ledger_account *account)
{
    /* Interned: one account, one address. Its low bits are the allocator's alignment. */
    uint64_t address = (uint64_t)(uintptr_t)account;
    return &windows->shards[(address * 0x9e3779b97f4a7c15ULL) >> 58];
}

static struct window **bucket_of(const struct windows *windows, struct shard *shard,
                                 const unsigned char link[WINDOW_KEY_SIZE],
                                 const struct ledger_file *file)
{
    uint64_t hash;
    memcpy(&hash, link, sizeof(hash)); /* a SHA-256: uniform already */
    hash ^= (uint64_t)(uintptr_t)file * 0x9e3779b97f4a7c15ULL;
    return &shard->buckets[(hash >> 16) & (windows->buckets - 1)];
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

static int window_make(struct windows *windows, struct shard *shard, const struct window_key *key,
                       uint64_t now_ms, struct window **out)
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
    window->link_quota = quota_get(windows, shard, key->link, key->account, now_ms);
    window->account_quota = quota_get(windows, shard, NULL, key->account, now_ms);
    window->jti = key->jti != NULL ? strdup(key->jti) : NULL;
    int status = window->link_quota == NULL || window->account_quota == NULL
                     ? -ENOMEM
                     : window_use_open(windows->ledger, key->account, key->file, &window->use);
    if (status != 0) {
        if (window->link_quota != NULL)
            quota_drop(windows, shard, window->link_quota, now_ms);
        if (window->account_quota != NULL)
            quota_drop(windows, shard, window->account_quota, now_ms);
        free(window->jti);
        free(window);
        atomic_fetch_sub(&windows->count, 1);
        return status;
    }
    pthread_mutex_init(&window->lock, NULL);
    ledger_account_hold(key->account);
    ledger_file_hold(key->file);
    memcpy(window->link, key->link, WINDOW_KEY_SIZE);
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
    struct shard *shard = shard_of(windows, key->account);
    struct window **bucket = bucket_of(windows, shard, key->link, key->file);
    int status = 0;
    *created = false;
    pthread_mutex_lock(&shard->lock);
    struct window *window = find(*bucket, key->link, key->file);
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

/* ---- funds ---- */

static struct window_quota *spare_quota(struct window *window, unsigned fund)
{
    return fund == LEDGER_FUND_ACCOUNT ? window->account_quota : window->link_quota;
}

/* Under the shard's lock. */
static void spare_link(struct window *window, unsigned fund)
{
    struct window **first = &spare_quota(window, fund)->spare;
    if (atomic_load(&window->spare_listed[fund]))
        return;
    atomic_store(&window->spare_listed[fund], true);
    window->spare_previous[fund] = NULL;
    window->spare_next[fund] = *first;
    if (*first != NULL)
        (*first)->spare_previous[fund] = window;
    *first = window;
}

/* Under the shard's lock. */
static void spare_unlink(struct window *window, unsigned fund)
{
    struct window *next = window->spare_next[fund], *previous = window->spare_previous[fund];
    if (!atomic_load(&window->spare_listed[fund]))
        return;
    if (previous != NULL)
        previous->spare_next[fund] = next;
    else
        spare_quota(window, fund)->spare = next;
    if (next != NULL)
        next->spare_previous[fund] = previous;
    atomic_store(&window->spare_listed[fund], false);
}

/* Lists a window after funds were added to it. It stays listed when they are taken again; only a
 * recall unlists it, before it looks at the funds. */
static void spare_list(struct windows *windows, struct window *window, const struct funds *added)
{
    struct shard *shard = shard_of(windows, window->account);
    for (unsigned fund = 0; fund < LEDGER_FUNDS; fund++) {
        if (added->bytes[fund] == 0 || atomic_load(&window->spare_listed[fund]))
            continue;
        pthread_mutex_lock(&shard->lock);
        spare_link(window, fund);
        pthread_mutex_unlock(&shard->lock);
    }
}

uint64_t window_take(struct window *window, unsigned set, uint64_t target, bool whole,
                     struct funds *purse)
{
    pthread_mutex_lock(&window->lock);
    struct funds filled = *purse, left = window->spare;
    uint64_t had = funds_least(purse, set);
    uint64_t has = funds_fill(&filled, &left, set, target);
    if (!whole || has == target) {
        *purse = filled;
        window->spare = left;
    } else {
        has = had < target ? had : target;
    }
    pthread_mutex_unlock(&window->lock);
    return has;
}

void window_give(struct windows *windows, struct window *window, struct funds *purse)
{
    if (funds_are_empty(purse))
        return;
    struct funds added = *purse;
    pthread_mutex_lock(&window->lock);
    funds_move(&window->spare, purse);
    pthread_mutex_unlock(&window->lock);
    spare_list(windows, window, &added);
}

void window_fund(struct windows *windows, struct window *window, unsigned set, uint64_t bytes,
                 struct funds *purse, uint64_t target)
{
    pthread_mutex_lock(&window->lock);
    funds_add(&window->spare, set, bytes);
    if (purse != NULL)
        (void)funds_fill(purse, &window->spare, set, target);
    struct funds added = window->spare;
    pthread_mutex_unlock(&window->lock);
    spare_list(windows, window, &added);
}

uint64_t window_level(struct window *window, unsigned set, struct funds *purse,
                      struct funds *surplus)
{
    pthread_mutex_lock(&window->lock);
    uint64_t each = funds_level(purse, &window->spare, set, surplus);
    pthread_mutex_unlock(&window->lock);
    return each;
}

/* Funds taken from a window, which may have ended by the time that they are released. */
struct recalled {
    unsigned char link[WINDOW_KEY_SIZE];
    struct funds funds;
};

/* Under the shard's lock: takes some windows off the list, and their funds. Returns how many
 * windows. */
static unsigned recall_some(struct window_quota *quota, const struct window *except,
                            enum ledger_fund fund, uint64_t needed, struct recalled *out)
{
    unsigned count = 0;
    uint64_t sum = 0;
    struct window *window = quota->spare, *next;
    for (; window != NULL && count < RECALL_TURN && sum < needed; window = next) {
        next = window->spare_next[fund];
        if (window == except)
            continue;
        spare_unlink(window, fund);
        memcpy(out[count].link, window->link, WINDOW_KEY_SIZE);
        pthread_mutex_lock(&window->lock);
        out[count].funds = window->spare;
        window->spare = (struct funds){0};
        pthread_mutex_unlock(&window->lock);
        sum += out[count++].funds.bytes[fund];
    }
    return count;
}

uint64_t windows_recall(struct windows *windows, const struct window *except, enum ledger_fund fund,
                        uint64_t needed, windows_release *release, void *context)
{
    struct recalled recalled[RECALL_TURN];
    struct shard *shard = shard_of(windows, except->account);
    struct window_quota *quota =
        fund == LEDGER_FUND_ACCOUNT ? except->account_quota : except->link_quota;
    uint64_t sum = 0;
    for (unsigned looked = 0, count = 1;
         count > 0 && sum < needed && (sum == 0 || looked < WINDOWS_RECALL_MAX); looked += count) {
        pthread_mutex_lock(&shard->lock);
        count = recall_some(quota, except, fund, needed - sum, recalled);
        pthread_mutex_unlock(&shard->lock);
        for (unsigned i = 0; i < count; i++) {
            sum += recalled[i].funds.bytes[fund];
            if (!funds_are_empty(&recalled[i].funds))
                release(context, except->account, recalled[i].link, &recalled[i].funds);
        }
    }
    return sum;
}

/* ---- asking ---- */

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

bool window_sweep(struct windows *windows, struct window *window, uint64_t now_ms, uint64_t idle_ms,
                  windows_release *release, void *context)
{
    if (atomic_load(&window->references) > 0 ||
        atomic_load(&window->idle_since_ms) + idle_ms > now_ms)
        return false;
    struct shard *shard = shard_of(windows, window->account);
    pthread_mutex_lock(&shard->lock);
    bool ended = atomic_load(&window->references) == 0 && !window->asking;
    if (ended) {
        struct window **link = bucket_of(windows, shard, window->link, window->file);
        while (*link != window)
            link = &(*link)->next;
        *link = window->next;
        for (unsigned fund = 0; fund < LEDGER_FUNDS; fund++)
            spare_unlink(window, fund);
        quota_drop(windows, shard, window->link_quota, now_ms);
        quota_drop(windows, shard, window->account_quota, now_ms);
    }
    pthread_mutex_unlock(&shard->lock);
    if (!ended)
        return false;
    if (!funds_are_empty(&window->spare)) /* no lock: no other thread knows the window any more */
        release(context, window->account, window->link, &window->spare);
    window_free(window);
    atomic_fetch_sub(&windows->count, 1);
    return true;
}

uint64_t windows_idle_ms(const struct windows *windows)
{
    return atomic_load(&windows->count) > windows->capacity / 2 ? 0 : WINDOW_IDLE_MS;
}
