/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base64url for tokens and keys: encoding, and decoding that refuses every second spelling of a
 * value in tokens. The parsers of JWS, JWK and containers call it, and so do the signer and the key
 * generator; it never allocates and never skips a byte.
 */
#include <errno.h>
#include <stdint.h>

#include "tokens/base64url_internal.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

size_t base64url_encode(const unsigned char *bytes, size_t length, char *out)
{
    size_t written = 0;
    uint32_t bits = 0;
    unsigned held = 0;

    for (size_t i = 0; i < length; i++) {
        bits = (bits << 8) | bytes[i];
        held += 8;
        while (held >= 6) {
            held -= 6;
            out[written++] = alphabet[(bits >> held) & 63];
        }
    }
    if (held > 0)
        out[written++] = alphabet[(bits << (6 - held)) & 63];
    out[written] = '\0';
    return written;
}

#define IS_DIGIT 64u
#define DIGIT(v) (IS_DIGIT | (v))

/* The six bits of a character, with IS_DIGIT; 0 where it is not a digit. */
static const unsigned char digits[256] = {
    ['A'] = DIGIT(0),  ['B'] = DIGIT(1),  ['C'] = DIGIT(2),  ['D'] = DIGIT(3),  ['E'] = DIGIT(4),
    ['F'] = DIGIT(5),  ['G'] = DIGIT(6),  ['H'] = DIGIT(7),  ['I'] = DIGIT(8),  ['J'] = DIGIT(9),
    ['K'] = DIGIT(10), ['L'] = DIGIT(11), ['M'] = DIGIT(12), ['N'] = DIGIT(13), ['O'] = DIGIT(14),
    ['P'] = DIGIT(15), ['Q'] = DIGIT(16), ['R'] = DIGIT(17), ['S'] = DIGIT(18), ['T'] = DIGIT(19),
    ['U'] = DIGIT(20), ['V'] = DIGIT(21), ['W'] = DIGIT(22), ['X'] = DIGIT(23), ['Y'] = DIGIT(24),
    ['Z'] = DIGIT(25), ['a'] = DIGIT(26), ['b'] = DIGIT(27), ['c'] = DIGIT(28), ['d'] = DIGIT(29),
    ['e'] = DIGIT(30), ['f'] = DIGIT(31), ['g'] = DIGIT(32), ['h'] = DIGIT(33), ['i'] = DIGIT(34),
    ['j'] = DIGIT(35), ['k'] = DIGIT(36), ['l'] = DIGIT(37), ['m'] = DIGIT(38), ['n'] = DIGIT(39),
    ['o'] = DIGIT(40), ['p'] = DIGIT(41), ['q'] = DIGIT(42), ['r'] = DIGIT(43), ['s'] = DIGIT(44),
    ['t'] = DIGIT(45), ['u'] = DIGIT(46), ['v'] = DIGIT(47), ['w'] = DIGIT(48), ['x'] = DIGIT(49),
    ['y'] = DIGIT(50), ['z'] = DIGIT(51), ['0'] = DIGIT(52), ['1'] = DIGIT(53), ['2'] = DIGIT(54),
    ['3'] = DIGIT(55), ['4'] = DIGIT(56), ['5'] = DIGIT(57), ['6'] = DIGIT(58), ['7'] = DIGIT(59),
    ['8'] = DIGIT(60), ['9'] = DIGIT(61), ['-'] = DIGIT(62), ['_'] = DIGIT(63),
};

bool base64url_is_digit(char character)
{
    return digits[(unsigned char)character] != 0;
}

/* Reads up to four characters into six bits each, the first ones highest; -EINVAL where one is not
 * a digit. */
static int take(const char *text, size_t count, uint32_t *bits)
{
    unsigned all = IS_DIGIT;

    *bits = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned digit = digits[(unsigned char)text[i]];
        all &= digit;
        *bits = *bits << 6 | (digit & 63);
    }
    return all != 0 ? 0 : -EINVAL;
}

/* *spare_bits gets the bits of the last character that belong to no byte; 0 where all bits do. */
static int decode(const char *text, size_t length, unsigned char *out, size_t out_size,
                  size_t *out_length, uint32_t *spare_bits)
{
    size_t whole = length - length % 4, spare = length % 4 * 6 % 8, written = 0;
    uint32_t bits;

    if (length % 4 == 1)
        return -EINVAL;
    if (BASE64URL_DECODED_SIZE_MAX(length) > out_size)
        return -ENOSPC;
    for (size_t i = 0; i < whole; i += 4) {
        if (take(text + i, 4, &bits) != 0)
            return -EINVAL;
        out[written++] = (unsigned char)(bits >> 16);
        out[written++] = (unsigned char)(bits >> 8);
        out[written++] = (unsigned char)bits;
    }
    if (take(text + whole, length - whole, &bits) != 0)
        return -EINVAL;
    *spare_bits = bits & ((1U << spare) - 1);
    bits >>= spare;
    for (size_t left = (length - whole) * 6 / 8; left > 0; left--)
        out[written++] = (unsigned char)(bits >> 8 * (left - 1));
    *out_length = written;
    return 0;
}

int base64url_decode(const char *text, size_t length, unsigned char *out, size_t out_size,
                     size_t *out_length)
{
    uint32_t spare_bits = 0;
    size_t decoded = 0;
    int result = decode(text, length, out, out_size, &decoded, &spare_bits);

    if (result != 0)
        return result;
    /* RFC 4648 section 3.5: bits that carry nothing must be zero, or one token would
     * have many spellings. */
    if (spare_bits != 0)
        return -EINVAL;
    *out_length = decoded;
    return 0;
}

int base64url_decode_key(const char *text, size_t length, unsigned char *out, size_t out_size,
                         size_t *out_length)
{
    uint32_t spare_bits = 0;

    return decode(text, length, out, out_size, out_length, &spare_bits);
}
