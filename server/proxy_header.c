/*
 * PROXY protocol version 2, section 2.2 of its specification (HAProxy, proxy-protocol.txt). See
 * proxy_header.h.
 */
#include "server/proxy_header.h"

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

enum proxy_header_status proxy_header_read(const void *data, size_t length, size_t *used,
                                           struct client_address *client, bool *named)
{
    const unsigned char *bytes = data;
    size_t known = length < sizeof(signature) ? length : sizeof(signature);
    *named = false;
    if (memcmp(bytes, signature, known) != 0)
        return PROXY_HEADER_WRONG;
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
