/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The strict request-head parser. See http_head.h. One pass over the bytes; each field is cut by
 * its colon and line end, validated by character class, then matched against the few names that
 * this server reads.
 */
#include "server/http/http_head.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "server/base/octets.h"
#include "server/http/http_lines.h"

/*
 * The bytes of a target: those of RFC 3986 3.3 and 3.4, and those that browsers leave unescaped
 * (the WHATWG URL standard). PATH: in paths and queries; QUERY: in queries only. Escapes are
 * judged where they are decoded.
 */
enum { PATH = 1, QUERY = 2 };
static const unsigned char target_char[256] = {
    ['!'] = PATH, ['$'] = PATH,       ['%'] = PATH,  ['&'] = PATH,        ['\''] = PATH,
    ['('] = PATH, [')'] = PATH,       ['*'] = PATH,  ['+'] = PATH,        [','] = PATH,
    ['-'] = PATH, ['.'] = PATH,       ['/'] = PATH,  OCTETS_DIGITS(PATH), [':'] = PATH,
    [';'] = PATH, ['='] = PATH,       ['?'] = PATH,  ['@'] = PATH,        OCTETS_UPPER(PATH),
    ['_'] = PATH, OCTETS_LOWER(PATH), ['~'] = PATH,  ['['] = PATH,        [']'] = PATH,
    ['|'] = PATH, ['^'] = PATH,       ['{'] = QUERY, ['}'] = QUERY,       ['`'] = QUERY,
};

struct cursor {
    const char *at, *end;
    struct http_head *head;
    enum refusal refusal;
    unsigned hosts, content_lengths;
    bool connection_close, connection_keep_alive;
    bool unknown_coding; /* Transfer-Encoding names a coding other than chunked */
};

static enum http_head_status refuse(struct cursor *c, enum refusal refusal)
{
    c->refusal = refusal;
    return HTTP_HEAD_REFUSED;
}

static bool text_is(const char *data, size_t length, const char *word)
{
    return strlen(word) == length && memcmp(data, word, length) == 0;
}

bool http_list_has(const struct http_text *field, const char *word)
{
    struct http_text rest = *field, member;
    while (http_list_next(&rest, &member)) {
        if (http_text_is_nocase(&member, word))
            return true;
    }
    return false;
}

static enum http_head_status take_line(struct cursor *c, struct http_text *line)
{
    enum http_head_status status = http_line_take(&c->at, c->end, line);
    return status == HTTP_HEAD_REFUSED ? refuse(c, REFUSAL_HEAD_MALFORMED) : status;
}

static enum http_method method_of(const char *data, size_t length)
{
    static const struct {
        const char *name;
        enum http_method method;
    } methods[] = {
        {"GET", HTTP_GET},           {"HEAD", HTTP_HEAD},          {"POST", HTTP_POST},
        {"PUT", HTTP_PUT},           {"DELETE", HTTP_OTHER_KNOWN}, {"OPTIONS", HTTP_OPTIONS},
        {"PATCH", HTTP_OTHER_KNOWN}, {"TRACE", HTTP_OTHER_KNOWN},  {"CONNECT", HTTP_OTHER_KNOWN},
    };
    for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++) {
        if (text_is(data, length, methods[i].name)) /* RFC 9110 9.1: case-sensitive */
            return methods[i].method;
    }
    return HTTP_UNKNOWN;
}

/* RFC 3986 3.2.2: the length of an IPv6 address in brackets, by its characters alone; 0 where there
 * is none. */
static size_t literal_length(const char *text, size_t length)
{
    const char *close = memchr(text, ']', length);
    if (close == NULL || close - text < 3)
        return 0;
    for (const char *at = text + 1; at < close; at++) {
        if (!isxdigit((unsigned char)*at) && *at != ':' && *at != '.')
            return 0;
    }
    return (size_t)(close - text) + 1;
}

/* RFC 3986 3.2.2: the length of a reg-name, 0 where it is invalid. Commas are refused, because
 * other software would read a list. */
