/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's remembered tokens. See token_cache.h. A chained hash table with a list by recency;
 * at the bound the least recently used token is dropped.
 */
#include "server/link/token_cache.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "server/base/log.h"
#include "server/link/link_id.h"

struct token_cache {
    struct ledger *ledger;               /* borrows */
    struct verifications *verifications; /* borrows */
    EVP_MD *sha256;      /* owns: fetched once, a fetch costs more than the digest */
    EVP_MD_CTX *context; /* owns */
    uint64_t entries_max, entries, mask;
    struct token_entry **buckets;
    struct token_entry *newest, *oldest;
};

int token_cache_create(struct token_cache **out, struct ledger *ledger,
                       struct verifications *verifications, uint64_t entries_max)
{
    struct token_cache *cache = calloc(1, sizeof(*cache));
    uint64_t buckets = 64;
    while (buckets < entries_max)
        buckets *= 2;
    if (cache == NULL)
        return -ENOMEM;
    cache->ledger = ledger;
    cache->verifications = verifications;
    cache->entries_max = entries_max;
    cache->mask = buckets - 1;
    cache->buckets = calloc(buckets, sizeof(*cache->buckets));
    cache->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    cache->context = EVP_MD_CTX_new();
    if (cache->buckets == NULL || cache->sha256 == NULL || cache->context == NULL) {
        token_cache_destroy(&cache);
        return -ENOMEM;
    }
    *out = cache;
    return 0;
}

static void entry_free(struct token_entry *entry)
{
    token_destroy(&entry->token);
    token_trust_drop(&entry->trust);
    ledger_account_drop(&entry->account);
    ledger_key_drop(&entry->key);
    free(entry);
}

void token_entry_drop(struct token_entry **entry)
{
    if (*entry == NULL)
        return;
    check((*entry)->references > 0);
    if (--(*entry)->references == 0 && !(*entry)->cached)
        entry_free(*entry);
    *entry = NULL;
}

static struct token_entry **bucket_of(struct token_cache *cache, const unsigned char digest[32])
{
    uint64_t hash;
    memcpy(&hash, digest, sizeof(hash));
    return &cache->buckets[hash & cache->mask];
}

static void recency_remove(struct token_cache *cache, struct token_entry *entry)
{
    *(entry->newer != NULL ? &entry->newer->older : &cache->newest) = entry->older;
    *(entry->older != NULL ? &entry->older->newer : &cache->oldest) = entry->newer;
}

static void recency_add(struct token_cache *cache, struct token_entry *entry)
{
    entry->newer = NULL;
    entry->older = cache->newest;
    *(cache->newest != NULL ? &cache->newest->newer : &cache->oldest) = entry;
    cache->newest = entry;
}

void token_cache_touch(struct token_cache *cache, struct token_entry *entry)
{
    check(entry->cached);
    if (cache->newest == entry)
        return;
    recency_remove(cache, entry);
    recency_add(cache, entry);
}

static void forget(struct token_cache *cache, struct token_entry *entry)
{
    struct token_entry **place = bucket_of(cache, entry->digest);
    while (*place != entry)
        place = &(*place)->next;
    *place = entry->next;
    recency_remove(cache, entry);
    cache->entries--;
    entry->cached = false;
    if (entry->references == 0)
        entry_free(entry);
}

void token_cache_destroy(struct token_cache **cache)
{
    if (*cache == NULL)
        return;
    while ((*cache)->newest != NULL)
        forget(*cache, (*cache)->newest);
    free((*cache)->buckets);
    EVP_MD_CTX_free((*cache)->context);
    EVP_MD_free((*cache)->sha256);
    free(*cache);
    *cache = NULL;
}

static bool digest(struct token_cache *cache, const void *data, size_t length,
                   unsigned char out[32])
{
    return EVP_DigestInit_ex2(cache->context, cache->sha256, NULL) == 1 &&
           EVP_DigestUpdate(cache->context, data, length) == 1 &&
           EVP_DigestFinal_ex(cache->context, out, NULL) == 1;
}

/* See link_id.h. */
static bool derive_link_id(struct token_cache *cache, const char *jws, size_t length,
                           struct token_entry *entry)
{
    const struct token *token = entry->token;
    if (token->jti[0] == '\0')
        return digest(cache, jws, link_id_signed_length(jws, length), entry->link_id);
    char text[LINK_ID_TEXT_MAX];
    size_t text_length = link_id_text(ledger_account_tag(entry->account), token->jti, text);
    return digest(cache, text, text_length, entry->link_id);
}

/* The context of a signature verification, which may be skipped. */
struct verification {
    struct verifications *verifications;
    const unsigned char *digest;
    const struct token_asker *asker;
    enum token_effort effort;
};

