/*
 * The PROXY protocol, version 2, binary: what a proxy that is trusted puts before the bytes of the
 * client that it speaks for. Pure; used by connection.c, fuzzed alone.
 */
#ifndef TOLLGATE_SERVER_PROXY_HEADER_H
#define TOLLGATE_SERVER_PROXY_HEADER_H

#include "server/client_address.h"

#define PROXY_HEADER_MAX 1024 /* of what follows the 16 fixed bytes; TLVs are skipped */

enum proxy_header_status {
    PROXY_HEADER_COMPLETE,
    PROXY_HEADER_PARTIAL, /* more bytes are needed; nothing wrong so far */
    PROXY_HEADER_WRONG,   /* no header of version 2, or one that cannot be: end the connection */
};

/*
 * Reads the header at the start of `data`. *used is its length, *client the address that it names;
 * *named is false for LOCAL and for other families, whose client is the proxy itself.
 */
enum proxy_header_status proxy_header_read(const void *data, size_t length, size_t *used,
                                           struct client_address *client, bool *named);

#endif
