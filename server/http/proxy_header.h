/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parses the PROXY protocol, version 1 (a line of text) and version 2 (binary), told apart by how
 * they begin: a header in which a trusted proxy names its client before that client's bytes. Called
 * by connection_client.c. Pure; it does not decide which proxies are trusted.
 */
#ifndef TOLLGATE_SERVER_HTTP_PROXY_HEADER_H
#define TOLLGATE_SERVER_HTTP_PROXY_HEADER_H

#include "server/base/client_address.h"

#define PROXY_HEADER_MAX 1024 /* bytes after version 2's 16 fixed ones; TLVs are skipped */
#define PROXY_LINE_MAX   107  /* bytes of version 1's longest line, with its CRLF */

enum proxy_header_status {
    PROXY_HEADER_COMPLETE,
    PROXY_HEADER_PARTIAL, /* more bytes are needed; nothing wrong so far */
    PROXY_HEADER_ABSENT,  /* something else begins here: end the connection */
    PROXY_HEADER_WRONG,   /* an invalid header: end the connection */
};

/*
 * Reads the header at the start of `data`. *used is its length, *client the address that it names;
 * *named is false for LOCAL, UNKNOWN and other families, whose client is the proxy itself.
 */
enum proxy_header_status proxy_header_read(const void *data, size_t length, size_t *used,
                                           struct client_address *client, bool *named);

#endif
