/* SPDX-License-Identifier: Apache-2.0 */
/*
 * token_verify: a good token of each algorithm, and tokens whose header, signature or shape is
 * forged or broken, each refused for its own reason. Claims are tested in claims_test.c.
 */
#include <stdio.h>

#include "tests/unit/tokens/fixture.h"

Test(token_verify, reads_the_claims_of_a_good_token_of_each_algorithm)
{
    static const char *const signers[][2] = {{"h", "HS256"}, {"e", "ES256"}, {"o", "EdDSA"}};
    struct token_trust *trust = test_trust(NULL, 0);

    for (size_t i = 0; i < 3; i++) {
        char header[64];
        struct token *token = NULL;
        char *jws;
        (void)snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"kid\":\"%s\",\"typ\":\"JWT\"}",
                       signers[i][1], signers[i][0]);
        jws = test_sign(signers[i][0], header,
                        WITH("\"nbf\":5,\"iat\":7,\"jti\":\"j-1\",\"cdniv\":1,\"colour\":\"red\""));
        cr_assert_eq(token_verify(trust, jws, strlen(jws), &token), TOKEN_OK, "%s", signers[i][1]);
        cr_expect_str_eq(token->issuer_id, "shop");
        cr_expect_str_eq(token->account, "anna");
        cr_expect_str_eq(token->kid, signers[i][0]);
        cr_expect_str_eq(token->jti, "j-1");
        cr_expect_eq(token->exp, 1800003600);
        cr_expect_eq(token->nbf, 5);
        cr_expect_eq(token->iat, 7);
        token_destroy(&token);
        cr_expect_null(token);
        free(jws);
    }
    token_trust_drop(&trust);
}

Test(token_verify, refuses_headers_for_the_right_reason)
{
    static const struct forgery rows[] = {
        {"plain", GOOD_HEADER, GOOD_CLAIMS, TOKEN_OK},
        {"alg none", "{\"alg\":\"none\",\"kid\":\"h\"}", GOOD_CLAIMS, REFUSED_ALGORITHM_REFUSED},
        {"alg None", "{\"alg\":\"None\",\"kid\":\"h\"}", GOOD_CLAIMS, REFUSED_ALGORITHM_REFUSED},
        {"alg RS256", "{\"alg\":\"RS256\",\"kid\":\"h\"}", GOOD_CLAIMS, REFUSED_ALGORITHM_REFUSED},
        {"alg lower", "{\"alg\":\"hs256\",\"kid\":\"h\"}", GOOD_CLAIMS, REFUSED_ALGORITHM_REFUSED},
        {"alg of another key", "{\"alg\":\"HS256\",\"kid\":\"e\"}", GOOD_CLAIMS,
         REFUSED_ALGORITHM_REFUSED},
        {"alg of another key's type", "{\"alg\":\"ES256\",\"kid\":\"h\"}", GOOD_CLAIMS,
         REFUSED_ALGORITHM_REFUSED},
        {"alg missing", "{\"kid\":\"h\"}", GOOD_CLAIMS, REFUSED_HEADER_MALFORMED},
        {"alg number", "{\"alg\":256,\"kid\":\"h\"}", GOOD_CLAIMS, REFUSED_HEADER_MALFORMED},
        {"no kid", "{\"alg\":\"HS256\"}", GOOD_CLAIMS, REFUSED_KEY_ID_MISSING},
        {"kid null", "{\"alg\":\"HS256\",\"kid\":null}", GOOD_CLAIMS, REFUSED_HEADER_MALFORMED},
        {"kid array", "{\"alg\":\"HS256\",\"kid\":[\"h\"]}", GOOD_CLAIMS, REFUSED_HEADER_MALFORMED},
        {"kid empty", "{\"alg\":\"HS256\",\"kid\":\"\"}", GOOD_CLAIMS, REFUSED_HEADER_MALFORMED},
        {"kid unknown", "{\"alg\":\"HS256\",\"kid\":\"H\"}", GOOD_CLAIMS, REFUSED_KEY_UNKNOWN},
        {"kid with NUL", "{\"alg\":\"HS256\",\"kid\":\"h\\u0000x\"}", GOOD_CLAIMS,
         REFUSED_HEADER_MALFORMED},
        {"crit", "{\"alg\":\"HS256\",\"kid\":\"h\",\"crit\":[\"b64\"],\"b64\":true}", GOOD_CLAIMS,
         REFUSED_HEADER_UNSUPPORTED},
        {"crit empty", "{\"alg\":\"HS256\",\"kid\":\"h\",\"crit\":[]}", GOOD_CLAIMS,
         REFUSED_HEADER_UNSUPPORTED},
        {"b64", "{\"alg\":\"HS256\",\"kid\":\"h\",\"b64\":false}", GOOD_CLAIMS,
         REFUSED_HEADER_UNSUPPORTED},
        {"jwk", "{\"alg\":\"HS256\",\"kid\":\"h\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AA\"}}",
         GOOD_CLAIMS, REFUSED_HEADER_UNSUPPORTED},
        {"jku", "{\"alg\":\"HS256\",\"kid\":\"h\",\"jku\":\"http://evil\"}", GOOD_CLAIMS,
         REFUSED_HEADER_UNSUPPORTED},
        {"x5c", "{\"alg\":\"HS256\",\"kid\":\"h\",\"x5c\":[]}", GOOD_CLAIMS,
         REFUSED_HEADER_UNSUPPORTED},
        {"x5u", "{\"alg\":\"HS256\",\"kid\":\"h\",\"x5u\":null}", GOOD_CLAIMS,
         REFUSED_HEADER_UNSUPPORTED},
        {"duplicate alg", "{\"alg\":\"none\",\"alg\":\"HS256\",\"kid\":\"h\"}", GOOD_CLAIMS,
         REFUSED_HEADER_MALFORMED},
        {"array", "[\"alg\",\"HS256\"]", GOOD_CLAIMS, REFUSED_HEADER_MALFORMED},
        {"empty", "", GOOD_CLAIMS, REFUSED_HEADER_MALFORMED},
        {"trailing", GOOD_HEADER "x", GOOD_CLAIMS, REFUSED_HEADER_MALFORMED},
        {"typ number", "{\"alg\":\"HS256\",\"kid\":\"h\",\"typ\":1}", GOOD_CLAIMS,
         REFUSED_HEADER_MALFORMED},
    };

    EXPECT_ALL(rows);
}

