/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions that the two TLS transports consist of (transport.h says what each is to do):
 * transport_tls.c alone uses them, in its tables.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_TRANSPORT_TLS_INTERNAL_H
#define TOLLGATE_SERVER_DELIVERY_TRANSPORT_TLS_INTERNAL_H

#include "server/delivery/transport.h"

/* ---- transport_tls_send.c ---- */

ssize_t transport_tls_send(struct worker *worker, struct connection *connection, const char *data,
                           size_t length, bool more);
ssize_t transport_tls_send_file(struct worker *worker, struct connection *connection,
                                size_t length);
int transport_tls_flush(struct worker *worker, struct connection *connection, bool more);
void transport_tls_end(struct worker *worker, struct connection *connection);
uint64_t transport_tls_acknowledged(const struct worker *worker, struct connection *connection,
                                    uint64_t tcp_bytes);

/* ---- transport_tls_kernel.c ---- */

ssize_t transport_kernel_tls_send(struct worker *worker, struct connection *connection,
                                  const char *data, size_t length, bool more);
ssize_t transport_kernel_tls_send_file(struct worker *worker, struct connection *connection,
                                       size_t length);
uint64_t transport_kernel_tls_acknowledged(const struct worker *worker,
                                           struct connection *connection, uint64_t tcp_bytes);

#endif
