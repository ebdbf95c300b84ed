/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The groups of the table of windows: finds or makes that of a link or an account, says when its pool
 * is to be told again, and frees it once it has nothing to remember. Called by window.c under the
 * shard's lock, and by the groups' owner. It counts no response and asks Redis nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "server/grant/coverage.h"
#include "server/grant/window_internal.h"

#define GROUPS_MAX 4 /* for each window that there may be: those that no window has are few */

static struct window_group **bucket_of(struct windows *windows, struct window_shard *shard,
                                       const unsigned char *link_id,
                                       const struct ledger_account *account)
{
    uint64_t hash = (uint64_t)(uintptr_t)account * 0x9e3779b97f4a7c15ULL >> 32;
    if (link_id != NULL)
        memcpy(&hash, link_id, sizeof(hash));
    return &shard->groups[hash & (windows->buckets - 1)];
}

static struct window_group *find(struct window_group *group, const unsigned char *link_id,
                                 const struct ledger_account *account)
{
    for (; group != NULL; group = group->next) {
        if (group->account == account && group->of_link == (link_id != NULL) &&
            (link_id == NULL || memcmp(group->link_id, link_id, LEDGER_LINK_ID_BYTES) == 0))
            return group;
    }
    return NULL;
}

struct window_group *window_group_get(struct windows *windows, struct window_shard *shard,
                                      const unsigned char *link_id, const struct window_key *key,
                                      uint64_t now_ms, struct window_group **made)
{
    struct window_group **bucket = bucket_of(windows, shard, link_id, key->account);
    struct window_group *group = find(*bucket, link_id, key->account);
    if (group == NULL) {
        if (atomic_load(&windows->groups) >= GROUPS_MAX * windows->capacity ||
            (group = calloc(1, sizeof(*group))) == NULL)
            return NULL;
        atomic_fetch_add(&windows->groups, 1);
        quota_init(&group->quota, now_ms);
        pool_init(&group->pool, link_id == NULL ? ledger_account_handed(key->account) : NULL);
        ledger_account_hold(key->account);
        group->account = key->account;
        group->recalls_told = ledger_recalls(key->account);
        group->owner = key->owner;
        group->holding = -1;
        group->of_link = link_id != NULL;
        if (link_id != NULL)
            memcpy(group->link_id, link_id, LEDGER_LINK_ID_BYTES);
        group->next = *bucket;
        *bucket = *made = group;
    }
    group->references++;
    return group;
}

void window_group_drop(struct window_group *group)
{
    check(group->references > 0);
    group->references--;
}

static void group_free(struct windows *windows, struct window_group *group)
{
    atomic_fetch_sub(&windows->groups, 1);
    ledger_account_drop(&group->account);
    free(group);
}

void window_groups_free(struct windows *windows, struct window_shard *shard)
{
    for (size_t i = 0; i < windows->buckets; i++) {
        while (shard->groups[i] != NULL) {
            struct window_group *group = shard->groups[i];
            shard->groups[i] = group->next;
            group_free(windows, group);
        }
    }
}

void group_count_lent(struct windows *windows, struct window_group *group)
{
    uint64_t bytes = pool_count_lent(&group->pool);
    if (bytes > 0)
        atomic_fetch_add(&windows->outage.bytes, bytes);
}

/* ---- groups and their owner ---- */

/* Whether what Redis confirmed of the account, which it has not bounded, would let responses go on in an
 * outage. */
static bool is_of_use(const struct windows *windows, const struct window_group *group)
{
    const struct outage *outage = &windows->outage;
    return outage->longest_ms > 0 && !group->of_link &&
           (!pool_is_bounded(&group->pool) || atomic_load(&group->pool.is_lent)) &&
           coverage_is_known(windows->ledger, group, atomic_load(&outage->epoch));
}

/*
 * Whether the group has nothing to remember: Redis knows that it holds nothing, no response ended
 * unacknowledged lately, and what Redis confirmed of the account covers no further link.
 */
