/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's cache of tokens: what is remembered under which trust, what goes at the bound and
 * what stays with whoever holds it, and which tokens share the name of a link.
 */
#include <criterion/criterion.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/link/token_cache.h"

#define NOW_S       1800000000
#define FAILED_MAX  2
#define TOKENS_MADE 8

static char directory[] = "/tmp/tollgate-tokens-XXXXXX";
static struct ledger *ledger;
static struct verifications *verifications;
static struct token_cache *cache;
static struct client_address client;
static char *private_jwks[2], *made[TOKENS_MADE];
static size_t made_count;

static struct key_set *keys_of(unsigned which)
{
    struct key_set *keys = NULL;
    char error[256];
    cr_assert_eq(key_set_parse(&keys, private_jwks[which], strlen(private_jwks[which]), error,
                               sizeof(error)),
                 0, "%s", error);
    return keys;
}

/* A trust in the issuer "shop" with one of two key sets. */
static struct token_trust *make_trust(unsigned which)
{
    static const char *const prefixes[] = {"/"};
    const struct token_issuer issuer = {.id = "shop",
                                        .iss = "shop",
                                        .keys = keys_of(which),
                                        .prefixes = prefixes,
                                        .prefix_count = 1};
    const struct token_policy policy = {.lifetime_max_s = 3600,
                                        .public_origin = "http://a.example"};
    struct token_trust *trust = NULL;
    char error[256];
    cr_assert_eq(token_trust_create(&trust, &issuer, 1, &policy, error, sizeof(error)), 0, "%s",
                 error);
    return trust;
}

/* A token that is signed with one of the two key sets. */
static const char *sign_with(unsigned which, const char *account, const char *jti, int64_t exp)
{
    const struct token_claims claims = {
        .iss = "shop", .account = account, .container = "exact:/f", .jti = jti, .exp = exp};
    struct key_set *keys = keys_of(which);
    cr_assert_lt(made_count, (size_t)TOKENS_MADE);
    cr_assert_eq(token_sign(keys, NULL, &claims, &made[made_count]), 0);
    key_set_destroy(&keys);
    return made[made_count++];
}

static const char *sign(const char *account, const char *jti, int64_t exp)
{
    return sign_with(0, account, jti, exp);
}

static void set_up(void)
{
    char error[512] = "", state[64];
    cr_assert_not_null(mkdtemp(directory));
    snprintf(state, sizeof(state), "%s/state", directory);
    const struct ledger_options options = {
        .state_dir = state,
        .node = "n",
        .redis = "unix:/nonexistent/redis.sock", /* an account's name needs the journal alone */
        .segment_bytes = 1 << 20,
        .mark_ms = 1000,
        .downloads_max = 1,
        .accounts_max = 10,
        .lease_ms = 3000,
    };
    cr_assert_eq(ledger_open(&ledger, &options, error, sizeof(error)), 0, "%s", error);
    cr_assert_eq(verifications_create(&verifications, FAILED_MAX, 1, 100), 0);
    cr_assert(client_address_read("192.0.2.1", 9, &client));
    for (unsigned i = 0; i < 2; i++) {
        char *public_jwks = NULL;
        cr_assert_eq(key_generate(TOKEN_HS256, &private_jwks[i], &public_jwks), 0);
        key_text_free(&public_jwks);
    }
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *at)
{
    (void)status, (void)type, (void)at;
    return remove(path);
}

static void tear_down(void)
{
    token_cache_destroy(&cache);
    cr_assert_null(cache);
    verifications_destroy(&verifications);
    (void)ledger_close(&ledger, 0);
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    while (made_count > 0)
        free(made[--made_count]);
    for (unsigned i = 0; i < 2; i++)
        key_text_free(&private_jwks[i]);
}

TestSuite(token_cache, .init = set_up, .fini = tear_down);

static void make_cache(uint64_t entries_max)
{
    cr_assert_eq(token_cache_create(&cache, ledger, verifications, entries_max), 0);
}

