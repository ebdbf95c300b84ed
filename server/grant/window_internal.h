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
    struct window_group **groups; /* owns; as many */
} __attribute__((aligned(64)));

/* What the node knows of its Redis, and what goes on without it; see outage.h. */
struct outage {
    /* Set before the workers start. */
    uint64_t longest_ms; /* 0: nothing goes on */
    uint64_t bytes_max, journal_bytes_max;
    /* Written by worker 0. */
    atomic_ullong heard_ms; /* monotonic: when the node was granting, and heard revocations, last */
    atomic_ullong epoch;    /* of the push connection, then */
    atomic_bool is_full;    /* so much of the journal waits for Redis that nothing goes on */
    /* Any worker counts. */
    atomic_ullong responses, bytes;
};

struct windows {
    struct ledger *ledger; /* borrows */
    struct outage outage;
    uint64_t capacity;
    size_t buckets; /* of a shard; a power of two */
    atomic_ullong count, groups;
    atomic_ullong questions; /* the number of the last one about funds */
    struct window_shard shards[WINDOW_SHARDS];
};

/* The shard of an account, so that one lock guards its windows and groups. */
static inline struct window_shard *windows_shard(struct windows *windows,
                                                 const struct ledger_account *account)
{
    /* Interned: one account, one address. Its low bits are the allocator's alignment. */
    uint64_t address = (uint64_t)(uintptr_t)account;
    return &windows->shards[(address * 0x9e3779b97f4a7c15ULL) >> 58];
}

/* ---- window_group.c, all under the shard's lock ---- */

/* Finds or makes the group of the key's account or, with `link_id`, of its link, and takes a reference;
 * NULL without memory, or where there are too many. *made is the group where it was made. */
struct window_group *window_group_get(struct windows *windows, struct window_shard *shard,
                                      const unsigned char *link_id, const struct window_key *key,
                                      uint64_t now_ms, struct window_group **made);
/* Ends the group's question or tell. Returns the workers that waited for it, a bit each, and `waiters`,
 * who waited for the same question at its window: they are to be woken, and ask before the pool is told
 * again. */
uint64_t window_group_asked(struct window_group *group, uint64_t waiters);
/* Gives back what window_group_get has returned. */
void window_group_drop(struct window_group *group);
/* Counts what was handed of a lent ceiling since the last call (outage.h). */
void group_count_lent(struct windows *windows, struct window_group *group);
/* Frees all groups of a shard, whose windows have gone. */
void window_groups_free(struct windows *windows, struct window_shard *shard);

#endif
