/*
 * The hashes that are known, in memory, by device and inode, and remembered on disk through the
 * hash log. Read by the workers, written by the hasher and the scan; it locks for itself.
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
 * Loads what is on disk and compacts it where most of it is dead. Only -ENOMEM and -EINVAL fail:
 * without a readable disk it works from memory, and the stats say so. `state_dir` may be NULL.
 */
int hash_store_open(struct hash_store **out, const char *state_dir, uint32_t entries_max);
/* Tries once more to write what could not be written before. */
void hash_store_close(struct hash_store **store);

/* Takes a read lock that is held for writing only while one entry is put; never touches the disk.
 */
bool hash_store_find(struct hash_store *store, const struct file_identity *identity,
                     struct content_hash *out);

/* Changes whenever a later find might give another answer than an earlier one. A relaxed load. */
uint64_t hash_store_generation(const struct hash_store *store);

/* Remembers a hash in memory at once, then on disk. At the bound the oldest one goes. Not for
 * workers. */
void hash_store_put(struct hash_store *store, const struct file_identity *identity,
                    const struct content_hash *hash);

/* Takes over what other processes have appended. Not for workers. */
void hash_store_refresh(struct hash_store *store);

/* Fills in the store's own fields. */
void hash_store_stats(struct hash_store *store, struct media_hash_stats *out);

#endif
