/* SPDX-License-Identifier: Apache-2.0 */
/*
 * X-Forwarded-For and Forwarded, read from right to left. Each proxy adds at the right, so what a
 * trusted proxy wrote is met first, and what its client sent cannot spoil the reading of that,
 * whatever quotes it leaves open. See forwarded.h.
 */
#include "server/http/forwarded.h"

#include <string.h>
#include <strings.h>

static const char *const names[] = {
    [FORWARDED_X_FORWARDED_FOR] = "X-Forwarded-For",
    [FORWARDED_FORWARDED] = "Forwarded",
};

const char *forwarded_field_name(enum forwarded_field field)
{
    return names[field];
}

bool forwarded_field_parse(const char *text, enum forwarded_field *out)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (strcasecmp(text, names[i]) == 0) {
            *out = (enum forwarded_field)i;
            return true;
        }
    }
    return false;
}

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t';
}

static struct http_text trimmed(const char *begin, const char *end)
{
    while (begin < end && is_space(*begin))
        begin++;
    while (end > begin && is_space(end[-1]))
        end--;
    return (struct http_text){begin, (size_t)(end - begin)};
}

static bool text_is(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && strncasecmp(text, word, length) == 0;
}

/* ---- lines and members, the last one first ---- */

/* The head's lines and the present line's list, as far as they are still to be read. Both shrink
 * from the right. */
struct cursor {
    enum forwarded_field field;
    struct http_text lines, list;
};

/* Makes the last of the field's remaining lines the list. False where there is none. */
static bool take_line(struct cursor *c)
{
    while (c->lines.length > 0) {
        const char *begin = c->lines.data,
                   *end = begin + c->lines.length - 2; /* without its CRLF */
        const char *before = memrchr(begin, '\n', (size_t)(end - begin));
        const char *line = before != NULL ? before + 1 : begin;
        const char *colon = memchr(line, ':', (size_t)(end - line));
        c->lines.length = (size_t)(line - begin);
        if (colon != NULL && text_is(line, (size_t)(colon - line), names[c->field])) {
            c->list = (struct http_text){colon + 1, (size_t)(end - colon - 1)};
            return true;
        }
    }
    return false;
}

/*
 * Where the list's last member begins. In Forwarded, a comma in a quoted-string is content. Read
 * from the right, a quote with a backslash before it is content, too: the one that begins the
 * string follows "=".
 */
static const char *member_begin(const struct cursor *c)
{
    const char *begin = c->list.data, *at = begin + c->list.length;
    bool quoted = false;
    for (; at > begin; at--) {
        if (at[-1] == '"' && c->field == FORWARDED_FORWARDED) {
            if (!quoted)
                quoted = true;
            else if (at - 1 == begin || at[-2] != '\\')
                quoted = false;
        } else if (at[-1] == ',' && !quoted) {
            break;
        }
    }
    return at;
}

/* Takes the next member to the left. Empty ones do not count (RFC 9110 5.6.1.2). False at
 * the left end. */
static bool take_member(struct cursor *c, struct http_text *out)
{
    for (;;) {
        while (c->list.length > 0) {
            const char *begin = member_begin(c), *end = c->list.data + c->list.length;
            *out = trimmed(begin, end);
            /* the comma before it, too */
            c->list.length = begin > c->list.data ? (size_t)(begin - 1 - c->list.data) : 0;
            if (out->length > 0)
                return true;
        }
        if (!take_line(c))
            return false;
    }
}

/* ---- one member ---- */

/* RFC 7239 6.3: obfnode and obfport. */
static bool is_hiding(const char *text, size_t length)
{
    if (length < 2 || text[0] != '_')
        return false;
    for (size_t i = 1; i < length; i++) {
        char byte = text[i];
        if (!((byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
              (byte >= 'a' && byte <= 'z') || byte == '.' || byte == '_' || byte == '-'))
            return false;
    }
    return true;
}

/* RFC 7239 6: port = 1*5DIGIT */
static bool is_port(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
    }
    return length > 0 && length <= 5;
}

/* RFC 7239 6: node = nodename [ ":" node-port ]. Some proxies write X-Forwarded-For
 * like this, too. */
