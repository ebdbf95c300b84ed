/*
 * Whom a proxy speaks for, by the fields that it adds to each request: X-Forwarded-For, or Forwarded
 * (RFC 7239). Pure; used by connection_client.c for requests of proxies that are trusted, fuzzed alone.
 */
#ifndef TOLLGATE_SERVER_FORWARDED_H
#define TOLLGATE_SERVER_FORWARDED_H

#include "server/base/client_address.h"
#include "server/http_head.h"

#define FORWARDED_HOPS_MAX                                                                         \
    32 /* trusted proxies one behind the other; a longer list is not trusted */

enum forwarded_field { FORWARDED_X_FORWARDED_FOR, FORWARDED_FORWARDED };

/* "x-forwarded-for" or "forwarded", in any case. False for anything else. */
bool forwarded_field_parse(const char *text, enum forwarded_field *out);
const char *forwarded_field_name(enum forwarded_field field); /* "X-Forwarded-For" */
/* Whether the head has a line of that field. */
bool forwarded_is_sent(enum forwarded_field field, const struct http_head *head);

enum forwarded_status {
    FORWARDED_NAMED,
    FORWARDED_ABSENT, /* no such field, or nothing in it */
    FORWARDED_HIDDEN, /* RFC 7239 6.2, 6.3: `unknown`, a name that hides it, or no `for` at all */
    FORWARDED_WRONG,  /* no address where one belongs, or more than FORWARDED_HOPS_MAX */
};
/*
 * The rightmost address that is not itself of one of the `trusted` prefixes; the leftmost where all are.
 * What stands left of it was written by whoever that is, and is not looked at. Several lines of the
 * field are one list, in their order (RFC 9110 5.3).
 *
 * *client is the proxy that sent the head, and becomes the client; where the status is another, it
 * becomes the last proxy that was named before the list ended in something else.
 */
enum forwarded_status forwarded_read(enum forwarded_field field, const struct http_head *head,
                                     const struct client_prefix *trusted, unsigned trusted_count,
                                     struct client_address *client);

#endif
