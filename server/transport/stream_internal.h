/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the transports use of each other's files: the functions that their tables consist of
 * (stream.h says what each is to do), and a session's beginning and end. Nobody outside of this
 * folder includes this header.
 */
#ifndef TOLLGATE_SERVER_TRANSPORT_STREAM_INTERNAL_H
#define TOLLGATE_SERVER_TRANSPORT_STREAM_INTERNAL_H

#include <linux/tcp.h>

#include "server/transport/stream.h"
#include "server/transport/tls_records.h"

/* ---- stream_socket.c ---- */

/* Reads TCP_INFO, and notes what it says of acknowledgements; 0 or a negative errno. */
int stream_read_acknowledged(struct streams *streams, struct stream *stream, bool *is_dead);
/* How many bytes of the piece to send now; 0: the disk must bring them first. */
size_t stream_piece_ready(struct streams *streams, const struct stream_piece *piece);
#define STREAM_UNREAD_MAX ((size_t)64 * 1024) /* bytes read from the disk in this thread at once */
/* Sends on the socket itself, as plain TCP and kTLS do. */
ssize_t stream_socket_send(struct streams *streams, struct stream *stream, const char *data,
                           size_t length, bool more);

/* ---- stream_tls_send.c ---- */

ssize_t stream_tls_send(struct streams *streams, struct stream *stream, const char *data,
                        size_t length, bool more);
ssize_t stream_tls_send_file(struct streams *streams, struct stream *stream,
                             const struct stream_piece *piece);
int stream_tls_flush(struct streams *streams, struct stream *stream, bool more);
void stream_tls_end(struct streams *streams, struct stream *stream);
int stream_tls_measure(struct streams *streams, struct stream *stream, bool *is_dead);

/* ---- stream_tls_kernel.c ---- */

ssize_t stream_kernel_tls_send(struct streams *streams, struct stream *stream, const char *data,
                               size_t length, bool more);
ssize_t stream_kernel_tls_send_file(struct streams *streams, struct stream *stream,
                                    const struct stream_piece *piece);
int stream_kernel_tls_measure(struct streams *streams, struct stream *stream, bool *is_dead);

#endif
