/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request target taken apart: the signed package found and stripped, the path decoded
 * once and for all, the rest brought into one spelling. The server calls it for each request,
 * before it knows anything of the sender. It refuses what it cannot read, repairs nothing,
 * and never allocates.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/base/check.h"
#include "server/base/octets.h"
#include "tokens/tokens.h"

struct span {
    const char *text;
    size_t length;
};

/* A search for the package: the attribute's name, and the target where the finding is noted. */
struct search {
    const char *attribute;
    size_t attribute_length;
    struct token_target *out;
};

/* The number, from 1, of the path's segment that holds the character at `at`; a slash belongs to
 * the segment behind it. */
static unsigned segment_at(struct span path, size_t at)
{
    unsigned segment = 0;

    for (size_t i = 0; i <= at && i < path.length; i++)
        segment += path.text[i] == '/';
    return segment;
}

static enum token_target_error bad_path(struct token_target *out, enum token_path_fault fault,
                                        unsigned segment)
{
    out->fault = fault;
    out->segment = segment;
    return TOKEN_TARGET_BAD_PATH;
}

void token_path_fault_write(const struct token_target *target, char out[TOKEN_PATH_FAULT_SIZE])
{
    static const char *const texts[] = {
#define X(name, text) text,
        TOKEN_PATH_FAULTS(X)
#undef X
    };

    if (target->segment > 0)
        (void)snprintf(out, TOKEN_PATH_FAULT_SIZE, "segment %u of the path %s", target->segment,
                       texts[target->fault]);
    else
        (void)snprintf(out, TOKEN_PATH_FAULT_SIZE, "the %s %s",
                       target->fault == TOKEN_PATH_RELATIVE ? "path" : "query",
                       texts[target->fault]);
}

struct writer {
    char *out;
    size_t length;
    size_t size; /* without room for the NUL */
};

static bool put(struct writer *writer, char byte)
{
    if (writer->length == writer->size)
        return false;
    writer->out[writer->length++] = byte;
    return true;
}

static const char upper_hex[] = "0123456789ABCDEF";

static bool put_escape(struct writer *writer, unsigned char byte)
{
    return put(writer, '%') && put(writer, upper_hex[byte >> 4]) &&
           put(writer, upper_hex[byte & 15]);
}

/* RFC 3986 section 2.3: each byte of a package is looked up here. */
static const bool unreserved[256] = {
    OCTETS_DIGITS(true), OCTETS_UPPER(true), OCTETS_LOWER(true), ['-'] = true,
    ['.'] = true,        ['_'] = true,       ['~'] = true};

static bool is_unreserved(unsigned char byte)
{
    return unreserved[byte];
}

/* RFC 3986 section 2.2, without those that neither path nor query may hold raw (3.3, 3.4). */
static bool is_reserved(unsigned char byte)
{
    return byte != '\0' && strchr(":/?@!$&'()*+,;=", byte) != NULL;
}

/* A byte of a package's value: unreserved, an escape, or "+", which base64 has where
 * base64url has "-". */
static bool is_value_byte(char byte)
{
    return is_unreserved((unsigned char)byte) || byte == '%' || byte == '+';
}

/* How many "=" from `at` on pad what stands before: after the last one comes the next part of a
 * JWS, or the value ends. 0 where something else follows. */
static size_t padding_length(struct span span, size_t at)
{
    size_t length = 0;

    while (at + length < span.length && span.text[at + length] == '=')
        length++;
    if (at + length == span.length || span.text[at + length] == '.' ||
        !is_value_byte(span.text[at + length]))
        return length;
    return 0;
}

/* The length of a package's value that begins at `from`. It includes bytes that no token may hold
 * but other encoders write, so that the verifier refuses the token by name. */
static size_t value_length(struct span span, size_t from)
{
    size_t at = from;
    size_t taken = 1;

    while (at < span.length && taken > 0) {
        taken = is_value_byte(span.text[at]) ? 1 : padding_length(span, at);
        at += taken;
    }
    return at - from;
}

/* Whether the attribute and its "=" stand at `at`. */
static bool names_package(const struct search *search, struct span span, size_t at)
{
    return span.length - at > search->attribute_length &&
           memcmp(span.text + at, search->attribute, search->attribute_length) == 0 &&
           span.text[at + search->attribute_length] == '=';
}

