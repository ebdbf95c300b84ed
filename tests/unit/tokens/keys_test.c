/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key sets: which are accepted, which are refused and why, new keys, signing with them, and reading
 * a token without trust. No message may hold a byte of a key.
 */
#include <errno.h>
#include <threads.h>

#include "tests/unit/tokens/fixture.h"

#define SECRET   "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s"
#define OCT(kid) "{\"kty\":\"oct\",\"kid\":\"" kid "\",\"alg\":\"HS256\",\"k\":\"" SECRET "\"}"
#define EC_POINT                                                                                   \
    "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","                                       \
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\""

static int parse(const char *json, char *error, size_t size)
{
    struct key_set *keys = NULL;
    int result = key_set_parse(&keys, json, strlen(json), error, size);

    cr_assert_eq(keys != NULL, result == 0);
    key_set_destroy(&keys);
    return result;
}

Test(key_set, takes_a_set_and_a_single_key)
{
    struct key_set *keys = NULL;
    char error[256];

    cr_assert_eq(key_set_parse(&keys, test_jwks(), strlen(test_jwks()), error, sizeof(error)), 0);
    cr_assert_eq(key_set_count(keys), 3);
    cr_expect_str_eq(key_set_kid(keys, 1), "e");
    cr_expect_eq(key_set_algorithm(keys, 0), TOKEN_HS256);
    cr_expect_eq(key_set_algorithm(keys, 1), TOKEN_ES256);
    cr_expect_eq(key_set_algorithm(keys, 2), TOKEN_EDDSA);
    for (size_t i = 0; i < 3; i++)
        cr_expect(key_set_can_sign(keys, i));
    key_set_destroy(&keys);
    cr_expect_eq(parse(OCT("a"), error, sizeof(error)), 0, "%s", error);
}

Test(key_set, cannot_sign_with_a_public_key_or_against_key_ops)
{
    static const char *const publics[] = {
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"a\",\"alg\":\"ES256\"," EC_POINT "}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"a\",\"alg\":\"EdDSA\","
        "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
        "{\"kty\":\"oct\",\"kid\":\"a\",\"alg\":\"HS256\",\"k\":\"" SECRET
        "\",\"key_ops\":[\"verify\"]}",
    };
    struct token_claims claims = {.iss = "i", .account = "a", .container = "exact:/a", .exp = 1};

    for (size_t i = 0; i < 3; i++) {
        struct key_set *keys = NULL;
        char error[256];
        char *jws = NULL;
        cr_assert_eq(key_set_parse(&keys, publics[i], strlen(publics[i]), error, sizeof(error)), 0,
                     "%s", error);
        cr_expect_not(key_set_can_sign(keys, 0));
        cr_expect_eq(token_sign(keys, NULL, &claims, &jws), -ENOKEY);
        cr_expect_null(jws);
        key_set_destroy(&keys);
    }
}

Test(key_set, names_the_member_and_keeps_the_secret)
{
    static const struct {
        const char *json;
        const char *word; /* that the message must have */
    } rows[] = {
        {"", "JSON"},
        {"[]", "JSON"},
        {"{}", "JWKS"},
        {"{\"keys\":{}}", "JWKS"},
        {"{\"keys\":[]}", "keys"},
        {"{\"keys\":[1]}", "object"},
        {"{\"keys\":[" OCT("a") "," OCT("a") "]}", "kid"},
        {"{\"keys\":[" OCT("a") "],\"keys\":[]}", "duplicate"},
        {OCT("a") "x", "JSON"},
        {OCT(""), "kid"},
        {"{\"kty\":\"oct\",\"alg\":\"HS256\",\"k\":\"" SECRET "\"}", "kid"},
        {"{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"" SECRET "\"}", "alg"},
        {"{\"kty\":\"oct\",\"kid\":\"a\",\"alg\":\"none\",\"k\":\"" SECRET "\"}", "alg"},
        {"{\"kty\":\"oct\",\"kid\":\"a\",\"alg\":\"ES256\",\"k\":\"" SECRET "\"}", "kty"},
        {"{\"kty\":\"RSA\",\"kid\":\"a\",\"alg\":\"HS256\",\"k\":\"" SECRET "\"}", "kty"},
        {"{\"kty\":\"EC\",\"crv\":\"P-384\",\"kid\":\"a\",\"alg\":\"ES256\"," EC_POINT "}", "crv"},
        {"{\"kty\":\"oct\",\"kid\":\"a\",\"alg\":\"HS256\",\"use\":\"enc\",\"k\":\"" SECRET "\"}",
         "use"},
        {"{\"kty\":\"oct\",\"kid\":\"a\",\"alg\":\"HS256\",\"key_ops\":[],\"k\":\"" SECRET "\"}",
         "key_ops"},
        {"{\"kty\":\"oct\",\"kid\":\"a\",\"alg\":\"HS256\","
         "\"k\":\"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2trag\"}",
         "32 bytes"},
        {"{\"kty\":\"oct\",\"kid\":\"a\",\"alg\":\"HS256\",\"k\":\"" SECRET "=\"}", "base64url"},
        /* a point that is not on the curve, and a private key of another point */
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"a\",\"alg\":\"ES256\","
         "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
         "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5aw\"}",
         "P-256"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"a\",\"alg\":\"ES256\"," EC_POINT
         ",\"d\":\"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LM\"}",
         "P-256"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"a\",\"alg\":\"ES256\",\"x\":\"AA\"}",
         "P-256"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"a\",\"alg\":\"EdDSA\","
         "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURs\","
         "\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\"}",
         "Ed25519"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char error[256] = "";
        cr_expect_eq(parse(rows[i].json, error, sizeof(error)), -EINVAL, "row %zu", i);
        cr_expect_not_null(strstr(error, rows[i].word), "row %zu: %s", i, error);
        cr_expect_null(strstr(error, "a2tr"), "row %zu tells the key", i);
    }
}

