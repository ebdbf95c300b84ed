/*
 * A client's connection and its states.
 *
 *                    accept
 *                      |
 *          +-----> READING <---------------------------+
 *          |           | a whole head                  | response done, keep-alive
 *          |           v                               |
 *          |   OPENING (openat2 on the ring; then the same head is read again)
 *          |           |                               |
 *          |           v                               |
 *          |   PREPARING (its file's hash, or Redis' word on its link; likewise)
 *          |           |                               |
 *          |           v                               |
 *          |   ADMITTING (parked until the grant is decided)
 *          |           |                               |
 *          |           v                               |
 *          +------ SENDING (ready, or waiting for room, the disk, a grant or its rate)
 *                      | done, not to be kept
 *                      v
 *                  LINGERING (our side shut; waits for the last acknowledgement)
 *                      |
 *                      v
 *                   CLOSING (cancelled; waits for the last completion, and, where it was not
 *                            aborted, for what the peer still acknowledges) --> free
 *
 * Any state may go to CLOSING. Only connection.c assigns `state`.
 */
#ifndef TOLLGATE_SERVER_CONNECTION_H
#define TOLLGATE_SERVER_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/client_address.h"
#include "server/inquiry.h"
#include "server/transport.h"
#include "server/worker.h"
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
    WAIT_WRITABLE,
    WAIT_WARM,
    WAIT_GRANT,
    WAIT_RATE,
    WAIT_ACKNOWLEDGED, /* before it may send more (-ENOBUFS of its transport) */
};

/* Places in the worker's lists. */
enum connection_link {
    LINK_OPEN,
    LINK_READY,
    LINK_PARKED,
    LINK_UNMETERED,
    LINK_RATED,
    LINK_HASHING,
    LINK_COUNT
};

/*
 * A body under way or not yet acknowledged: where it starts in the connection's stream of sent
 * bytes, how much of it the transport took, how much the peer acknowledged. RFC 9110's content
 * only: the head is free, and so is TLS.
 */
struct delivery {
    struct delivery *next;
    struct window *window;  /* holds */
    struct window_use *use; /* holds; which it began in */
    uint64_t start, handed, acknowledged;
    uint64_t promised;           /* of its body, to the use: what has not been acknowledged yet */
    unsigned funds;              /* the set that all of its bytes are paid from; 0: of none */
    struct access_entry *access; /* holds; NULL where the log is off */
    bool done;                   /* nothing more will be handed */
    bool part;                   /* of a response that goes on with another delivery */
};

/*
 * A response of several ranges (RFC 9110 14.6). `offset` and `left` of the connection are those of
 * the part under way; what stands between the parts is head, and free.
 */
struct multipart {
    unsigned count, next; /* next: the part to begin after the one under way */
    char boundary[24];
    struct http_range part[HTTP_RANGES_MAX];
};

struct connection {
    uint32_t magic, index, generation;
    int fd;                            /* -1: of an inquiry */
    const struct transport *transport; /* borrows */
    struct tls_session *tls;           /* owns; NULL: plain TCP */
    uint8_t state;                     /* enum connection_state */
    uint8_t waiting;                   /* enum sending_wait */
    uint8_t in_flight;                 /* operations whose last completion is still to come */
    bool receiving;                    /* a multishot receive is among them */
    bool receive_pausing;              /* and it is being cancelled */
    bool peer_ended;                   /* end of stream, or an error, was received */
    bool keep_alive;                   /* after this response */
    bool is_http_1_0;                  /* so it must be told that the connection is kept */
    bool head_only;                    /* HEAD */
    uint8_t standing_asks;             /* questions about its link, for the head in hand */
    bool standing_good;                /* as the last of them was answered */
    bool standing_unknown;             /* so what it is told now may not be kept */
    bool first_done;    /* at least one request was answered: an idle end is normal */
    bool in_head;       /* deadline_ms is that of the head being received */
    bool in_link_quota; /* counted among the responses of its link */
    bool in_account_quota;
    bool paying;        /* counted among its window's responses that took funds */
    bool polling;       /* a poll for room in the socket is among those in flight */
    bool expects_proxy; /* a trusted proxy's header comes first */
    bool unencrypted;   /* it speaks plain HTTP where TLS is spoken: it is told so, and no more */
    bool forwards;      /* the peer names the client of each request */
    bool counted;       /* `client` is, in the node's table of addresses */
    bool navigation;    /* a browser's window waits for the answer, not a program */
    bool linked[LINK_COUNT];
    struct connection *next[LINK_COUNT], *previous[LINK_COUNT];

