/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The three algorithms: signing and verifying with a prepared key. The JWS verifier and the signer
 * call it; it never chooses an algorithm, since the key has done so. This file compares bytes only
 * by CRYPTO_memcmp, which takes the same time whatever they are; tests/run.sh checks that.
 */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <string.h>

#include "tokens/key_internal.h"

int key_init_hs256(struct key *key, const unsigned char *secret, size_t length)
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);

    if (mac == NULL)
        return -ENOMEM;
    key->mac = EVP_MAC_CTX_new(mac);
    EVP_MAC_free(mac); /* the context holds its own reference */
    if (key->mac == NULL || EVP_MAC_init(key->mac, secret, length, params) != 1) {
        ERR_clear_error();
        return -ENOMEM;
    }
    return 0;
}

int key_init_pkey(struct key *key, EVP_PKEY *pkey)
{
    const char *digest = key->algorithm == TOKEN_ES256 ? "SHA256" : NULL;

    key->pkey = pkey;
    key->verifier = EVP_MD_CTX_new();
    if (key->verifier == NULL)
        return -ENOMEM;
    if (EVP_DigestVerifyInit_ex(key->verifier, NULL, digest, NULL, NULL, pkey, NULL) != 1) {
        ERR_clear_error();
        return -EINVAL;
    }
    return 0;
}

void key_clear(struct key *key)
{
    EVP_MAC_CTX_free(key->mac);
    EVP_MD_CTX_free(key->verifier);
    EVP_PKEY_free(key->pkey);
    memset(key, 0, sizeof(*key));
}

/* Computes the MAC; false when memory runs out. */
static bool hs256_compute(const struct key *key, const char *input, size_t length,
                          unsigned char out[HS256_SIGNATURE_SIZE])
{
    EVP_MAC_CTX *mac = EVP_MAC_CTX_dup(key->mac);
    size_t written = 0;
    bool done = mac != NULL && EVP_MAC_update(mac, (const unsigned char *)input, length) == 1 &&
                EVP_MAC_final(mac, out, &written, HS256_SIGNATURE_SIZE) == 1 &&
                written == HS256_SIGNATURE_SIZE;

    EVP_MAC_CTX_free(mac);
    return done;
}

bool key_print(const struct key *key, unsigned char print[KEY_PRINT_SIZE])
{
    /* Any text will do: two secrets that give one MAC are one secret. */
    static const char text[] = "the same key";
    unsigned char point[1 + 2 * ES256_COORDINATE]; /* SEC 1, the longer form; RFC 8032: 32 bytes */
    size_t length = 0;
    size_t written = 0;

    if (key->algorithm == TOKEN_HS256)
        return hs256_compute(key, text, sizeof(text), print);
    return EVP_PKEY_get_octet_string_param(key->pkey, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point),
                                           &length) == 1 &&
           EVP_Q_digest(NULL, "SHA256", NULL, point, length, print, &written) == 1 &&
           written == KEY_PRINT_SIZE;
}

bool key_is_same(const struct key *left, const struct key *right)
{
    unsigned char prints[2][KEY_PRINT_SIZE];
    bool same = left->algorithm == right->algorithm && key_print(left, prints[0]) &&
                key_print(right, prints[1]) &&
                CRYPTO_memcmp(prints[0], prints[1], KEY_PRINT_SIZE) == 0;

    OPENSSL_cleanse(prints, sizeof(prints));
    return same;
}

static bool hs256_verify(const struct key *key, const char *input, size_t input_length,
                         const unsigned char *signature, size_t signature_length)
{
    unsigned char expected[HS256_SIGNATURE_SIZE];
    bool equal;

    if (signature_length != sizeof(expected) || !hs256_compute(key, input, input_length, expected))
        return false;
    equal = CRYPTO_memcmp(expected, signature, sizeof(expected)) == 0;
    OPENSSL_cleanse(expected, sizeof(expected));
    return equal;
}

/* Writes a big-endian number as a DER INTEGER: shortest form, positive. Returns the bytes written.
 */
static size_t der_put_integer(unsigned char *out, const unsigned char number[ES256_COORDINATE])
{
    size_t skip = 0;
    size_t pad;
    size_t length;

    while (skip < ES256_COORDINATE - 1 && number[skip] == 0)
        skip++;
    pad = number[skip] >= 0x80 ? 1 : 0;
    length = ES256_COORDINATE - skip;
    out[0] = 0x02;
    out[1] = (unsigned char)(length + pad);
    out[2] = 0;
    memcpy(out + 2 + pad, number + skip, length);
    return 2 + pad + length;
}

