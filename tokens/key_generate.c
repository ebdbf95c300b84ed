/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes fresh keys as JWKS texts, private and public. Called by the command line and the bench
 * harness; it never writes a file, and wipes each buffer that held a secret.
 */
#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokens/base64url_internal.h"
#include "tokens/key_internal.h"

#define NUMBER_SIZE 32 /* bytes of a secret, a coordinate, a private or public key alike */
#define NUMBER_TEXT (BASE64URL_ENCODED_SIZE(NUMBER_SIZE) + 1)
#define KID_SIZE    12
#define KID_TEXT    (BASE64URL_ENCODED_SIZE(KID_SIZE) + 1)
#define TEXT_SIZE   512

/* The members of the JWK as text; "" where the type has none. */
struct material {
    char kid[KID_TEXT];
    char x[NUMBER_TEXT];
    char y[NUMBER_TEXT];
    char secret[NUMBER_TEXT]; /* k or d */
};

static int generate_hs256(struct material *material)
{
    unsigned char secret[NUMBER_SIZE];

    if (RAND_priv_bytes(secret, sizeof(secret)) != 1)
        return -EIO;
    base64url_encode(secret, sizeof(secret), material->secret);
    OPENSSL_cleanse(secret, sizeof(secret));
    return 0;
}

/* Reads a number of the key as 32 bytes, big-endian, in base64url. */
static int export_number(const EVP_PKEY *pkey, const char *name, char *out)
{
    unsigned char bytes[NUMBER_SIZE];
    BIGNUM *number = NULL;
    int result = -ENOMEM;

    if (EVP_PKEY_get_bn_param(pkey, name, &number) == 1 &&
        BN_bn2binpad(number, bytes, sizeof(bytes)) == (int)sizeof(bytes)) {
        base64url_encode(bytes, sizeof(bytes), out);
        result = 0;
    }
    BN_clear_free(number);
    OPENSSL_cleanse(bytes, sizeof(bytes));
    return result;
}

static int generate_es256(struct material *material)
{
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    int result;

    if (pkey == NULL)
        return -EIO;
    if ((result = export_number(pkey, OSSL_PKEY_PARAM_EC_PUB_X, material->x)) == 0 &&
        (result = export_number(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, material->y)) == 0)
        result = export_number(pkey, OSSL_PKEY_PARAM_PRIV_KEY, material->secret);
    EVP_PKEY_free(pkey);
    return result;
}

static int generate_eddsa(struct material *material)
{
    EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    unsigned char bytes[NUMBER_SIZE];
    size_t length = sizeof(bytes);
    int result = -ENOMEM;

    if (pkey == NULL)
        return -EIO;
    if (EVP_PKEY_get_raw_public_key(pkey, bytes, &length) == 1 && length == sizeof(bytes)) {
        base64url_encode(bytes, sizeof(bytes), material->x);
        if (EVP_PKEY_get_raw_private_key(pkey, bytes, &length) == 1 && length == sizeof(bytes)) {
            base64url_encode(bytes, sizeof(bytes), material->secret);
            result = 0;
        }
    }
    OPENSSL_cleanse(bytes, sizeof(bytes));
    EVP_PKEY_free(pkey);
    return result;
}

/* Writes the set, with its private half only if `secret`. The values are base64url, so that nothing
 * needs an escape. */
static int format(enum token_algorithm algorithm, const struct material *material, bool secret,
                  char *out, size_t size)
{
    const char *kid = material->kid;

    switch (algorithm) {
    case TOKEN_HS256:
        return snprintf(out, size,
                        "{\"keys\": [\n  {\"kty\": \"oct\", \"use\": \"sig\", \"alg\": \"HS256\",\n"
                        "   \"kid\": \"%s\",\n   \"k\": \"%s\"}\n]}\n",
                        kid, material->secret);
    case TOKEN_ES256:
        return snprintf(out, size,
                        "{\"keys\": [\n  {\"kty\": \"EC\", \"crv\": \"P-256\", \"use\": \"sig\", "
                        "\"alg\": \"ES256\",\n   \"kid\": \"%s\",\n   \"x\": \"%s\",\n"
                        "   \"y\": \"%s\"%s%s%s}\n]}\n",
                        kid, material->x, material->y, secret ? ",\n   \"d\": \"" : "",
                        secret ? material->secret : "", secret ? "\"" : "");
    case TOKEN_EDDSA:
        return snprintf(
            out, size,
            "{\"keys\": [\n  {\"kty\": \"OKP\", \"crv\": \"Ed25519\", \"use\": \"sig\", "
            "\"alg\": \"EdDSA\",\n   \"kid\": \"%s\",\n   \"x\": \"%s\"%s%s%s}\n]}\n",
            kid, material->x, secret ? ",\n   \"d\": \"" : "", secret ? material->secret : "",
            secret ? "\"" : "");
    }
    return -1;
}

static char *format_text(enum token_algorithm algorithm, const struct material *material,
                         bool secret)
{
    char *text = calloc(1, TEXT_SIZE);

    if (text == NULL)
        return NULL;
    if (format(algorithm, material, secret, text, TEXT_SIZE) >= TEXT_SIZE)
        key_text_free(&text);
    return text;
}

static int generate(enum token_algorithm algorithm, struct material *material)
{
    unsigned char kid[KID_SIZE];

    if (RAND_bytes(kid, sizeof(kid)) != 1)
        return -EIO;
    base64url_encode(kid, sizeof(kid), material->kid);
    switch (algorithm) {
    case TOKEN_HS256:
        return generate_hs256(material);
    case TOKEN_ES256:
        return generate_es256(material);
    case TOKEN_EDDSA:
        return generate_eddsa(material);
    }
    return -EINVAL;
}

int key_generate(enum token_algorithm algorithm, char **private_jwks, char **public_jwks)
{
    struct material material = {0};
    int result;

    *private_jwks = *public_jwks = NULL;
    result = generate(algorithm, &material);
    if (result == 0) {
        *private_jwks = format_text(algorithm, &material, true);
        if (algorithm != TOKEN_HS256)
            *public_jwks = format_text(algorithm, &material, false);
        if (*private_jwks == NULL || (algorithm != TOKEN_HS256 && *public_jwks == NULL)) {
            key_text_free(private_jwks);
            key_text_free(public_jwks);
            result = -ENOMEM;
        }
    }
    ERR_clear_error();
    OPENSSL_cleanse(&material, sizeof(material));
    return result;
}

void key_text_free(char **text)
{
    if (*text == NULL)
        return;
    OPENSSL_cleanse(*text, strlen(*text));
    free(*text);
    *text = NULL;
}
