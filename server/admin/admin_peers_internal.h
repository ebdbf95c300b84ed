/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of the admin interface, for the four files that move them: admin_peers.c, the
 * thread's loop, calls admin_accept.c (who comes in), admin_exchange.c (the request and the answer)
 * and admin_peer.c (state, list and deadline of one connection), and none of these calls it. Only
 * the thread of admin_peers.c uses any of it.
 */
#ifndef TOLLGATE_SERVER_ADMIN_ADMIN_PEERS_INTERNAL_H
#define TOLLGATE_SERVER_ADMIN_ADMIN_PEERS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "server/admin/admin_internal.h"

#define ADMIN_HEAD_BYTES_MAX   8192
#define ADMIN_BODY_BYTES_MAX   65536
#define ADMIN_READ_DEADLINE_MS 5000 /* for the whole request */
#define ADMIN_SPARES           4

struct admin_peers_door;

enum admin_peer_state { PEER_RECEIVING, PEER_SENDING, PEER_AT_DESK };
#define PEER_LISTS PEER_AT_DESK /* how many states have a list, ordered by deadline */

/* A connection, what has been received of its one request, and the answer. */
struct admin_peer {
    struct admin_call call; /* first, for take_finished's cast; its request points into `buffer` */
    int fd;                 /* owns */
    enum admin_peer_state state;
    struct admin_peers_door *door;      /* borrows */
    struct admin_peer *next, *previous; /* in the list of its state */
    uint64_t deadline_ms;
    bool called;    /* the desk took its call, and counts it until the connection ends */
    bool continued; /* it was sent 100 Continue */
    bool polled;    /* its socket is in epoll */
    size_t length, head_length, sent;
    char head[512]; /* of the answer */
    char buffer[ADMIN_HEAD_BYTES_MAX + ADMIN_BODY_BYTES_MAX];
};

/* Peers of one state, the earliest deadline first. */
struct peer_list {
    struct admin_peer *first, *last;
};

struct admin_peers_door {
    const struct admin_door *from; /* borrows */
    struct peer_list lists[PEER_LISTS];
    unsigned listed, listed_max;
    bool ready;
};

struct admin_peers {
    struct node *node;         /* borrows */
    struct admin_shops *shops; /* borrows */
    struct admin_desk *desk;   /* owns */
    pthread_t thread;
    bool started;
    int epoll_fd, wake_fd; /* own */
    atomic_bool stopping;
    /* The thread's own: */
    int spares[ADMIN_SPARES]; /* own; -1: given up for a connection */
    struct admin_peers_door doors[2];
    unsigned door_count, at_desk;
    uint64_t now_ms;
    uint64_t resume_ms;        /* when to accept again; 0: it is accepting */
    uint64_t scarce_logged_ms; /* 0: never */
};

/* ---- one connection: admin_peer.c ---- */

/* Takes an accepted socket, as RECEIVING; at the door's bound it makes room first. NULL, and the
 * socket is closed, without memory. */
struct admin_peer *admin_peer_begin(struct admin_peers *peers, struct admin_peers_door *door,
                                    int fd);
/* Moves the peer to another state, with that state's deadline from now on. */
void admin_peer_set_state(struct admin_peers *peers, struct admin_peer *peer,
                          enum admin_peer_state state);
/* Sets the events that epoll reports of the peer; 0 takes the peer out. 0, or a negative errno. */
int admin_peer_poll(struct admin_peers *peers, struct admin_peer *peer, uint32_t events);
/* Closes and frees a peer that is not at the desk. */
void admin_peer_end(struct admin_peers *peers, struct admin_peer *peer);
/* Closes the door's peer that has been waited for the longest. False where there is none. */
bool admin_peers_make_room(struct admin_peers *peers, struct admin_peers_door *door);

/* ---- its request and its answer: admin_exchange.c ---- */

/* How far a request has come. ADMIN_REFUSED: the answer is made already. ADMIN_GONE: the client has
 * closed. */
enum admin_arrival { ADMIN_PARTIAL, ADMIN_ARRIVED, ADMIN_REFUSED, ADMIN_GONE };
/* Receives until the request is judged or nothing more is there. */
enum admin_arrival admin_peer_receive(struct admin_peer *peer, struct http_head *head);
/* Fills the call's request from the head, and tells whose secret came with it. */
void admin_peer_read_request(struct admin_peers *peers, struct admin_peer *peer,
                             const struct http_head *head);
/* Writes the head of the answer, which is made. */
void admin_peer_write_head(struct admin_peer *peer);
/* Sends more of the answer, until about a MiB went out, so that others have their turn.
 * 0: all is sent; -EAGAIN: there is more to send; or another negative errno. */
int admin_peer_send_some(struct admin_peer *peer);

/* ---- who comes in: admin_accept.c ---- */

/* A new socket from the door; -EAGAIN where nobody waits there; another negative errno where
 * descriptors have run out and none could be made free. */
int admin_accept(struct admin_peers *peers, struct admin_peers_door *door);
/* Sets descriptors aside, to be given up for connections that come when none is left. */
void admin_accept_keep_spares(struct admin_peers *peers);
/* Closes one of those. False where there is none. */
bool admin_accept_give_spare(struct admin_peers *peers);

#endif
