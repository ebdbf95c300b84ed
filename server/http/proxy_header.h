/*
 * The PROXY protocol, version 1 (a line of text) and version 2 (binary), told apart by how they
 * begin: what a proxy that is trusted puts before the bytes of the client that it speaks for. Pure;
 * used by connection_client.c, fuzzed alone.
 */
#ifndef TOLLGATE_SERVER_HTTP_PROXY_HEADER_H
#define TOLLGATE_SERVER_HTTP_PROXY_HEADER_H

#include "server/base/client_address.h"

#define PROXY_HEADER_MAX 1024 /* of what follows version 2's 16 fixed bytes; TLVs are skipped */
#define PROXY_LINE_MAX   107  /* version 1's line with its CRLF; the longest that can be is 107 */

enum proxy_header_status {
    PROXY_HEADER_COMPLETE,
    PROXY_HEADER_PARTIAL, /* more bytes are needed; nothing wrong so far */
    PROXY_HEADER_ABSENT,  /* something else begins here: end the connection */
    PROXY_HEADER_WRONG,   /* a header that cannot be: likewise */
};

/*
 * Reads the header at the start of `data`. *used is its length, *client the address that it names;
 * *named is false for LOCAL, UNKNOWN and other families, whose client is the proxy itself.
 */
enum proxy_header_status proxy_header_read(const void *data, size_t length, size_t *used,
                                           struct client_address *client, bool *named);

#endif
