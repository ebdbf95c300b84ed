/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the client that a proxy speaks for, in the fields that it adds to each request:
 * X-Forwarded-For, or Forwarded (RFC 7239). Pure functions; proxies.c calls them for the requests
 * of trusted proxies, and they are fuzzed alone.
 */
#ifndef TOLLGATE_SERVER_HTTP_FORWARDED_H
#define TOLLGATE_SERVER_HTTP_FORWARDED_H

#include "server/base/client_address.h"
#include "server/http/http_head.h"

#define FORWARDED_HOPS_MAX 32 /* trusted proxies in a row; a longer list is not trusted */

enum forwarded_field { FORWARDED_X_FORWARDED_FOR, FORWARDED_FORWARDED };

/* "x-forwarded-for" or "forwarded", in any case. False for anything else. */
bool forwarded_field_parse(const char *text, enum forwarded_field *out);
const char *forwarded_field_name(enum forwarded_field field); /* "X-Forwarded-For" */
/* Whether the head has a line of that field. */
bool forwarded_is_sent(enum forwarded_field field, const struct http_head *head);

enum forwarded_status {
    FORWARDED_NAMED,
    FORWARDED_ABSENT, /* no such field, or nothing in it */
    FORWARDED_HIDDEN, /* RFC 7239 6.2, 6.3: `unknown`, an obfuscated name, or no `for` at all */
    FORWARDED_WRONG,  /* no address where one belongs, or more than FORWARDED_HOPS_MAX */
};
/*
 * Finds the rightmost address that is in none of the `trusted` prefixes; the leftmost one where all
 * are trusted. What stands left of it was sent by that client itself, so it is not looked at.
 * Several lines of the field are one list, in their order (RFC 9110 5.3).
 *
 * The caller sets *client to the proxy that sent the head. It becomes the client; with
 * another status than FORWARDED_NAMED, the last trusted proxy that the list names before it
 * cannot be followed.
 */
enum forwarded_status forwarded_read(enum forwarded_field field, const struct http_head *head,
                                     const struct client_prefix *trusted, unsigned trusted_count,
                                     struct client_address *client);

#endif
