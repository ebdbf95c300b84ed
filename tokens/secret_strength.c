/*
 * Whether a secret can be told in fewer words than it has bytes: one byte over and over, a word
 * that repeats, a count from 00 to 1f. Called by jwk.c for each HS256 key. It knows no language:
 * what a dictionary would find, it does not.
 */
#include <openssl/crypto.h>

#include "tokens/key_internal.h"

#define COPY_MIN  4 /* shorter ones happen by chance, above all in digits and hex */
/*
 * Of 32 random bytes, 32 steps are wanted; of 32 random decimal digits, the fewest symbols that
 * still make some hundred bits, 26 and more were, in each of 6,000 draws.
 */
#define STEPS_MIN 24

/*
 * The steps in which the bytes can be written down, each either a byte or a copy of what stands
 * before, which may overlap what it writes: how Lempel and Ziv (1976) count.
 */
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
    unsigned char rises[HS256_KEY_SIZE_MAX]; /* from byte to byte: a count is one rise repeated */
    bool guessable = steps(secret, length) < STEPS_MIN;

    for (size_t i = 0; i < length; i++)
        rises[i] = (unsigned char)(secret[i] - (i > 0 ? secret[i - 1] : 0));
    guessable = guessable || steps(rises, length) < STEPS_MIN;
    OPENSSL_cleanse(rises, sizeof(rises));
    return guessable;
}
