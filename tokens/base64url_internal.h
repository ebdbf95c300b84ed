/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base64url (RFC 4648 section 5) as RFC 7515 wants it: without padding, and strict on the way in,
 * so that one value has one spelling in a token. Every part of the library that touches a token or
 * a key uses it; it never asks what the bytes mean.
 */
#ifndef TOLLGATE_TOKENS_BASE64URL_INTERNAL_H
#define TOLLGATE_TOKENS_BASE64URL_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

/* Characters that `length` bytes take, without the NUL. */
#define BASE64URL_ENCODED_SIZE(length)     (((length)*4 + 2) / 3)
/* Bytes that `length` characters can hold at most. */
#define BASE64URL_DECODED_SIZE_MAX(length) ((length)*3 / 4)

bool base64url_is_digit(char character);

/* Writes BASE64URL_ENCODED_SIZE(length) characters and a NUL; returns the characters. */
size_t base64url_encode(const unsigned char *bytes, size_t length, char *out);

/* Returns 0, -EINVAL (a character outside the alphabet, padding, an impossible length, or trailing
 * bits that are not zero) or -ENOSPC. *out_length is written only on success. */
int base64url_decode(const char *text, size_t length, unsigned char *out, size_t out_size,
                     size_t *out_length);

/*
 * The same for a member of a key, whose trailing bits may be anything: RFC 4648 section 3.5 leaves
 * that to the decoder, some writers of keys leave bits there, and a second spelling of a key opens
 * nothing. Padding and the alphabet of plain base64 are refused here, too: RFC 7515 section 2
 * excludes both, and no JOSE library writes them.
 */
int base64url_decode_key(const char *text, size_t length, unsigned char *out, size_t out_size,
                         size_t *out_length);

#endif
