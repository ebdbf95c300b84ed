/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads one JWK (RFC 7517) into a key: members, sizes, and that the private half belongs to the
 * public one. key_set.c calls it for each element; its messages name the member and the cure and
 * never a byte of the key.
 */
#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <stdio.h>
#include <string.h>

#include "tokens/base64url_internal.h"
#include "tokens/json_internal.h"
#include "tokens/key_internal.h"

/* What each algorithm asks of kty and crv: RFC 7518 sections 3.2, 3.4 and 6, RFC 8037 section 2. */
static const struct {
    const char *kty;
    const char *crv; /* NULL: the type has none */
} shapes[] = {
    [TOKEN_HS256] = {"oct", NULL},
    [TOKEN_ES256] = {"EC", "P-256"},
    [TOKEN_EDDSA] = {"OKP", "Ed25519"},
};

struct complaint {
    char *text;
    size_t size;
};

static int complain(const struct complaint *complaint, const char *text)
{
    if (complaint->size > 0)
        (void)snprintf(complaint->text, complaint->size, "%s", text);
    return -EINVAL;
}

/* Whether an id has 1 to TOKEN_KID_MAX bytes without control characters: it is logged. */
static bool is_kid(const char *kid, size_t length)
{
    if (length == 0 || length > TOKEN_KID_MAX)
        return false;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)kid[i];
        if (byte < 0x20 || byte == 0x7f)
            return false;
    }
    return true;
}

static int parse_identity(struct key *key, const json_t *jwk, const struct complaint *complaint)
{
    size_t length = 0;
    const char *text = token_json_string(jwk, "kid", &length);

    if (text == NULL || !is_kid(text, length))
        return complain(complaint, "\"kid\" must be a string of 1 to 128 bytes without control "
                                   "characters; give each key an id");
    memcpy(key->kid, text, length);
    key->kid[length] = '\0';

    text = token_json_string(jwk, "alg", &length);
    if (text == NULL || token_algorithm_parse(text, &key->algorithm) != 0)
        return complain(complaint,
                        "\"alg\" must be \"HS256\", \"ES256\" or \"EdDSA\"; add it, since a "
                        "key is used for one algorithm only");
    return 0;
}

static int validate_type(const struct key *key, const json_t *jwk,
                         const struct complaint *complaint)
{
    size_t length = 0;
    const char *kty = token_json_string(jwk, "kty", &length);
    const char *crv = token_json_string(jwk, "crv", &length);
    const char *crv_wanted = shapes[key->algorithm].crv;

    if (kty == NULL || strcmp(kty, shapes[key->algorithm].kty) != 0)
        return complain(complaint,
                        "\"kty\" does not fit \"alg\"; it is \"oct\" for HS256, \"EC\" for "
                        "ES256 and \"OKP\" for EdDSA");
    if (crv_wanted != NULL && (crv == NULL || strcmp(crv, crv_wanted) != 0))
        return complain(complaint, "\"crv\" does not fit \"alg\"; it is \"P-256\" for ES256 and "
                                   "\"Ed25519\" for EdDSA");
    return 0;
}

/* RFC 7517 sections 4.2 and 4.3: a key that is meant for something else does not verify
 * or make signatures. */
static int validate_purpose(struct key *key, const json_t *jwk, const struct complaint *complaint)
{
    const json_t *use = json_object_get(jwk, "use");
    const json_t *operations = json_object_get(jwk, "key_ops");

    if (use != NULL && (!json_is_string(use) || strcmp(json_string_value(use), "sig") != 0))
        return complain(complaint,
                        "\"use\" must be \"sig\" where it is given; take encryption keys out "
                        "of this file");
    key->can_sign = key->can_verify = operations == NULL;
    if (operations == NULL)
        return 0;
    for (size_t i = 0; i < json_array_size(operations); i++) {
        const char *name = json_string_value(json_array_get(operations, i));
        if (name != NULL && strcmp(name, "sign") == 0)
            key->can_sign = true;
        if (name != NULL && strcmp(name, "verify") == 0)
            key->can_verify = true;
    }
    if (!key->can_sign && !key->can_verify)
        return complain(complaint,
                        "\"key_ops\" must be an array with \"sign\" or \"verify\" in it");
    return 0;
}

