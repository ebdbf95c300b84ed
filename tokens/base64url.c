/*
 * base64url for tokens and keys: encoding, and decoding that refuses every second spelling of a
 * value. Called by the JWS, JWK and container parsers; it never allocates and never skips a byte.
 */
#include "tokens/base64url_internal.h"

#include <errno.h>
#include <stdint.h>

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

#define IS_DIGIT    64u
#define DIGIT(c, v) [c] = IS_DIGIT | (v)

/* The six bits of a character and IS_DIGIT, or 0. */
static const unsigned char digits[256] = {
    DIGIT('A', 0),  DIGIT('B', 1),  DIGIT('C', 2),  DIGIT('D', 3),  DIGIT('E', 4),  DIGIT('F', 5),
    DIGIT('G', 6),  DIGIT('H', 7),  DIGIT('I', 8),  DIGIT('J', 9),  DIGIT('K', 10), DIGIT('L', 11),
    DIGIT('M', 12), DIGIT('N', 13), DIGIT('O', 14), DIGIT('P', 15), DIGIT('Q', 16), DIGIT('R', 17),
    DIGIT('S', 18), DIGIT('T', 19), DIGIT('U', 20), DIGIT('V', 21), DIGIT('W', 22), DIGIT('X', 23),
    DIGIT('Y', 24), DIGIT('Z', 25), DIGIT('a', 26), DIGIT('b', 27), DIGIT('c', 28), DIGIT('d', 29),
    DIGIT('e', 30), DIGIT('f', 31), DIGIT('g', 32), DIGIT('h', 33), DIGIT('i', 34), DIGIT('j', 35),
    DIGIT('k', 36), DIGIT('l', 37), DIGIT('m', 38), DIGIT('n', 39), DIGIT('o', 40), DIGIT('p', 41),
    DIGIT('q', 42), DIGIT('r', 43), DIGIT('s', 44), DIGIT('t', 45), DIGIT('u', 46), DIGIT('v', 47),
    DIGIT('w', 48), DIGIT('x', 49), DIGIT('y', 50), DIGIT('z', 51), DIGIT('0', 52), DIGIT('1', 53),
    DIGIT('2', 54), DIGIT('3', 55), DIGIT('4', 56), DIGIT('5', 57), DIGIT('6', 58), DIGIT('7', 59),
    DIGIT('8', 60), DIGIT('9', 61), DIGIT('-', 62), DIGIT('_', 63),
};

/* Two to four characters, as many bits, the first ones highest; -EINVAL where one is no digit. */
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

int base64url_decode(const char *text, size_t length, unsigned char *out, size_t out_size,
                     size_t *out_length)
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
    /* RFC 4648 section 3.5: bits that carry nothing must be zero, or one token had many spellings.
     */
    if ((bits & ((1U << spare) - 1)) != 0)
        return -EINVAL;
    bits >>= spare;
    for (size_t left = (length - whole) * 6 / 8; left > 0; left--)
        out[written++] = (unsigned char)(bits >> 8 * (left - 1));
    *out_length = written;
    return 0;
}
