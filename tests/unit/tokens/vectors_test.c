/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The published vectors: RFC 7515 A.1 and A.3, RFC 8037 A.4 and RFC 9246 appendix A. They prove
 * that the library agrees with other implementations and not only with itself.
 */
#include <errno.h>
#include <jansson.h>

#include "tests/unit/tokens/fixture.h"
#include "tokens/json_internal.h"
#include "tokens/jws_internal.h"

/* The JWK of a vector lacks kid and alg: adds them and parses it. */
static struct key_set *vector_keys(const char *jwk, size_t length, const char *algorithm)
{
    json_t *json = token_json_parse(jwk, length);
    struct key_set *keys = NULL;
    char error[256];
    char *text;

    cr_assert_not_null(json);
    json_object_set_new(json, "kid", json_string("vector"));
    json_object_set_new(json, "alg", json_string(algorithm));
    text = json_dumps(json, 0);
    cr_assert_eq(key_set_parse(&keys, text, strlen(text), error, sizeof(error)), 0, "%s", error);
    free(text);
    json_decref(json);
    return keys;
}

static enum token_verdict verify(const struct key_set *keys, const char *jws, size_t length)
{
    struct jws_parts parts;

    cr_assert_eq(jws_split(jws, length, &parts), TOKEN_OK);
    return jws_verify_signature(&parts, &keys->keys[0], &(struct jws_gate){NULL, NULL});
}

static void verify_vector_files(const char *jwk_name, const char *jws_name, const char *algorithm)
{
    size_t length = 0;
    char *jwk = test_vector(jwk_name, &length);
    struct key_set *keys = vector_keys(jwk, length, algorithm);
    char *jws = test_vector(jws_name, &length);

    cr_expect_eq(verify(keys, jws, length), TOKEN_OK);
    jws[length / 2] = jws[length / 2] == 'A' ? 'B' : 'A';
    cr_expect_eq(verify(keys, jws, length), REFUSED_BAD_SIGNATURE);
    free(jwk);
    free(jws);
    key_set_destroy(&keys);
}

Test(token_vectors, agrees_with_rfc_7515_a_1_on_hs256)
{
    verify_vector_files("rfc7515-A.1.jwk", "rfc7515-A.1.jwsc", "HS256");
}

Test(token_vectors, agrees_with_rfc_7515_a_3_on_es256)
{
    verify_vector_files("rfc7515-A.3.jwk", "rfc7515-A.3.jwsc", "ES256");
}

Test(token_vectors, agrees_with_rfc_8037_a_4_on_eddsa_both_ways)
{
    size_t length = 0;
    char *text = test_vector("rfc8037-a.4-eddsa.json", &length);
    json_t *vector = json_loads(text, 0, NULL);
    char *jwk = json_dumps(json_object_get(json_object_get(vector, "input"), "key"), 0);
    const char *jws =
        json_string_value(json_object_get(json_object_get(vector, "output"), "compact"));
    struct key_set *keys = vector_keys(jwk, strlen(jwk), "EdDSA");
    unsigned char signature[SIGNATURE_SIZE_MAX];
    char signature_text[BASE64URL_ENCODED_SIZE(SIGNATURE_SIZE_MAX) + 1];
    struct jws_parts parts;

    cr_assert_eq(jws_split(jws, strlen(jws), &parts), TOKEN_OK);
    cr_expect_eq(jws_verify_signature(&parts, &keys->keys[0], &(struct jws_gate){NULL, NULL}),
                 TOKEN_OK);
    /* Ed25519 is deterministic, so our signature must equal the vector's. */
    cr_assert_eq(key_sign(&keys->keys[0], jws, parts.input_length, signature, &length), 0);
    base64url_encode(signature, length, signature_text);
    cr_expect_str_eq(signature_text, parts.signature);
    key_set_destroy(&keys);
    json_decref(vector);
    free(jwk);
    free(text);
}

static json_t *appendix(void)
{
    size_t length = 0;
    char *text = test_vector("rfc9246-appendix-a.json", &length);
    json_t *vectors = json_loads(text, 0, NULL);

    cr_assert_not_null(vectors);
    free(text);
    return vectors;
}