/* Gets the token for the client and tells what it took. */
static struct token_entry *get(struct token_trust *trust, const char *jws,
                               enum token_verdict expected, enum token_effort *effort)
{
    const struct token_asker asker = {.client = &client, .now_ms = 1000};
    struct token_entry *entry = NULL;
    int status = -1;
    enum token_verdict verdict =
        token_cache_get(cache, trust, jws, strlen(jws), &asker, &entry, effort, &status);
    cr_assert_eq(verdict, expected, "%s", token_verdict_name(verdict));
    cr_assert_eq(status, 0);
    cr_assert_eq(entry != NULL, expected == TOKEN_OK);
    return entry;
}

/* The same for a good token that nobody keeps. */
static enum token_effort effort_for(struct token_trust *trust, const char *jws)
{
    enum token_effort effort;
    struct token_entry *entry = get(trust, jws, TOKEN_OK, &effort);
    token_entry_drop(&entry);
    cr_assert_null(entry);
    return effort;
}

/* ---- what is remembered ---- */

Test(token_cache, verifies_a_signature_once_for_each_token)
{
    make_cache(10);
    struct token_trust *trust = make_trust(0);
    const char *jws = sign("alice", "order-1", NOW_S);
    enum token_effort effort;
    struct token_entry *first = get(trust, jws, TOKEN_OK, &effort);
    cr_expect_eq(effort, TOKEN_VERIFIED);
    struct token_entry *second = get(trust, jws, TOKEN_OK, &effort);
    cr_expect_eq(effort, TOKEN_REMEMBERED);
    cr_expect_eq(second, first);
    cr_expect_eq(first->references, 2u);
    cr_expect_str_eq(first->token->jti, "order-1");
    cr_expect_str_eq(ledger_account_tag(first->account), "shop/alice");
    cr_expect_not(first->revoked);
    cr_expect_eq(first->good_until_ms, 0u, "nobody has asked Redis about it");
    token_entry_drop(&first);
    token_entry_drop(&second);
    cr_expect_eq(effort_for(trust, jws), TOKEN_REMEMBERED, "also once nobody holds it");
    token_trust_drop(&trust);
}

Test(token_cache, verifies_again_under_another_generation_and_leaves_the_old_entry_to_its_holder)
{
    make_cache(10);
    struct token_trust *trust = make_trust(0), *reloaded = make_trust(0);
    const char *jws = sign("alice", "order-1", NOW_S);
    enum token_effort effort;
    struct token_entry *old = get(trust, jws, TOKEN_OK, &effort);
    struct token_entry *fresh = get(reloaded, jws, TOKEN_OK, &effort);
    cr_expect_eq(effort, TOKEN_VERIFIED, "a key may be gone");
    cr_expect_neq(fresh, old);
    cr_expect_not(old->cached);
    cr_expect(fresh->cached);
    token_trust_drop(&trust);
    cr_expect_str_eq(old->token->issuer_id, "shop", "the entry holds its trust");
    token_entry_drop(&old);
    token_entry_drop(&fresh);
    cr_expect_eq(effort_for(reloaded, jws), TOKEN_REMEMBERED);
    token_trust_drop(&reloaded);
}

Test(token_cache, forgets_a_token_whose_key_is_gone)
{
    make_cache(10);
    struct token_trust *trust = make_trust(0), *reloaded = make_trust(1);
    const char *jws = sign("alice", "order-1", NOW_S);
    enum token_effort effort;
    cr_expect_eq(effort_for(trust, jws), TOKEN_VERIFIED);
    (void)get(reloaded, jws, REFUSED_KEY_UNKNOWN, &effort);
    cr_expect_eq(effort, TOKEN_READ);
    cr_expect_eq(effort_for(trust, jws), TOKEN_VERIFIED, "it is not in the cache any more");
    token_trust_drop(&trust);
    token_trust_drop(&reloaded);
}

/* ---- at the bound ---- */

