/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's cache of targets: it compares the whole bytes, and forgets a verdict as soon as the
 * trust that gave it is replaced. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "server/link/target_cache.h"

#define TARGET "/a%20b.mp3?URISigningPackage=x.y.z"

static struct target_cache *cache;
static struct token_target parsed;
static struct token_entry *entry;

/* A trust without issuers, of which these tests need only the generation. */
static struct token_trust *make_trust(void)
{
    char *private_jwks = NULL, *public_jwks = NULL, error[256];
    struct key_set *keys = NULL;
    cr_assert_eq(key_generate(TOKEN_HS256, &private_jwks, &public_jwks), 0);
    cr_assert_eq(key_set_parse(&keys, private_jwks, strlen(private_jwks), error, sizeof(error)), 0);
    key_text_free(&private_jwks);
    static const char *const prefixes[] = {"/"};
    const struct token_issuer issuer = {
        .id = "shop", .iss = "shop", .keys = keys, .prefixes = prefixes, .prefix_count = 1};
    const struct token_policy policy = {.lifetime_max_s = 3600,
                                        .public_origin = "http://a.example"};
    struct token_trust *trust = NULL;
    cr_assert_eq(token_trust_create(&trust, &issuer, 1, &policy, error, sizeof(error)), 0, "%s",
                 error);
    return trust;
}

static void set_up(void)
{
    cr_assert_eq(target_cache_create(&cache), 0);
    cr_assert_eq(token_target_parse(TARGET, strlen(TARGET), "URISigningPackage", &parsed),
                 TOKEN_TARGET_OK);
    entry = calloc(1, sizeof(*entry));
    entry->cached = true;
    entry->references = 1;
    entry->trust = make_trust();
}

static void tear_down(void)
{
    target_cache_destroy(&cache);
    cr_assert_eq(entry->references, 1, "a memo still holds its token");
    token_trust_drop(&entry->trust);
    free(entry);
}

TestSuite(target_cache, .init = set_up, .fini = tear_down);

static const struct target_memo *find(const char *target)
{
    uint64_t hash;
    return target_cache_find(cache, entry->trust, target, strlen(target), &hash);
}

static void put(const char *target)
{
    uint64_t hash;
    (void)target_cache_find(cache, entry->trust, target, strlen(target), &hash);
    target_cache_put(cache, hash, target, strlen(target), &parsed, entry);
}

Test(target_cache, knows_a_target_from_its_second_time_on)
{
    cr_assert_null(find(TARGET));
    put(TARGET);
    cr_assert_null(find(TARGET), "links that are used once are not kept");
    put(TARGET);
    const struct target_memo *memo = find(TARGET);
    cr_assert_not_null(memo);
    cr_assert_eq(memo->entry, entry);
    cr_assert_str_eq(memo->path, "/a b.mp3");
    cr_assert_eq(memo->path_length, strlen("/a b.mp3"));
    cr_assert_str_eq(memo->uri, "/a%20b.mp3");
}

Test(target_cache, tells_targets_apart_by_their_bytes)
{
    put(TARGET);
    put(TARGET);
    cr_assert_null(find("/a%20b.mp3?URISigningPackage=x.y.w"));
    cr_assert_null(find("/a%20b.mp3?URISigningPackage=x.y.zz"));
    cr_assert_null(find("/a%20b.mp3"));
    cr_assert_not_null(find(TARGET));
}

Test(target_cache, forgets_with_the_keys_and_with_the_token)
{
    put(TARGET);
    put(TARGET);
    struct token_trust *reloaded = make_trust(), *first = entry->trust;
    uint64_t hash;
    cr_assert_null(target_cache_find(cache, reloaded, TARGET, strlen(TARGET), &hash),
                   "a key may be gone");
    cr_assert_eq(entry->references, 1);
    put(TARGET);
    cr_assert_not_null(find(TARGET));
    entry->cached = false;
    cr_assert_null(find(TARGET), "its token was pushed out");
    cr_assert_eq(entry->trust, first);
    token_trust_drop(&reloaded);
}

Test(target_cache, keeps_no_target_beyond_its_bound)
{
    char longest[TARGET_CACHE_BYTES_MAX + 2];
    memset(longest, 'a', sizeof(longest));
    longest[0] = '/';
    longest[TARGET_CACHE_BYTES_MAX + 1] = '\0';
    for (int i = 0; i < 3; i++)
        put(longest);
    cr_assert_null(find(longest));
    longest[TARGET_CACHE_BYTES_MAX] = '\0';
    put(longest);
    put(longest);
    cr_assert_not_null(find(longest));
}
