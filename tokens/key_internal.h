/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One key: its id, the one algorithm that it is pinned to, and the prepared contexts that make a
 * signature verification cheap. jwk.c builds it, key_set.c keeps it, algorithm.c uses it. It never
 * changes once built.
 */
#ifndef TOLLGATE_TOKENS_KEY_INTERNAL_H
#define TOLLGATE_TOKENS_KEY_INTERNAL_H

#include <jansson.h>
#include <openssl/evp.h>

#include "tokens/tokens.h"

#define HS256_KEY_SIZE_MIN   32 /* RFC 7518 section 3.2: as long as the hash at least */
#define HS256_KEY_SIZE_MAX   512
#define HS256_SIGNATURE_SIZE 32
#define ES256_COORDINATE     32 /* RFC 7518 section 6.2.1.2 */
#define ES256_SIGNATURE_SIZE 64 /* RFC 7518 section 3.4: r || s */
#define EDDSA_KEY_SIZE       32
#define EDDSA_SIGNATURE_SIZE 64
#define SIGNATURE_SIZE_MAX   64

struct key {
    char kid[TOKEN_KID_MAX + 1];
    enum token_algorithm algorithm;
    bool can_sign;
    bool can_verify;
    bool has_private;     /* the private half of an asymmetric key was in the file */
    bool is_guessable;    /* HS256: secret_is_guessable */
    EVP_PKEY *pkey;       /* owns; NULL for HS256 */
    EVP_MD_CTX *verifier; /* owns; initialised once, copied at each verification; NULL for HS256 */
    EVP_MAC_CTX *mac;     /* owns; keyed once, duplicated at each verification; HS256 alone */
};

struct key_set {
    size_t count;
    struct key keys[];
};

/* ---- algorithm.c ---- */

/* Give `key` its contexts; its kid, its algorithm and its flags are already set. Return 0, -EINVAL
 * or -ENOMEM. */
int key_init_hs256(struct key *key, const unsigned char *secret, size_t length);
int key_init_pkey(struct key *key, EVP_PKEY *pkey); /* the key owns pkey, also on failure */
void key_clear(struct key *key);

/* Whether `signature` is the key's over `input`. Also false when memory runs out: a token that
 * could not be verified is never let in. */
bool key_verify(const struct key *key, const char *input, size_t input_length,
                const unsigned char *signature, size_t signature_length);
/* `signature` holds SIGNATURE_SIZE_MAX bytes. Returns 0, -ENOKEY or -ENOMEM. */
int key_sign(const struct key *key, const char *input, size_t input_length,
             unsigned char *signature, size_t *signature_length);

/* key_set_print of one key. */
bool key_print(const struct key *key, unsigned char print[KEY_PRINT_SIZE]);

/* Whether both have the same algorithm and the same material; secrets in constant time. */
bool key_is_same(const struct key *left, const struct key *right);

/* ---- ed25519_point.c ---- */

/*
 * Whether the bytes are a public key as RFC 8032 5.1.5 makes them: the one spelling (5.1.3) of a
 * point on the curve whose order is that of the base point. Also false when memory runs out. Takes
 * a millisecond at most.
 */
bool ed25519_is_public_key(const unsigned char encoded[EDDSA_KEY_SIZE]);

/* ---- secret_strength.c ---- */

/* Whether a secret of at most HS256_KEY_SIZE_MAX bytes repeats itself or counts, so that an
 * attacker has to guess less than three quarters of the 32 bytes that HS256 needs. */
bool secret_is_guessable(const unsigned char *secret, size_t length);

/* ---- jwk.c ---- */

/* Reads one JWK into `key`. On failure writes a sentence into `error`. Returns 0,
 * -EINVAL or -ENOMEM. */
int key_parse_jwk(struct key *key, const json_t *jwk, char *error, size_t error_size);

/* ---- key_set.c ---- */

/* The key of that kid, or NULL. */
const struct key *key_set_find(const struct key_set *set, const char *kid);

#endif
