/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The known hashes: in memory by device and inode, and on disk through the hash log. The workers
 * read it, the hasher and the scan write it; it locks itself.
 */
#ifndef TOLLGATE_STORAGE_MEDIA_HASH_STORE_INTERNAL_H
#define TOLLGATE_STORAGE_MEDIA_HASH_STORE_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/media/content_hash_internal.h"
#include "storage/media/media.h"
#include "storage/media/path_internal.h"

struct hash_store;

/*
 * Loads the hashes from the disk, and compacts the file where most of it is dead. Only -ENOMEM and
 * -EINVAL fail: without a readable disk the store works from memory, and the stats say so.
 * `state_dir` may be NULL.
 */
int hash_store_open(struct hash_store **out, const char *state_dir, uint32_t entries_max);
/* Tries once more to write hashes that could not be written before, then frees. */
void hash_store_close(struct hash_store **store);

/* Finds the hash of exactly this version. It takes a lock that writers hold only while they put one
 * entry, and never touches the disk. */
bool hash_store_find(struct hash_store *store, const struct file_identity *identity,
                     struct content_hash *out);

/* Changes whenever a later find might give another answer than an earlier one. A relaxed load. */
uint64_t hash_store_generation(const struct hash_store *store);

/* Remembers a hash in memory at once, then on disk. At the bound the oldest one goes. It may wait
 * for the disk, so no worker may call it, nor the next. */
void hash_store_put(struct hash_store *store, const struct file_identity *identity,
                    const struct content_hash *hash);

/* Reads the hashes that other processes have appended. */
void hash_store_refresh(struct hash_store *store);

/* Fills in the store's own fields. */
void hash_store_stats(struct hash_store *store, struct media_hash_stats *out);

#endif