/* A trust whose issuer has one HS256 key: "h" with this `k`, or without one, another kid. */
static struct token_trust *trust_of(const char *k)
{
    static const char *const prefixes[] = {"/music"};
    struct token_policy policy = {.lifetime_max_s = 86400, .public_origin = "http://media.example"};
    struct token_issuer issuer = {
        .id = "shop", .iss = "https://shop.example", .prefixes = prefixes, .prefix_count = 1};
    struct token_trust *trust = NULL;
    char error[256], jwks[256];

    (void)snprintf(
        jwks, sizeof(jwks), "{\"kty\":\"oct\",\"kid\":\"%s\",\"alg\":\"HS256\",\"k\":\"%s\"}",
        k != NULL ? "h" : "other", k != NULL ? k : "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s");
    cr_assert_eq(key_set_parse(&issuer.keys, jwks, strlen(jwks), error, sizeof(error)), 0, "%s",
                 error);
    cr_assert_eq(token_trust_create(&trust, &issuer, 1, &policy, error, sizeof(error)), 0);
    return trust;
}

Test(token_verify, a_token_lives_as_long_as_the_very_key_that_signed_it)
{
    static const struct {
        const char *kid, *alg;
    } signers[] = {{"h", "HS256"}, {"e", "ES256"}, {"o", "EdDSA"}};
    struct token_trust *trust = test_trust(NULL, 0), *again = test_trust(NULL, 0);
    struct token_trust *same = trust_of("a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s");
    struct token_trust *renamed = trust_of(NULL);
    struct token_trust *replaced = trust_of("bGxsbGxsbGxsbGxsbGxsbGxsbGxsbGxsbGxsbGxsbGw");

    for (size_t i = 0; i < 3; i++) {
        struct token *token = NULL;
        char header[64];
        char *jws;
        (void)snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"kid\":\"%s\"}", signers[i].alg,
                       signers[i].kid);
        jws = test_sign(signers[i].kid, header, GOOD_CLAIMS);
        cr_assert_eq(token_verify(trust, jws, strlen(jws), &token), TOKEN_OK);
        cr_expect(token_is_live(again, token), "%s", signers[i].alg);
        cr_expect_eq(token_is_live(same, token), i == 0, "%s", signers[i].alg);
        cr_expect_not(token_is_live(renamed, token), "%s", signers[i].alg);
        cr_expect_not(token_is_live(replaced, token), "%s", signers[i].alg);
        token_destroy(&token);
        free(jws);
    }
    token_trust_drop(&trust);
    token_trust_drop(&again);
    token_trust_drop(&same);
    token_trust_drop(&renamed);
    token_trust_drop(&replaced);
}

