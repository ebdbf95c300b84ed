/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Skips empty chunked content (RFC 9112 7.1). See http_content.h. It is as strict as the parser of
 * heads: a proxy that read a chunk's line differently would see another request behind it.
 */
#include "server/http/http_content.h"

#include <ctype.h>

#include "server/http/http_lines.h"

#define SIZE_DIGITS_MAX 16 /* RFC 9112 7.1: 64 bits; a longer size would overflow in some reader */

/* RFC 9110 5.6.4: the length of the quoted-string at `at`; 0 where there is none. */
static size_t quoted_length(const char *at, const char *end)
{
    const char *first = at;
    if (at == end || *at != '"')
        return 0;
    for (at++; at < end; at++) {
        if (*at == '"')
            return (size_t)(at - first) + 1;
        if (*at == '\\' && ++at == end)
            return 0;
        if ((unsigned char)*at < 0x20 ? *at != '\t' : *at == 0x7f)
            return 0;
    }
    return 0;
}

/* RFC 9112 7.1.1: *( ";" chunk-ext-name [ "=" chunk-ext-val ] ), without the white space that no
 * sender may generate. What the extensions say is ignored. */
static bool are_extensions(const char *at, const char *end)
{
    while (at < end) {
        size_t length;
        if (*at++ != ';' || (length = http_token_length(at, end)) == 0)
            return false;
        at += length;
        if (at == end || *at != '=')
            continue;
        at++;
        if ((length = http_token_length(at, end)) == 0 && (length = quoted_length(at, end)) == 0)
            return false;
        at += length;
    }
    return true;
}

/* RFC 9112 7.1: chunk-size [ chunk-ext ], with nothing before the size. *is_last: it is 0. */
static bool read_chunk_line(const struct http_text *line, bool *is_last)
{
    size_t digits = 0;
    *is_last = true;
    while (digits < line->length && isxdigit((unsigned char)line->data[digits]))
        *is_last = line->data[digits++] == '0' && *is_last;
    return digits > 0 && digits <= SIZE_DIGITS_MAX &&
           are_extensions(line->data + digits, line->data + line->length);
}

static enum http_head_status refuse(enum refusal *out, enum refusal refusal)
{
    *out = refusal;
    return HTTP_HEAD_REFUSED;
}

/* RFC 9112 7.1.2, RFC 9110 6.5.1: trailer fields are discarded, and never taken for the head's. */
static enum http_head_status skip_trailers(const char **at, const char *end, enum refusal *refusal)
{
    struct http_text line, name, value;
    for (unsigned fields = 0;; fields++) {
        enum http_head_status status = http_line_take(at, end, &line);
        if (status == HTTP_HEAD_PARTIAL || (status == HTTP_HEAD_COMPLETE && line.length == 0))
            return status;
        if (status == HTTP_HEAD_REFUSED || !http_field_cut(&line, &name, &value))
            return refuse(refusal, REFUSAL_HEAD_MALFORMED);
        if (fields == HTTP_HEADERS_MAX)
            return refuse(refusal, REFUSAL_HEAD_TOO_LARGE);
    }
}

enum http_head_status http_content_skip(const char *data, size_t length, struct http_head *head,
                                        enum refusal *refusal)
{
    const char *at = data + head->length, *end = data + length;
    struct http_text line;
    bool is_last;
    if (!head->chunked ||
        (head->method != HTTP_GET && head->method != HTTP_HEAD && head->method != HTTP_OPTIONS))
        return HTTP_HEAD_COMPLETE;
    /* RFC 9110 10.1.1: the client waits for 100 (Continue) with its content, and gets none. */
    if (at == end && head->expect_continue)
        return HTTP_HEAD_COMPLETE;
    enum http_head_status status = http_line_take(&at, end, &line);
    if (status == HTTP_HEAD_PARTIAL)
        return status;
    if (status == HTTP_HEAD_REFUSED || !read_chunk_line(&line, &is_last))
        return refuse(refusal, REFUSAL_HEAD_MALFORMED);
    if (!is_last)
        return HTTP_HEAD_COMPLETE;
    status = skip_trailers(&at, end, refusal);
    if (status == HTTP_HEAD_COMPLETE) {
        head->length = (size_t)(at - data);
        head->has_body = false;
    }
    return status;
}
