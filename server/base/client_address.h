/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's address: IPv4 and IPv6 in one form, and prefixes of addresses. The bounds for each
 * address, the trust in proxies and the logs use it. It keeps no state and, but for
 * client_address_of, makes no system call.
 */
#ifndef TOLLGATE_SERVER_BASE_CLIENT_ADDRESS_H
#define TOLLGATE_SERVER_BASE_CLIENT_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLIENT_ADDRESS_TEXT 56 /* "[2001:db8::1]:65535" and NUL fit */

struct client_address {
    unsigned char ip[16]; /* IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2) */
    uint16_t port;        /* host order */
};

/* Reads the address of a connected socket's peer. 0, or a negative errno. */
int client_address_of(int fd, struct client_address *out);
/* Writes "192.0.2.1:4711" or "[2001:db8::1]:4711" (RFC 5952 6); with port 0, the address alone. */
void client_address_write(const struct client_address *address, char out[CLIENT_ADDRESS_TEXT]);

/*
 * Reads an address as proxies write it: 192.0.2.1, 192.0.2.1:4711, 2001:db8::1, [2001:db8::1] or
 * [2001:db8::1]:4711; no names, no zones. The port is 0 where there is none. Anything else returns
 * false and leaves *out as it was.
 */
bool client_address_read(const char *text, size_t length, struct client_address *out);
/* Reads a port, 0 to 65535 in one to five digits. False, with *out undefined, for anything else. */
bool client_port_read(const char *text, size_t length, uint16_t *out);

/* Writes the key under which one subscriber is counted: the IPv4 address (as ::ffff:a.b.c.d), or
 * the /64 of an IPv6 address. */
#define CLIENT_SUBSCRIBER_SIZE 16
void client_address_subscriber(const struct client_address *address,
                               unsigned char key[CLIENT_SUBSCRIBER_SIZE]);

struct client_prefix {
    unsigned char ip[16];
    unsigned bits; /* of the 128: an IPv4 /8 is 104 */
};
/*
 * Reads prefixes (RFC 4632 3.1, RFC 4291 2.3: 10.0.0.0/8, 2001:db8::/32, or an address alone),
 * separated by spaces, tabs or commas. Returns how many there are, -EINVAL, or -E2BIG where there
 * are more than `max`; *bad is then where the prefix begins that is wrong or one too many.
 */
int client_prefixes_read(const char *text, struct client_prefix *out, unsigned max,
                         const char **bad);
bool client_prefix_holds(const struct client_prefix *prefix, const struct client_address *address);
/* Whether one of the `count` prefixes holds the address. */
bool client_prefixes_hold(const struct client_prefix *prefixes, unsigned count,
                          const struct client_address *address);

#endif
