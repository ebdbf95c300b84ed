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

/* The six bits of a character, or -1. */
static int digit_value(char character)
{
    if (character >= 'A' && character <= 'Z')
        return character - 'A';
    if (character >= 'a' && character <= 'z')
        return character - 'a' + 26;
    if (character >= '0' && character <= '9')
        return character - '0' + 52;
    if (character == '-')
        return 62;
    if (character == '_')
        return 63;
    return -1;
}

int base64url_decode(const char *text, size_t length, unsigned char *out, size_t out_size,
                     size_t *out_length)
{
    size_t written = 0;
    uint32_t bits = 0;
    unsigned held = 0;

    if (length % 4 == 1)
        return -EINVAL;
    if (BASE64URL_DECODED_SIZE_MAX(length) > out_size)
        return -ENOSPC;
    for (size_t i = 0; i < length; i++) {
        int value = digit_value(text[i]);
        if (value < 0)
            return -EINVAL;
        bits = (bits << 6) | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[written++] = (unsigned char)(bits >> held);
        }
    }
    /* RFC 4648 section 3.5: bits that carry nothing must be zero, or one token had many spellings.
     */
    if ((bits & ((1U << held) - 1)) != 0)
        return -EINVAL;
    *out_length = written;
    return 0;
}
