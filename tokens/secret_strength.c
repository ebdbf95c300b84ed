/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a secret can be written down in fewer steps than it has bytes: one byte over and over, a
 * word that repeats, a count from 00 to 1f. jwk.c calls it for each HS256 key. It knows no
 * language: it does not find what a dictionary would.
 */
#include <openssl/crypto.h>

#include "tokens/key_internal.h"

#define COPY_MIN  4 /* shorter ones happen by chance, above all in digits and hex */
/* 32 random bytes need 32 steps. 32 random decimal digits, the fewest symbols that still make some
 * hundred bits, needed 26 or more in each of 6,000 draws. */
#define STEPS_MIN 24

/* The steps in which the bytes can be written down. Each is either a byte or a copy of earlier
 * bytes, which may overlap its own output: so Lempel and Ziv (1976) count. */
static size_t steps(const unsigned char *bytes, size_t length)
{
    size_t count = 0;

    for (size_t at = 0; at < length; count++) {
        size_t longest = 0;
        for (size_t from = 0; from < at; from++) {
            size_t same = 0;
            while (at + same < length && bytes[from + same] == bytes[at + same])
                same++;
            longest = same > longest ? same : longest;
        }
        at += longest >= COPY_MIN ? longest : 1;
    }
    return count;
}

bool secret_is_guessable(const unsigned char *secret, size_t length)
{
    unsigned char rises[HS256_KEY_SIZE_MAX]; /* from byte to byte: a count repeats one rise */
    bool guessable = steps(secret, length) < STEPS_MIN;

    for (size_t i = 0; i < length; i++)
        rises[i] = (unsigned char)(secret[i] - (i > 0 ? secret[i - 1] : 0));
    guessable = guessable || steps(rises, length) < STEPS_MIN;
    OPENSSL_cleanse(rises, sizeof(rises));
    return guessable;
}
