/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the token tests share: fixed keys, a trust with one issuer of three keys, and tokens made by
 * hand from any header and claims, so that a test can sign what token_sign never would. The
 * functions assert that their own steps succeed, so that a test holds only its subject.
 */
#ifndef TOLLGATE_TESTS_TOKENS_FIXTURE_H
#define TOLLGATE_TESTS_TOKENS_FIXTURE_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokens/base64url_internal.h"
#include "tokens/key_internal.h"
#include "tokens/tokens.h"

#define TEST_NOW    1800000000

#define GOOD_HEADER "{\"alg\":\"HS256\",\"kid\":\"h\"}"
#define GOOD_CLAIMS                                                                                \
    "{\"iss\":\"https://shop.example\",\"exp\":1800003600,\"cdniuc\":\"exact:/music/a.mp3\","      \
    "\"acct\":\"anna\"}"
/* The claims to which a row of a table adds one member. */
#define WITH(member)                                                                               \
    "{\"iss\":\"https://shop.example\",\"exp\":1800003600,\"cdniuc\":\"exact:/music/a.mp3\","      \
    "\"acct\":\"anna\"," member "}"

/* The private JWKS of the test issuer: kids "h", "e" and "o" (HS256, ES256, EdDSA). */
static inline const char *test_jwks(void)
{
    /* HS256: 32 bytes of "k"; ES256: RFC 7515 A.3; EdDSA: RFC 8037 A.1. All are public. */
    return "{\"keys\":["
           "{\"kty\":\"oct\",\"kid\":\"h\",\"alg\":\"HS256\","
           "\"k\":\"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s\"},"
           "{\"kty\":\"EC\",\"kid\":\"e\",\"alg\":\"ES256\",\"crv\":\"P-256\","
           "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
           "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\","
           "\"d\":\"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI\"},"
           "{\"kty\":\"OKP\",\"kid\":\"o\",\"alg\":\"EdDSA\",\"crv\":\"Ed25519\","
           "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\","
           "\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\"}]}";
}

/* A trust whose issuer "shop" (iss "https://shop.example") may sign for /music and /free/. */
static inline struct token_trust *test_trust(const char *const *audiences, size_t audience_count)
{
    static const char *const prefixes[] = {"/music", "/free/"};
    struct token_policy policy = {
        .lifetime_max_s = 7 * 86400, .nbf_leeway_s = 0, .public_origin = "http://media.example"};
    struct token_issuer issuer = {.id = "shop",
                                  .iss = "https://shop.example",
                                  .prefixes = prefixes,
                                  .prefix_count = 2,
                                  .audiences = audiences,
                                  .audience_count = audience_count};
    struct token_trust *trust = NULL;
    char error[256];

    cr_assert_eq(
        key_set_parse(&issuer.keys, test_jwks(), strlen(test_jwks()), error, sizeof(error)), 0,
        "%s", error);
    cr_assert_eq(token_trust_create(&trust, &issuer, 1, &policy, error, sizeof(error)), 0, "%s",
                 error);
    return trust;
}

/* base64url of a text; the caller frees it. */
static inline char *test_base64url(const char *text)
{
    size_t length = strlen(text);
    char *out = malloc(BASE64URL_ENCODED_SIZE(length) + 1);

    cr_assert_not_null(out);
    base64url_encode((const unsigned char *)text, length, out);
    return out;
}

/* base64url(header).base64url(payload).signature, signed by the key `kid`; the caller frees it. */
static inline char *test_sign(const char *kid, const char *header, const char *payload)
{
    unsigned char signature[SIGNATURE_SIZE_MAX];
    char signature_text[BASE64URL_ENCODED_SIZE(SIGNATURE_SIZE_MAX) + 1];
    size_t signature_length = 0;
    char *parts[2] = {test_base64url(header), test_base64url(payload)};
    struct key_set *keys = NULL;
    char *input = NULL;
    char *jws = NULL;
    char error[256];

    cr_assert_eq(key_set_parse(&keys, test_jwks(), strlen(test_jwks()), error, sizeof(error)), 0);
    cr_assert_gt(asprintf(&input, "%s.%s", parts[0], parts[1]), 0);
    cr_assert_eq(
        key_sign(key_set_find(keys, kid), input, strlen(input), signature, &signature_length), 0);
    base64url_encode(signature, signature_length, signature_text);
    cr_assert_gt(asprintf(&jws, "%s.%s", input, signature_text), 0);
    key_set_destroy(&keys);
    free(parts[0]);
    free(parts[1]);
    free(input);
    return jws;
}

/* A token of these claims, signed by the key "h" under a plain header; the caller frees it. */
static inline char *test_token(const char *claims)
{
    return test_sign("h", "{\"alg\":\"HS256\",\"kid\":\"h\"}", claims);
}

/* Verifies a token and returns the verdict alone. */
static inline enum token_verdict test_verdict(const struct token_trust *trust, const char *jws)
{
    struct token *token = NULL;
    enum token_verdict verdict = token_verify(trust, jws, strlen(jws), &token);

    cr_assert_eq(token != NULL, verdict == TOKEN_OK);
    token_destroy(&token);
    return verdict;
}

/* A row of a table: a token signed by the key "h", and its verdict. */
struct forgery {
    const char *what;
    const char *header;
    const char *claims;
    enum token_verdict expected;
};

static inline void expect_all(const struct forgery *rows, size_t count)
{
    struct token_trust *trust = test_trust(NULL, 0);

    for (size_t i = 0; i < count; i++) {
        char *jws = test_sign("h", rows[i].header, rows[i].claims);
        enum token_verdict verdict = test_verdict(trust, jws);
        cr_expect_eq(verdict, rows[i].expected, "%s: %s instead of %s", rows[i].what,
                     token_verdict_name(verdict), token_verdict_name(rows[i].expected));
        free(jws);
    }
    token_trust_drop(&trust);
}

#define EXPECT_ALL(rows) expect_all(rows, sizeof(rows) / sizeof((rows)[0]))

/* The content of a file of the vectors folder, NUL-terminated; the caller frees it. */
static inline char *test_vector(const char *name, size_t *length)
{
    char path[512];
    char *text = calloc(1, 16384);
    FILE *file;

    cr_assert_lt(snprintf(path, sizeof(path), "%s/%s", TOLLGATE_VECTORS_DIR, name),
                 (int)sizeof(path));
    file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    cr_assert_not_null(text);
    *length = fread(text, 1, 16383, file);
    (void)fclose(file);
    /* A file may end in a newline; a token does not. */
    while (*length > 0 && text[*length - 1] == '\n')
        text[--*length] = '\0';
    return text;
}

#endif