Test(key_set, refuses_more_keys_than_it_may_hold)
{
    char *json = calloc(1, 16384);
    char error[256];
    size_t length = 0;

    cr_assert_not_null(json);
    length += (size_t)snprintf(json, 16384, "{\"keys\":[");
    for (int i = 0; i <= TOKEN_KEYS_MAX; i++)
        length +=
            (size_t)snprintf(json + length, 16384 - length,
                             "%s{\"kty\":\"oct\",\"kid\":\"%d\",\"alg\":\"HS256\",\"k\":\"%s\"}",
                             i > 0 ? "," : "", i, SECRET);
    (void)snprintf(json + length, 16384 - length, "]}");
    cr_expect_eq(parse(json, error, sizeof(error)), -EINVAL);
    cr_expect_not_null(strstr(error, "64"), "%s", error);
    free(json);
}

/* A trust with one issuer "i" that may sign for every path. The trust owns the keys. */
static struct token_trust *trust_of(struct key_set *keys)
{
    static const char *const prefixes[] = {"/"};
    struct token_policy policy = {.lifetime_max_s = 60, .public_origin = "https://a.example"};
    struct token_issuer issuer = {
        .id = "i", .iss = "i", .keys = keys, .prefixes = prefixes, .prefix_count = 1};
    struct token_trust *trust = NULL;
    char error[256];

    cr_assert_eq(token_trust_create(&trust, &issuer, 1, &policy, error, sizeof(error)), 0, "%s",
                 error);
    return trust;
}

Test(key_generate, makes_keys_that_sign_what_their_public_halves_verify)
{
    for (int i = TOKEN_HS256; i <= TOKEN_EDDSA; i++) {
        struct token_claims claims = {.iss = "i",
                                      .account = "anna \xc3\xa9",
                                      .container = "exact:/\xc3\xa9\".mp3",
                                      .jti = "j",
                                      .exp = 100,
                                      .nbf = 50,
                                      .iat = 40};
        struct key_set *signer = NULL;
        struct key_set *verifier = NULL;
        struct token_trust *trust;
        struct token *token = NULL;
        char *secret = NULL;
        char *shared = NULL;
        char *jws = NULL;
        char error[256];

        cr_assert_eq(key_generate((enum token_algorithm)i, &secret, &shared), 0);
        cr_assert_eq(shared == NULL, i == TOKEN_HS256);
        if (shared != NULL)
            cr_expect_null(strstr(shared, "\"d\""));
        cr_assert_eq(key_set_parse(&signer, secret, strlen(secret), error, sizeof(error)), 0, "%s",
                     error);
        if (shared != NULL)
            cr_assert_eq(key_set_parse(&verifier, shared, strlen(shared), error, sizeof(error)), 0,
                         "%s", error);
        else
            cr_assert_eq(key_set_parse(&verifier, secret, strlen(secret), error, sizeof(error)), 0);
        cr_expect_eq(key_set_algorithm(signer, 0), (enum token_algorithm)i);
        cr_expect_str_eq(key_set_kid(signer, 0), key_set_kid(verifier, 0));
        trust = trust_of(verifier);
        cr_assert_eq(token_sign(signer, key_set_kid(signer, 0), &claims, &jws), 0);
        cr_assert_eq(token_verify(trust, jws, strlen(jws), &token), TOKEN_OK);
        cr_assert_not_null(token);
        cr_expect_str_eq(token->account, claims.account);
        cr_expect_str_eq(token->jti, "j");
        cr_expect_eq(token->exp, 100);
        cr_expect_eq(token->nbf, 50);
        cr_expect_eq(token->iat, 40);
        token_destroy(&token);
        free(jws);
        key_text_free(&secret);
        key_text_free(&shared);
        key_set_destroy(&signer);
        token_trust_drop(&trust);
    }
}

