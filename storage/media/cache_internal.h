/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the cache share: an entry, the table that finds it by its path, and the lists
 * that say which entry goes first. One thread owns all of it, so there are no locks.
 */
#ifndef TOLLGATE_STORAGE_MEDIA_CACHE_INTERNAL_H
#define TOLLGATE_STORAGE_MEDIA_CACHE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/media/media.h"
#include "storage/media/path_internal.h"

/*
 *            in the table   on a list   file.fd
 *  missing   yes            missing     -1        an -ENOENT that is remembered
 *  idle      yes            idle        open      nobody holds a reference
 *  in use    yes            none        open
 *  detached  no             none        open      replaced, or without room; the last drop frees it
 */
struct cache_entry {
    uint32_t magic;
    bool cached; /* in the table */
    uint64_t path_hash, validated_ms;
    uint64_t hashes_seen; /* the store's generation when it was last asked for the hash */
    uint64_t hash_ticket; /* the hasher's, 0: not asked */
    struct cache_entry *older, *newer;
    struct file_identity identity;
    struct media_file file; /* its head is hot, its path is read once for each hit */
};

/* Open addressing with linear probing; at most half full, so a probe ends soon. */
struct cache_slot {
    uint64_t path_hash;
    struct cache_entry *entry; /* NULL: free */
};

struct cache_table {
    struct cache_slot *slots; /* owns */
    size_t mask, count;
};

/* The table never grows: it holds `entries_max` entries, which stay the caller's. 0 or -ENOMEM. */
int cache_table_create(struct cache_table *table, uint32_t entries_max);
void cache_table_destroy(struct cache_table *table);
struct cache_entry *cache_table_find(const struct cache_table *table, const char *path,
                                     size_t path_length, uint64_t path_hash);
void cache_table_insert(struct cache_table *table, struct cache_entry *entry);
void cache_table_remove(struct cache_table *table, const struct cache_entry *entry);

/* Least recently used first. */
struct cache_list {
    struct cache_entry *oldest, *newest;
    size_t count;
};

void cache_list_append(struct cache_list *list, struct cache_entry *entry);
void cache_list_remove(struct cache_list *list, struct cache_entry *entry);

#endif
