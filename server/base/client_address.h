/*
 * Where a client is: an IP address in one form for both versions, and prefixes of them. Used for the
 * limits of an address, the trust in proxies and the log. Pure, but for reading a socket.
 */
#ifndef TOLLGATE_SERVER_CLIENT_ADDRESS_H
#define TOLLGATE_SERVER_CLIENT_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLIENT_ADDRESS_TEXT 56 /* "[2001:db8::1]:65535" and NUL fit */

struct client_address {
    unsigned char ip[16]; /* IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2) */
    uint16_t port;        /* host order */
};

/* Of the connected socket's peer. 0 or a negative errno. */
int client_address_of(int fd, struct client_address *out);
/* "192.0.2.1:4711" or "[2001:db8::1]:4711"; without a port that is known (0), the address alone. */
void client_address_write(const struct client_address *address, char out[CLIENT_ADDRESS_TEXT]);

/*
 * Reads an address as proxies write it: 192.0.2.1, 192.0.2.1:4711, 2001:db8::1, [2001:db8::1] or
 * [2001:db8::1]:4711; no names, no zones. The port is 0 where there is none. False, and *out as it
 * was, for anything else.
 */
bool client_address_read(const char *text, size_t length, struct client_address *out);
/* 0 to 65535, in one to five digits. False, and *out of no use, for anything else. */
bool client_port_read(const char *text, size_t length, uint16_t *out);

/* What is one subscriber's: the IPv4 address, or the /64 of an IPv6 one. Equal where that is. */
#define CLIENT_SUBSCRIBER_SIZE 16
void client_address_subscriber(const struct client_address *address,
                               unsigned char key[CLIENT_SUBSCRIBER_SIZE]);

struct client_prefix {
    unsigned char ip[16];
    unsigned bits; /* of 128 */
};
/*
 * Reads prefixes (RFC 4632, RFC 4291 2.3: 10.0.0.0/8, 2001:db8::/32, or an address alone), separated
 * by spaces or commas. Returns how many there are, or -EINVAL (*bad is where the first wrong one
 * begins), or -E2BIG past `max`.
 */
int client_prefixes_read(const char *text, struct client_prefix *out, unsigned max,
                         const char **bad);
bool client_prefix_holds(const struct client_prefix *prefix, const struct client_address *address);
/* Whether one of the `count` prefixes does. */
bool client_prefixes_hold(const struct client_prefix *prefixes, unsigned count,
                          const struct client_address *address);

#endif
