/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A delivery is a body, or a part of one, under way or not yet acknowledged; metering.c bills it.
 * It outlives its exchange: the next request is answered while the last bytes of the response before
 * are on their way.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_DELIVERY_H
#define TOLLGATE_SERVER_DELIVERY_DELIVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/ledger/ledger.h"

#define METERING_QUEUE_READ 16 /* deliveries: from there TCP_INFO is read before the tick, too */
#define METERING_QUEUE_MAX  64 /* at the bound the connection's next head waits */

struct access_entry;
struct connection;
struct window;
struct window_use;
struct worker;

/*
 * Where it starts in the connection's stream of sent bytes, how much of it the transport took, how
 * much the peer acknowledged. Only content (RFC 9110 6.4) counts: heads and TLS' own bytes are free.
 */
struct delivery {
    struct delivery *next;
    struct window *window;  /* holds */
    struct window_use *use; /* holds; the use that it began in */
    uint64_t start, handed, acknowledged;
    uint64_t promised;           /* bytes that the use still expects (window_use_promise) */
    bool of_link;                /* the link's pool pays, too */
    struct access_entry *access; /* holds; NULL where the log is off */
    bool done;                   /* nothing more will be handed */
    bool part;                   /* the response goes on with another delivery */
    /* For the journal; its length is what earlier parts had acknowledged, and its key is held. */
    struct ledger_response told;
};

/* ---- delivery_facts.c ---- */

/* What the journal says of a delivery, as far as it is known when it begins. */
void delivery_facts_begin(const struct worker *worker, const struct connection *connection,
                          struct delivery *delivery);
/* The delivery is settled: tells the ledger how its response ended, or hands the facts to the next
 * delivery of the response. */
void delivery_facts_end(struct delivery *delivery);

/* ---- metering.c ---- */

/* Begins the delivery of a body, or of a part of one, that starts after `head_length` more bytes of
 * the stream. 0 or -ENOMEM. */
int metering_begin(struct worker *worker, struct connection *connection, size_t head_length);
/* The transport took `bytes` of the stream, of which `body` belong to the last delivery. */
void metering_handed(struct worker *worker, struct connection *connection, uint64_t bytes,
                     uint64_t body);
/* Nothing more of the last delivery will be handed to the transport. */
void metering_done(struct connection *connection);
/*
 * Measures the stream and credits what was acknowledged since. Returns true while something is still
 * owed. False also where the socket is dead: nothing more will be acknowledged.
 */
bool metering_read(struct worker *worker, struct connection *connection);
/* For a connection with nothing owed: whether the peer acknowledged more since the last call. */
bool metering_has_progress(struct worker *worker, struct connection *connection);
/* Reads a last time and settles all deliveries: what was not acknowledged is not billed. */
void metering_end(struct worker *worker, struct connection *connection);

#endif
