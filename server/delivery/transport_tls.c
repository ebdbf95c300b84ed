/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TLS session of a connection: begins it, does the handshake, takes what the peer sends, and
 * decides after the handshake whether OpenSSL (transport_tls_send.c) or the kernel
 * (transport_tls_kernel.c) makes the records. Called by connection*.c, and through the transports'
 * tables. It sends nothing that OpenSSL has not written by itself, and counts no byte for the bill.
 */
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "server/base/log.h"
#include "server/delivery/connection.h"
#include "server/delivery/transport_tls_internal.h"
#include "server/transport/tls_records.h"

/*
 * The bytes of answers that a peer may cause (RFC 8446 4.6.3: an answer to each KeyUpdate; in TLS
 * 1.2, a warning for each renegotiation): ANSWERS_FREE, and one more for each ANSWERS_SHARE bytes
 * of plaintext sent to it. That allows an answer to each record of 512 bytes.
 */
#define ANSWERS_FREE  ((uint64_t)16 * 1024)
#define ANSWERS_SHARE 16

/* ---- sessions ---- */

int tls_session_begin(struct worker *worker, struct connection *connection)
{
    struct tls_session *session = calloc(1, sizeof(*session));
    SSL *ssl = session != NULL ? tls_session_new(worker->tls) : NULL;
    BIO *out = NULL;
    if (ssl != NULL && (SSL_get_options(ssl) & SSL_OP_ENABLE_KTLS) != 0) {
        /*
         * OpenSSL begins kTLS only on a socket BIO whose socket has the upper layer protocol "tls".
         */
        (void)setsockopt(connection->fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls"));
        out = BIO_new_socket(connection->fd, BIO_NOCLOSE);
    } else if (ssl != NULL) {
        out = worker->tls_scratch->out;
        BIO_up_ref(out);
    }
    if (out == NULL) {
        SSL_free(ssl);
        free(session);
        return -ENOMEM;
    }
    BIO_up_ref(worker->tls_scratch->in);
    SSL_set0_rbio(ssl, worker->tls_scratch->in);
    SSL_set0_wbio(ssl, out);
    session->ssl = ssl;
    session->fd = connection->fd;
    session->tls = tls_hold(worker->tls);
    connection->tls = session;
    connection->transport = &transport_tls;
    return 0;
}

void tls_session_end(struct connection *connection)
{
    struct tls_session *session = connection->tls;
    connection->tls = NULL;
    if (session == NULL)
        return;
    SSL_free(session->ssl);
    tls_drop(&session->tls);
    free(session->pending);
    free(session);
}

uint8_t tls_session_number(const struct connection *connection)
{
    switch (SSL_version(connection->tls->ssl)) {
    case TLS1_3_VERSION:
        return 13;
    case TLS1_2_VERSION:
        return 12;
    default:
        return 0;
    }
}

const char *tls_session_version(const struct connection *connection)
{
    return connection->tls != NULL ? SSL_get_version(connection->tls->ssl) : "-";
}

/* The handshake is done: finds out whether the kernel or OpenSSL makes the records from here on. */
static void session_ready(struct worker *worker, struct connection *connection)
{
    struct tls_session *session = connection->tls;
    BIO *out = SSL_get_wbio(session->ssl);
    session->ready = true;
    count(&worker->stats.tls_handshakes, 1);
    if (SSL_session_reused(session->ssl))
        count(&worker->stats.tls_resumed, 1);
    if (out == worker->tls_scratch->out)
        return;
    if (BIO_get_ktls_send(out)) {
        connection->transport = &transport_kernel_tls;
        count(&worker->stats.tls_kernel, 1);
        return;
    }
    /* The kernel does not know the cipher, so OpenSSL makes the records. It wrote the handshake to
     * the socket itself. */
    (void)record_marks_add(&session->marks, (uint32_t)BIO_number_written(out), 0, 1);
    BIO_up_ref(worker->tls_scratch->out);
    SSL_set0_wbio(session->ssl, worker->tls_scratch->out);
}

/*
 * Ends a session that failed; an alert, if there was one, has gone out with the last records.
 * Acknowledgements of bytes sent before are still waited for, and billed, because the peer could
 * fail its session on purpose.
 */
static void session_failed(struct worker *worker, struct connection *connection, const char *reason)
{
    struct tls_session *session = connection->tls;
    enum tls_failure kind =
        session->ready ? TLS_FAILURE_after_handshake : tls_failure_of(ERR_peek_last_error());
    session->failed = true;
    count_tls_failure(&worker->stats, kind);
    log_debug("TLS: %s: %s", session->ready ? "a session ended" : "a handshake failed",
              reason != NULL ? reason : "the peer went away");
    connection_close(worker, connection, false);
}

void tls_session_interrupted(struct worker *worker, struct connection *connection,
                             enum tls_failure failure)
{
    struct tls_session *session = connection->tls;
    if (session == NULL || session->ready || session->failed ||
        (!session->begun && failure != TLS_FAILURE_timed_out))
        return;
    session->failed = true;
    count_tls_failure(&worker->stats, failure);
}

/* Whether the peer has caused more bytes of answers than it may. */
static bool asks_too_much(const struct connection *connection)
{
    const struct tls_session *session = connection->tls;
    /* The kernel goes on with the old keys, so after an answer to a KeyUpdate the peer could not
     * read its records. */
    if (connection->transport == &transport_kernel_tls &&
        SSL_version(session->ssl) == TLS1_3_VERSION)
        return session->answered > 0;
    return session->answered > ANSWERS_FREE + connection->sent / ANSWERS_SHARE;
}

/* ---- what the peer sends ---- */

/* One SSL_read. True: there may be more. */
static bool read_once(struct worker *worker, struct connection *connection)
{
    struct tls_scratch *scratch = worker->tls_scratch;
    struct tls_session *session = connection->tls;
    size_t got = 0;
    bool was_ready = session->ready;
    uint64_t wrote_before = BIO_number_written(SSL_get_wbio(session->ssl));
    size_t before = tls_records_begin(worker->tls_scratch, connection->tls);
    int good = SSL_read_ex(session->ssl, scratch->plain, sizeof(scratch->plain), &got);
    int why = good == 1 ? SSL_ERROR_NONE : SSL_get_error(session->ssl, good);
    int status = tls_records_end(worker->tls_scratch, connection->tls, before, 0, false);
    if (was_ready)
        session->answered += BIO_number_written(SSL_get_wbio(session->ssl)) - wrote_before;
    if (status != 0 && status != -EAGAIN) {
        tls_session_interrupted(worker, connection, TLS_FAILURE_other);
        session->failed = true;
        connection_close(worker, connection, true);
        return false;
    }
    if (status == -EAGAIN || why == SSL_ERROR_WANT_WRITE)
        transfer_await_room(worker, connection);
    if (!session->ready && SSL_is_init_finished(session->ssl))
        session_ready(worker, connection);
    if (asks_too_much(connection)) {
        session_failed(worker, connection,
                       "the client asks for new keys instead of reading the file");
        return false;
    }
    if (why == SSL_ERROR_NONE) {
        connection_input(worker, connection, scratch->plain, got);
        return true;
    }
    if (why == SSL_ERROR_ZERO_RETURN) /* RFC 8446 6.1: close_notify */
        connection_peer_ended(worker, connection);
    else if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
        session_failed(worker, connection, ERR_reason_error_string(ERR_peek_last_error()));
    return false;
}

/*
 * RFC 8446 5.1: a record begins with its type, a handshake's is 22. A request line begins with a
 * letter, or, as clients were known to, with an empty line (RFC 9112 2.2).
 */
static bool is_text(char first)
{
    return (first >= 'A' && first <= 'Z') || (first >= 'a' && first <= 'z') || first == '\r' ||
           first == '\n';
}

static void tls_receive(struct worker *worker, struct connection *connection, const char *data,
                        size_t length)
{
    uint32_t generation = connection->generation;
    if (!connection->tls->begun && is_text(data[0])) {
        connection_unencrypted(worker, connection, data, length);
        return;
    }
    connection->tls->begun = true;
    worker->tls_scratch->in_data = data;
    worker->tls_scratch->in_length = length;
    /* Nothing is read any more once the node has ended its side. */
    while (connection->generation == generation && connection->state != CONNECTION_CLOSING &&
           connection->state != CONNECTION_LINGERING && read_once(worker, connection))
        continue;
}

/* ---- the two transports ---- */

const struct transport transport_tls = {
    .chunk_max = TLS_BATCH_MAX,
    .send = transport_tls_send,
    .send_file = transport_tls_send_file,
    .flush = transport_tls_flush,
    .receive = tls_receive,
    .end = transport_tls_end,
    .acknowledged = transport_tls_acknowledged,
};

const struct transport transport_kernel_tls = {
    .chunk_max = (size_t)2048 * 1024,
    .send = transport_kernel_tls_send, /* the kernel makes a record of all that is written */
    .send_file = transport_kernel_tls_send_file,
    .flush = transport_tls_flush,
    .receive = tls_receive,
    .end = transport_tls_end,
    .acknowledged = transport_kernel_tls_acknowledged,
};