Test(key_generate, gives_each_key_a_kid_of_its_own)
{
    char *first = NULL;
    char *second = NULL;
    char *none = NULL;

    cr_assert_eq(key_generate(TOKEN_HS256, &first, &none), 0);
    cr_assert_eq(key_generate(TOKEN_HS256, &second, &none), 0);
    cr_expect_str_neq(first, second);
    key_text_free(&first);
    key_text_free(&second);
    key_text_free(&none);
}

Test(token_sign, refuses_what_the_verifier_would_refuse)
{
    const struct token_claims good = {
        .iss = "i", .account = "a", .container = "exact:/a", .exp = 100};
    char long_text[TOKEN_ACCOUNT_MAX + 2];
    struct token_claims bad[12];
    struct key_set *keys = NULL;
    char error[256];
    char *jws = NULL;

    cr_assert_eq(key_set_parse(&keys, test_jwks(), strlen(test_jwks()), error, sizeof(error)), 0);
    memset(long_text, 'a', sizeof(long_text));
    long_text[sizeof(long_text) - 1] = '\0';
    for (size_t i = 0; i < 12; i++)
        bad[i] = good;
    bad[0].iss = "";
    bad[1].account = "a\n";
    bad[2].account = long_text;
    bad[3].container = "/a";
    bad[4].container = "prefix:/a";
    bad[5].exp = 0;
    bad[6].exp = (int64_t)1 << 53;
    bad[7].nbf = -1;
    bad[8].jti = "";
    bad[9].audience = "\x7f";
    bad[10].account = "\xff"; /* not UTF-8, which JSON cannot hold */
    bad[11].container = NULL;
    for (size_t i = 0; i < 12; i++) {
        cr_expect_eq(token_sign(keys, "h", &bad[i], &jws), -EINVAL, "row %zu", i);
        cr_expect_null(jws);
    }
    cr_expect_eq(token_sign(keys, "x", &good, &jws), -ENOKEY);
    cr_expect_eq(token_sign(keys, NULL, &good, &jws), 0);
    free(jws);
    key_set_destroy(&keys);
}

Test(token_peek, shows_both_parts_and_says_what_is_wrong)
{
    char *header = NULL;
    char *claims = NULL;
    char *jws = test_sign("h", "{\"alg\":\"none\",\"kid\":\"h\"}", "{\"acct\":\"\xc2\x9b\"}");

    cr_expect_eq(token_peek(jws, strlen(jws), &header, &claims), REFUSED_ALGORITHM_REFUSED);
    cr_assert_not_null(header);
    cr_assert_not_null(claims);
    cr_expect_not_null(strstr(header, "\"none\""));
    /* A control character in a stranger's token must not reach the terminal. */
    cr_expect_not_null(strstr(claims, "\\u009B"), "%s", claims);
    free(header);
    free(claims);
    free(jws);
    cr_expect_eq(token_peek("e30.x.x", 7, &header, &claims), REFUSED_HEADER_MALFORMED);
    cr_expect_not_null(header);
    cr_expect_null(claims);
    free(header);
    cr_expect_eq(token_peek("a.b.c.d.e", 9, &header, &claims), REFUSED_TOKEN_ENCRYPTED);
    cr_expect_null(header);
}