/* Decodes a member of exactly `size` bytes. Returns 1, 0 where it is absent, or -EINVAL. */
static int decode_member(const json_t *jwk, const char *name, unsigned char *out, size_t size)
{
    size_t length = 0;
    size_t decoded = 0;
    const char *text = token_json_string(jwk, name, &length);

    if (text == NULL)
        return json_object_get(jwk, name) == NULL ? 0 : -EINVAL;
    if (base64url_decode_key(text, length, out, size, &decoded) != 0 || decoded != size)
        return -EINVAL;
    return 1;
}

static int parse_oct(struct key *key, const json_t *jwk, const struct complaint *complaint)
{
    unsigned char secret[HS256_KEY_SIZE_MAX];
    size_t length = 0;
    size_t text_length = 0;
    const char *text = token_json_string(jwk, "k", &text_length);
    int result;

    if (text == NULL ||
        base64url_decode_key(text, text_length, secret, sizeof(secret), &length) != 0)
        result =
            complain(complaint, "\"k\" must be base64url without padding, of 512 bytes at most");
    else if (length < HS256_KEY_SIZE_MIN)
        result = complain(complaint, "\"k\" is shorter than 32 bytes, which HS256 needs (RFC 7518 "
                                     "section 3.2); make one with `tollgate key generate`");
    else
        result = key_init_hs256(key, secret, length);
    key->is_guessable = result == 0 && secret_is_guessable(secret, length);
    OPENSSL_cleanse(secret, sizeof(secret));
    return result;
}

/*
 * Builds the public key or, with d, the pair. NULL where OpenSSL refuses the point or the number.
 */
static EVP_PKEY *build_ec(const unsigned char *point, size_t point_length, const unsigned char *d)
{
    EVP_PKEY *pkey = NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    BIGNUM *number = d != NULL ? BN_secure_new() : NULL;
    OSSL_PARAM *params = NULL;

    if (context != NULL && builder != NULL &&
        OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, point_length) ==
            1 &&
        (d == NULL || (number != NULL && BN_bin2bn(d, ES256_COORDINATE, number) != NULL &&
                       OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, number) == 1)))
        params = OSSL_PARAM_BLD_to_param(builder);
    if (params != NULL && EVP_PKEY_fromdata_init(context) == 1 &&
        EVP_PKEY_fromdata(context, &pkey, d != NULL ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY,
                          params) != 1)
        pkey = NULL;
    OSSL_PARAM_free(params); /* also wipes the secure BIGNUM's copy */
    BN_clear_free(number);
    OSSL_PARAM_BLD_free(builder);
    EVP_PKEY_CTX_free(context);
    return pkey;
}

/* Whether the point is on the curve and, with a private key, whether the two belong together. */
static bool is_sound_ec(EVP_PKEY *pkey, bool has_private)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    bool sound = context != NULL && EVP_PKEY_public_check(context) == 1 &&
                 (!has_private ||
                  (EVP_PKEY_private_check(context) == 1 && EVP_PKEY_pairwise_check(context) == 1));

    EVP_PKEY_CTX_free(context);
    return sound;
}

/* Builds and validates the public key or, with d, the pair. NULL where it is unsound. */
static EVP_PKEY *build_sound_ec(const unsigned char *point, size_t point_length,
                                const unsigned char *d)
{
    EVP_PKEY *pkey = build_ec(point, point_length, d);

    if (pkey != NULL && !is_sound_ec(pkey, d != NULL)) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    ERR_clear_error();
    return pkey;
}