    char *input; /* owns; bytes received and not consumed; NULL where there are none */
    uint32_t input_length, input_size;
    uint64_t deadline_ms; /* of READING, LINGERING and a full socket, monotonic */
    uint64_t progress_ms; /* when something was last acknowledged, while something is owed */

    char *output; /* owns; what of head and small body the socket did not take */
    uint32_t output_length, output_sent, output_head; /* bytes below output_head are not billed */

    struct media_file *file;    /* holds; of the response, or opened for the head in `input` */
    struct media_file *warming; /* holds: the ring reads it; the response may be gone already */
    struct media_reader reader; /* of the file, over the range under way */
    uint64_t cold_ms;           /* when it last waited for the disk; 0: never */
    struct window *window;      /* holds */
    struct token_entry *link;   /* holds */
    const char *origin; /* borrows the configuration: the page's, where it may read the answer */
    struct multipart *parts; /* owns; NULL: one range, or the whole file */
    uint64_t offset, left;   /* of the body: where in the file, how many bytes still */
    uint64_t left_after;     /* of the parts behind the one under way */
    uint64_t body_length;    /* bytes of the file in the whole body */
    struct funds purse;      /* taken of the window's, for what has not been handed over yet */
    uint64_t hash_ticket;    /* of the file, where this response has waited for it; else 0 */
    uint64_t hash_until_ms;  /* while it is PREPARING for that: no longer */
    uint64_t question;       /* its number, where this response has asked Redis; else 0 */
    uint64_t admit_until_ms; /* while it is ADMITTING: answered by then, whoever asks for it */
    uint64_t short_until_ms; /* it waits for others of its window to end; 0: it does not */
    uint64_t short_retry_ms; /* and does not ask again before */
    uint16_t status;

    struct access_entry *access;  /* holds; of the response */
    struct inquiry *inquiry;      /* owns; NULL: a client's. It has no socket and sends nothing */
    struct client_address peer;   /* of the socket, or whom a proxy's header names */
    struct client_address client; /* whom the peer speaks for, else the peer itself */
    uint8_t
        failed_checks; /* links whose signature was wrong, or not checked for others that were */
    uint32_t answers;  /* status lines so far; requests_max ends it with the last */
    uint64_t rate_ms;  /* since when `rate_acknowledged` */
    uint64_t rate_acknowledged; /* of tcp_acknowledged */

    uint64_t sent;             /* bytes that the transport took, before TLS */
    uint64_t acknowledged;     /* of these, as last read */
    uint64_t tcp_acknowledged; /* tcpi_bytes_acked then: of records, and of TLS' own, too */
    struct delivery *deliveries, *deliveries_last;
    uint32_t delivery_count;
};

/* ---- connection.c ---- */

/* Takes an accepted socket, for TLS where `secure`; answers 503 and closes it where there is no
 * slot. */
void connection_accept(struct worker *worker, int fd, bool secure);
void connection_received(struct connection *connection, struct worker *worker, int result,
                         unsigned flags);
/* Takes an inquiry, whose head is the only one; it ends where it would be answered. */
void connection_inquire(struct worker *worker, struct inquiry *inquiry);
/* Bytes of the stream, which the transport has opened: the next heads. May end the connection. */
void connection_input(struct worker *worker, struct connection *connection, const char *data,
                      size_t length);
/* The peer speaks no TLS where TLS is spoken. Where that is HTTP, it gets one answer that says so, or the
 * redirect; where it is not, the connection ends. Called before the session has read anything. */
void connection_unencrypted(struct worker *worker, struct connection *connection, const char *data,
                            size_t length);
/* The peer has ended its side: what it asked for is still answered, then that is all. */
void connection_peer_ended(struct worker *worker, struct connection *connection);
/* The response is done (or was never begun): the next head, or the end. */
void connection_responded(struct worker *worker, struct connection *connection);
/* Reads on in `input` after something that was waited for has come. */
void connection_resume(struct worker *worker, struct connection *connection);
/* The same after calls that may have ended it: a slot that was freed has another generation. */
void connection_resume_if_alive(struct worker *worker, uint32_t index, uint32_t generation);
void connection_set_state(struct connection *connection, enum connection_state state);
/*
 * Ends it. `abort`: now and with a reset, so that a body cut short cannot be taken for a whole one;
 * bytes acknowledged so far are metered, the rest given back. Else what is on its way to the peer
 * still arrives and is metered, and the socket is closed after that.
 */
