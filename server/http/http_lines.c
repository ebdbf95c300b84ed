/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts lines, fields and lists of HTTP/1.1, byte by byte and without state. See http_lines.h.
 */
#include "server/http/http_lines.h"

#include "server/base/octets.h"

/* RFC 9110 5.6.2: tchar */
static const unsigned char is_tchar[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1,        ['&'] = 1,       ['\''] = 1,
    ['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1,        ['^'] = 1,       ['_'] = 1,
    ['`'] = 1, ['|'] = 1, ['~'] = 1, OCTETS_DIGITS(1), OCTETS_UPPER(1), OCTETS_LOWER(1),
};

/*
 * What RFC 9110 5.5 keeps out of a field's value: the controls but HTAB. Obs-text (0x80 to 0xff) is
 * allowed and never interpreted.
 */
static const unsigned char is_control[256] = {
    [0] = 1,  [1] = 1,  [2] = 1,  [3] = 1,  [4] = 1,  [5] = 1,  [6] = 1,  [7] = 1,
    [8] = 1,  [10] = 1, [11] = 1, [12] = 1, [13] = 1, [14] = 1, [15] = 1, [16] = 1,
    [17] = 1, [18] = 1, [19] = 1, [20] = 1, [21] = 1, [22] = 1, [23] = 1, [24] = 1,
    [25] = 1, [26] = 1, [27] = 1, [28] = 1, [29] = 1, [30] = 1, [31] = 1, [127] = 1};

enum http_head_status http_line_take(const char **at, const char *end, struct http_text *line)
{
    const char *lf = memchr(*at, '\n', (size_t)(end - *at));
    const char *stop = lf != NULL ? lf : end;
    const char *cr = memchr(*at, '\r', (size_t)(stop - *at));
    if (lf == NULL) /* a CR that is not the last byte so far can no longer be part of a CRLF */
        return cr != NULL && cr + 1 < end ? HTTP_HEAD_REFUSED : HTTP_HEAD_PARTIAL;
    if (cr == NULL || cr + 1 != lf)
        return HTTP_HEAD_REFUSED;
    *line = (struct http_text){*at, (size_t)(cr - *at)};
    *at = lf + 1;
    return HTTP_HEAD_COMPLETE;
}

static struct http_text trim(const char *first, const char *last)
{
    while (first < last && (*first == ' ' || *first == '\t'))
        first++;
    while (last > first && (last[-1] == ' ' || last[-1] == '\t'))
        last--;
    return (struct http_text){first, (size_t)(last - first)};
}

size_t http_token_length(const char *at, const char *end)
{
    const char *first = at;
    while (at < end && is_tchar[(unsigned char)*at])
        at++;
    return (size_t)(at - first);
}

bool http_field_cut(const struct http_text *line, struct http_text *name, struct http_text *value)
{
    /* RFC 9112 5.2: a line that starts with white space is obs-fold, which a server may refuse */
    const char *end = line->data + line->length;
    const char *at = line->data + http_token_length(line->data, end);
    /* RFC 9112 5.1: white space before the colon MUST be refused with 400 */
    if (at == line->data || at == end || *at != ':')
        return false;
    *name = (struct http_text){line->data, (size_t)(at - line->data)};
    *value = trim(at + 1, end);
    for (size_t i = 0; i < value->length; i++) {
        if (is_control[(unsigned char)value->data[i]])
            return false;
    }
    return true;
}

bool http_list_next(struct http_text *rest, struct http_text *member)
{
    if (rest->data == NULL)
        return false;
    const char *end = rest->data + rest->length;
    const char *comma = memchr(rest->data, ',', rest->length);
    *member = trim(rest->data, comma != NULL ? comma : end);
    *rest = comma != NULL ? (struct http_text){comma + 1, (size_t)(end - comma - 1)}
                          : (struct http_text){0};
    return true;
}
