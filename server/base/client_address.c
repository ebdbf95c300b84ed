/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and prefixes. See client_address.h. */
#include "server/base/client_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

int client_address_of(int fd, struct client_address *out)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } peer = {0};
    socklen_t length = sizeof(peer);
    *out = (struct client_address){0};
    if (getpeername(fd, &peer.any, &length) != 0)
        return -errno;
    if (peer.any.sa_family == AF_INET6) {
        memcpy(out->ip, &peer.v6.sin6_addr, 16);
        out->port = ntohs(peer.v6.sin6_port);
        return 0;
    }
    if (peer.any.sa_family != AF_INET)
        return -EAFNOSUPPORT;
    memcpy(out->ip, mapped, sizeof(mapped));
    memcpy(out->ip + 12, &peer.v4.sin_addr, 4);
    out->port = ntohs(peer.v4.sin_port);
    return 0;
}

void client_address_write(const struct client_address *address, char out[CLIENT_ADDRESS_TEXT])
{
    char text[INET6_ADDRSTRLEN] = "";
    bool v4 = memcmp(address->ip, mapped, sizeof(mapped)) == 0;
    (void)inet_ntop(v4 ? AF_INET : AF_INET6, address->ip + (v4 ? 12 : 0), text, sizeof(text));
    if (address->port == 0) /* RFC 5952 6: brackets are used only with a port */
        snprintf(out, CLIENT_ADDRESS_TEXT, "%s", text);
    else
        snprintf(out, CLIENT_ADDRESS_TEXT, v4 ? "%s:%u" : "[%s]:%u", text, address->port);
}

bool client_port_read(const char *text, size_t length, uint16_t *out)
{
    unsigned port = 0;
    if (length == 0 || length > 5)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    *out = (uint16_t)port;
    return port <= UINT16_MAX;
}

bool client_address_read(const char *text, size_t length, struct client_address *out)
{
    struct client_address address = {0};
    char copy[INET6_ADDRSTRLEN];
    const char *host = text, *end = text + length, *host_end = end, *port = NULL;
    bool bracket = length > 0 && text[0] == '[', v4;
    if (bracket) {
        host++;
        host_end = memchr(host, ']', (size_t)(end - host));
        if (host_end == NULL)
            return false;
        if (host_end + 1 < end) {
            if (host_end[1] != ':')
                return false;
            port = host_end + 2;
        }
    } else {
        const char *colon = memchr(text, ':', length);
        if (colon != NULL && memchr(text, '.', (size_t)(colon - text)) != NULL) {
            host_end = colon; /* IPv4 with a port: IPv6 has its first colon before any dot */
            port = colon + 1;
        }
    }
    size_t size = (size_t)(host_end - host);
    if (size == 0 || size >= sizeof(copy) || memchr(host, '\0', size) != NULL)
        return false;
    memcpy(copy, host, size);
    copy[size] = '\0';
    v4 = !bracket && inet_pton(AF_INET, copy, address.ip + 12) == 1;
    if (v4)
        memcpy(address.ip, mapped, sizeof(mapped));
    else if (inet_pton(AF_INET6, copy, address.ip) != 1)
        return false;
    if (port != NULL && !client_port_read(port, (size_t)(end - port), &address.port))
        return false;
    *out = address;
    return true;
}

void client_address_subscriber(const struct client_address *address,
                               unsigned char key[CLIENT_SUBSCRIBER_SIZE])
{
    memcpy(key, address->ip, CLIENT_SUBSCRIBER_SIZE);
    if (memcmp(key, mapped, sizeof(mapped)) != 0)
        memset(key + 8, 0, 8);
}

/* Reads one prefix: an address, with /BITS or without. */
static bool read_prefix(const char *text, size_t length, struct client_prefix *out)
{
    char copy[INET6_ADDRSTRLEN + 5];
    if (length == 0 || length >= sizeof(copy))
        return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    char *slash = strchr(copy, '/');
    if (slash != NULL)
        *slash++ = '\0';
    bool v4 = inet_pton(AF_INET, copy, out->ip + 12) == 1;
    if (v4)
        memcpy(out->ip, mapped, sizeof(mapped));
    else if (inet_pton(AF_INET6, copy, out->ip) != 1)
        return false;
    unsigned long most = v4 ? 32 : 128, bits = most;
    if (slash != NULL) {
        size_t digits = strspn(slash, "0123456789");
        if (digits == 0 || digits > 3 || slash[digits] != '\0')
            return false;
        bits = strtoul(slash, NULL, 10);
    }
    if (bits > most)
        return false;
    out->bits = (unsigned)(v4 ? bits + 96 : bits);
    return true;
}

int client_prefixes_read(const char *text, struct client_prefix *out, unsigned max,
                         const char **bad)
{
    static const char between[] = " ,\t";
    unsigned count = 0;
    for (text += strspn(text, between); *text != '\0'; text += strspn(text, between)) {
        size_t length = strcspn(text, between);
        *bad = text;
        if (count == max)
            return -E2BIG;
        if (!read_prefix(text, length, &out[count]))
            return -EINVAL;
        count++;
        text += length;
    }
    return (int)count;
}

bool client_prefix_holds(const struct client_prefix *prefix, const struct client_address *address)
{
    unsigned whole = prefix->bits / 8, rest = prefix->bits % 8;
    if (memcmp(prefix->ip, address->ip, whole) != 0)
        return false;
    return rest == 0 || (prefix->ip[whole] ^ address->ip[whole]) >> (8 - rest) == 0;
}

bool client_prefixes_hold(const struct client_prefix *prefixes, unsigned count,
                          const struct client_address *address)
{
    for (unsigned i = 0; i < count; i++) {
        if (client_prefix_holds(&prefixes[i], address))
            return true;
    }
    return false;
}
