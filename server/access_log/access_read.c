/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a line of the access log. See access_read.h.
 */
#include "server/access_log/access_read.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "server/base/octets.h"

/* Undoes the escapes that access_line.c writes into a text. */
static size_t unescape(const char *text, size_t length, char out[static ACCESS_READ_TEXT])
{
    size_t written = 0;
    for (size_t i = 0; i < length && written + 1 < ACCESS_READ_TEXT; i++) {
        int high = -1, low = -1;
        if (text[i] == '\\' && i + 3 < length && text[i + 1] == 'x') {
            high = octet_hex_value(text[i + 2]);
            low = octet_hex_value(text[i + 3]);
        }
        if (high >= 0 && low >= 0) {
            out[written++] = (char)(high * 16 + low);
            i += 3;
        } else {
            out[written++] = text[i];
        }
    }
    out[written] = '\0';
    return written;
}

static int read_json(const char *line, size_t length, struct access_read *out)
{
    json_t *value = json_loadb(line, length, 0, NULL);
    const json_t *issuer = json_object_get(value, "issuer");
    const json_t *account = json_object_get(value, "account");
    const json_t *billed = json_object_get(value, "billed");
    bool is_line = issuer != NULL && account != NULL && json_is_integer(billed) &&
                   json_integer_value(billed) >= 0;
    if (is_line) {
        out->acknowledged = (uint64_t)json_integer_value(billed);
        if (json_is_string(issuer) && json_is_string(account)) {
            unescape(json_string_value(issuer), json_string_length(issuer), out->issuer);
            out->account_length =
                unescape(json_string_value(account), json_string_length(account), out->account);
        }
    }
    json_decref(value);
    return is_line ? 0 : -EINVAL;
}

/* Steps behind `text`, which must stand at `*at`. */
static bool skip(const char **at, const char *end, const char *text)
{
    size_t length = strlen(text);
    if ((size_t)(end - *at) < length || memcmp(*at, text, length) != 0)
        return false;
    *at += length;
    return true;
}

/* Steps to the next `stop`, and gives what stood before it. */
static bool cut(const char **at, const char *end, char stop, const char **text, size_t *length)
{
    const char *found = memchr(*at, stop, (size_t)(end - *at));
    if (found == NULL)
        return false;
    *text = *at;
    *length = (size_t)(found - *at);
    *at = found;
    return true;
}

static bool read_number(const char **at, const char *end, uint64_t *out)
{
    const char *begin = *at;
    for (*out = 0; *at < end && **at >= '0' && **at <= '9' && *at - begin < 18; (*at)++)
        *out = *out * 10 + (uint64_t)(**at - '0');
    return *at > begin;
}

/* client - issuer/account [date] "request" status bytes "referer" "user agent" */
static int read_combined(const char *line, size_t length, struct access_read *out)
{
    const char *at = line, *end = line + length, *who, *text;
    size_t who_length, text_length;
    uint64_t status;
    if (!cut(&at, end, ' ', &text, &text_length) || !skip(&at, end, " - ") ||
        !cut(&at, end, ' ', &who, &who_length) || !skip(&at, end, " [") ||
        !cut(&at, end, ']', &text, &text_length) || !skip(&at, end, "] \"") ||
        !cut(&at, end, '"', &text, &text_length) || !skip(&at, end, "\" ") ||
        !read_number(&at, end, &status) || !skip(&at, end, " ") ||
        !read_number(&at, end, &out->acknowledged) || !skip(&at, end, " \""))
        return -EINVAL;
    const char *slash = memchr(who, '/', who_length);
    if (slash == NULL)
        return 0;
    unescape(who, (size_t)(slash - who), out->issuer);
    out->account_length = unescape(slash + 1, who_length - (size_t)(slash + 1 - who), out->account);
    out->has_pluses = memchr(slash, '+', who_length - (size_t)(slash - who)) != NULL;
    return 0;
}

int access_line_read(const char *line, size_t length, struct access_read *out)
{
    out->issuer[0] = out->account[0] = '\0';
    out->account_length = 0;
    out->has_pluses = false;
    out->acknowledged = 0;
    return length > 0 && line[0] == '{' ? read_json(line, length, out)
                                        : read_combined(line, length, out);
}
