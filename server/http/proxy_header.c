/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PROXY protocol, versions 1 and 2, sections 2.1 and 2.2 of its specification (HAProxy,
 * proxy-protocol.txt). See proxy_header.h.
 */
#include "server/http/proxy_header.h"

#include <string.h>

#define FIXED         16
#define COMMAND_LOCAL 0x20 /* version 2, and its two commands */
#define COMMAND_PROXY 0x21
#define TCP_OVER_V4   0x11
#define TCP_OVER_V6   0x21

static const unsigned char signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                            0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

static uint16_t read_u16(const unsigned char *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

/* ---- version 1 ---- */

static const char line_begin[6] = {'P', 'R', 'O', 'X', 'Y', ' '};

/* Takes the bytes up to the next space, which is skipped, or to the end of the line. */
static bool take_word(const char **at, const char *end, const char **word, size_t *length)
{
    const char *space = memchr(*at, ' ', (size_t)(end - *at));
    const char *stop = space != NULL ? space : end;
    *word = *at;
    *length = (size_t)(stop - *at);
    *at = space != NULL ? space + 1 : end;
    return space != NULL;
}

/* 0 to 65535 without leading zeros. */
static bool read_port(const char *text, size_t length, uint16_t *out)
{
    return length > 0 && (length == 1 || text[0] != '0') && client_port_read(text, length, out);
}

/*
 * Reads an IPv6 or IPv4 address without a port, as inet_pton(3) does, which takes no leading zeros.
 */
static bool read_address(const char *text, size_t length, bool v6, struct client_address *out)
{
    return length > 0 && text[0] != '[' && (memchr(text, ':', length) != NULL) == v6 &&
           client_address_read(text, length, out);
}

/* Parses the bytes between "PROXY " and CRLF. */
static enum proxy_header_status read_line(const char *at, const char *end,
                                          struct client_address *client, bool *named)
{
    const char *word;
    size_t length;
    struct client_address source, destination;
    bool more = take_word(&at, end, &word, &length);
    if (length == 7 && memcmp(word, "UNKNOWN", 7) == 0)
        return PROXY_HEADER_COMPLETE; /* whatever follows must be ignored */
    bool v6 = length == 4 && memcmp(word, "TCP6", 4) == 0;
    if (!more || (!v6 && (length != 4 || memcmp(word, "TCP4", 4) != 0)))
        return PROXY_HEADER_WRONG;
    if (!take_word(&at, end, &word, &length) || !read_address(word, length, v6, &source) ||
        !take_word(&at, end, &word, &length) || !read_address(word, length, v6, &destination) ||
        !take_word(&at, end, &word, &length) || !read_port(word, length, &source.port) ||
        take_word(&at, end, &word, &length) || !read_port(word, length, &destination.port))
        return PROXY_HEADER_WRONG;
    *client = source;
    *named = true;
    return PROXY_HEADER_COMPLETE;
}

static enum proxy_header_status read_version_1(const char *text, size_t length, size_t *used,
                                               struct client_address *client, bool *named)
{
    size_t seen = length < PROXY_LINE_MAX ? length : PROXY_LINE_MAX;
    const char *cr = memchr(text, '\r', seen), *lf = memchr(text, '\n', seen);
    if (lf == NULL && (cr == NULL || cr + 1 == text + seen) && length < PROXY_LINE_MAX)
        return PROXY_HEADER_PARTIAL;
    if (lf == NULL || cr == NULL || cr + 1 != lf)
        return PROXY_HEADER_WRONG;
    *used = (size_t)(lf + 1 - text);
    return read_line(text + sizeof(line_begin), cr, client, named);
}

/* ---- version 2 ---- */

static enum proxy_header_status read_version_2(const unsigned char *bytes, size_t length,
                                               size_t *used, struct client_address *client,
                                               bool *named)
{
    if (length < FIXED)
        return PROXY_HEADER_PARTIAL;
    size_t rest = read_u16(bytes + 14);
    if ((bytes[12] != COMMAND_LOCAL && bytes[12] != COMMAND_PROXY) || rest > PROXY_HEADER_MAX)
        return PROXY_HEADER_WRONG;
    if (length < FIXED + rest)
        return PROXY_HEADER_PARTIAL;
    *used = FIXED + rest;
    if (bytes[12] == COMMAND_LOCAL)
        return PROXY_HEADER_COMPLETE;
    const unsigned char *address = bytes + FIXED;
    if (bytes[13] == TCP_OVER_V4) { /* source, destination, source port, destination port */
        if (rest < 12)
            return PROXY_HEADER_WRONG;
        *client = (struct client_address){.ip = {[10] = 0xff, [11] = 0xff},
                                          .port = read_u16(address + 8)};
        memcpy(client->ip + 12, address, 4);
        *named = true;
    } else if (bytes[13] == TCP_OVER_V6) {
        if (rest < 36)
            return PROXY_HEADER_WRONG;
        *client = (struct client_address){.port = read_u16(address + 32)};
        memcpy(client->ip, address, 16);
        *named = true;
    }
    return PROXY_HEADER_COMPLETE;
}

static bool begins(const void *data, size_t length, const void *with, size_t size)
{
    return memcmp(data, with, length < size ? length : size) == 0;
}

enum proxy_header_status proxy_header_read(const void *data, size_t length, size_t *used,
                                           struct client_address *client, bool *named)
{
    *named = false;
    if (length == 0)
        return PROXY_HEADER_PARTIAL;
    if (begins(data, length, signature, sizeof(signature)))
        return read_version_2(data, length, used, client, named);
    if (!begins(data, length, line_begin, sizeof(line_begin)))
        return PROXY_HEADER_ABSENT;
    return length < sizeof(line_begin) ? PROXY_HEADER_PARTIAL
                                       : read_version_1(data, length, used, client, named);
}