static int parse_ec(struct key *key, const json_t *jwk, const struct complaint *complaint)
{
    unsigned char point[1 + 2 * ES256_COORDINATE] = {0x04}; /* SEC 1: uncompressed */
    unsigned char d[ES256_COORDINATE];
    EVP_PKEY *pkey;
    EVP_PKEY *pair = NULL;
    int has_private = decode_member(jwk, "d", d, sizeof(d));

    if (has_private < 0 || decode_member(jwk, "x", point + 1, ES256_COORDINATE) != 1 ||
        decode_member(jwk, "y", point + 1 + ES256_COORDINATE, ES256_COORDINATE) != 1) {
        OPENSSL_cleanse(d, sizeof(d));
        return complain(complaint,
                        "\"x\", \"y\" and, where it is given, \"d\" of a P-256 key must be "
                        "32 bytes each (RFC 7518 section 6.2: leading zeros stay) in "
                        "base64url without padding");
    }
    pkey = build_sound_ec(point, sizeof(point), NULL);
    if (pkey != NULL && has_private == 1)
        pair = build_sound_ec(point, sizeof(point), d);
    OPENSSL_cleanse(d, sizeof(d));
    if (pkey == NULL)
        return complain(complaint,
                        "\"x\" and \"y\" are not a point of the curve P-256: a byte is wrong, "
                        "or the key is one of another curve; export the key again");
    if (has_private == 1) {
        EVP_PKEY_free(pkey);
        if (pair == NULL)
            return complain(complaint, "\"d\" is not the private half of \"x\" and \"y\" on P-256; "
                                       "export the key again");
        pkey = pair;
    }
    key->has_private = has_private == 1;
    key->can_sign = key->can_sign && key->has_private;
    return key_init_pkey(key, pkey);
}

/* Whether the public half of `pkey` is x. */
static bool has_public(const EVP_PKEY *pkey, const unsigned char x[EDDSA_KEY_SIZE])
{
    unsigned char derived[EDDSA_KEY_SIZE];
    size_t length = sizeof(derived);

    return EVP_PKEY_get_raw_public_key(pkey, derived, &length) == 1 && length == sizeof(derived) &&
           CRYPTO_memcmp(derived, x, sizeof(derived)) == 0;
}

static int parse_okp(struct key *key, const json_t *jwk, const struct complaint *complaint)
{
    unsigned char x[EDDSA_KEY_SIZE];
    unsigned char d[EDDSA_KEY_SIZE];
    EVP_PKEY *pkey;
    int has_private = decode_member(jwk, "d", d, sizeof(d));

    if (has_private < 0 || decode_member(jwk, "x", x, sizeof(x)) != 1) {
        OPENSSL_cleanse(d, sizeof(d));
        return complain(complaint,
                        "\"x\" and, where it is given, \"d\" of an Ed25519 key must be 32 "
                        "bytes each in base64url without padding");
    }
    if (!ed25519_is_public_key(x)) {
        OPENSSL_cleanse(d, sizeof(d));
        return complain(
            complaint,
            "\"x\" is not an Ed25519 public key: it is not the canonical encoding of a point of "
            "the curve, or is a point of small order, under which anybody could sign (RFC 8032 "
            "section 5.1.3); export the key again, or make one with `tollgate key generate`");
    }
    pkey = has_private == 1 ? EVP_PKEY_new_raw_private_key_ex(NULL, "ED25519", NULL, d, sizeof(d))
                            : EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, x, sizeof(x));
    OPENSSL_cleanse(d, sizeof(d));
    if (pkey == NULL || !has_public(pkey, x)) {
        EVP_PKEY_free(pkey);
        ERR_clear_error();
        return complain(complaint,
                        "\"d\" is not the private half of \"x\" on Ed25519; export the key "
                        "again");
    }
    key->has_private = has_private == 1;
    key->can_sign = key->can_sign && key->has_private;
    return key_init_pkey(key, pkey);
}

int key_parse_jwk(struct key *key, const json_t *jwk, char *error, size_t error_size)
{
    const struct complaint complaint = {error, error_size};
    int result;

    memset(key, 0, sizeof(*key));
    if (!json_is_object(jwk))
        return complain(&complaint, "a key must be a JSON object");
    if ((result = parse_identity(key, jwk, &complaint)) != 0 ||
        (result = validate_type(key, jwk, &complaint)) != 0 ||
        (result = validate_purpose(key, jwk, &complaint)) != 0)
        return result;
    switch (key->algorithm) {
    case TOKEN_HS256:
        result = parse_oct(key, jwk, &complaint);
        break;
    case TOKEN_ES256:
        result = parse_ec(key, jwk, &complaint);
        break;
    case TOKEN_EDDSA:
        result = parse_okp(key, jwk, &complaint);
        break;
    }
    if (result != 0)
        key_clear(key);
    return result;
}
