/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's remembered targets. See target_cache.h. Direct-mapped: a newer target takes the slot
 * of an older one, so that nothing is searched and nothing ages.
 */
#include "server/link/target_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct slot {
    uint64_t hash;             /* of the target put here last */
    struct target_memo *known; /* owns, with the bytes behind it; NULL: met once */
    size_t length;
    const char *target; /* within `known` */
};

struct target_cache {
    struct slot slots[TARGET_CACHE_SLOTS];
};

int target_cache_create(struct target_cache **out)
{
    *out = calloc(1, sizeof(**out));
    return *out != NULL ? 0 : -ENOMEM;
}

static void clear(struct slot *slot)
{
    if (slot->known == NULL)
        return;
    token_entry_drop(&slot->known->entry);
    free(slot->known);
    slot->known = NULL;
}

void target_cache_destroy(struct target_cache **cache)
{
    if (*cache == NULL)
        return;
    for (size_t i = 0; i < TARGET_CACHE_SLOTS; i++)
        clear(&(*cache)->slots[i]);
    free(*cache);
    *cache = NULL;
}

const struct target_memo *target_cache_find(struct target_cache *cache,
                                            const struct token_trust *trust, const char *target,
                                            size_t length, uint64_t *hash)
{
    *hash = XXH3_64bits(target, length);
    struct slot *slot = &cache->slots[*hash % TARGET_CACHE_SLOTS];
    /* The bytes decide, not the hash: a client that makes hashes collide only makes two targets
     * evict each other. */
    if (slot->known == NULL || slot->hash != *hash || slot->length != length ||
        memcmp(slot->target, target, length) != 0)
        return NULL;
    const struct token_entry *entry = slot->known->entry;
    if (!entry->cached || token_trust_generation(entry->trust) != token_trust_generation(trust)) {
        clear(slot); /* a key may be gone: verify the token again */
        return NULL;
    }
    return slot->known;
}

void target_cache_put(struct target_cache *cache, uint64_t hash, const char *target, size_t length,
                      const struct token_target *parsed, struct token_entry *entry)
{
    struct slot *slot = &cache->slots[hash % TARGET_CACHE_SLOTS];
    if (slot->hash != hash || length > TARGET_CACHE_BYTES_MAX) {
        clear(slot);
        slot->hash = hash;
        return;
    }
    clear(slot);
    struct target_memo *memo =
        malloc(sizeof(*memo) + length + parsed->path_length + 1 + parsed->uri_length + 1);
    if (memo == NULL)
        return;
    char *at = (char *)(memo + 1);
    memcpy(at, parsed->path, parsed->path_length + 1);
    memo->path = at;
    memo->path_length = parsed->path_length;
    at += parsed->path_length + 1;
    memcpy(at, parsed->uri, parsed->uri_length + 1);
    memo->uri = at;
    memo->uri_length = parsed->uri_length;
    at += parsed->uri_length + 1;
    memcpy(at, target, length);
    memo->entry = entry;
    entry->references++;
    slot->known = memo;
    slot->target = at;
    slot->length = length;
}