static size_t name_length(const char *text, size_t length)
{
    size_t at = 0;
    while (at < length && text[at] != ':') {
        if (text[at] == '%') {
            if (length - at < 3 || !isxdigit((unsigned char)text[at + 1]) ||
                !isxdigit((unsigned char)text[at + 2]))
                return 0;
            at += 3;
        } else if (isalnum((unsigned char)text[at]) ||
                   (text[at] != '\0' && strchr("-._~!$&'()*+;=", text[at]) != NULL)) {
            at++;
        } else {
            return 0;
        }
    }
    return at;
}

/* RFC 9110 7.2: uri-host [":" port], no userinfo; empty where there is no authority. */
static bool authority_is_valid(const char *text, size_t length)
{
    unsigned port = 0;
    if (length == 0)
        return true;
    size_t at = text[0] == '[' ? literal_length(text, length) : name_length(text, length);
    if (at == 0)
        return false;
    if (at < length && text[at++] != ':')
        return false;
    for (; at < length; at++) { /* RFC 3986 3.2.3: digits, or none at all */
        if (text[at] < '0' || text[at] > '9' ||
            (port = port * 10 + (unsigned)(text[at] - '0')) > 65535)
            return false;
    }
    return true;
}

static enum http_head_status parse_target(struct cursor *c, const char *data, size_t length)
{
    if (length == 0)
        return refuse(c, REFUSAL_HEAD_MALFORMED);
    if (length > HTTP_TARGET_MAX)
        return refuse(c, REFUSAL_TARGET_TOO_LONG);
    unsigned char allowed = PATH;
    for (size_t i = 0; i < length; i++) {
        if (data[i] == '?')
            allowed = PATH | QUERY;
        if ((target_char[(unsigned char)data[i]] & allowed) == 0)
            return refuse(c, REFUSAL_TARGET_INVALID);
    }
    /* RFC 9112 3.2: origin-form. A server MUST also accept absolute-form (3.2.2). */
    size_t scheme = length >= 7 && strncasecmp(data, "http://", 7) == 0    ? 7
                    : length >= 8 && strncasecmp(data, "https://", 8) == 0 ? 8
                                                                           : 0;
    if (scheme > 0) {
        size_t authority = 0;
        while (scheme + authority < length && data[scheme + authority] != '/' &&
               data[scheme + authority] != '?')
            authority++;
        /* RFC 9110 4.2.1: no empty host; 4.2.4: userinfo is an error */
        if (authority == 0 || !authority_is_valid(data + scheme, authority))
            return refuse(c, REFUSAL_TARGET_INVALID);
        data += scheme + authority;
        length -= scheme + authority;
        /* RFC 9110 4.2.3: an empty path is "/"; RFC 9112 3.2.4: of OPTIONS it is "*". */
        if (length == 0) {
            data = c->head->method == HTTP_OPTIONS ? "*" : "/";
            length = 1;
        }
    } else if (data[0] != '/' && !(c->head->method == HTTP_OPTIONS && text_is(data, length, "*")) &&
               !text_is(c->head->method_text.data, c->head->method_text.length, "CONNECT")) {
        /* RFC 9112 3.2.4: asterisk-form is for OPTIONS; 3.2.3: authority-form is for CONNECT, which
         * request.c refuses. */
        return refuse(c, REFUSAL_TARGET_INVALID);
    }
    c->head->target = (struct http_text){data, length};
    return HTTP_HEAD_COMPLETE;
}

/* RFC 9112 3: method SP request-target SP HTTP-version, single spaces only */
static enum http_head_status parse_request_line(struct cursor *c, const struct http_text *line)
{
    const char *end = line->data + line->length;
    const char *space = memchr(line->data, ' ', line->length);
    if (space == NULL)
        return refuse(c, REFUSAL_HEAD_MALFORMED);
    c->head->method_text = (struct http_text){line->data, (size_t)(space - line->data)};
    if (space == line->data || line->data + http_token_length(line->data, space) != space)
        return refuse(c, REFUSAL_HEAD_MALFORMED);
    c->head->method = method_of(line->data, c->head->method_text.length);

