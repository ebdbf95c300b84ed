/* SPDX-License-Identifier: Apache-2.0 */
/* Heads of answers, read strictly enough that a wrong length is never taken for a right one. */
#include <string.h>
#include <strings.h>

#include "bench/bench.h"

struct line {
    const char *data;
    size_t length;
};

/* Takes the next line, without its CR LF; false where none is complete. */
static bool next_line(const char **at, const char *end, struct line *line)
{
    const char *stop = memchr(*at, '\n', (size_t)(end - *at));
    if (stop == NULL || stop == *at || stop[-1] != '\r')
        return false;
    *line = (struct line){*at, (size_t)(stop - 1 - *at)};
    *at = stop + 1;
    return true;
}

static bool read_status(const struct line *line, struct answer_head *out)
{
    static const char version[] = "HTTP/1.1 ";
    const char *at = line->data + sizeof(version) - 1;
    if (line->length < sizeof(version) - 1 + 3 ||
        memcmp(line->data, version, sizeof(version) - 1) != 0)
        return false;
    out->status = 0;
    for (int i = 0; i < 3; i++) {
        if (at[i] < '0' || at[i] > '9')
            return false;
        out->status = out->status * 10 + (unsigned)(at[i] - '0');
    }
    return out->status >= 100 && out->status < 600;
}

static bool read_number(const struct line *value, uint64_t *out)
{
    *out = 0;
    if (value->length == 0 || value->length > 18)
        return false;
    for (size_t i = 0; i < value->length; i++) {
        if (value->data[i] < '0' || value->data[i] > '9')
            return false;
        *out = *out * 10 + (uint64_t)(value->data[i] - '0');
    }
    return true;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hash(const struct line *value, unsigned char hash[static 16])
{
    if (value->length != 34 || value->data[0] != '"' || value->data[33] != '"')
        return false;
    for (size_t i = 0; i < 16; i++) {
        int high = digit_of(value->data[1 + 2 * i]), low = digit_of(value->data[2 + 2 * i]);
        if (high < 0 || low < 0)
            return false;
        hash[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

static bool is(const struct line *name, const char *field)
{
    return name->length == strlen(field) && strncasecmp(name->data, field, name->length) == 0;
}

/* Takes a field; false where it makes the answer one that the bench does not read. */
static bool take_field(const struct line *line, struct answer_head *out, bool *has_length)
{
    const char *colon = memchr(line->data, ':', line->length);
    if (colon == NULL)
        return false;
    const struct line name = {line->data, (size_t)(colon - line->data)};
    struct line value = {colon + 1, line->length - name.length - 1};
    while (value.length > 0 && *value.data == ' ') {
        value.data++;
        value.length--;
    }
    if (is(&name, "Transfer-Encoding"))
        return false;
    if (is(&name, "Content-Length")) {
        if (*has_length)
            return false;
        *has_length = true;
        return read_number(&value, &out->body_length);
    }
    if (is(&name, "Connection"))
        out->keep_alive = !is(&value, "close");
    else if (is(&name, "ETag"))
        out->has_hash = read_hash(&value, out->hash);
    return true;
}

int answer_parse(const char *data, size_t length, struct answer_head *out)
{
    const char *at = data, *end = data + length;
    struct line line;
    bool has_length = false;
    if (memmem(data, length, "\r\n\r\n", 4) == NULL)
        return length >= ANSWER_HEAD_MAX ? -1 : 0;
    *out = (struct answer_head){.keep_alive = true};
    if (!next_line(&at, end, &line) || !read_status(&line, out))
        return -1;
    while (next_line(&at, end, &line)) {
        if (line.length == 0)
            return has_length ? (int)(at - data) : -1;
        if (!take_field(&line, out, &has_length))
            return -1;
    }
    return -1; /* a bare LF */
}
