/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of bytes to and from a peer: over plain TCP, over TLS records made here, or over TLS
 * records that the kernel makes (kTLS). Each is a table of functions, struct transport; a test's
 * table of answers is another. The connections of server/delivery/ send and receive by these
 * functions alone. A stream knows no connection: it tells its caller what happened, and closes
 * nothing by itself.
 *
 * Bytes that a transport took count in `sent`, which the caller raises; those that it holds back go
 * out at the next flush. Errors are negative errnos. -EAGAIN: the socket is full. -ENOBUFS: nothing
 * can be sent before the peer has acknowledged more. -EPROTO: the TLS session is over; bytes sent
 * before may still arrive.
 */
#ifndef TOLLGATE_SERVER_TRANSPORT_STREAM_H
#define TOLLGATE_SERVER_TRANSPORT_STREAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "server/transport/tls_failure.h"

struct media_file;
struct media_reader;
struct media_residency;
struct tls;
struct tls_scratch;
struct tls_session;
struct transport;

struct stream {
    int fd;                            /* owns; -1: an inquiry's, which has no socket */
    bool is_owed;                      /* bytes that were sent are still to be billed */
    const struct transport *transport; /* borrows */
    struct tls_session *tls;           /* owns; NULL: plain TCP */
    uint64_t sent;                     /* bytes that the transport took, before TLS */
    uint64_t acknowledged;             /* how many of these the peer had, when last measured */
    uint64_t tcp_acknowledged; /* tcpi_bytes_acked at that time: records and handshake, too */
    uint64_t progress_ms;      /* when that was last found to have grown; the caller begins it */
};

/* What the streams of one worker share. */
struct streams {
    struct media_residency *residency; /* borrows */
    struct tls_scratch *scratch;       /* borrows; NULL where TLS is not spoken */
    uint64_t now_ms;                   /* monotonic, of the turn */
};

/* A piece of a file that is to be sent: `length` bytes at `offset`. */
struct stream_piece {
    struct media_file *file;     /* borrows */
    struct media_reader *reader; /* borrows: what is known of the range that it belongs to */
    uint64_t offset;
    size_t length;
    bool is_cold;   /* the disk was waited for lately, so its bytes may not be in memory */
    bool is_unread; /* they are read from the disk in this thread: waiting for them was in vain */
};

/* What stream_read has found. */
enum stream_word {
    STREAM_TAKEN,   /* all that came was taken; no plaintext is left */
    STREAM_BYTES,   /* `plain` holds plaintext; ask again for more */
    STREAM_ENDED,   /* the peer has ended its side (RFC 8446 6.1) */
    STREAM_FAILED,  /* the session is over; bytes sent before may still be acknowledged */
    STREAM_BROKEN,  /* nothing more can be sent */
    STREAM_NOT_TLS, /* the peer speaks plain text where TLS is spoken: nothing was taken */
};

struct stream_input {
    const char *data; /* in: bytes that came from the peer, and those of them not taken yet */
    size_t length;
    const char *plain; /* out: borrowed from `data` or from the worker's buffers */
    size_t plain_length;
    bool wants_room;                      /* out: something waits for room in the socket */
    bool is_ready, is_resumed, is_kernel; /* out: the handshake is done now, and how */
    enum tls_failure failure;             /* out: to be counted; TLS_FAILURE_COUNT: none */
    const char *why;                      /* out: of STREAM_FAILED; borrowed */
};

struct transport {
    size_t chunk_max; /* bytes of a file that one call takes at most */
    /* Takes up to `length` bytes of memory and returns how many. `more`: a body follows at once, so
     * the bytes may wait for it. */
    ssize_t (*send)(struct streams *streams, struct stream *stream, const char *data, size_t length,
                    bool more);
    /* Takes up to the piece's length of its file. Returns how many bytes: 0 at the file's end,
     * -ENODATA where the disk would have to be waited for. */
    ssize_t (*send_file)(struct streams *streams, struct stream *stream,
                         const struct stream_piece *piece);
    /* Sends what the transport holds; 0 once it holds nothing. `more` as above. */
    int (*flush)(struct streams *streams, struct stream *stream, bool more);
    /* Takes bytes that came from the peer. To be called again after STREAM_BYTES. */
    enum stream_word (*read)(struct streams *streams, struct stream *stream,
                             struct stream_input *input);
    /* Tells the peer, if it can be told, that nothing more will be sent. */
    void (*end)(struct streams *streams, struct stream *stream);
    /*
     * Reads how far the peer's acknowledgements have come, into the stream, in the units of `sent`.
     * The value may lag behind, but never runs ahead where a delivery would be billed for it.
     * `*is_dead`: nothing more will be acknowledged. 0, or an error where that cannot be read.
     */
    int (*measure)(struct streams *streams, struct stream *stream, bool *is_dead);
};

extern const struct transport transport_plain, transport_tls, transport_kernel_tls;

/* Begins a stream over plain TCP on a socket that it owns from then on. */
void stream_open(struct stream *stream, int fd);
/* Has the peer speak TLS first; 0 or -ENOMEM. */
int stream_begin_tls(struct streams *streams, struct stream *stream, struct tls *tls);
/* Goes on in plain TCP, after STREAM_NOT_TLS. */
void stream_leave_tls(struct stream *stream);
/* Takes bytes of the peer's: begins *input. */
void stream_take(struct stream_input *input, const char *data, size_t length);
/* The connection ends for a reason outside its session. True where a handshake had begun and was
 * not done, or timed out, so that it counts as failed. */
bool stream_interrupt(struct stream *stream, bool timed_out);
/* Bytes in the socket's queue that the peer has not acknowledged; 0 where that is not known. */
size_t stream_queued(const struct stream *stream);
/* Ends our side of the connection. */
void stream_shut(const struct stream *stream);
/* Has stream_close reset the connection, and throw away what the kernel still holds of it. */
void stream_end_by_reset(const struct stream *stream);
/* Ends the session and closes the socket. */
void stream_close(struct stream *stream);
/* "TLSv1.3"; "-" over plain TCP. */
const char *stream_tls_version(const struct stream *stream);
/* The same as a number: 13, 12; 0 for any other, and over plain TCP. */
uint8_t stream_tls_number(const struct stream *stream);

#endif