/*
 * Copies a span without its package. A package begins after one of `openers` and must end at one of
 * `closers` or with the span; `sub` is the closer that is a sub-delimiter.
 *
 * RFC 9246 section 2.1.15: a package that ends in a sub-delimiter goes with that delimiter and
 * leaves the one before it; any other goes with the one before it. A package that ends in another
 * byte is refused: "/p?NAME=JWT/q" would by the letter become the URI "/p/q", which is not the path
 * that is opened.
 */
static enum token_target_error strip(const struct search *search, struct span span,
                                     const char *openers, const char *closers, char sub,
                                     struct writer *writer)
{
    const bool is_query = span.length > 0 && span.text[0] == '?';

    for (size_t i = 0; i < span.length; i++) {
        char byte = span.text[i];
        size_t start = i + 1 + search->attribute_length + 1;
        size_t length;

        if (byte == '\0')
            return bad_path(search->out, TOKEN_PATH_UNESCAPED, is_query ? 0 : segment_at(span, i));
        /* A "?" within the query is data: only the first one begins a parameter. */
        if (strchr(openers, byte) == NULL || (byte == '?' && i > 0) ||
            !names_package(search, span, i + 1)) {
            if (!put(writer, byte))
                return TOKEN_TARGET_TOO_LONG;
            continue;
        }
        if (search->out->package != NULL)
            return TOKEN_TARGET_AMBIGUOUS;
        length = value_length(span, start);
        search->out->package = span.text + start;
        search->out->package_length = length;
        if (start + length == span.length)
            break;
        if (strchr(closers, span.text[start + length]) == NULL)
            return bad_path(search->out, TOKEN_PATH_PACKAGE_END,
                            is_query ? 0 : segment_at(span, i));
        if (span.text[start + length] != sub) {
            i = start + length - 1;
            continue;
        }
        /* The opener stays for what follows, which may be a second package. */
        i = start + length - 1;
        if (names_package(search, span, start + length + 1))
            return TOKEN_TARGET_AMBIGUOUS;
        if (!put(writer, byte))
            return TOKEN_TARGET_TOO_LONG;
        i++;
    }
    return TOKEN_TARGET_OK;
}

/* Reads one byte of a URI part and undoes its escape. Returns the characters it took, or 0 for a
 * bad escape. */
static size_t read_byte(struct span span, size_t at, unsigned char *byte, bool *escaped)
{
    int high;
    int low;

    *byte = (unsigned char)span.text[at];
    *escaped = *byte == '%';
    if (!*escaped)
        return 1;
    if (span.length - at < 3 || (high = octet_hex_value(span.text[at + 1])) < 0 ||
        (low = octet_hex_value(span.text[at + 2])) < 0)
        return 0;
    *byte = (unsigned char)(high * 16 + low);
    return 3;
}

/*
 * Whether a byte may stand in a target without an escape: no space, control byte, # or backslash.
 */
static bool is_raw_allowed(unsigned char byte)
{
    return byte > 0x20 && byte != 0x7f && byte != '#' && byte != '\\';
}

/*
 * Writes one byte in normal form: RFC 3986 section 6.2.2.1 (capitals in escapes) and 6.2.2.2 (no
 * escape where none is needed). A byte that no URI may hold raw, but some clients send so, gets the
 * escape that others send.
 */
static bool put_normal(struct writer *writer, unsigned char byte, bool escaped)
{
    if (is_unreserved(byte) || (!escaped && is_reserved(byte)))
        return put(writer, (char)byte);
    return put_escape(writer, byte);
}

/* Whether the decoded path may hold the byte: none that a file system or a log could take for
 * something else. False with the fault. */
static bool is_path_byte(unsigned char byte, bool escaped, enum token_path_fault *fault)
{
    if (!escaped && !is_raw_allowed(byte))
        *fault = TOKEN_PATH_UNESCAPED;
    else if (byte < 0x20 || byte == 0x7f)
        *fault = TOKEN_PATH_CONTROL;
    else if (byte == '\\')
        *fault = TOKEN_PATH_BACKSLASH;
    else if (escaped && byte == '/')
        *fault = TOKEN_PATH_ESCAPED_SLASH;
    else
        return true;
    return false;
}

/* Validates that each segment of the decoded path means itself; only the last may be empty. */
static enum token_target_error validate_segments(struct token_target *out, size_t length)
{
    const char *path = out->path;
    unsigned number = 0;
    size_t start = 1;