static bool may_verify(void *context)
{
    struct verification *verification = context;
    bool may = verifications_may(verification->verifications, verification->digest,
                                 verification->asker->client, verification->asker->now_ms);
    verification->effort = may ? TOKEN_VERIFIED : TOKEN_UNVERIFIED;
    return may;
}

/* Logs that an address has used up its failures: the refusals alone would not show why its links
 * are not verified. */
static void say_used_up(const struct client_address *client)
{
    char name[CLIENT_ADDRESS_TEXT];
    struct client_address address = *client;
    address.port = 0;
    client_address_write(&address, name);
    log_warning("client %s has sent failed_checks_max links with a wrong signature; links from it "
                "that are not verified yet are answered 429 until failed_checks_per_minute allows "
                "more; if it is a proxy, list it in forwarded_from or proxy_protocol_from",
                name);
}

/* Verifies the signature, unless the node knows that it is wrong, or the asker has used up its
 * failures. */
static enum token_verdict verify_signature(const struct token_cache *cache,
                                           const struct token_trust *trust, const char *jws,
                                           size_t length, const unsigned char key[32],
                                           const struct token_asker *asker, struct token **token,
                                           enum token_effort *effort)
{
    uint64_t generation = token_trust_generation(trust);
    *effort = TOKEN_REMEMBERED;
    if (verifications_has_failed(cache->verifications, key, generation))
        return REFUSED_BAD_SIGNATURE;
    struct verification verification = {cache->verifications, key, asker, TOKEN_READ};
    enum token_verdict verdict =
        token_verify_if(trust, jws, length, token, may_verify, &verification);
    *effort = verification.effort;
    if (verification.effort == TOKEN_VERIFIED &&
        verifications_tell(cache->verifications, key, generation, verdict != REFUSED_BAD_SIGNATURE,
                           asker->client, asker->now_ms))
        say_used_up(asker->client);
    return verdict;
}

static enum token_verdict verify(struct token_cache *cache, struct token_trust *trust,
                                 const char *jws, size_t length, const unsigned char key[32],
                                 const struct token_asker *asker, struct token_entry **out,
                                 enum token_effort *effort, int *status)
{
    struct token *token = NULL;
    enum token_verdict verdict =
        verify_signature(cache, trust, jws, length, key, asker, &token, effort);
    if (verdict != TOKEN_OK)
        return verdict; /* not remembered, or rubbish would fill the cache */
    struct token_entry *entry = calloc(1, sizeof(*entry));
    if (entry == NULL) {
        token_destroy(&token);
        *status = -ENOMEM;
        return TOKEN_OK;
    }
    entry->token = token;
    entry->trust = token_trust_hold(trust);
    memcpy(entry->digest, key, sizeof(entry->digest));
    *status = ledger_account_get(cache->ledger, token->issuer_id, token->account,
                                 strlen(token->account), &entry->account);
    if (*status == 0)
        *status = ledger_key_get(cache->ledger, token->kid, &entry->key);
    if (*status == 0 && !derive_link_id(cache, jws, length, entry))
        *status = -ENOMEM;
    if (*status != 0) {
        entry_free(entry);
        return TOKEN_OK;
    }
    *out = entry;
    return TOKEN_OK;
}

static void remember(struct token_cache *cache, struct token_entry *entry)
{
    if (cache->entries >= cache->entries_max)
        forget(cache, cache->oldest);
    struct token_entry **bucket = bucket_of(cache, entry->digest);
    entry->next = *bucket;
    *bucket = entry;
    recency_add(cache, entry);
    entry->cached = true;
    cache->entries++;
}

enum token_verdict token_cache_get(struct token_cache *cache, struct token_trust *trust,
                                   const char *jws, size_t length, const struct token_asker *asker,
                                   struct token_entry **out, enum token_effort *effort, int *status)
{
    unsigned char key[32];
    *status = 0;
    *effort = TOKEN_REMEMBERED;
    *out = NULL;
    if (!digest(cache, jws, length, key)) {
        *status = -ENOMEM;
        return TOKEN_OK;
    }
    struct token_entry *entry = *bucket_of(cache, key);
    while (entry != NULL && memcmp(entry->digest, key, sizeof(key)) != 0)
        entry = entry->next;
    if (entry != NULL && token_trust_generation(entry->trust) != token_trust_generation(trust)) {
        forget(cache, entry); /* a key may be gone: verify the signature again */
        entry = NULL;
    }
    if (entry != NULL) {
        token_cache_touch(cache, entry);
    } else {
        enum token_verdict verdict =
            verify(cache, trust, jws, length, key, asker, &entry, effort, status);
        if (verdict != TOKEN_OK || *status != 0)
            return verdict;
        remember(cache, entry);
    }
    entry->references++;
    *out = entry;
    return TOKEN_OK;
}