void connection_close(struct worker *worker, struct connection *connection, bool abort);
/* One that is CLOSING waits for no acknowledgement any more. */
void connection_settle(struct worker *worker, struct connection *connection);
/* Called where an operation of it has had its last completion. */
void connection_completed(struct worker *worker, struct connection *connection);
/* Deadlines of the next tenth of the open connections: each has its turn once in ten ticks. */
void connection_sweep(struct worker *worker);
void connection_stop_idle(struct worker *worker);

void connection_link(struct worker *worker, struct connection *connection,
                     enum connection_link link);
void connection_unlink(struct worker *worker, struct connection *connection,
                       enum connection_link link);

/* ---- connection_client.c ---- */

/*
 * Of a socket that was accepted: 0, and *client is its peer; -EDQUOT where that address has as many
 * connections as it may, or another negative errno where it is gone already.
 */
int connection_client_of(const struct node *node, int fd, struct client_address *client);
/* The connection is of that client, of whom connection_client_of was asked. */
void connection_client_begin(const struct node *node, struct connection *connection,
                             const struct client_address *client);
/*
 * Reads the header of a proxy that is trusted, which speaks for the client from then on. Returns its
 * length; 0 while it is not whole, and where the connection was ended. Where it is refused, all of
 * `length` is done with.
 */
size_t connection_client_header(struct worker *worker, struct connection *connection,
                                const char *data, size_t length);
/* Whose request that is, where the peer forwards; its response counts against the client's bound until
 * connection_client_release. False where the client has as many under way as it may. */
bool connection_client_request(const struct node *node, struct connection *connection,
                               const struct http_head *head);
/* Whose failed checks are counted; NULL: nobody's, as a trusted proxy does not say for whom it asks, or
 * it is an inquiry. */
const struct client_address *connection_client_asker(const struct node *node,
                                                     const struct connection *connection);
/* The response is over. */
void connection_client_release(const struct node *node, struct connection *connection);
/* The connection is over. */
void connection_client_end(const struct node *node, struct connection *connection);
/* No header has come in time. */
void connection_client_late(const struct node *node, const struct connection *connection);

/* ---- request.c ---- */

enum request_outcome {
    REQUEST_TAKEN, /* answered, or its answer is under way: the head is consumed */
    REQUEST_AGAIN, /* it waits for the file, its hash or Redis: give the same head again after that */
};
enum request_outcome request_begin(struct worker *worker, struct connection *connection,
                                   const struct http_head *head);
/* Looks again at the connections that wait for their file's hash. */
void request_retry_hashing(struct worker *worker);
/* openat2 came back. */
void request_opened(struct worker *worker, struct connection *connection, int result);

/* ---- admission.c ---- */

/* Decides, now or when Redis has answered; then calls response_start or response_refuse. */
void admission_begin(struct worker *worker, struct connection *connection);
/* The transfer's window has no funds, or no validity, left: parks it until it has. */
void admission_more(struct worker *worker, struct connection *connection);
/* Looks again at all parked connections. */
void admission_retry(struct worker *worker);
/* Ends idle windows; their funds go back to Redis, if it can be reached: else they expire there. */
void admission_sweep(struct worker *worker);
/* False where the validity of its window's grant has passed; asks for more before it passes. */
bool admission_is_valid(struct worker *worker, struct connection *connection);
/* Grants were dropped, or (`keys`) key sets were replaced: transfers that wait look again. */
void admission_recheck(struct worker *worker, bool keys);

/* ---- limits.c ---- */

/* The pace that its token asks for: bytes per second, 0 for none, and how much time's worth comes at once.
 * The window remembers only what was paid for: another token of the same link may have another pace. */
struct limits_pace {
    uint64_t rate, burst_us;
};
struct limits_pace limits_pace(const struct connection *connection);
/* Before a paced response sends on: its file may have been hashed meanwhile, and its bitrate be known. */
void limits_learn(const struct worker *worker, struct connection *connection);
/* Gives the quota of its link the limits of its token. */
void limits_set(const struct connection *connection);
/* Counts the response where link and account allow one more; REFUSAL_NONE, or why not. */
enum refusal limits_enter(const struct worker *worker, struct connection *connection);
/* Its account was limited while it was under way: it counts, and is not cut for it. */
void limits_join(struct connection *connection);
/* The response is over, or was refused: link and account have one less under way. */
void limits_leave(struct connection *connection);

/* ---- purse.c ---- */

/* The funds that its next bytes are of, a set as in funds.h. */
unsigned purse_set(const struct connection *connection);
/* Bytes of the body that are to be sent yet. */
uint64_t purse_need(const struct connection *connection);
/* Takes what it needs of its window's spare funds: all or nothing where it begins, what there is
 * where it goes on. False where it has to ask. */