    for (size_t i = 1; i <= length; i++) {
        size_t segment;
        if (i < length && path[i] != '/')
            continue;
        segment = i - start;
        number++;
        if (segment == 0 && i < length)
            return bad_path(out, TOKEN_PATH_EMPTY_SEGMENT, number);
        if ((segment == 1 && path[start] == '.') ||
            (segment == 2 && path[start] == '.' && path[start + 1] == '.'))
            return bad_path(out, TOKEN_PATH_DOT_SEGMENT, number);
        start = i + 1;
    }
    return TOKEN_TARGET_OK;
}

static enum token_target_error decode_path(struct span span, struct token_target *out,
                                           struct writer *uri)
{
    struct writer path = {.out = out->path, .size = sizeof(out->path) - 1};
    size_t taken;

    if (span.length == 0 || span.text[0] != '/')
        return bad_path(out, TOKEN_PATH_RELATIVE, 0);
    for (size_t i = 0; i < span.length; i += taken) {
        enum token_path_fault fault = TOKEN_PATH_BAD_ESCAPE;
        unsigned char byte;
        bool escaped;
        taken = read_byte(span, i, &byte, &escaped);
        if (taken == 0 || !is_path_byte(byte, escaped, &fault))
            return bad_path(out, fault, segment_at(span, i));
        if (!put(&path, (char)byte) || !put_normal(uri, byte, escaped))
            return TOKEN_TARGET_TOO_LONG;
    }
    out->path[path.length] = '\0';
    out->path_length = path.length;
    return validate_segments(out, path.length);
}

static enum token_target_error normalise_query(struct span span, struct token_target *out,
                                               struct writer *uri)
{
    size_t taken;

    for (size_t i = 0; i < span.length; i += taken) {
        unsigned char byte;
        bool escaped;
        taken = read_byte(span, i, &byte, &escaped);
        if (taken == 0)
            return bad_path(out, TOKEN_PATH_BAD_ESCAPE, 0);
        if (!escaped && !is_raw_allowed(byte))
            return bad_path(out, TOKEN_PATH_UNESCAPED, 0);
        if (!put_normal(uri, byte, escaped))
            return TOKEN_TARGET_TOO_LONG;
    }
    return TOKEN_TARGET_OK;
}

enum token_target_error token_target_parse(const char *target, size_t length, const char *attribute,
                                           struct token_target *out)
{
    const struct search search = {attribute, strlen(attribute), out};
    const char *mark = length > 0 ? memchr(target, '?', length) : NULL;
    const size_t path_length = mark != NULL ? (size_t)(mark - target) : length;
    /* RFC 3986 section 6.2.3: an empty path is "/". */
    const struct span path =
        path_length > 0 ? (struct span){target, path_length} : (struct span){"/", 1};
    const struct span query = {target + path_length, length - path_length};
    char stripped[sizeof(out->uri)];
    struct writer writer = {.out = stripped, .size = sizeof(stripped) - 1};
    struct writer uri = {.out = out->uri, .size = sizeof(out->uri) - 1};
    enum token_target_error error;
    size_t split;

    check(search.attribute_length > 0);
    out->package = NULL;
    out->path_length = out->uri_length = out->package_length = 0;
    out->path[0] = out->uri[0] = '\0';
    /* Path-style parameters (RFC 6570 section 3.2.7), then form-style ones (3.2.8 and 3.2.9). */
    if ((error = strip(&search, path, ";", ";/", ';', &writer)) != TOKEN_TARGET_OK)
        return error;
    split = writer.length;
    if ((error = strip(&search, query, "?&", "&", '&', &writer)) != TOKEN_TARGET_OK)
        return error;
    if ((error = decode_path((struct span){stripped, split}, out, &uri)) != TOKEN_TARGET_OK ||
        (error = normalise_query((struct span){stripped + split, writer.length - split}, out,
                                 &uri)) != TOKEN_TARGET_OK)
        return error;
    out->uri[uri.length] = '\0';
    out->uri_length = uri.length;
    return TOKEN_TARGET_OK;
}

int token_path_encode(const char *path, size_t length, char *out, size_t out_size)
{
    struct writer writer = {.out = out, .size = out_size > 0 ? out_size - 1 : 0};

    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)path[i];
        /* RFC 3986 section 3.3: pchar, and the slashes between segments. */
        bool plain =
            is_unreserved(byte) || (byte != '\0' && strchr("!$&'()*+,;=:@/", byte) != NULL);
        if (!(plain ? put(&writer, (char)byte) : put_escape(&writer, byte)))
            return -ENOSPC;
    }
    if (out_size == 0)
        return -ENOSPC;
    out[writer.length] = '\0';
    return (int)writer.length;
}
