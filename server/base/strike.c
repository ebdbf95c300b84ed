/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds possible tokens in text that is about to be logged: the value after the token's name in a
 * URL (also in a nested, percent-encoded one), and anything that looks like a JWS. Called by log.c
 * and access_line.c for each byte that they write, so it passes over a common byte at once. It
 * changes no text.
 */
#include "server/base/strike.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define NAME_DEFAULT "URISigningPackage"
#define NAME_SIZE    65 /* config_table.h: token_attribute has 64 bytes */
#define TOKEN_PART                                                                                 \
    16 /* bytes of base64url from which a first and second part are taken for a JWS */

static char configured[NAME_SIZE] = NAME_DEFAULT;

void strike_name_set(const char *name)
{
    (void)snprintf(configured, sizeof(configured), "%s", name);
}

static bool is_name_byte(char byte)
{
    return isalnum((unsigned char)byte) || byte == '-' || byte == '_';
}

static size_t part_length(const char *at, const char *end)
{
    size_t length = 0;
    while (at + length < end && is_name_byte(at[length])) /* base64url has the same bytes */
        length++;
    return length;
}

/* How many bytes from `at` look like a JWS in compact form (RFC 7515 7.1: a JSON object in
 * base64url begins with "ey"); 0 where they do not. */
static size_t jws_length(const char *at, const char *end)
{
    size_t head = part_length(at, end);
    if (head < TOKEN_PART || at[0] != 'e' || at[1] != 'y' || at + head == end || at[head] != '.')
        return 0;
    size_t claims = part_length(at + head + 1, end);
    if (claims < TOKEN_PART)
        return 0;
    size_t length = head + 1 + claims;
    if (at + length < end && at[length] == '.')
        length += 1 + part_length(at + length + 1, end);
    return length;
}

/* Where the "=" that ends at `at` begins: itself, "%3D", "%253D" and so on; NULL: there is none. */
static const char *equals_before(const char *begin, const char *at)
{
    if (at > begin && at[-1] == '=')
        return at - 1;
    if (at - begin < 3 || at[-2] != '3' || (at[-1] | 0x20) != 'd')
        return NULL;
    at -= 2;
    while (at - begin > 2 && at[-1] == '5' && at[-2] == '2')
        at -= 2;
    return at > begin && at[-1] == '%' ? at - 1 : NULL;
}

/* Whether the text that ends at `at` ends in the name, as a whole word where `whole`. */
static bool ends_in(const char *begin, const char *at, const char *name, bool whole)
{
    size_t length = strlen(name);
    if (length == 0 || (size_t)(at - begin) < length || strncasecmp(at - length, name, length) != 0)
        return false;
    at -= length;
    if (!whole || at == begin || !is_name_byte(at[-1]))
        return true;
    return at - begin >= 3 && at[-3] == '%' && isxdigit((unsigned char)at[-2]) &&
           isxdigit((unsigned char)at[-1]);
}

static bool is_value(const char *begin, const char *at)
{
    const char *equals = equals_before(begin, at);
    return equals != NULL && (ends_in(begin, equals, NAME_DEFAULT, false) ||
                              ends_in(begin, equals, configured, true));
}

size_t strike_length(const char *begin, const char *at, const char *end)
{
    size_t length = 0;
    if (is_value(begin, at)) {
        /* Struck up to the next parameter: a slash does not end the value, as it may belong to a
         * token in base64. */
        while (at + length < end && strchr("&;#\" \t\r\n", at[length]) == NULL)
            length++;
        return length;
    }
    return *at == 'e' ? jws_length(at, end) : 0;
}