/* The appendix' first key alone, because its set repeats a kid and holds an encryption key. */
static struct key_set *appendix_keys(const json_t *vectors)
{
    const json_t *keys_json = json_object_get(json_object_get(vectors, "jwks"), "keys");
    char *jwk = json_dumps(json_array_get(keys_json, 0), 0);
    struct key_set *keys = NULL;
    char error[256];

    cr_assert_eq(key_set_parse(&keys, jwk, strlen(jwk), error, sizeof(error)), 0, "%s", error);
    free(jwk);
    return keys;
}

Test(token_vectors, refuses_the_appendix_key_set_as_a_whole)
{
    json_t *vectors = appendix();
    char *text = json_dumps(json_object_get(vectors, "jwks"), 0);
    struct key_set *keys = NULL;
    char error[256];

    cr_expect_eq(key_set_parse(&keys, text, strlen(text), error, sizeof(error)), -EINVAL);
    cr_expect_not_null(strstr(error, "kid"), "%s", error);
    free(text);
    json_decref(vectors);
}

Test(token_vectors, verifies_each_signature_of_rfc_9246_appendix_a)
{
    json_t *vectors = appendix();
    const json_t *examples = json_object_get(vectors, "examples");
    struct key_set *keys = appendix_keys(vectors);
    size_t signed_count = 0;
    size_t index;
    json_t *example;

    json_array_foreach(examples, index, example)
    {
        const char *jws = json_string_value(json_object_get(example, "token"));
        struct jws_parts parts;
        if (strcmp(json_string_value(json_object_get(example, "kind")), "JWS") != 0) {
            cr_expect_eq(jws_split(jws, strlen(jws), &parts), REFUSED_TOKEN_ENCRYPTED);
            continue;
        }
        cr_expect_eq(verify(keys, jws, strlen(jws)), TOKEN_OK, "example %zu", index);
        signed_count++;
    }
    cr_expect_eq(signed_count, 4);
    key_set_destroy(&keys);
    json_decref(vectors);
}

/* A trust with the appendix' issuer. */
static struct token_trust *appendix_trust(const json_t *vectors)
{
    static const char *const prefixes[] = {"/"};
    static const char *const audiences[] = {"dCDN LLC"};
    struct token_policy policy = {.lifetime_max_s = 7 * 86400,
                                  .public_origin = "HTTP://CDNI.example:80"};
    struct token_issuer issuer = {.id = "ucdn",
                                  .iss = "uCDN Inc",
                                  .keys = appendix_keys(vectors),
                                  .prefixes = prefixes,
                                  .prefix_count = 1,
                                  .audiences = audiences,
                                  .audience_count = 1};
    struct token_trust *trust = NULL;
    char error[256];

    cr_assert_eq(token_trust_create(&trust, &issuer, 1, &policy, error, sizeof(error)), 0, "%s",
                 error);
    return trust;
}

Test(token_vectors, refuses_the_appendix_tokens_for_what_this_profile_adds)
{
    json_t *vectors = appendix();
    const json_t *examples = json_object_get(vectors, "examples");
    struct token_trust *trust = appendix_trust(vectors);
    static const enum token_verdict expected[] = {
        REFUSED_CLAIM_MISSING,         REFUSED_TOKEN_ENCRYPTED, REFUSED_TOKEN_ENCRYPTED,
        REFUSED_CLIENT_IP_UNSUPPORTED, REFUSED_CLAIM_MISSING,   REFUSED_CLAIM_MISSING,
    };

    cr_assert_eq(json_array_size(examples), sizeof(expected) / sizeof(expected[0]));
    for (size_t i = 0; i < json_array_size(examples); i++) {
        const char *jws = json_string_value(json_object_get(json_array_get(examples, i), "token"));
        cr_expect_eq(test_verdict(trust, jws), expected[i], "example %zu", i);
    }
    token_trust_drop(&trust);
    json_decref(vectors);
}
