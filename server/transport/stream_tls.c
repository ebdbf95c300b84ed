/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TLS session of a stream: begins it, does the handshake, takes what the peer sends, and decides
 * after the handshake whether OpenSSL (stream_tls_send.c) or the kernel (stream_tls_kernel.c) makes
 * the records. It sends nothing that OpenSSL has not written by itself, and ends no connection: it
 * says by a word that the session is over.
 */
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/transport/stream_internal.h"

/*
 * The bytes of answers that a peer may cause (RFC 8446 4.6.3: an answer to each KeyUpdate; in TLS
 * 1.2, a warning for each renegotiation): ANSWERS_FREE, and one more for each ANSWERS_SHARE bytes
 * of plaintext sent to it. That allows an answer to each record of 512 bytes.
 */
#define ANSWERS_FREE  ((uint64_t)16 * 1024)
#define ANSWERS_SHARE 16

/* ---- sessions ---- */

int stream_begin_tls(struct streams *streams, struct stream *stream, struct tls *tls)
{
    struct tls_session *session = calloc(1, sizeof(*session));
    SSL *ssl = session != NULL ? tls_session_new(tls) : NULL;
    BIO *out = NULL;
    if (ssl != NULL && (SSL_get_options(ssl) & SSL_OP_ENABLE_KTLS) != 0) {
        /*
         * OpenSSL begins kTLS only on a socket BIO whose socket has the upper layer protocol "tls".
         */
        (void)setsockopt(stream->fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls"));
        out = BIO_new_socket(stream->fd, BIO_NOCLOSE);
    } else if (ssl != NULL) {
        out = streams->scratch->out;
        BIO_up_ref(out);
    }
    if (out == NULL) {
        SSL_free(ssl);
        free(session);
        return -ENOMEM;
    }
    BIO_up_ref(streams->scratch->in);
    SSL_set0_rbio(ssl, streams->scratch->in);
    SSL_set0_wbio(ssl, out);
    session->ssl = ssl;
    session->fd = stream->fd;
    session->tls = tls_hold(tls);
    stream->tls = session;
    stream->transport = &transport_tls;
    return 0;
}

void stream_leave_tls(struct stream *stream)
{
    struct tls_session *session = stream->tls;
    stream->tls = NULL;
    stream->transport = &transport_plain;
    if (session == NULL)
        return;
    SSL_free(session->ssl);
    tls_drop(&session->tls);
    free(session->pending);
    free(session);
}

void stream_close(struct stream *stream)
{
    stream_leave_tls(stream);
    if (stream->fd >= 0)
        close(stream->fd);
    stream->fd = -1;
}

uint8_t stream_tls_number(const struct stream *stream)
{
    switch (stream->tls != NULL ? SSL_version(stream->tls->ssl) : 0) {
    case TLS1_3_VERSION:
        return 13;
    case TLS1_2_VERSION:
        return 12;
    default:
        return 0;
    }
}

const char *stream_tls_version(const struct stream *stream)
{
    return stream->tls != NULL ? SSL_get_version(stream->tls->ssl) : "-";
}

bool stream_interrupt(struct stream *stream, bool timed_out)
{
    struct tls_session *session = stream->tls;
    if (session == NULL || session->ready || session->failed || (!session->begun && !timed_out))
        return false;
    session->failed = true;
    return true;
}

/* The handshake is done: finds out whether the kernel or OpenSSL makes the records from here on. */
static void session_ready(struct streams *streams, struct stream *stream,
                          struct stream_input *input)
{
    struct tls_session *session = stream->tls;
    BIO *out = SSL_get_wbio(session->ssl);
    session->ready = true;
    input->is_ready = true;
    input->is_resumed = SSL_session_reused(session->ssl) != 0;
    if (out == streams->scratch->out)
        return;
    if (BIO_get_ktls_send(out)) {
        stream->transport = &transport_kernel_tls;
        input->is_kernel = true;
        return;
    }
    /* The kernel does not know the cipher, so OpenSSL makes the records. It wrote the handshake to
     * the socket itself. */
    (void)record_marks_add(&session->marks, (uint32_t)BIO_number_written(out), 0, 1);
    BIO_up_ref(streams->scratch->out);
    SSL_set0_wbio(session->ssl, streams->scratch->out);
}

/*
 * The session has failed; an alert, if there was one, has gone out with the last records.
 * Acknowledgements of bytes sent before are still waited for, and billed, because the peer could
 * fail its session on purpose.
 */
static enum stream_word session_failed(struct stream *stream, struct stream_input *input,
                                       const char *why)
{
    struct tls_session *session = stream->tls;
    input->failure =
        session->ready ? TLS_FAILURE_after_handshake : tls_failure_of(ERR_peek_last_error());
    input->why = why != NULL ? why : "the peer went away";
    session->failed = true;
    return STREAM_FAILED;
}

/* Whether the peer has caused more bytes of answers than it may. */
static bool asks_too_much(const struct stream *stream)
{
    const struct tls_session *session = stream->tls;
    /* The kernel goes on with the old keys, so after an answer to a KeyUpdate the peer could not
     * read its records. */
    if (stream->transport == &transport_kernel_tls && SSL_version(session->ssl) == TLS1_3_VERSION)
        return session->answered > 0;
    return session->answered > ANSWERS_FREE + stream->sent / ANSWERS_SHARE;
}

/* ---- what the peer sends ---- */

/* What SSL_read says of the session. */
static enum stream_word word_of(struct stream *stream, struct stream_input *input, int why)
{
    switch (why) {
    case SSL_ERROR_NONE:
        return STREAM_BYTES;
    case SSL_ERROR_ZERO_RETURN: /* RFC 8446 6.1: close_notify */
        return STREAM_ENDED;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return STREAM_TAKEN;
    default:
        return session_failed(stream, input, ERR_reason_error_string(ERR_peek_last_error()));
    }
}

/* One SSL_read. */
static enum stream_word read_once(struct streams *streams, struct stream *stream,
                                  struct stream_input *input)
{
    struct tls_scratch *scratch = streams->scratch;
    struct tls_session *session = stream->tls;
    bool was_ready = session->ready;
    uint64_t wrote_before = BIO_number_written(SSL_get_wbio(session->ssl));
    size_t before = tls_records_begin(scratch, session);
    input->plain = scratch->plain;
    input->plain_length = 0;
    input->is_ready = input->is_resumed = input->is_kernel = false; /* told once, and counted */
    int good =
        SSL_read_ex(session->ssl, scratch->plain, sizeof(scratch->plain), &input->plain_length);
    int why = good == 1 ? SSL_ERROR_NONE : SSL_get_error(session->ssl, good);
    int status = tls_records_end(scratch, session, before, 0, false);
    if (was_ready)
        session->answered += BIO_number_written(SSL_get_wbio(session->ssl)) - wrote_before;
    if (status != 0 && status != -EAGAIN) {
        if (stream_interrupt(stream, false))
            input->failure = TLS_FAILURE_other;
        session->failed = true;
        return STREAM_BROKEN;
    }
    input->wants_room = status == -EAGAIN || why == SSL_ERROR_WANT_WRITE;
    if (!session->ready && SSL_is_init_finished(session->ssl))
        session_ready(streams, stream, input);
    if (asks_too_much(stream))
        return session_failed(stream, input,
                              "the client asks for new keys instead of reading the file");
    return word_of(stream, input, why);
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

static enum stream_word tls_read(struct streams *streams, struct stream *stream,
                                 struct stream_input *input)
{
    struct tls_scratch *scratch = streams->scratch;
    if (!stream->tls->begun && input->length > 0 && is_text(input->data[0])) {
        input->plain = input->data;
        input->plain_length = input->length;
        return STREAM_NOT_TLS;
    }
    stream->tls->begun = true;
    scratch->in_data = input->data;
    scratch->in_length = input->length;
    enum stream_word word = read_once(streams, stream, input);
    input->data = scratch->in_data;
    input->length = scratch->in_length;
    return word;
}

/* ---- the two transports ---- */

const struct transport transport_tls = {
    .chunk_max = TLS_BATCH_MAX,
    .send = stream_tls_send,
    .send_file = stream_tls_send_file,
    .flush = stream_tls_flush,
    .read = tls_read,
    .end = stream_tls_end,
    .measure = stream_tls_measure,
};

const struct transport transport_kernel_tls = {
    .chunk_max = (size_t)2048 * 1024,
    .send = stream_kernel_tls_send, /* the kernel makes a record of all that is written */
    .send_file = stream_kernel_tls_send_file,
    .flush = stream_tls_flush,
    .read = tls_read,
    .end = stream_tls_end,
    .measure = stream_kernel_tls_measure,
};
