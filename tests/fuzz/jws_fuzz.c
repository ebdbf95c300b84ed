/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for the token verifier. The first byte says what the rest is: a whole token, the
 * claims or the header of a token (which is then signed, so that the fuzzer gets past the
 * signature), a container, or a key set. It asserts the bounds that the server relies on.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "tokens/base64url_internal.h"
#include "tokens/container_internal.h"
#include "tokens/key_internal.h"
#include "tokens/tokens.h"

#define INPUT_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char jwks[] = "{\"keys\":["
                           "{\"kty\":\"oct\",\"kid\":\"h\",\"alg\":\"HS256\","
                           "\"k\":\"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s\"},"
                           "{\"kty\":\"EC\",\"kid\":\"e\",\"alg\":\"ES256\",\"crv\":\"P-256\","
                           "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                           "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";

static struct key_set *keys; /* for signing; the trust has its own */
static struct token_trust *trust;

static void set_up(void)
{
    static const char *const prefixes[] = {"/"};
    static const char *const audiences[] = {"media"};
    struct token_policy policy = {.lifetime_max_s = UINT32_MAX, .public_origin = "http://m"};
    struct token_issuer issuer = {.id = "i",
                                  .iss = "i",
                                  .prefixes = prefixes,
                                  .prefix_count = 1,
                                  .audiences = audiences,
                                  .audience_count = 1};
    char error[256];

    if (trust != NULL)
        return;
    if (key_set_parse(&keys, jwks, sizeof(jwks) - 1, error, sizeof(error)) != 0 ||
        key_set_parse(&issuer.keys, jwks, sizeof(jwks) - 1, error, sizeof(error)) != 0 ||
        token_trust_create(&trust, &issuer, 1, &policy, error, sizeof(error)) != 0)
        abort();
}

/* A token that is accepted must keep the bounds that its users rely on. */
static void verify(const char *jws, size_t length)
{
    static const struct token_request request = {"/a/b", 4, "/a/b?c", 6};
    struct token *token = NULL;
    char *header = NULL;
    char *claims = NULL;
    enum token_verdict verdict = token_verify(trust, jws, length, &token);

    check((token != NULL) == (verdict == TOKEN_OK));
    if (token != NULL) {
        check(token->account[0] != '\0' && token->kid[0] != '\0');
        check(token->exp >= 0 && token->nbf >= 0 && token->iat >= 0);
        (void)token_validate(trust, token, &request, token->exp - 1);
        check(token_validate(trust, token, &request, token->exp + token->limits.resume_s) !=
              TOKEN_OK);
        check(token->limits.max_uses <= TOKEN_USES_MAX &&
              (token->limits.max_uses == 0 || token->jti[0] != '\0'));
        check(token->limits.pace_thousandth == 0 || token->limits.pace_thousandth >= 1000);
        check(token_is_live(trust, token));
    }
    token_destroy(&token);
    (void)token_peek(jws, length, &header, &claims);
    free(header);
    free(claims);
}

/* Signs header and payload with the HS256 key and verifies the result. */
static void verify_signed(const char *header, size_t header_length, const char *payload,
                          size_t payload_length)
{
    char jws[BASE64URL_ENCODED_SIZE((size_t)INPUT_MAX) * 2 + 128];
    unsigned char signature[SIGNATURE_SIZE_MAX];
    size_t signature_length = 0;
    size_t length = base64url_encode((const unsigned char *)header, header_length, jws);

    jws[length++] = '.';
    length += base64url_encode((const unsigned char *)payload, payload_length, jws + length);
    if (key_sign(&keys->keys[0], jws, length, signature, &signature_length) != 0)
        abort();
    jws[length++] = '.';
    length += base64url_encode(signature, signature_length, jws + length);
    verify(jws, length);
}

static void match(const char *text, size_t length)
{
    static const char uri[] =
        "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab/c?d=e%20f";
    static const struct token_request request = {"/a", 2, uri, sizeof(uri) - 1};
    struct token_container *container = NULL;

    if (container_parse(&container, text, length) == TOKEN_OK)
        (void)container_covers(container, "http://m", &request);
    container_destroy(&container);
}

static void parse_keys(const char *text, size_t length)
{
    struct key_set *set = NULL;
    char error[128];

    if (key_set_parse(&set, text, length, error, sizeof(error)) == 0)
        check(key_set_count(set) > 0);
    key_set_destroy(&set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char header[] = "{\"alg\":\"HS256\",\"kid\":\"h\"}";
    static const char claims[] = "{\"iss\":\"i\",\"exp\":9,\"cdniuc\":\"prefix:/\",\"acct\":\"a\"}";
    const char *text = (const char *)data + 1;

    if (size == 0 || size > INPUT_MAX)
        return 0;
    set_up();
    switch (data[0]) {
    case 'c':
        verify_signed(header, sizeof(header) - 1, text, size - 1);
        break;
    case 'h':
        verify_signed(text, size - 1, claims, sizeof(claims) - 1);
        break;
    case 'u':
        match(text, size - 1);
        break;
    case 'k':
        parse_keys(text, size - 1);
        break;
    default:
        verify((const char *)data, size);
        break;
    }
    return 0;
}
