/*
 * Request targets that this worker has met at least twice, with the path they name and the token
 * they carry, so that a link that is asked for again is neither parsed nor digested again. It
 * remembers who signed, never that the answer was yes: token_check is for each request. Not
 * thread-safe: a worker's own.
 */
#ifndef TOLLGATE_SERVER_LINK_TARGET_CACHE_H
#define TOLLGATE_SERVER_LINK_TARGET_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "server/link/token_cache.h"

#define TARGET_CACHE_SLOTS     1024
#define TARGET_CACHE_BYTES_MAX 2048 /* of a target; a longer one is parsed each time */

struct target_cache;

/* What token_target_parse found in a target whose token is in the URL. */
struct target_memo {
    struct token_entry *entry; /* holds */
    const char *path, *uri;    /* NUL-terminated, within the memo */
    size_t path_length, uri_length;
};

int target_cache_create(struct target_cache **out);
void target_cache_destroy(struct target_cache **cache);

/*
 * The memo of these very bytes, or NULL. It is good until the next call; its entry's signature was
 * checked by `trust`'s own generation. *hash is for target_cache_put.
 */
const struct target_memo *target_cache_find(struct target_cache *cache,
                                            const struct token_trust *trust, const char *target,
                                            size_t length, uint64_t *hash);

/*
 * Tells what the target was found to be. The first time only its hash is kept: links that are used
 * once cost no copy and push nothing out but such marks. Where memory is short it is not kept.
 */
void target_cache_put(struct target_cache *cache, uint64_t hash, const char *target, size_t length,
                      const struct token_target *parsed, struct token_entry *entry);

#endif
