/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether 32 bytes are an Ed25519 public key under which only its holder can sign. jwk.c calls it
 * for each OKP key. OpenSSL takes any 32 bytes for a public key: under one of the eight points of
 * small order anybody can sign, and a point in a second spelling would be a second key.
 *
 * The point is decoded as RFC 8032 5.1.3 says and taken to the curve's short Weierstrass form, in
 * which OpenSSL computes. The map from Edwards to Montgomery form is that of RFC 7748 4.1, the one
 * from there that of draft-ietf-lwig-curve-representations (Wei25519); both keep the group, so that
 * orders are the same on either side.
 */
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <string.h>

#include "tokens/key_internal.h"

/* p = 2^255 - 19; with A = 486662: a = (3 - A^2) / 3, b = (2 A^3 - 9 A) / 27, shift = A / 3. */
#define FIELD "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed"
#define A     "2aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa984914a144"
#define B     "7b425ed097b425ed097b425ed097b425ed097b425ed097b4260b5e9c7710c864"
#define SHIFT "2aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaad2451"
/* RFC 8032 5.1: the order of the base point, and so of every public key. */
#define ORDER "1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed"

struct numbers {
    BIGNUM *field, *a, *b, *shift, *order;
};

/*
 * x of the point in Weierstrass form: (1 + y) / (1 - y) + A / 3. False for y >= p, which is a
 * second spelling, and for y = 1, the neutral element. The sign of x is not needed: a point and its
 * negative have the same order, and x = 0, whose sign bit must be 0, occurs only with y = 1 or y =
 * -1, both of small order.
 */
static bool map_point(BIGNUM *x, const unsigned char encoded[EDDSA_KEY_SIZE],
                      const struct numbers *numbers, BN_CTX *context)
{
    unsigned char bytes[EDDSA_KEY_SIZE];
    BIGNUM *y = BN_CTX_get(context);
    BIGNUM *below = BN_CTX_get(context);

    memcpy(bytes, encoded, sizeof(bytes));
    bytes[EDDSA_KEY_SIZE - 1] &= 0x7f;
    return below != NULL && BN_lebin2bn(bytes, sizeof(bytes), y) != NULL &&
           BN_cmp(y, numbers->field) < 0 &&
           BN_mod_sub(below, BN_value_one(), y, numbers->field, context) == 1 &&
           !BN_is_zero(below) && BN_mod_inverse(below, below, numbers->field, context) != NULL &&
           BN_mod_add(x, BN_value_one(), y, numbers->field, context) == 1 &&
           BN_mod_mul(x, x, below, numbers->field, context) == 1 &&
           BN_mod_add(x, x, numbers->shift, numbers->field, context) == 1;
}

/* Whether a point with this x is on the curve, and ORDER times it is the neutral element. */
static bool has_order(const BIGNUM *x, const struct numbers *numbers, BN_CTX *context)
{
    EC_GROUP *group = EC_GROUP_new_curve_GFp(numbers->field, numbers->a, numbers->b, context);
    EC_POINT *point = group != NULL ? EC_POINT_new(group) : NULL;
    EC_POINT *product = group != NULL ? EC_POINT_new(group) : NULL;
    bool has = point != NULL && product != NULL &&
               EC_POINT_set_compressed_coordinates(group, point, x, 0, context) == 1 &&
               EC_POINT_mul(group, product, NULL, point, numbers->order, context) == 1 &&
               EC_POINT_is_at_infinity(group, product) == 1;

    EC_POINT_free(product);
    EC_POINT_free(point);
    EC_GROUP_free(group);
    return has;
}

bool ed25519_is_public_key(const unsigned char encoded[EDDSA_KEY_SIZE])
{
    BN_CTX *context = BN_CTX_new();
    struct numbers numbers = {NULL, NULL, NULL, NULL, NULL};
    BIGNUM *x = BN_new();
    bool is = false;

    if (context != NULL && x != NULL && BN_hex2bn(&numbers.field, FIELD) > 0 &&
        BN_hex2bn(&numbers.a, A) > 0 && BN_hex2bn(&numbers.b, B) > 0 &&
        BN_hex2bn(&numbers.shift, SHIFT) > 0 && BN_hex2bn(&numbers.order, ORDER) > 0) {
        BN_CTX_start(context);
        is = map_point(x, encoded, &numbers, context) && has_order(x, &numbers, context);
        BN_CTX_end(context);
    }
    BN_free(numbers.order);
    BN_free(numbers.shift);
    BN_free(numbers.b);
    BN_free(numbers.a);
    BN_free(numbers.field);
    BN_free(x);
    BN_CTX_free(context);
    ERR_clear_error();
    return is;
}
