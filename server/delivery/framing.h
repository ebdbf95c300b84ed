/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The framing of HTTP/1.1 (RFC 9112), which stands between a connection and its exchanges: where a
 * head begins and ends in what a client sends, whether the connection is kept, how a head of ours
 * begins. The step HEAD is its first function: it finds the next head and begins an exchange. An
 * exchange knows nothing of it. server/README.md says what another framing would be.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_FRAMING_H
#define TOLLGATE_SERVER_DELIVERY_FRAMING_H

#include "server/delivery/connection.h"
#include "server/delivery/writer.h"

/* The head of the exchange goes on to be read after the driver has returned: copies it. 0 or
 * -ENOMEM. */
int framing_keep_head(struct connection *connection);
/* Whether heads wait until the peer has acknowledged more of the responses before. */
bool framing_is_held_back(const struct connection *connection);
/* The time for what the peer was to send is over (deadline_ms in HEAD): what is to be done. */
enum step_outcome framing_late(struct worker *worker, struct connection *connection);
/* Begins the head of a response: status line, Date, and whether the connection is kept. */
void framing_begin_response(struct worker *worker, struct connection *connection,
                            struct writer *out, unsigned status);
/* "Date: ...\r\n" of now (RFC 9110 6.6.1); borrowed from the worker until the next second. */
const char *framing_date_line(struct worker *worker);

#endif
