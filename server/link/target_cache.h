/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Remembers request targets that this worker has met at least twice, with the path that they name
 * and the token that they carry, so that a repeated link is neither parsed nor digested again.
 * Called by request_link.c. It remembers who signed, never that a request was granted:
 * token_validate must run for each request. Each worker has its own; it is not thread-safe.
 */
#ifndef TOLLGATE_SERVER_LINK_TARGET_CACHE_H
#define TOLLGATE_SERVER_LINK_TARGET_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "server/link/token_cache.h"

#define TARGET_CACHE_SLOTS     1024
#define TARGET_CACHE_BYTES_MAX 2048 /* of a target; a longer one is parsed each time */

struct target_cache;

/* The results of token_target_parse for a target whose token is in the URL. */
struct target_memo {
    struct token_entry *entry; /* holds */
    const char *path, *uri;    /* NUL-terminated, within the memo */
    size_t path_length, uri_length;
};

int target_cache_create(struct target_cache **out);
void target_cache_destroy(struct target_cache **cache);

/* Returns the memo of exactly these bytes, or NULL. The memo is valid until the next call; its
 * token's signature was verified under the generation of `trust`. *hash is for target_cache_put. */
const struct target_memo *target_cache_find(struct target_cache *cache,
                                            const struct token_trust *trust, const char *target,
                                            size_t length, uint64_t *hash);

/*
 * Remembers what the target was parsed to, and takes a reference to `entry`. The first time only
 * the hash is kept, so that a link that is used once costs no copy. Where memory is short, nothing
 * is kept.
 */
void target_cache_put(struct target_cache *cache, uint64_t hash, const char *target, size_t length,
                      const struct token_target *parsed, struct token_entry *entry);

#endif
