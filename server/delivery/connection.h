/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's connection, its states, and the files that each do one step of its requests. It
 * belongs to one worker, and no other thread touches it.
 *
 *                         accept
 *                           |
 *                           v
 *         +------------> READING <--------------------------------------+
 *         |                 |                                           |
 *         |                 | a whole head                              | the same head
 *         |                 |                                           | is read again
 *         |                 +--> OPENING (openat2 on the ring) ---------+
 *         |                 |                                           |
 *         |                 +--> PREPARING (waits for the file's hash,  |
 *         |                 |      or for Redis' word on the link) -----+
 *         |                 v
 *         | response     ADMITTING (parked until the grant is decided)
 *         | done,           |
 *         | keep-alive      v
 *         +------------- SENDING (ready, or waiting for room, the disk, a grant or its rate)
 *                           |
 *                           | done, not to be kept
 *                           v
 *                       LINGERING (our side is shut; waits for the last acknowledgement)
 *                           |
 *                           v
 *                        CLOSING (operations are cancelled; waits for the last completion, and,
 *                           |     unless it was aborted, for what the peer still acknowledges)
 *                           v
 *                          free
 *
 * A head whose answer needs no grant from Redis skips ADMITTING. Any state may go to CLOSING. Only
 * connection_set_state changes `state`.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_CONNECTION_H
#define TOLLGATE_SERVER_DELIVERY_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/client_address.h"
#include "server/delivery/inquiry.h"
#include "server/delivery/transport.h"
#include "server/delivery/worker.h"
#include "server/grant/claim.h"
#include "server/grant/decision.h"
#include "storage/media/media.h"

#define CONNECTION_MAGIC     0x746f6c6cu
#define CONNECTION_LINGER_MS 5000
#define CONNECTION_NONE      UINT32_MAX

enum connection_state {
    CONNECTION_FREE,
    CONNECTION_READING,
    CONNECTION_OPENING,
    CONNECTION_PREPARING,
    CONNECTION_ADMITTING,
    CONNECTION_SENDING,
    CONNECTION_LINGERING,
    CONNECTION_CLOSING,
};

/* What a connection in SENDING waits for. */
enum sending_wait {
    WAIT_NONE,
    WAIT_WRITABLE,     /* room in the socket */
    WAIT_WARM,         /* the disk */
    WAIT_GRANT,        /* an answer of Redis */
    WAIT_RATE,         /* its rate or pace */
    WAIT_ACKNOWLEDGED, /* the peer's acknowledgements (-ENOBUFS of its transport) */
};

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

/*
 * A body under way or not yet acknowledged: where it starts in the connection's stream of sent
 * bytes, how much of it the transport took, how much the peer acknowledged. Only content (RFC 9110
 * 6.4) counts: heads and TLS' own bytes are free.
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

/*
 * A response of several ranges (RFC 9110 14.6). `offset` and `left` of the connection are those of
 * the part under way. What stands between the parts counts as head, which is free.
 */
struct multipart {
    unsigned count, next; /* next: the part to begin after the one under way */
    char boundary[24];
    struct http_range part[HTTP_RANGES_MAX];
};

struct connection {
    uint32_t magic, index, generation;
    int fd;                            /* -1: an inquiry, which has no socket */
    const struct transport *transport; /* borrows */
    struct tls_session *tls;           /* owns; NULL: plain TCP */
    uint8_t state;                     /* enum connection_state */
    uint8_t waiting;                   /* enum sending_wait */
    uint8_t in_flight;                 /* operations whose last completion is still to come */
    bool receiving;                    /* a multishot receive is among them */
    bool receive_pausing;              /* that receive is being cancelled */
    bool peer_ended;                   /* end of stream, or an error, was received */
    bool keep_alive;                   /* after this response */
    bool is_http_1_0;                  /* so the answer must say that the connection is kept */
    bool head_only;                    /* HEAD */
    uint8_t standing_asks;             /* questions to Redis about its link, for the head at hand */
    bool standing_good;                /* the last of them found the link not revoked */
    bool standing_unknown;             /* Redis could not say, so no cache may keep the answer */
    bool first_done;    /* at least one request was answered: an idle end is normal */
    bool in_head;       /* deadline_ms is that of the head being received */
    bool in_link_quota; /* counted among the responses of its link */
    bool in_account_quota;
    bool polling;       /* a poll for room in the socket is among those in flight */
    bool expects_proxy; /* a trusted proxy's header comes first */
    bool unencrypted;   /* plain bytes where TLS is spoken: HTTP is told so, and no more */
    bool forwards;      /* the peer is a proxy that names the client of each request */
    bool introduced;    /* a proxy's header has named the peer */
    bool counted;       /* `client` is counted in the node's table of addresses */
    bool navigation;    /* a browser's window waits for the answer, not a program */
    bool listed[LIST_COUNT];
    struct connection *next[LIST_COUNT], *previous[LIST_COUNT];

    char *input; /* owns; bytes received and not handled yet; NULL where there are none */
    uint32_t input_length, input_size;
    uint64_t deadline_ms; /* of READING, LINGERING and a full socket, monotonic */
    uint64_t progress_ms; /* when something was last acknowledged, while something is owed */

    char *output; /* owns; the part of head and small body that the socket did not take */
    uint32_t output_length, output_sent, output_head; /* bytes below output_head are not billed */

    struct media_file *file;    /* holds; of the response, or opened for the head in `input` */
    struct media_file *warming; /* holds: the ring reads it; the response may be over already */
    struct media_reader reader; /* of the file, over the range under way */
    uint64_t cold_ms;           /* when it last waited for the disk; 0: never */
    struct window *window;      /* holds */
    struct token_entry *link;   /* holds */
    const char *origin;         /* borrows; of a page that may read the answer (CORS) */
    struct multipart *parts;    /* owns; NULL: one range, or the whole file */
    uint64_t offset, left;      /* of the body: its next byte in the file, bytes still to send */
    uint64_t left_after;        /* bytes of the parts behind the one under way */
    uint64_t body_length;       /* bytes of the file in the whole body */
    struct claim claim;         /* what the response took from the pools that pay for it */
    uint64_t hash_ticket;       /* of the file's hash, where this response waited for it; else 0 */
    uint64_t hash_until_ms;     /* PREPARING for the hash ends then */
    uint64_t question;          /* number of this response's question to Redis; 0: none */
    uint64_t question_round;    /* the last of others' questions that asks for its need, too */
    struct patience patience;   /* how long this response waits while it is parked */
    uint16_t status;

    struct access_entry *access;  /* holds; of the response */
    struct inquiry *inquiry;      /* owns; it sends nothing. NULL: a client's connection */
    struct client_address peer;   /* the socket's, or the one that a proxy's header names */
    struct client_address client; /* the client that the peer speaks for, else the peer */
    uint8_t failed_verifications; /* links refused for their signature, or left unverified */
    uint32_t answers;             /* status lines so far; at requests_max the connection ends */
    uint64_t rate_ms;             /* when the rate was last judged; 0: not yet */
    uint64_t rate_acknowledged;   /* tcp_acknowledged at that time */

    uint64_t sent;             /* bytes that the transport took, before TLS */
    uint64_t acknowledged;     /* how many of these the peer had, when last read */
    uint64_t tcp_acknowledged; /* tcpi_bytes_acked at that time: records and handshake, too */
    struct delivery *deliveries, *deliveries_last;
    uint32_t delivery_count;
};

/* ---- connection.c ---- */

/* Takes an accepted socket, for TLS where `secure`. Where no place is left, or the address has as
 * many connections as it may, the socket is answered 503 or 429 (plain HTTP only) and closed. */
void connection_accept(struct worker *worker, int fd, bool secure);
/* Begins a connection without a socket for an inquiry, which it owns from then on. The inquiry's
 * head is the only one; the connection ends where a client would be answered. */
void connection_inquire(struct worker *worker, struct inquiry *inquiry);
/* The response is done, or was never begun: the connection reads its next head, or lingers. */
void connection_responded(struct worker *worker, struct connection *connection);
void connection_set_state(struct connection *connection, enum connection_state state);
/*
 * Ends the connection. `abort`: now and with a reset, so that a body cut short cannot be taken for
 * a whole one; bytes acknowledged so far are metered, the rest is given back. Else what is on its
 * way to the peer still arrives and is metered, and the socket is closed after that.
 */
void connection_close(struct worker *worker, struct connection *connection, bool abort);
/* Ends a CLOSING connection's wait for acknowledgements; what is not acknowledged is not billed. */
void connection_settle(struct worker *worker, struct connection *connection);
/* Called at the last completion of an operation. Frees a CLOSING connection at the last of all. */
void connection_completed(struct worker *worker, struct connection *connection);

/* ---- connection_lists.c ---- */

/* Put the connection into one of the worker's lists, or take it out; once is enough. */
void connection_join(struct worker *worker, struct connection *connection, enum worker_list which);
void connection_leave(struct worker *worker, struct connection *connection, enum worker_list which);

/* ---- connection_input.c ---- */

/* Has the ring receive, unless the peer has ended or more than the longest head waits. */
void connection_receive(struct worker *worker, struct connection *connection);
/* A completion of the receive: bytes, the stream's end, or a negative errno. */
void connection_received(struct connection *connection, struct worker *worker, int result,
                         unsigned flags);
/* Takes bytes of the client's stream, after TLS: the next heads. May end the connection. */
void connection_input(struct worker *worker, struct connection *connection, const char *data,
                      size_t length);
/* The peer does not speak TLS where TLS is spoken. Plain HTTP gets one answer that says so, or the
 * redirect; anything else ends the connection. Called before the session has read anything. */
void connection_unencrypted(struct worker *worker, struct connection *connection, const char *data,
                            size_t length);
/* The peer has ended its side: what it asked for is still answered, then the connection ends. */
void connection_peer_ended(struct worker *worker, struct connection *connection);
/* Reads on in `input`, after what the connection waited for has come. */
void connection_resume(struct worker *worker, struct connection *connection);
/* The same after calls that may have ended the connection: its slot has another generation then. */
void connection_resume_if_alive(struct worker *worker, uint32_t index, uint32_t generation);
/* The time for what the peer was to send is over (deadline_ms in READING). */
void connection_input_late(struct worker *worker, struct connection *connection);
/* Frees the bytes that are not handled yet. */
void connection_input_free(struct worker *worker, struct connection *connection);

/* ---- connection_deadlines.c ---- */

/* Called each tick: looks at the deadlines of the next tenth of the open connections. */
void connection_sweep(struct worker *worker);
/* Called each tick while the node stops: closes connections that are idle. */
void connection_stop_idle(struct worker *worker);

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
 * Reads a trusted proxy's header, which names the client from then on. Returns its length; 0
 * while it is not whole, and where the connection was ended. After a refusal all of `length`
 * is done with.
 */
size_t connection_client_header(struct worker *worker, struct connection *connection,
                                const char *data, size_t length);
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

/* ---- request.c ---- */

enum request_outcome {
    REQUEST_TAKEN, /* answered, or its answer is under way: the head is consumed */
    REQUEST_AGAIN, /* waits for the file, its hash or Redis: the same head is to be given again */
};
/* Handles a head in state READING: answers it, begins its answer, or leaves it to wait. */
enum request_outcome request_begin(struct worker *worker, struct connection *connection,
                                   const struct http_head *head);
/* Goes on with the connections whose file has been hashed, or whose wait for it is over. */
void request_retry_hashing(struct worker *worker);
/* openat2 came back: `result` is a descriptor or a negative errno. */
void request_opened(struct worker *worker, struct connection *connection, int result);

/* ---- admission.c ---- */

/* Decides whether the response may start, now or when Redis has answered; then calls response_start
 * or response_refuse. */
void admission_begin(struct worker *worker, struct connection *connection);
/* Parks a transfer that has no funds, or no validity, left until it has. */
void admission_more(struct worker *worker, struct connection *connection);
/* Ends idle windows, and tells Redis again what the node holds. */
void admission_sweep(struct worker *worker);
/* False where the validity of the window's grant has passed; asks for more before it passes. */
bool admission_is_valid(struct worker *worker, struct connection *connection);

/* ---- asker.c ---- */

/* Gives the worker what it asks by: its grants, and the functions by which they reach it. */
void asker_prepare(struct worker *worker);

/* ---- parked.c ---- */

/* Looks again at all parked connections. */
void parked_retry(struct worker *worker);
/* Grants were dropped, or (`keys`) key sets were replaced: transfers that wait look again whether
 * they may go on, and links whose key was removed are cut or refused. */
void parked_look_again(struct worker *worker, bool keys);

/* ---- limits.c ---- */

/* Called before a paced response sends on: its file may have been hashed meanwhile, so that its
 * bitrate is known. */
void limits_learn(const struct worker *worker, struct connection *connection);
/* Whether the response may have to wait for the rate of its link or account, or for its pace: the
 * client is not to blame for its slowness then. */
bool limits_bind(const struct connection *connection);
/* Takes from every bucket as much of `want` bytes as all of them give; all of it where none limits
 * the response. What is not sent is given back by limits_give. */
uint64_t limits_take(const struct worker *worker, const struct connection *connection,
                     uint64_t want);
void limits_give(const struct connection *connection, uint64_t bytes);
/* Gives the limits of the token to the quota of its link. */
void limits_set(const struct connection *connection);
/* Counts the response where link and account allow one more. Returns REFUSAL_NONE, or why not;
 * either way limits_leave is to follow. */
enum refusal limits_enter(const struct worker *worker, struct connection *connection);
/* Counts a response whose account was limited while it was under way; it is not cut for that. */
void limits_join(struct connection *connection);
/* The response is over, or was refused: link and account have one less under way. */
void limits_leave(struct connection *connection);

/* ---- response.c ---- */

/* "Date: ...\r\n" of now (RFC 9110 6.6.1); borrowed from the worker until the next second. */
const char *response_date_line(struct worker *worker);

/* Sends the file's response: the head, then the body unless head_only. */
void response_start(struct worker *worker, struct connection *connection);
/* Writes what stands before the next part, or behind the last one, into the scratch (RFC 9110
 * 14.6). Returns its length. */
size_t response_part(struct worker *worker, struct connection *connection);
/* Sends 308 to the same target under public_origin (RFC 9110 15.4.9), where TLS is spoken. */
void response_redirect(struct worker *worker, struct connection *connection,
                       const struct http_head *head);
/* Sends 304 (RFC 9110 15.4.5). */
void response_not_modified(struct worker *worker, struct connection *connection);
/* Sends the refusal's status with its text as problem+json, or a browser's window a page; an
 * issuer's refusal_url is redirected to instead. */
void response_refuse(struct worker *worker, struct connection *connection, enum refusal refusal);
/* The same with `detail` for the table's text: ASCII without quotes, backslashes and HTML's signs,
 * because it is written into the JSON as it is. */
void response_refuse_because(struct worker *worker, struct connection *connection,
                             enum refusal refusal, const char *detail);
/* Answers OPTIONS: what may be asked, also by a page's script (the Fetch standard's preflight). */
void response_options(struct worker *worker, struct connection *connection,
                      const struct http_head *head);

/* ---- transfer.c ---- */

/* Sends the head (in worker->scratch) and the body. Ends in connection_responded, now or later. */
void transfer_begin(struct worker *worker, struct connection *connection, size_t head_length);
/* Sends `length` bytes of the scratch without a file's body, such as a refusal. They are not
 * billed. Ends as transfer_begin does. */
void transfer_plain(struct worker *worker, struct connection *connection, size_t length);
/* Goes on after room, disk or grant has come. */
void transfer_run(struct worker *worker, struct connection *connection);
/* The ring has read a piece of `warming` into memory, or failed to. */
void transfer_warmed(struct worker *worker, struct connection *connection, int result);
/* Has the ring say when the socket has room; transfer_has_room is called then. */
void transfer_await_room(struct worker *worker, struct connection *connection);
void transfer_has_room(struct worker *worker, struct connection *connection);
/* Each tick: goes on with those that wait for their rate, or for acknowledgements. */
void transfer_tick(struct worker *worker);
#define TRANSFER_STALLED "the client acknowledged nothing within stall_timeout_ms"
/* Cuts a response under way and says why in the log. */
void transfer_cut(struct worker *worker, struct connection *connection, const char *why);

/* ---- transfer_disk.c ---- */

/* Whether the transfer has waited for the disk lately. It then sends less at a time, because others
 * wait for the disk, too, and their chunks come together. */
bool transfer_is_cold(const struct worker *worker, const struct connection *connection);
/*
 * How many of the next `length` bytes of the file to send now; 0: the disk must bring them first.
 */
size_t transfer_ready(struct worker *worker, struct connection *connection, size_t length);
/*
 * How many bytes of the chunk to read from the disk in this thread, because the ring has brought it
 * into memory several times and it was evicted each time before it could be sent (memory is short).
 * 0: the ring has not tried that often yet.
 */
size_t transfer_unread(struct worker *worker, const struct connection *connection);
/* Has the ring bring the next bytes into memory. The connection waits for them (WAIT_WARM);
 * transfer_warmed is called then. */
void transfer_warm(struct worker *worker, struct connection *connection);
/* The bytes after the chunk are cold: the disk is told of them now, and waited for when they are
 * needed. */
void transfer_warm_ahead(struct worker *worker, struct connection *connection);

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
 * Reads TCP_INFO and credits what was acknowledged since. Returns true while something is still
 * owed. False also where the socket is dead: nothing more will be acknowledged.
 */
bool metering_read(struct worker *worker, struct connection *connection);
/* For a connection with nothing owed: whether the peer acknowledged more since the last call. */
bool metering_has_progress(const struct worker *worker, struct connection *connection);
/* Reads a last time and settles all deliveries: what was not acknowledged is not billed. */
void metering_end(struct worker *worker, struct connection *connection);
/* Each tick: reads all connections with something owed, and ends those that stall or are done. */
void metering_tick(struct worker *worker);
#define METERING_QUEUE_READ 16 /* deliveries: from there TCP_INFO is read before the tick, too */
#define METERING_QUEUE_MAX  64 /* at the bound the connection's next head waits */

/* ---- logging ---- */

/* Logs a refusal: status, reason, client, issuer, kid, jti and path; never the token. */
void request_log_refusal(const struct worker *worker, const struct connection *connection,
                         enum refusal refusal);

#endif
