/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How bytes reach a client: over plain TCP, over TLS records made here, or over TLS records that
 * the kernel makes (kTLS). transfer.c, connection*.c and metering.c call a connection's transport
 * and never send to its socket; bytes that a transport took count as handed; those that it holds
 * back go out at the next flush. Errors are negative errnos. -EAGAIN: the socket is full. -ENOBUFS:
 * nothing can be sent before the peer has acknowledged more. -EPROTO: the TLS session is over;
 * bytes sent before may still arrive.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_TRANSPORT_H
#define TOLLGATE_SERVER_DELIVERY_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "server/transport/tls_failure.h"

struct connection;
struct tls_session;
struct worker;

struct transport {
    size_t chunk_max; /* bytes of a file that one call takes at most */
    /* Takes up to `length` bytes of memory and returns how many. `more`: a body follows at once, so
     * the bytes may wait for it. */
    ssize_t (*send)(struct worker *worker, struct connection *connection, const char *data,
                    size_t length, bool more);
    /* Takes up to `length` bytes of the connection's file at its offset. Returns how many: 0 at the
     * file's end, -ENODATA where the disk would have to be waited for. */
    ssize_t (*send_file)(struct worker *worker, struct connection *connection, size_t length);
    /* Sends what the transport holds; 0 once it holds nothing. `more` as above. */
    int (*flush)(struct worker *worker, struct connection *connection, bool more);
    /* Takes bytes that came from the peer; their plaintext goes to connection_input. */
    void (*receive)(struct worker *worker, struct connection *connection, const char *data,
                    size_t length);
    /* Tells the peer, if it can be told, that nothing more will be sent. */
    void (*end)(struct worker *worker, struct connection *connection);
    /*
     * How far the peer's acknowledgements have come, in the units of connection->sent. The value
     * may lag behind, but never runs ahead where a delivery would be billed for it. `tcp_bytes` is
     * tcpi_bytes_acked.
     */
    uint64_t (*acknowledged)(const struct worker *worker, struct connection *connection,
                             uint64_t tcp_bytes);
};

extern const struct transport transport_plain, transport_tls, transport_kernel_tls;

/* The `send` of plain TCP, which kTLS shares. */
ssize_t transport_plain_send(struct worker *worker, struct connection *connection, const char *data,
                             size_t length, bool more);
/* ---- transport_tls.c ---- */

/* Begins TLS on a connection that was accepted; 0 or -ENOMEM. */
int tls_session_begin(struct worker *worker, struct connection *connection);
void tls_session_end(struct connection *connection);
/* The connection ends for a reason outside its session: counts a handshake that had begun and is
 * not done as `failure`. A handshake that timed out counts even where it had not begun. */
void tls_session_interrupted(struct worker *worker, struct connection *connection,
                             enum tls_failure failure);
/* "TLSv1.3"; "-" over plain TCP. */
const char *tls_session_version(const struct connection *connection);
/* The same as a number: 13, 12; 0 for any other. */
uint8_t tls_session_number(const struct connection *connection);

#endif
