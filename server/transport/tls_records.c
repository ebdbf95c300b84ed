/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes, marks, sends and keeps the records of a TLS session, and lends OpenSSL a worker's buffers
 * as BIOs. Called by stream_tls*.c; it knows no connection. See tls_records.h.
 */
#include "server/transport/tls_records.h"

#include <errno.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define RECORD_TAG 16 /* of each cipher that tls_algorithms.c lets through */

/* ---- BIOs ---- */

static struct {
    pthread_once_t once;
    BIO_METHOD *in, *out;
} methods = {.once = PTHREAD_ONCE_INIT};

static int on_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static long on_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static int on_read(BIO *bio, char *out, int size)
{
    struct tls_scratch *scratch = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (scratch->in_length == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t length = scratch->in_length < (size_t)size ? scratch->in_length : (size_t)size;
    memcpy(out, scratch->in_data, length);
    scratch->in_data += length;
    scratch->in_length -= length;
    return (int)length;
}

static int on_write(BIO *bio, const char *data, int length)
{
    struct tls_scratch *scratch = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    /* Only a peer that causes answers and reads none fills the buffer: its session fails. */
    if (length < 0 || (size_t)length > sizeof(scratch->records) - scratch->length)
        return -1;
    memcpy(scratch->records + scratch->length, data, (size_t)length);
    scratch->length += (size_t)length;
    return length;
}

static void make_methods(void)
{
    methods.in = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "received");
    methods.out = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "records");
    if (methods.in == NULL || methods.out == NULL)
        return;
    BIO_meth_set_create(methods.in, on_create);
    BIO_meth_set_create(methods.out, on_create);
    BIO_meth_set_ctrl(methods.in, on_control);
    BIO_meth_set_ctrl(methods.out, on_control);
    BIO_meth_set_read(methods.in, on_read);
    BIO_meth_set_write(methods.out, on_write);
}

int tls_scratch_create(struct tls_scratch **out)
{
    pthread_once(&methods.once, make_methods);
    struct tls_scratch *scratch = calloc(1, sizeof(*scratch));
    *out = scratch;
    if (scratch == NULL || methods.in == NULL || methods.out == NULL)
        return -ENOMEM;
    scratch->in = BIO_new(methods.in);
    scratch->out = BIO_new(methods.out);
    if (scratch->in == NULL || scratch->out == NULL)
        return -ENOMEM;
    BIO_set_data(scratch->in, scratch);
    BIO_set_data(scratch->out, scratch);
    return 0;
}

void tls_scratch_destroy(struct tls_scratch **out)
{
    struct tls_scratch *scratch = *out;
    *out = NULL;
    if (scratch == NULL)
        return;
    BIO_free(scratch->in);
    BIO_free(scratch->out);
    OPENSSL_cleanse(scratch->plain, sizeof(scratch->plain));
    free(scratch);
}

/* ---- records ---- */

size_t tls_records_begin(struct tls_scratch *scratch, const struct tls_session *session)
{
    scratch->length = session->pending_length - session->pending_sent;
    if (scratch->length > 0)
        memcpy(scratch->records, session->pending + session->pending_sent, scratch->length);
    ERR_clear_error();
    return scratch->length;
}

static void pending_drop(struct tls_session *session)
{
    free(session->pending);
    session->pending = NULL;
    session->pending_length = session->pending_sent = 0;
}

static int pending_keep(struct tls_session *session, const char *data, size_t length)
{
    char *kept = malloc(length);
    if (kept == NULL)
        return -ENOMEM;
    memcpy(kept, data, length);
    pending_drop(session);
    session->pending = kept;
    session->pending_length = length;
    return 0;
}

/* How many bytes longer a record is than its application data. */
static size_t record_adds(const SSL *ssl)
{
    if (SSL_version(ssl) == TLS1_3_VERSION)
        return RECORD_HEADER_SIZE + 1 + RECORD_TAG; /* RFC 8446 5.2: the inner type */
    /* RFC 5288 3: GCM's explicit nonce; RFC 7905 2: ChaCha20-Poly1305 has none. */
    bool chacha = SSL_CIPHER_get_cipher_nid(SSL_get_current_cipher(ssl)) == NID_chacha20_poly1305;
    return RECORD_HEADER_SIZE + (chacha ? 0 : 8) + RECORD_TAG;
}

/* Marks the records that OpenSSL wrote: `plain` bytes of application data, and any answers of its
 * own. */
static bool mark(struct tls_session *session, const char *records, size_t length, size_t plain)
{
    size_t answers = 0;
    if (plain == 0)
        return record_marks_add(&session->marks, (uint32_t)length, 0, 1);
    bool marked = record_marks_add_written(&session->marks, records, length, plain,
                                           record_adds(session->ssl), &answers);
    session->answered += answers;
    return marked;
}

int tls_records_end(struct tls_scratch *scratch, struct tls_session *session, size_t before,
                    size_t plain, bool hold)
{
    size_t length = scratch->length, sent = 0;
    if (length == before)
        return 0; /* what is kept goes with the next flush */
    if (!mark(session, scratch->records + before, length - before, plain))
        return -EPROTO;
    if (!hold) {
        ssize_t taken = send(session->fd, scratch->records, length, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (taken < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        sent = taken > 0 ? (size_t)taken : 0;
        session->full = sent < length;
    }
    if (sent == length) {
        pending_drop(session);
        return 0;
    }
    int status = pending_keep(session, scratch->records + sent, length - sent);
    return status != 0 ? status : hold ? 0 : -EAGAIN;
}

int tls_records_flush(struct tls_session *session, bool more)
{
    if (session->pending == NULL || (more && !session->full))
        return 0;
    ssize_t sent =
        send(session->fd, session->pending + session->pending_sent,
             session->pending_length - session->pending_sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    session->pending_sent += (size_t)sent;
    session->full = session->pending_sent < session->pending_length;
    if (session->full)
        return -EAGAIN;
    pending_drop(session);
    return 0;
}