    const char *target = space + 1;
    const char *second = memchr(target, ' ', (size_t)(end - target));
    if (second == NULL)
        return refuse(c, REFUSAL_HEAD_MALFORMED); /* HTTP/0.9 */
    const char *version = second + 1;
    /* RFC 9112 2.3: HTTP-version = "HTTP/" DIGIT "." DIGIT, case-sensitive */
    if (end - version != 8 || memcmp(version, "HTTP/", 5) != 0 || version[6] != '.' ||
        version[5] < '0' || version[5] > '9' || version[7] < '0' || version[7] > '9')
        return refuse(c, REFUSAL_HEAD_MALFORMED);
    if (version[5] != '1')
        return refuse(c, REFUSAL_VERSION_REFUSED);
    c->head->minor = version[7] == '0' ? 0 : 1; /* RFC 9110 2.5: a higher minor is read as 1.1 */
    return parse_target(c, target, (size_t)(second - target));
}

/* RFC 9110 8.6: 1*DIGIT, refused beyond 2^63 - 1 rather than wrapped */
static bool parse_length(const struct http_text *value, uint64_t *out)
{
    uint64_t number = 0;
    if (value->length == 0)
        return false;
    for (size_t i = 0; i < value->length; i++) {
        char digit = value->data[i];
        if (digit < '0' || digit > '9' || number > (INT64_MAX - 9) / 10)
            return false;
        number = number * 10 + (uint64_t)(digit - '0');
    }
    *out = number;
    return true;
}

/* How a field is read that comes in more than one line. */
enum repeat {
    REPEAT_REFUSED, /* nobody can know which line is meant */
    REPEAT_IGNORED, /* RFC 9110 13.1.3, 13.1.4: several dates count as none */
    REPEAT_JOINED,  /* RFC 9110 5.3, RFC 9113 8.2.3: the lines are one list; see http_head_next */
};

static enum http_head_status keep(struct cursor *c, enum repeat repeat, struct http_text *field,
                                  struct http_text value)
{
    if (field->data == NULL) {
        *field = value;
        return HTTP_HEAD_COMPLETE;
    }
    switch (repeat) {
    case REPEAT_REFUSED:
        return refuse(c, REFUSAL_HEAD_MALFORMED);
    case REPEAT_IGNORED:
        field->length = 0;
        break;
    case REPEAT_JOINED:
        c->head->repeats = true;
        break;
    }
    return HTTP_HEAD_COMPLETE;
}

static enum http_head_status take_content_length(struct cursor *c, struct http_text value)
{
    uint64_t length;
    /* RFC 9112 6.3: repeated or invalid Content-Length is an unrecoverable error */
    if (c->content_lengths++ > 0 || !parse_length(&value, &length))
        return refuse(c, REFUSAL_HEAD_MALFORMED);
    c->head->content_length = length;
    c->head->has_body |= length > 0;
    return HTTP_HEAD_COMPLETE;
}

/*
 * A line of Transfer-Encoding (RFC 9112 6.1 and 7). Parameters of chunked, which has none, and
 * empty members, which other lists may have, are refused: a proxy that reads another coding here
 * would see another request behind it.
 */
static enum http_head_status take_codings(struct cursor *c, struct http_text rest)
{
    struct http_head *head = c->head;
    struct http_text member;
    head->has_body = true;
    while (http_list_next(&rest, &member)) {
        const char *semicolon = memchr(member.data, ';', member.length);
        struct http_text coding = member;
        if (semicolon != NULL)
            coding.length = (size_t)(semicolon - member.data);
        /* RFC 9112 6.1: chunked comes last, and once. */
        if (head->chunked || coding.length == 0 ||
            http_token_length(coding.data, coding.data + coding.length) != coding.length)
            return refuse(c, REFUSAL_HEAD_MALFORMED);
        head->chunked = http_text_is_nocase(&coding, "chunked");
        if (head->chunked && semicolon != NULL)
            return refuse(c, REFUSAL_HEAD_MALFORMED);
        c->unknown_coding |= !head->chunked;
    }
    return HTTP_HEAD_COMPLETE;
}

