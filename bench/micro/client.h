/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client of the exchanges that exchange.c measures: one connection, plain or over TLS 1.3.
 * No function here waits: the worker runs in the same thread, and would never answer.
 */
#ifndef TOLLGATE_BENCH_MICRO_CLIENT_H
#define TOLLGATE_BENCH_MICRO_CLIENT_H

#include <stdbool.h>

/* Connects to the address that `listen_fd` listens on, after closing the connection before, if any.
 */
void micro_client_connect(int listen_fd, bool tls);
/* Goes on with the handshake. True once a request may be sent. */
bool micro_client_is_ready(void);
/* Sends a GET of `target`; `fields` are further lines of its head, or "". */
void micro_client_ask(const char *target, const char *fields);
/* Reads all bytes that have come. True once the answer is whole. */
bool micro_client_read(void);

#endif