Test(token_cache, at_its_bound_forgets_the_token_that_was_not_used_for_the_longest)
{
    make_cache(3);
    struct token_trust *trust = make_trust(0);
    const char *jws[4];
    enum token_effort effort;
    for (int i = 0; i < 4; i++)
        jws[i] = sign("alice", NULL, NOW_S + i);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(effort_for(trust, jws[i]), TOKEN_VERIFIED);
    /* Oldest first: 0, 1, 2. A look-up uses the first, a touch the second. */
    cr_expect_eq(effort_for(trust, jws[0]), TOKEN_REMEMBERED);
    struct token_entry *second = get(trust, jws[1], TOKEN_OK, &effort);
    cr_expect_eq(effort_for(trust, jws[2]), TOKEN_REMEMBERED);
    cr_expect_eq(effort_for(trust, jws[0]), TOKEN_REMEMBERED);
    token_cache_touch(cache, second);
    token_cache_touch(cache, second); /* the newest: nothing changes */
    token_entry_drop(&second);
    cr_expect_eq(effort_for(trust, jws[3]), TOKEN_VERIFIED);
    static const int kept[] = {0, 1, 3};
    for (size_t i = 0; i < 3; i++)
        cr_expect_eq(effort_for(trust, jws[kept[i]]), TOKEN_REMEMBERED, "token %d", kept[i]);
    cr_expect_eq(effort_for(trust, jws[2]), TOKEN_VERIFIED);
    cr_expect_eq(effort_for(trust, jws[0]), TOKEN_VERIFIED, "now it was the oldest");
    token_trust_drop(&trust);
}

Test(token_cache, never_takes_an_entry_from_whoever_holds_it)
{
    make_cache(1);
    struct token_trust *trust = make_trust(0);
    const char *jws = sign("alice", "order-1", NOW_S), *other = sign("bob", "order-2", NOW_S);
    enum token_effort effort;
    struct token_entry *one = get(trust, jws, TOKEN_OK, &effort),
                       *two = get(trust, jws, TOKEN_OK, &effort);
    cr_expect_eq(effort_for(trust, other), TOKEN_VERIFIED);
    cr_expect_not(one->cached);
    cr_expect_eq(one->references, 2u);
    cr_expect_str_eq(one->token->jti, "order-1");
    token_entry_drop(&one);
    cr_expect_eq(two->references, 1u);
    cr_expect_str_eq(ledger_account_tag(two->account), "shop/alice");
    struct token_entry *fresh = get(trust, jws, TOKEN_OK, &effort);
    cr_expect_eq(effort, TOKEN_VERIFIED, "what was pushed out is not found");
    cr_expect_neq(fresh, two);
    token_cache_destroy(&cache);
    cr_expect_not(fresh->cached, "entries outlive the cache, too");
    cr_expect_str_eq(fresh->token->jti, "order-1");
    token_entry_drop(&two);
    token_entry_drop(&fresh);
    token_trust_drop(&trust);
}

Test(token_entry, breaks_off_where_it_is_dropped_once_too_often, .signal = SIGABRT)
{
    struct token_entry entry = {.references = 1, .cached = true}, *dropped = &entry;
    token_entry_drop(&dropped);
    token_entry_drop(&dropped); /* NULL: nothing happens */
    dropped = &entry;
    token_entry_drop(&dropped);
}

Test(token_entry, breaks_off_where_it_is_touched_and_was_pushed_out, .signal = SIGABRT)
{
    struct token_entry entry = {.references = 1, .cached = false};
    token_cache_touch(NULL, &entry);
}

/* ---- what is refused ---- */

/* A token with the signature of another one, which the same key has made. */
static const char *with_a_wrong_signature(const char *jws, const char *other)
{
    const char *dot = strrchr(jws, '.');
    cr_assert_lt(made_count, (size_t)TOKENS_MADE);
    cr_assert_gt(asprintf(&made[made_count], "%.*s%s", (int)(dot - jws), jws, strrchr(other, '.')),
                 0);
    return made[made_count++];
}