static bool is_idle(const struct windows *windows, const struct window_group *group,
                    uint64_t now_ms)
{
    if (group->references > 0 || group->asking.is_under_way || pool_holds(&group->pool))
        return false;
    if (atomic_load(&windows->groups) > GROUPS_MAX / 2 * windows->capacity)
        return true;
    return quota_unacknowledged(&group->quota, now_ms) == 0 &&
           now_ms >= atomic_load(&group->cover.valid_until_ms) && !is_of_use(windows, group);
}

bool group_sweep(struct windows *windows, struct window_group *group, uint64_t now_ms)
{
    struct window_shard *shard = windows_shard(windows, group->account);
    pthread_mutex_lock(&shard->lock);
    group_count_lent(windows, group);
    bool ended = is_idle(windows, group, now_ms);
    if (ended) {
        struct window_group **at =
            bucket_of(windows, shard, group->of_link ? group->link_id : NULL, group->account);
        while (*at != group)
            at = &(*at)->next;
        *at = group->next;
    }
    pthread_mutex_unlock(&shard->lock);
    if (!ended)
        return false;
    ledger_holding_forget(windows->ledger, group->holding);
    group_free(windows, group);
    return true;
}

/* Whether another node has been short since this pool was told last, or just before, and the pool has
 * come to hold what nobody here needs. */
static bool is_recalled(const struct window_group *group, uint64_t now_ms)
{
    return ledger_recalls(group->account) != group->recalls_told ||
           (ledger_is_recalled(group->account, now_ms) && pool_is_idle(&group->pool));
}

/* Whether Redis has lost what this pool told it. */
static bool lacks(const struct windows *windows, const struct window_group *group)
{
    return ledger_data_is_lost(windows->ledger) &&
           group->losses_told != ledger_losses(windows->ledger);
}

/* Half of the validity, so that one that is lost can be told again in time. What no window needs is
 * given back at once. */
static bool is_due(const struct windows *windows, const struct window_group *group,
                   uint64_t validity_ms, uint64_t now_ms)
{
    const struct pool *pool = &group->pool;
    if (is_recalled(group, now_ms) || lacks(windows, group))
        return true;
    if (pool->is_answered &&
        (pool_is_lowered(pool) || (group->references == 0 && pool_is_idle(pool))))
        return true;
    return now_ms >= pool->asked_ms + validity_ms / 2;
}

bool group_tell(struct windows *windows, struct window_group *group, uint64_t validity_ms, bool all,
                uint64_t now_ms, struct ledger_told *told)
{
    struct window_shard *shard = windows_shard(windows, group->account);
    pthread_mutex_lock(&shard->lock);
    bool tells = !group->asking.is_under_way && (all || !group->yields) &&
                 pool_holds(&group->pool) && (all || is_due(windows, group, validity_ms, now_ms));
    group->yields = false;
    if (tells) {
        bool gives_back = group->references == 0 || is_recalled(group, now_ms);
        group->recalls_told = ledger_recalls(group->account);
        group->losses_asked = ledger_losses(windows->ledger);
        group->asking.is_under_way = true;
        *told = pool_ask(&group->pool, atomic_fetch_add(&windows->questions, 1) + 1, 0, 0,
                         gives_back, now_ms);
    }
    pthread_mutex_unlock(&shard->lock);
    return tells;
}

uint64_t window_group_asked(struct window_group *group, uint64_t waiters)
{
    waiters |= group->asking.waiters;
    group->asking = (struct asking){0};
    group->yields = waiters != 0;
    return waiters;
}

uint64_t group_told(struct windows *windows, struct window_group *group, uint64_t number,
                    const struct ledger_credit *credit, uint64_t valid_until_ms)
{
    struct window_shard *shard = windows_shard(windows, group->account);
    pthread_mutex_lock(&shard->lock);
    if (credit != NULL) {
        pool_told(&group->pool, number, credit->posted, valid_until_ms);
        group->losses_told = group->losses_asked;
    }
    uint64_t waiters = window_group_asked(group, 0);
    pthread_mutex_unlock(&shard->lock);
    return waiters;
}

bool group_has_told(struct windows *windows, struct window_group *group, uint64_t losses)
{
    struct window_shard *shard = windows_shard(windows, group->account);
    pthread_mutex_lock(&shard->lock);
    bool has_told = !pool_holds(&group->pool) || group->losses_told == losses;
    pthread_mutex_unlock(&shard->lock);
    return has_told;
}