Test(token_verify, refuses_an_hmac_keyed_with_the_public_key)
{
    /* RFC 8725 2.1: a verifier that believed the token's alg would take the public x and y as
     * the secret. */
    struct token_trust *trust = test_trust(NULL, 0);
    static const char jwk[] = "{\"kty\":\"oct\",\"kid\":\"e\",\"alg\":\"HS256\","
                              "\"k\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEXH8UTNG72bfocs3-"
                              "257rn0s2ldbqkLJK2KRiMohYjlrQ"
                              "\"}";
    struct token_claims claims = {.iss = "https://shop.example",
                                  .account = "anna",
                                  .container = "exact:/music/a.mp3",
                                  .exp = TEST_NOW};
    struct key_set *forger = NULL;
    char error[256];
    char *jws = NULL;

    cr_assert_eq(key_set_parse(&forger, jwk, strlen(jwk), error, sizeof(error)), 0, "%s", error);
    cr_assert_eq(token_sign(forger, "e", &claims, &jws), 0);
    cr_expect_eq(test_verdict(trust, jws), REFUSED_ALGORITHM_REFUSED);
    free(jws);
    key_set_destroy(&forger);
    token_trust_drop(&trust);
}

Test(token_verify, refuses_a_signature_of_another_key_under_a_swapped_kid)
{
    struct token_trust *trust = test_trust(NULL, 0);
    char *swapped = test_sign("o", "{\"alg\":\"ES256\",\"kid\":\"e\"}", GOOD_CLAIMS);
    char *hmac = test_sign("h", "{\"alg\":\"EdDSA\",\"kid\":\"o\"}", GOOD_CLAIMS);

    cr_expect_eq(test_verdict(trust, swapped), REFUSED_BAD_SIGNATURE);
    cr_expect_eq(test_verdict(trust, hmac), REFUSED_BAD_SIGNATURE);
    free(swapped);
    free(hmac);
    token_trust_drop(&trust);
}

Test(token_verify, refuses_each_damaged_signature)
{
    static const char *const headers[][2] = {{"h", "{\"alg\":\"HS256\",\"kid\":\"h\"}"},
                                             {"e", "{\"alg\":\"ES256\",\"kid\":\"e\"}"},
                                             {"o", "{\"alg\":\"EdDSA\",\"kid\":\"o\"}"}};
    struct token_trust *trust = test_trust(NULL, 0);

    for (size_t i = 0; i < 3; i++) {
        char *jws = test_sign(headers[i][0], headers[i][1], GOOD_CLAIMS);
        size_t length = strlen(jws);
        size_t start = (size_t)(strrchr(jws, '.') + 1 - jws);
        char *longer = calloc(1, length + 16);
        struct token *token = NULL;

        cr_assert_not_null(longer);
        for (size_t cut = start; cut < length; cut++) {
            enum token_verdict verdict = token_verify(trust, jws, cut, &token);
            cr_expect(verdict == REFUSED_BAD_SIGNATURE || verdict == REFUSED_TOKEN_MALFORMED);
            cr_expect_null(token);
        }
        for (size_t at = start; at < length; at++) {
            char kept = jws[at];
            enum token_verdict verdict;
            jws[at] = kept == 'A' ? 'B' : 'A';
            verdict = token_verify(trust, jws, length, &token);
            /* A last character whose unused bits are set makes the token malformed instead. */
            cr_expect(verdict == REFUSED_BAD_SIGNATURE ||
                      (at + 1 == length && verdict == REFUSED_TOKEN_MALFORMED));
            jws[at] = kept;
        }
        (void)snprintf(longer, length + 16, "%sAAAA", jws);
        cr_expect_eq(test_verdict(trust, longer), REFUSED_BAD_SIGNATURE);
        cr_expect_eq(test_verdict(trust, jws), TOKEN_OK);
        free(longer);
        free(jws);
    }
    token_trust_drop(&trust);
}

Test(token_verify, refuses_an_es256_signature_in_der)
{
    struct token_trust *trust = test_trust(NULL, 0);
    char *jws = test_sign("e", "{\"alg\":\"ES256\",\"kid\":\"e\"}", GOOD_CLAIMS);
    unsigned char der[72] = {0x30, 70, 0x02, 33, 0};
    char text[BASE64URL_ENCODED_SIZE(sizeof(der)) + 1];
    char *start = strrchr(jws, '.') + 1;
    char *forged = NULL;

    base64url_encode(der, sizeof(der), text);
    cr_assert_gt(asprintf(&forged, "%.*s%s", (int)(start - jws), jws, text), 0);
    cr_expect_eq(test_verdict(trust, forged), REFUSED_BAD_SIGNATURE);
    /* r = s = 0, the signature that broken verifiers take for any message. */
    free(forged);
    memset(der, 0, sizeof(der));
    base64url_encode(der, 64, text);
    cr_assert_gt(asprintf(&forged, "%.*s%s", (int)(start - jws), jws, text), 0);
    cr_expect_eq(test_verdict(trust, forged), REFUSED_BAD_SIGNATURE);
    free(forged);
    free(jws);
    token_trust_drop(&trust);
}

