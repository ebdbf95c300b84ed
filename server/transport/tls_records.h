/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of a TLS session whose records OpenSSL makes in this process. OpenSSL reads from the
 * bytes that the ring received, and writes into one buffer that a worker's sessions share; from
 * there the records go out, several with one send. Bytes that the socket did not take are kept with
 * their session: a record or little more, where no more is encrypted than the socket has room for.
 *
 * Metering counts plaintext. TCP acknowledges the stream of records, so each record that is made is
 * marked (record_marks.h), and counts once all of it is acknowledged.
 *
 * The files stream_tls*.c call it, one worker's on its thread. It knows no
 * connection, and decides neither what is sent nor when a session ends.
 */
#ifndef TOLLGATE_SERVER_TRANSPORT_TLS_RECORDS_H
#define TOLLGATE_SERVER_TRANSPORT_TLS_RECORDS_H

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/transport/record_marks.h"
#include "server/transport/tls.h"

#define TLS_RECORD_MAX   ((size_t)16 * 1024)  /* RFC 8446 5.1: of plaintext */
#define TLS_BATCH_MAX    (4 * TLS_RECORD_MAX) /* of plaintext, encrypted at a time */
#define TLS_RECORDS_SIZE ((size_t)160 * 1024)

/* A worker's buffers for TLS. */
struct tls_scratch {
    BIO *in, *out;       /* owns; without state, shared by the sessions */
    const char *in_data; /* borrows: what the ring received */
    size_t in_length;
    size_t length; /* of `records` */
    char plain[TLS_RECORD_MAX];
    char file[TLS_BATCH_MAX];
    char records[TLS_RECORDS_SIZE];
};

struct tls_session {
    SSL *ssl;        /* owns */
    struct tls *tls; /* holds: its callbacks lead there */
    int fd;          /* borrows: the connection's socket */
    char *pending;   /* owns: records that were not sent */
    size_t pending_length, pending_sent;
    bool full;             /* the socket did not take all when it was last tried */
    bool begun;            /* OpenSSL has been given bytes */
    bool ready;            /* the handshake is done */
    bool failed;           /* no further call is allowed */
    uint64_t answered;     /* bytes of answers that the peer caused since the handshake */
    uint64_t closed;       /* kTLS: plaintext in records that are not open any more */
    uint64_t empty_ms;     /* kTLS: when the queue was first seen empty; 0: not at the last look */
    uint64_t empty_closed; /* `closed` then */
    struct record_marks marks; /* not of kTLS */
};

/* 0 or -ENOMEM; the caller destroys *out in either case. */
int tls_scratch_create(struct tls_scratch **out);
void tls_scratch_destroy(struct tls_scratch **scratch);

/* Begins a batch: what OpenSSL writes next follows the records that the session still holds.
 * Returns their length, for tls_records_end. */
size_t tls_records_begin(struct tls_scratch *scratch, const struct tls_session *session);
/*
 * Marks the records that OpenSSL has written since tls_records_begin returned `before`, and sends
 * them, or with `hold` keeps them for what follows. `plain` is how many bytes of application data
 * they carry. 0, -EAGAIN where some are kept because the socket is full, -EPROTO where they could
 * not be marked, so that the session must send nothing more, or another error.
 */
int tls_records_end(struct tls_scratch *scratch, struct tls_session *session, size_t before,
                    size_t plain, bool hold);
/* Sends what is kept; 0 once nothing is. With `more` it may wait for what follows, unless the
 * socket was full. */
int tls_records_flush(struct tls_session *session, bool more);

#endif
