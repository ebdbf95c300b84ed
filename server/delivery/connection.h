/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's connection: its stream, what has come and is not handled yet, its places in the worker's
 * lists, its deadlines, and the exchange under way. It belongs to one worker, and no other thread
 * touches it. Only driver.c changes `state`, and closes it.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_CONNECTION_H
#define TOLLGATE_SERVER_DELIVERY_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/client_address.h"
#include "server/delivery/exchange.h"
#include "server/delivery/worker.h"
#include "server/transport/stream.h"

#define CONNECTION_MAGIC 0x746f6c6cu
#define CONNECTION_NONE  UINT32_MAX

struct delivery;
struct inquiry;

/* The worker's lists (worker.h) that a connection may be in. */
enum worker_list {
    LIST_OPEN,
    LIST_READY,
    LIST_PARKED,
    LIST_UNMETERED,
    LIST_RATED,
    LIST_HASHING,
    LIST_COUNT
};

struct connection {
    uint32_t magic, index, generation;
    uint32_t next_free;   /* of a free slot: the next one */
    uint8_t state;        /* enum connection_state */
    uint8_t in_flight;    /* operations whose last completion is still to come */
    bool receiving;       /* a multishot receive is among them */
    bool receive_pausing; /* that receive is being cancelled */
    bool polling;         /* a poll for room in the socket is among them */
    bool peer_ended;      /* end of stream, or an error, was received */
    bool listed[LIST_COUNT];
    uint32_t next[LIST_COUNT], previous[LIST_COUNT]; /* connection_link */
    struct stream stream;
    uint64_t began_ms;    /* monotonic */
    uint64_t deadline_ms; /* of HEAD, LINGER and a full socket, monotonic */

    /* What the framing needs (framing.h). */
    bool keep_alive;  /* after this response */
    bool is_http_1_0; /* so the answer must say that the connection is kept */
    bool in_head;     /* deadline_ms is that of the head being received */
    bool unencrypted; /* plain bytes where TLS is spoken: HTTP is told so, and no more */
    uint32_t answers; /* status lines so far; at requests_max the connection ends */
    char *input;      /* owns; bytes received and not handled yet; NULL where there are none */
    uint32_t input_length, input_size;
    const char
        *unread; /* borrows, while the driver runs: what HEAD may read, in `input` or behind */
    size_t unread_length;

    bool expects_proxy;           /* a trusted proxy's header comes first */
    bool forwards;                /* the peer is a proxy that names the client of each request */
    bool introduced;              /* a proxy's header has named the peer */
    bool counted;                 /* `client` is counted in the node's table of addresses */
    uint8_t failed_verifications; /* links refused for their signature, or left unverified */
    struct client_address peer;   /* the socket's, or the one that a proxy's header names */
    struct client_address client; /* the client that the peer speaks for, else the peer */
    struct inquiry *inquiry;      /* owns; it sends nothing. NULL: a client's connection */

    /* What the ring uses, which may be there longer than the exchange. */
    char *opening;              /* owns; name of the file that is being opened; NULL: none is */
    int opened;                 /* a descriptor, or a negative errno; -EINPROGRESS: not yet */
    uint32_t delivery_count;    /* of `deliveries` */
    struct media_file *warming; /* holds: the ring reads it */
    uint64_t cold_ms;           /* when it last waited for the disk; 0: never */

    uint64_t rate_ms;           /* when the rate was last judged; 0: not yet */
    uint64_t rate_acknowledged; /* tcp_acknowledged at that time */
    struct delivery *deliveries, *deliveries_last;

    struct exchange exchange;
};

/* ---- connection_lists.c ---- */

/* A list is linked by places in the worker's slab, which are half as long as addresses: 0 is none. */
static inline uint32_t connection_link(const struct connection *connection)
{
    return connection != NULL ? connection->index + 1 : 0;
}
static inline struct connection *connection_linked(const struct worker *worker, uint32_t link)
{
    return link != 0 ? &worker->connections[link - 1] : NULL;
}
/* The one behind it in a list that it is in; NULL: it is the last. */
static inline struct connection *connection_next(const struct worker *worker,
                                                 const struct connection *connection,
                                                 enum worker_list which)
{
    return connection_linked(worker, connection->next[which]);
}
static inline struct connection *connection_previous(const struct worker *worker,
                                                     const struct connection *connection,
                                                     enum worker_list which)
{
    return connection_linked(worker, connection->previous[which]);
}

/* Put the connection into one of the worker's lists, or take it out; once is enough. */
void connection_join(struct worker *worker, struct connection *connection, enum worker_list which);
void connection_leave(struct worker *worker, struct connection *connection, enum worker_list which);

/* ---- connection_ring.c ---- */

/* An entry of the ring for an operation of the connection, which counts as in flight until its last
 * completion. The only place where such a reference is taken. */
struct io_uring_sqe *connection_operation(struct worker *worker, struct connection *connection,
                                          enum operation operation);
/* Has the ring receive, unless it does or the peer has ended. */
void connection_receive(struct worker *worker, struct connection *connection);
/* Has the ring say when the socket has room. */
void connection_await_room(struct worker *worker, struct connection *connection);
/* Pauses the receive of a client that sends faster than it is answered. */
void connection_pause(struct worker *worker, struct connection *connection);
/* Ends the operations under way; each still completes. */
void connection_cancel(struct worker *worker, const struct connection *connection);

/* ---- connection_input.c ---- */

/* Keeps bytes behind those in `input`. False without memory, or at WORKER_INPUT_MAX. */
bool connection_input_append(struct worker *worker, struct connection *connection, const char *data,
                             size_t length);
/* Drops the first `length` bytes of `input`. */
void connection_input_drop(struct worker *worker, struct connection *connection, size_t length);
/* Whether more than the longest head waits. */
bool connection_has_input_enough(const struct worker *worker, const struct connection *connection);

/* ---- connection_client.c ---- */

/*
 * Finds and counts the peer of an accepted socket. 0; -EDQUOT where its address has as many
 * connections as it may; another negative errno where it is gone already.
 */
int connection_client_of(const struct node *node, int fd, struct client_address *client);
/* Gives the connection the client that connection_client_of has found. */
void connection_client_begin(const struct node *node, struct connection *connection,
                             const struct client_address *client);
/*
 * Reads a trusted proxy's header, which names the client from then on. Returns REFUSAL_NONE with its
 * length in *used, 0 while it is not whole; or why the connection is refused.
 */
enum refusal connection_client_header(const struct node *node, struct connection *connection,
                                      const char *data, size_t length, size_t *used);
/* Finds the client of a request, where the peer forwards requests. The response counts against the
 * bound of the client's address until connection_client_release. False where that address has as
 * many under way as it may. */
bool connection_client_request(const struct node *node, struct connection *connection,
                               const struct http_head *head);
/* The client whose failed verifications are counted. NULL: nobody's, because a trusted proxy has
 * not named its client, or this is an inquiry. */
const struct client_address *connection_client_asker(const struct node *node,
                                                     const struct connection *connection);
/* The response is over: a forwarded request's client is no longer counted. */
void connection_client_release(const struct node *node, struct connection *connection);
/* The connection is over: its client is no longer counted. */
void connection_client_end(const struct node *node, struct connection *connection);
/* Tells the log that no header of the proxy has come in time. */
void connection_client_late(const struct node *node, const struct connection *connection);

#endif