bool purse_fill(struct connection *connection);
/* It sends by its purse: others that are short of the same window's funds may wait for its end. */
void purse_begin(struct connection *connection);
/* The purse goes back to the window; what did not begin holds nothing. */
void purse_return(const struct worker *worker, struct connection *connection);
/* The same at the end of the response. */
void purse_end(const struct worker *worker, struct connection *connection);

/* ---- response.c ---- */

/* "Date: ...\r\n" of now (RFC 9110 6.6.1), the worker's until the next second. */
const char *response_date_line(struct worker *worker);

/* The file's response: head, then body unless head_only. */
void response_start(struct worker *worker, struct connection *connection);
/* Writes what stands before the next part into the scratch, or after the last; its length. */
size_t response_part(struct worker *worker, struct connection *connection);
/* 308 to the same target under public_origin (RFC 9110 15.4.9): TLS is spoken there. */
void response_redirect(struct worker *worker, struct connection *connection,
                       const struct http_head *head);
void response_not_modified(struct worker *worker, struct connection *connection);
void response_refuse(struct worker *worker, struct connection *connection, enum refusal refusal);
/* The same, with more to say than the table has: ASCII of ours, without quotes, backslashes and marks of HTML. */
void response_refuse_because(struct worker *worker, struct connection *connection,
                             enum refusal refusal, const char *detail);
/* To OPTIONS: what may be asked, also of a page's script (the Fetch standard's preflight). */
void response_options(struct worker *worker, struct connection *connection,
                      const struct http_head *head);

/* ---- transfer.c ---- */

/* Sends head (in worker->scratch) and body; ends in connection_responded, now or later. */
void transfer_begin(struct worker *worker, struct connection *connection, size_t head_length);
/* Sends `length` bytes of the scratch that are nobody's body (a refusal), then the same. */
void transfer_plain(struct worker *worker, struct connection *connection, size_t length);
/* Goes on after room, disk or grant have come. */
void transfer_run(struct worker *worker, struct connection *connection);
/* The disk has brought what `warming` stands for, or failed. */
void transfer_warmed(struct worker *worker, struct connection *connection, int result);
/* Has the ring say when the socket has room; then transfer_has_room. */
void transfer_await_room(struct worker *worker, struct connection *connection);
void transfer_has_room(struct worker *worker, struct connection *connection);
/* Whether a rate of link or account, or its pace, may be what it waits for. */
bool transfer_is_limited(const struct connection *connection);
/* Each tick: those that wait for their rate, or to be acknowledged. */
void transfer_tick(struct worker *worker);
/* Whether it has waited for the disk lately: it then sends less at a time, as others wait, too, and their
 * chunks come together. */
bool transfer_is_cold(const struct worker *worker, const struct connection *connection);
#define TRANSFER_STALLED "the client acknowledged nothing within stall_timeout_ms"
/* Cuts a response under way and says why in the log. */
void transfer_cut(struct worker *worker, struct connection *connection, const char *why);

/* ---- metering.c ---- */

/* A body, or a part of one, starts after `head_length` more bytes of the stream. 0 or -ENOMEM. */
int metering_begin(struct worker *worker, struct connection *connection, size_t head_length);
/* The transport took `bytes` of the stream, of which `body` are the last delivery's. */
void metering_handed(struct worker *worker, struct connection *connection, uint64_t bytes,
                     uint64_t body);
void metering_done(struct connection *connection);
/*
 * The bytes that follow are of the set of funds of purse_set: where the last delivery's were of
 * others, it ends and another begins, so that each gives back to the funds that it took from.
 * Returns 0 or -ENOMEM.
 */
int metering_pay_from(struct worker *worker, struct connection *connection);
/*
 * Reads TCP_INFO and credits what was acknowledged since. Returns true while something is still
 * owed. False also where the socket is dead: nothing more will be acknowledged.
 */
bool metering_read(struct worker *worker, struct connection *connection);
/* Of a connection with nothing owed: has the peer acknowledged more than when this was last asked? */
bool metering_has_progress(const struct worker *worker, struct connection *connection);
/* Reads a last time and settles all deliveries: what was not acknowledged is not billed. */
void metering_end(struct worker *worker, struct connection *connection);
/* Each tick: all connections with something owed. */
void metering_tick(struct worker *worker);
#define METERING_QUEUE_READ                                                                        \
    16 /* deliveries after which TCP_INFO is read without waiting for the tick */
#define METERING_QUEUE_MAX 64 /* at the bound the connection's next head waits */

/* ---- logging ---- */
void request_log_refusal(const struct worker *worker, const struct connection *connection,
                         enum refusal refusal);

#endif