Test(token_cache, keeps_no_refused_token_and_pushes_none_out_for_it)
{
    make_cache(1);
    struct token_trust *trust = make_trust(0);
    const char *jws = sign("alice", "order-1", NOW_S), *other = sign("alice", "order-2", NOW_S);
    const char *wrong = with_a_wrong_signature(jws, other);
    enum token_effort effort;
    cr_expect_eq(effort_for(trust, jws), TOKEN_VERIFIED);
    (void)get(trust, wrong, REFUSED_BAD_SIGNATURE, &effort);
    cr_expect_eq(effort, TOKEN_VERIFIED);
    (void)get(trust, wrong, REFUSED_BAD_SIGNATURE, &effort);
    cr_expect_eq(effort, TOKEN_REMEMBERED, "the node knows that it is wrong");
    (void)get(trust, "rubbish", REFUSED_TOKEN_MALFORMED, &effort);
    cr_expect_eq(effort, TOKEN_READ);
    (void)get(trust, "", REFUSED_TOKEN_MALFORMED, &effort);
    cr_expect_eq(effort, TOKEN_READ);
    cr_expect_eq(effort_for(trust, jws), TOKEN_REMEMBERED);
    token_trust_drop(&trust);
}

Test(token_cache, serves_what_it_remembers_also_to_a_client_whose_failures_are_used_up)
{
    make_cache(10);
    struct token_trust *trust = make_trust(0);
    const char *jws = sign("alice", "order-1", NOW_S), *other = sign("alice", "order-2", NOW_S),
               *third = sign("alice", "order-3", NOW_S);
    enum token_effort effort;
    cr_expect_eq(effort_for(trust, jws), TOKEN_VERIFIED);
    for (int i = 0; i < FAILED_MAX; i++) {
        (void)get(trust, with_a_wrong_signature(jws, i == 0 ? other : third), REFUSED_BAD_SIGNATURE,
                  &effort);
        cr_expect_eq(effort, TOKEN_VERIFIED);
    }
    (void)get(trust, other, REFUSED_BAD_SIGNATURE, &effort);
    cr_expect_eq(effort, TOKEN_UNVERIFIED, "it is good, but nobody looked");
    cr_expect_eq(effort_for(trust, jws), TOKEN_REMEMBERED);
    const struct token_asker nobody = {.now_ms = 1000};
    struct token_entry *entry = NULL;
    int status = -1;
    cr_expect_eq(
        token_cache_get(cache, trust, other, strlen(other), &nobody, &entry, &effort, &status),
        TOKEN_OK, "what was left unverified is not known as wrong");
    cr_expect_eq(effort, TOKEN_VERIFIED);
    token_entry_drop(&entry);
    token_trust_drop(&trust);
}

/* ---- names of links ---- */

static void id_of(struct token_trust *trust, const char *jws,
                  unsigned char out[LEDGER_LINK_ID_BYTES])
{
    enum token_effort effort;
    struct token_entry *entry = get(trust, jws, TOKEN_OK, &effort);
    memcpy(out, entry->link_id, LEDGER_LINK_ID_BYTES);
    token_entry_drop(&entry);
}

Test(token_cache, names_a_link_by_account_and_jti_or_else_by_what_was_signed)
{
    make_cache(10);
    struct token_trust *trust = make_trust(0);
    static const struct {
        const char *account, *jti;
        int64_t exp;
    } links[] = {
        {"alice", "order-1", NOW_S}, {"alice", "order-1", NOW_S + 1}, {"alice", "order-2", NOW_S},
        {"bob", "order-1", NOW_S},   {"alice", NULL, NOW_S},          {"alice", NULL, NOW_S + 1},
    };
    enum { LINKS = sizeof(links) / sizeof(*links) };
    unsigned char link_id[LINKS][LEDGER_LINK_ID_BYTES];
    for (size_t i = 0; i < LINKS; i++)
        id_of(trust, sign(links[i].account, links[i].jti, links[i].exp), link_id[i]);
    for (size_t i = 0; i < LINKS; i++) {
        for (size_t j = i + 1; j < LINKS; j++) {
            bool same = memcmp(link_id[i], link_id[j], LEDGER_LINK_ID_BYTES) == 0;
            cr_expect_eq(same, i == 0 && j == 1, "links %zu and %zu", i, j);
        }
    }
    token_trust_drop(&trust);
}
