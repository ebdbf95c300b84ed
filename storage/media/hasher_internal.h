/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hasher: one thread per process that reads whole files for their hash, so that no worker has
 * to. The workers' caches ask it through bounded queues and look for the answer in the hash store.
 * It never opens a file that a request could not open.
 */
#ifndef TOLLGATE_STORAGE_MEDIA_HASHER_INTERNAL_H
#define TOLLGATE_STORAGE_MEDIA_HASHER_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/media/hash_store_internal.h"
#include "storage/media/path_internal.h"

struct hasher;

/* `root` and `hashes` are borrowed and must outlive the hasher; of the options it takes the bounds
 * of the queues, `hashed` and `context`. 0, or a negative errno (-EINVAL: a bound of 0). */
int hasher_create(struct hasher **out, const struct path_root *root, struct hash_store *hashes,
                  const struct media_options *options);
/* Leaves its file half way, forgets the files that wait, and joins the thread. */
void hasher_destroy(struct hasher **hasher);

/*
 * Asks for a version's hash. Returns a ticket, or 0 where the queue is full. Any thread; holds
 * a lock for the copy of a path. The hasher opens the path itself, so that no descriptor waits
 * in the queue.
 */
uint64_t hasher_ask(struct hasher *hasher, const char *path, size_t path_length,
                    const struct file_identity *identity);

/* True once the hasher is through with a ticket, with or without a hash; and for ticket 0. */
bool hasher_is_through(const struct hasher *hasher, uint64_t ticket);

/*
 * Asks likewise, for a caller that waits until `until_ms` (CLOCK_MONOTONIC): such a version is
 * hashed before all others, even in the midst of another file, and is left half way at that time.
 * Returns a ticket of a count of its own, or 0 where hash_first_max of them wait already. Once the
 * hasher is through with one, it calls `hashed`.
 */
uint64_t hasher_ask_first(struct hasher *hasher, const char *path, size_t path_length,
                          const struct file_identity *identity, uint64_t until_ms);
bool hasher_is_through_first(const struct hasher *hasher, uint64_t ticket);

/* Counters, to which the scan's own hashing adds, too. */
void hasher_count_bytes(struct hasher *hasher, uint64_t bytes);
void hasher_count_file(struct hasher *hasher, bool hashed);

/* Fills in the hasher's own fields. */
void hasher_stats(struct hasher *hasher, struct media_hash_stats *out);

#endif
