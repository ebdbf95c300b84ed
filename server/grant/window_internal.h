/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the table of windows share: its shards, and what window.c has done by the
 * files beside it, which call neither each other nor window.c. It never leaves this folder.
 */
#ifndef TOLLGATE_SERVER_GRANT_WINDOW_INTERNAL_H
#define TOLLGATE_SERVER_GRANT_WINDOW_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "server/grant/window.h"

#define WINDOW_SHARDS 64

/* The windows and quotas of some accounts. */
struct window_shard {
    pthread_mutex_t lock;
    struct window **buckets;      /* owns */
    struct window_quota **quotas; /* owns; as many */
} __attribute__((aligned(64)));

struct windows {
    struct ledger *ledger; /* borrows */
    uint64_t capacity;
    size_t buckets; /* of a shard; a power of two */
    atomic_ullong count, quotas;
    struct window_shard shards[WINDOW_SHARDS];
};

/* The shard of an account, so that recalling its idle funds looks at one shard only. */
static inline struct window_shard *windows_shard(struct windows *windows,
                                                 const struct ledger_account *account)
{
    /* Interned: one account, one address. Its low bits are the allocator's alignment. */
    uint64_t address = (uint64_t)(uintptr_t)account;
    return &windows->shards[(address * 0x9e3779b97f4a7c15ULL) >> 58];
}

/* ---- window_quota.c, all under the shard's lock ---- */

/* Finds or makes a quota; NULL without memory. On its way it frees the idle ones of the bucket. */
struct window_quota *window_quota_get(struct windows *windows, struct window_shard *shard,
                                      const unsigned char *link_id, struct ledger_account *account,
                                      uint64_t now_ms);
/* Gives back what window_quota_get has returned; frees it where it has nothing to remember. */
void window_quota_drop(struct windows *windows, struct window_shard *shard,
                       struct window_quota *quota, uint64_t now_ms);
/* Frees all quotas of a shard, whose windows have gone. */
void window_quotas_free(struct windows *windows, struct window_shard *shard);

/* ---- window_funds.c ---- */

/* Under the shard's lock: takes the window off the lists of those with spare funds. */
void window_spare_leave(struct window *window);

#endif
