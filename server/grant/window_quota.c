/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The quotas in the table of windows: finds or makes the quota of a link or an account, and frees
 * those that have nothing to remember. Called by window.c, under the shard's lock. It counts no
 * response and no byte (quota.c does), and knows nothing of funds.
 */
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "server/grant/window_internal.h"

static struct window_quota **quota_bucket(struct windows *windows, struct window_shard *shard,
                                          const unsigned char *link_id,
                                          const struct ledger_account *account)
{
    uint64_t hash = (uint64_t)(uintptr_t)account * 0x9e3779b97f4a7c15ULL >> 32;
    if (link_id != NULL)
        memcpy(&hash, link_id, sizeof(hash));
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

struct window_quota *window_quota_get(struct windows *windows, struct window_shard *shard,
                                      const unsigned char *link_id, struct ledger_account *account,
                                      uint64_t now_ms)
{
    struct window_quota **bucket = quota_bucket(windows, shard, link_id, account), *found = NULL;
    for (struct window_quota **at = bucket; *at != NULL;) {
        struct window_quota *quota = *at;
        bool same = quota->account == account && quota->of_link == (link_id != NULL) &&
                    (link_id == NULL || memcmp(quota->link_id, link_id, LEDGER_LINK_ID_BYTES) == 0);
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
        found->of_link = link_id != NULL;
        if (link_id != NULL)
            memcpy(found->link_id, link_id, LEDGER_LINK_ID_BYTES);
        found->next = *bucket;
        *bucket = found;
    }
    found->references++;
    return found;
}

void window_quota_drop(struct windows *windows, struct window_shard *shard,
                       struct window_quota *quota, uint64_t now_ms)
{
    check(quota->references > 0);
    quota->references--;
    if (!quota_is_idle(windows, quota, now_ms))
        return;
    struct window_quota **at =
        quota_bucket(windows, shard, quota->of_link ? quota->link_id : NULL, quota->account);
    while (*at != quota)
        at = &(*at)->next;
    *at = quota->next;
    quota_free(windows, quota);
}

void window_quotas_free(struct windows *windows, struct window_shard *shard)
{
    for (size_t i = 0; i < windows->buckets; i++) {
        while (shard->quotas[i] != NULL) {
            struct window_quota *quota = shard->quotas[i];
            shard->quotas[i] = quota->next;
            quota_free(windows, quota);
        }
    }
}