/* RFC 9110 10.1.1: a list, whose members may be empty. In HTTP/1.0 100-continue is ignored. */
static enum http_head_status take_expectations(struct cursor *c, struct http_text rest)
{
    struct http_text member;
    while (http_list_next(&rest, &member)) {
        if (http_text_is_nocase(&member, "100-continue"))
            c->head->expect_continue = c->head->minor == 1;
        else if (member.length > 0)
            return refuse(c, REFUSAL_EXPECTATION_FAILED);
    }
    return HTTP_HEAD_COMPLETE;
}

static enum http_head_status take_field(struct cursor *c, struct http_text name,
                                        struct http_text value)
{
    static const struct {
        const char *name;
        size_t offset;
        enum repeat repeat;
    } kept[] = {
        /* Range and If-Range: a wrong guess could send, and bill, the whole file. */
        {"range", offsetof(struct http_head, range), REPEAT_REFUSED},
        {"if-range", offsetof(struct http_head, if_range), REPEAT_REFUSED},
        {"if-match", offsetof(struct http_head, if_match), REPEAT_JOINED},
        {"if-none-match", offsetof(struct http_head, if_none_match), REPEAT_JOINED},
        {"if-modified-since", offsetof(struct http_head, if_modified_since), REPEAT_IGNORED},
        {"if-unmodified-since", offsetof(struct http_head, if_unmodified_since), REPEAT_IGNORED},
        {"authorization", offsetof(struct http_head, authorization), REPEAT_REFUSED},
        {"cookie", offsetof(struct http_head, cookie), REPEAT_JOINED},
        {"origin", offsetof(struct http_head, origin), REPEAT_REFUSED},
        {"access-control-request-method", offsetof(struct http_head, preflight_method),
         REPEAT_REFUSED},
        {"sec-fetch-mode", offsetof(struct http_head, fetch_mode), REPEAT_REFUSED},
    };
    struct http_head *head = c->head;
    if (http_text_is_nocase(&name, "host")) {
        c->hosts++;
        if (!authority_is_valid(value.data, value.length))
            return refuse(c, REFUSAL_HOST_INVALID);
        head->host = value;
        return HTTP_HEAD_COMPLETE;
    }
    for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++) {
        if (http_text_is_nocase(&name, kept[i].name))
            return keep(c, kept[i].repeat,
                        (struct http_text *)(void *)((char *)head + kept[i].offset), value);
    }
    if (http_text_is_nocase(&name, "accept")) {
        if (head->accept.data == NULL)
            head->accept = value;
    } else if (http_text_is_nocase(&name, "user-agent")) {
        head->user_agent = value;
    } else if (http_text_is_nocase(&name, "referer")) {
        head->referer = value;
    } else if (http_text_is_nocase(&name, "connection")) {
        c->connection_close |= http_list_has(&value, "close");
        c->connection_keep_alive |= http_list_has(&value, "keep-alive");
    } else if (http_text_is_nocase(&name, "content-length")) {
        return take_content_length(c, value);
    } else if (http_text_is_nocase(&name, "transfer-encoding")) {
        return take_codings(c, value);
    } else if (http_text_is_nocase(&name, "expect")) {
        return take_expectations(c, value);
    }
    return HTTP_HEAD_COMPLETE;
}

static enum http_head_status parse_field(struct cursor *c, const struct http_text *line)
{
    struct http_text name, value;
    if (!http_field_cut(line, &name, &value))
        return refuse(c, REFUSAL_HEAD_MALFORMED);
    return take_field(c, name, value);
}

bool http_head_next(const struct http_head *head, const char *name, struct http_text *value)
{
    struct http_text line, found;
    if (value->data == NULL || !head->repeats)
        return false;
    const char *at = value->data + value->length, *end = head->fields.data + head->fields.length;
    (void)http_line_take(&at, end, &line); /* the rest of the present line */
    while (http_line_take(&at, end, &line) == HTTP_HEAD_COMPLETE &&
           http_field_cut(&line, &found, value)) {
        if (http_text_is_nocase(&found, name))
            return true;
    }
    return false;
}