/*
 * Turns a signature into DER, which OpenSSL takes; RFC 7518 section 3.4: JWS carries r || s. `out`
 * holds 72 bytes.
 */
static size_t es256_to_der(const unsigned char signature[ES256_SIGNATURE_SIZE], unsigned char *out)
{
    size_t length = der_put_integer(out + 2, signature);

    length += der_put_integer(out + 2 + length, signature + ES256_COORDINATE);
    out[0] = 0x30;
    out[1] = (unsigned char)length;
    return length + 2;
}

static int es256_from_der(const unsigned char *der, size_t length,
                          unsigned char out[ES256_SIGNATURE_SIZE])
{
    const unsigned char *cursor = der;
    ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &cursor, (long)length);
    int result = 0;

    if (signature == NULL)
        return -ENOMEM;
    if (BN_bn2binpad(ECDSA_SIG_get0_r(signature), out, ES256_COORDINATE) < 0 ||
        BN_bn2binpad(ECDSA_SIG_get0_s(signature), out + ES256_COORDINATE, ES256_COORDINATE) < 0)
        result = -ENOMEM;
    ECDSA_SIG_free(signature);
    return result;
}

static bool pkey_verify(const struct key *key, const char *input, size_t input_length,
                        const unsigned char *signature, size_t signature_length)
{
    EVP_MD_CTX *verifier = EVP_MD_CTX_new();
    bool valid = verifier != NULL && EVP_MD_CTX_copy_ex(verifier, key->verifier) == 1 &&
                 EVP_DigestVerify(verifier, signature, signature_length,
                                  (const unsigned char *)input, input_length) == 1;

    EVP_MD_CTX_free(verifier);
    ERR_clear_error(); /* a refused signature leaves errors in the thread's queue */
    return valid;
}

bool key_verify(const struct key *key, const char *input, size_t input_length,
                const unsigned char *signature, size_t signature_length)
{
    unsigned char der[72];

    switch (key->algorithm) {
    case TOKEN_HS256:
        return hs256_verify(key, input, input_length, signature, signature_length);
    case TOKEN_ES256:
        if (signature_length != ES256_SIGNATURE_SIZE)
            return false;
        return pkey_verify(key, input, input_length, der, es256_to_der(signature, der));
    case TOKEN_EDDSA:
        /* RFC 8037 section 3.1: the 64 bytes of RFC 8032, as they are. */
        if (signature_length != EDDSA_SIGNATURE_SIZE)
            return false;
        return pkey_verify(key, input, input_length, signature, signature_length);
    }
    return false;
}

static int pkey_sign(const struct key *key, const char *input, size_t input_length,
                     unsigned char *out, size_t *out_length)
{
    const char *digest = key->algorithm == TOKEN_ES256 ? "SHA256" : NULL;
    EVP_MD_CTX *signer = EVP_MD_CTX_new();
    int result = 0;

    if (signer == NULL ||
        EVP_DigestSignInit_ex(signer, NULL, digest, NULL, NULL, key->pkey, NULL) != 1 ||
        EVP_DigestSign(signer, out, out_length, (const unsigned char *)input, input_length) != 1) {
        ERR_clear_error();
        result = -ENOMEM;
    }
    EVP_MD_CTX_free(signer);
    return result;
}

int key_sign(const struct key *key, const char *input, size_t input_length,
             unsigned char *signature, size_t *signature_length)
{
    unsigned char der[80];
    size_t der_length = sizeof(der);
    int result;

    if (!key->can_sign)
        return -ENOKEY;
    switch (key->algorithm) {
    case TOKEN_HS256:
        *signature_length = HS256_SIGNATURE_SIZE;
        return hs256_compute(key, input, input_length, signature) ? 0 : -ENOMEM;
    case TOKEN_ES256:
        *signature_length = ES256_SIGNATURE_SIZE;
        result = pkey_sign(key, input, input_length, der, &der_length);
        return result != 0 ? result : es256_from_der(der, der_length, signature);
    case TOKEN_EDDSA:
        *signature_length = EDDSA_SIGNATURE_SIZE;
        return pkey_sign(key, input, input_length, signature, signature_length);
    }
    return -ENOKEY;
}