Test(token_trust, refuses_configurations_that_would_mislead)
{
    static const char *const root[] = {"/"};
    static const char *const bad_prefixes[] = {"", "music", "/a//b", "/a/../b", "/.", "//", "/a\n"};
    static const char *const bad_origins[] = {"",           "media.example", "ftp://a",
                                              "http://",    "http://a/",     "http://a/b",
                                              "https://a?", "http://u@a"};
    struct token_policy policy = {.lifetime_max_s = 1, .public_origin = "http://a"};
    struct token_issuer issuers[2] = {{.id = "a", .iss = "a", .prefixes = root, .prefix_count = 1},
                                      {.id = "b", .iss = "b", .prefixes = root, .prefix_count = 1}};
    struct token_trust *trust = NULL;
    char error[256];

    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(
            key_set_parse(&issuers[i].keys, test_jwks(), strlen(test_jwks()), error, sizeof(error)),
            0);
#define EXPECT_REFUSED(word)                                                                       \
    cr_expect_eq(token_trust_create(&trust, issuers, 2, &policy, error, sizeof(error)), -EINVAL);  \
    cr_expect_not_null(strstr(error, word), "%s", error)
    issuers[1].id = "a";
    EXPECT_REFUSED("twice");
    issuers[1].id = "B";
    EXPECT_REFUSED("id");
    issuers[1].id = "b";
    issuers[1].iss = "a";
    EXPECT_REFUSED("same iss");
    issuers[1].iss = "b";
    issuers[1].prefix_count = 0;
    EXPECT_REFUSED("prefixes");
    issuers[1].prefix_count = 1;
    for (size_t i = 0; i < sizeof(bad_prefixes) / sizeof(bad_prefixes[0]); i++) {
        issuers[1].prefixes = &bad_prefixes[i];
        EXPECT_REFUSED("prefix 1");
    }
    issuers[1].prefixes = root;
    for (size_t i = 0; i < sizeof(bad_origins) / sizeof(bad_origins[0]); i++) {
        (void)snprintf(policy.public_origin, sizeof(policy.public_origin), "%s", bad_origins[i]);
        EXPECT_REFUSED("origin");
    }
    (void)snprintf(policy.public_origin, sizeof(policy.public_origin), "HTTPS://A.Example:443");
    /* The failed calls left the keys to the caller. This one owns them. */
    cr_assert_eq(token_trust_create(&trust, issuers, 2, &policy, error, sizeof(error)), 0, "%s",
                 error);
    cr_expect_str_eq(token_trust_policy(trust)->public_origin, "https://a.example");
    token_trust_drop(&trust);
}

Test(token_trust, numbers_each_snapshot_and_lives_until_the_last_drop)
{
    struct token_trust *first = test_trust(NULL, 0);
    struct token_trust *second = test_trust(NULL, 0);
    struct token_trust *held = token_trust_hold(first);

    cr_expect_neq(token_trust_generation(first), token_trust_generation(second));
    token_trust_drop(&first);
    cr_expect_null(first);
    cr_expect_gt(token_trust_generation(held), 0);
    token_trust_drop(&held);
    token_trust_drop(&second);
}

struct job {
    struct token_trust *trust;
    const char *tokens[3];
    bool failed;
};

static int verify_many(void *argument)
{
    struct job *job = argument;

    for (int i = 0; i < 300; i++) {
        struct token_trust *trust = token_trust_hold(job->trust);
        struct token *token = NULL;
        const char *jws = job->tokens[i % 3];
        if (token_verify(trust, jws, strlen(jws), &token) != TOKEN_OK)
            job->failed = true;
        token_destroy(&token);
        token_trust_drop(&trust);
    }
    return 0;
}

Test(token_verify, works_from_several_threads_on_one_trust)
{
    const char *claims = "{\"iss\":\"https://shop.example\",\"exp\":1800003600,\"cdniuc\":"
                         "\"regex:http://.*\",\"acct\":\"anna\"}";
    char *tokens[3] = {test_sign("h", "{\"alg\":\"HS256\",\"kid\":\"h\"}", claims),
                       test_sign("e", "{\"alg\":\"ES256\",\"kid\":\"e\"}", claims),
                       test_sign("o", "{\"alg\":\"EdDSA\",\"kid\":\"o\"}", claims)};
    struct job job = {test_trust(NULL, 0), {tokens[0], tokens[1], tokens[2]}, false};
    struct job jobs[4] = {job, job, job, job};
    thrd_t threads[4];

    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(thrd_create(&threads[i], verify_many, &jobs[i]), thrd_success);
    for (size_t i = 0; i < 4; i++) {
        thrd_join(threads[i], NULL);
        cr_expect_not(jobs[i].failed);
    }
    for (size_t i = 0; i < 3; i++)
        free(tokens[i]);
    token_trust_drop(&job.trust);
}