static enum http_head_status finish(struct cursor *c)
{
    struct http_head *head = c->head;
    /* RFC 9112 3.2: exactly one Host in HTTP/1.1; HTTP/1.0 may have none */
    if (c->hosts > 1 || (c->hosts == 0 && head->minor == 1))
        return refuse(c, REFUSAL_HOST_INVALID);
    /* RFC 9112 6.1: both framings at once may smuggle a request; so may a coding in HTTP/1.0 */
    bool coded = head->chunked || c->unknown_coding;
    if (coded && (c->content_lengths > 0 || head->minor == 0))
        return refuse(c, REFUSAL_HEAD_MALFORMED);
    if (c->unknown_coding)
        return refuse(c, REFUSAL_CODING_UNKNOWN);
    /* RFC 9112 9.3: persistent by default in HTTP/1.1, only where asked for in HTTP/1.0 */
    head->keep_alive = !c->connection_close && (head->minor == 1 || c->connection_keep_alive);
    return HTTP_HEAD_COMPLETE;
}

static enum http_head_status take_request_line(struct cursor *c)
{
    struct http_text line;
    enum http_head_status status;
    do { /* RFC 9112 2.2: ignore at least one empty line before the request line */
        status = take_line(c, &line);
        if (status != HTTP_HEAD_COMPLETE)
            return status;
    } while (line.length == 0);
    return parse_request_line(c, &line);
}

static enum http_head_status parse(struct cursor *c)
{
    struct http_text line;
    enum http_head_status status = take_request_line(c);
    const char *begin = c->at;
    for (unsigned fields = 0; status == HTTP_HEAD_COMPLETE; fields++) {
        status = take_line(c, &line);
        if (status != HTTP_HEAD_COMPLETE)
            return status;
        if (line.length == 0) {
            c->head->fields = (struct http_text){begin, (size_t)(line.data - begin)};
            return finish(c);
        }
        if (fields == HTTP_HEADERS_MAX)
            return refuse(c, REFUSAL_HEAD_TOO_LARGE);
        status = parse_field(c, &line);
    }
    return status;
}

enum http_head_status http_head_parse(const char *data, size_t length, struct http_head *head,
                                      enum refusal *refusal)
{
    memset(head, 0, sizeof(*head));
    struct cursor c = {.at = data, .end = data + length, .head = head};
    enum http_head_status status = parse(&c);
    if (status == HTTP_HEAD_COMPLETE)
        head->length = (size_t)(c.at - data);
    else if (status == HTTP_HEAD_REFUSED)
        *refusal = c.refusal;
    return status;
}

bool http_head_is_begun(const char *data, size_t length)
{
    struct http_head head = {0};
    struct cursor c = {.at = data, .end = data + length, .head = &head};
    enum http_head_status status = take_request_line(&c);
    return status == HTTP_HEAD_COMPLETE ||
           (status == HTTP_HEAD_REFUSED && c.refusal != REFUSAL_HEAD_MALFORMED);
}

void http_head_move(struct http_head *head, const char *from, const char *to)
{
    struct http_text *const texts[] = {
        &head->method_text,
        &head->target,
        &head->host,
        &head->range,
        &head->if_range,
        &head->if_modified_since,
        &head->if_unmodified_since,
        &head->authorization,
        &head->accept,
        &head->origin,
        &head->preflight_method,
        &head->fetch_mode,
        &head->user_agent,
        &head->referer,
        &head->if_match,
        &head->if_none_match,
        &head->cookie,
        &head->fields,
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        /* A text may also be absent, or a constant: the "/" of a target without a path. */
        uintptr_t at = (uintptr_t)texts[i]->data - (uintptr_t)from;
        if (texts[i]->data != NULL && at < head->length)
            texts[i]->data = to + at;
    }
}