Test(token_verify, refuses_other_shapes_than_three_strict_parts)
{
    struct token_trust *trust = test_trust(NULL, 0);
    char *jws = test_token(GOOD_CLAIMS);
    char *padded = NULL;
    char *spaced = NULL;
    char *loose = strdup(jws);
    char long_one[TOKEN_LENGTH_MAX + 1];
    struct token *token = NULL;
    char *last = loose + strlen(loose) - 1;

    cr_assert_gt(asprintf(&padded, "%s=", jws), 0);
    cr_assert_gt(asprintf(&spaced, "%s\n", jws), 0);
    /* The last of 43 characters has two unused bits; set one. */
    *last = (char)(*last + 1);
    memset(long_one, 'A', sizeof(long_one));
    cr_expect_eq(test_verdict(trust, ""), REFUSED_TOKEN_MALFORMED);
    cr_expect_eq(test_verdict(trust, "a"), REFUSED_TOKEN_MALFORMED);
    cr_expect_eq(test_verdict(trust, "e30.e30"), REFUSED_TOKEN_MALFORMED);
    cr_expect_eq(test_verdict(trust, "e30.e30.e30.e30"), REFUSED_TOKEN_MALFORMED);
    cr_expect_eq(test_verdict(trust, "e30..e30.e30.e30"), REFUSED_TOKEN_ENCRYPTED);
    cr_expect_eq(test_verdict(trust, "e30.e30.e30.e30.e30.e30"), REFUSED_TOKEN_MALFORMED);
    cr_expect_eq(test_verdict(trust, "e31.e30.e30"), REFUSED_TOKEN_MALFORMED);
    cr_expect_eq(test_verdict(trust, "e30=.e30.e30"), REFUSED_TOKEN_MALFORMED);
    cr_expect_eq(test_verdict(trust, "e3+.e30.e30"), REFUSED_TOKEN_MALFORMED);
    cr_expect_eq(test_verdict(trust, padded), REFUSED_TOKEN_MALFORMED);
    cr_expect_eq(test_verdict(trust, spaced), REFUSED_TOKEN_MALFORMED);
    cr_expect_eq(test_verdict(trust, loose), REFUSED_TOKEN_MALFORMED);
    cr_expect_eq(token_verify(trust, long_one, sizeof(long_one), &token), REFUSED_TOKEN_TOO_LONG);
    cr_expect_eq(token_verify(trust, long_one, sizeof(long_one) - 1, &token),
                 REFUSED_TOKEN_MALFORMED);
    free(padded);
    free(spaced);
    free(loose);
    free(jws);
    token_trust_drop(&trust);
}

Test(token_verify, refuses_alg_none_with_an_empty_signature)
{
    struct token_trust *trust = test_trust(NULL, 0);
    char *header = test_base64url("{\"alg\":\"none\"}");
    char *claims = test_base64url(GOOD_CLAIMS);
    char *jws = NULL;

    cr_assert_gt(asprintf(&jws, "%s.%s.", header, claims), 0);
    cr_expect_eq(test_verdict(trust, jws), REFUSED_ALGORITHM_REFUSED);
    free(jws);
    free(header);
    free(claims);
    token_trust_drop(&trust);
}

Test(token_verdict, knows_name_text_status_and_code_of_each_refusal)
{
    cr_expect_str_eq(token_verdict_name(TOKEN_OK), "ok");
    cr_expect_str_eq(token_verdict_name(REFUSED_BAD_SIGNATURE), "bad_signature");
    cr_expect_str_eq(token_verdict_name(REFUSED_OUT_OF_ISSUER_PATHS), "out_of_issuer_paths");
    cr_expect_eq(token_verdict_status(REFUSED_EXPIRED), 410);
    cr_expect_eq(token_verdict_status(REFUSED_BAD_SIGNATURE), 403);
    cr_expect_eq(token_verdict_uri_signing(TOKEN_OK), 200);
    cr_expect_eq(token_verdict_uri_signing(REFUSED_EXPIRED), 404);
    cr_expect_eq(token_verdict_uri_signing(REFUSED_OUT_OF_CONTAINER), 411);
    for (int i = 0; i < TOKEN_VERDICT_COUNT; i++) {
        cr_expect_gt(strlen(token_verdict_text((enum token_verdict)i)), 10);
        cr_expect_gt(strlen(token_verdict_name((enum token_verdict)i)), 1);
    }
}