static enum forwarded_status read_node(const char *text, size_t length,
                                       struct client_address *client)
{
    if (client_address_read(text, length, client))
        return FORWARDED_NAMED;
    const char *colon = memrchr(text, ':', length);
    size_t host = colon != NULL ? (size_t)(colon - text) : length;
    bool hidden_port = colon != NULL && is_hiding(colon + 1, length - host - 1);
    if (hidden_port && client_address_read(text, host, client)) {
        client->port = 0;
        return FORWARDED_NAMED;
    }
    if (!text_is(text, host, "unknown") && !is_hiding(text, host))
        return FORWARDED_WRONG;
    return colon == NULL || hidden_port || is_port(colon + 1, length - host - 1) ? FORWARDED_HIDDEN
                                                                                 : FORWARDED_WRONG;
}

#define NODE_MAX 128 /* bytes; a longer node is neither an address nor a likely name */

/* Reads a token or a quoted-string (RFC 9110 5.6.2, 5.6.4) without its quotes; *length is NODE_MAX
 * where it is that long or longer, *after is what follows. False where the string does not end, or
 * is followed by neither a semicolon nor the end. */
static bool read_value(const char *at, const char *end, char out[NODE_MAX], size_t *length,
                       const char **after)
{
    size_t size = 0;
    bool quoted = at < end && *at == '"';
    if (quoted)
        at++;
    for (; at < end && *at != (quoted ? '"' : ';'); at++) {
        if (quoted && *at == '\\' && ++at == end)
            return false;
        if (!quoted && (is_space(*at) || *at == '"'))
            break;
        if (size < NODE_MAX)
            out[size++] = *at;
    }
    if (quoted && at++ == end)
        return false;
    while (at < end && is_space(*at))
        at++;
    *after = at;
    *length = size;
    return at == end || *at == ';';
}

/* RFC 7239 4: forwarded-element = [ forwarded-pair ] *( ";" [ forwarded-pair ] ). White space
 * around the semicolons is not allowed, but skipped, because many proxies write it. */
static enum forwarded_status read_element(const struct http_text *member,
                                          struct client_address *client)
{
    const char *at = member->data, *end = at + member->length;
    enum forwarded_status status = FORWARDED_HIDDEN;
    bool found = false;
    while (at < end) {
        char value[NODE_MAX];
        size_t length;
        if (*at == ';' || is_space(*at)) {
            at++;
            continue;
        }
        const char *equals = memchr(at, '=', (size_t)(end - at));
        if (equals == NULL || memchr(at, ';', (size_t)(equals - at)) != NULL)
            return FORWARDED_WRONG;
        bool is_for = text_is(at, (size_t)(equals - at), "for");
        if (!read_value(equals + 1, end, value, &length, &at) || (is_for && found))
            return FORWARDED_WRONG;
        if (is_for) {
            found = true;
            status = length < NODE_MAX ? read_node(value, length, client) : FORWARDED_WRONG;
        }
    }
    return status;
}

bool forwarded_is_sent(enum forwarded_field field, const struct http_head *head)
{
    struct cursor c = {.field = field, .lines = head->fields};
    return take_line(&c);
}

enum forwarded_status forwarded_read(enum forwarded_field field, const struct http_head *head,
                                     const struct client_prefix *trusted, unsigned trusted_count,
                                     struct client_address *client)
{
    struct cursor c = {.field = field, .lines = head->fields};
    struct http_text member;
    unsigned hops = 0;
    for (; take_member(&c, &member); hops++) {
        struct client_address named;
        enum forwarded_status status = field == FORWARDED_FORWARDED
                                           ? read_element(&member, &named)
                                           : read_node(member.data, member.length, &named);
        if (status == FORWARDED_NAMED && hops == FORWARDED_HOPS_MAX)
            status = FORWARDED_WRONG;
        if (status != FORWARDED_NAMED)
            return status;
        *client = named;
        if (!client_prefixes_hold(trusted, trusted_count, client))
            return FORWARDED_NAMED;
    }
    return hops > 0 ? FORWARDED_NAMED : FORWARDED_ABSENT;
}
