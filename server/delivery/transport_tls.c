/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS over a connection. OpenSSL reads from the bytes that the ring received and writes into one
 * buffer that a worker's connections share; from there the records go out, several with one send.
 * Bytes that the socket did not take are kept with their connection: a record or little more, as no
 * more is encrypted than the socket has room for. Where the kernel makes the records (kTLS),
 * OpenSSL writes to the socket itself and files go by SSL_sendfile.
 *
 * Metering counts plaintext. TCP acknowledges the stream of records, so each record that is made
 * here is marked (record_marks.h) and counts once all of it is acknowledged. Where the kernel's
 * records end is not known: their acknowledged plaintext is rounded down until the socket's queue
 * is empty.
 */
#include <errno.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/base/check.h"
#include "server/base/log.h"
#include "server/delivery/connection.h"
#include "server/delivery/transport.h"
#include "server/transport/record_marks.h"
#include "server/transport/tls.h"
#include "storage/media/media.h"

#define RECORD_MAX      ((size_t)16 * 1024) /* RFC 8446 5.1: of plaintext */
#define BATCH_MAX       (4 * RECORD_MAX)    /* of plaintext, encrypted at a time */
#define RECORDS_SIZE    ((size_t)160 * 1024)
#define RECORD_TAG      16 /* of each cipher that tls_algorithms.c lets through */
#define WRITE_RUNS      3  /* of one SSL_write: an answer, full records, the rest */
/*
 * The bytes of answers that a peer may cause (RFC 8446 4.6.3: an answer to each KeyUpdate; in TLS
 * 1.2, a warning for each renegotiation): ANSWERS_FREE, and one more for each ANSWERS_SHARE bytes
 * of plaintext sent to it. That allows an answer to each record of 512 bytes.
 */
#define ANSWERS_FREE    ((uint64_t)16 * 1024)
#define ANSWERS_SHARE   16
/* kTLS: an open record and a partly sent one are not in the socket's queue. */
#define KERNEL_HELD     (2 * RECORD_MAX)
#define KERNEL_QUIET_MS 50 /* after so long a closed record is in the queue, if that has room */

struct tls_scratch {
    BIO *in, *out;       /* own; without state, shared by the sessions */
    const char *in_data; /* borrows: what the ring received */
    size_t in_length;
    size_t length; /* of `records` */
    char plain[RECORD_MAX];
    char file[BATCH_MAX];
    char records[RECORDS_SIZE];
};

struct tls_session {
    SSL *ssl;        /* owns */
    struct tls *tls; /* holds: its callbacks lead there */
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

/* Begins a batch: what OpenSSL writes next follows the records that the connection still holds. */
static size_t records_begin(struct worker *worker, struct connection *connection)
{
    struct tls_scratch *scratch = worker->tls_scratch;
    const struct tls_session *session = connection->tls;
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

/*
 * Marks the records and sends them, or with `hold` keeps them for what follows. `plain` is how many
 * bytes of application data they carry. 0, -EAGAIN where some are kept because the socket is full,
 * or another error.
 */
static int records_end(struct worker *worker, struct connection *connection, size_t before,
                       size_t plain, bool hold)
{
    struct tls_scratch *scratch = worker->tls_scratch;
    struct tls_session *session = connection->tls;
    size_t length = scratch->length, sent = 0;
    if (length == before)
        return 0; /* what is kept goes with the next flush */
    if (!mark(session, scratch->records + before, length - before, plain))
        return -EPROTO;
    if (!hold) {
        ssize_t taken = send(connection->fd, scratch->records, length, MSG_DONTWAIT | MSG_NOSIGNAL);
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
    count(&worker->stats.tls_failures[kind], 1);
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
    count(&worker->stats.tls_failures[failure], 1);
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

/* ---- the transport ---- */

/* One SSL_read. True: there may be more. */
static bool read_once(struct worker *worker, struct connection *connection)
{
    struct tls_scratch *scratch = worker->tls_scratch;
    struct tls_session *session = connection->tls;
    size_t got = 0;
    bool was_ready = session->ready;
    uint64_t wrote_before = BIO_number_written(SSL_get_wbio(session->ssl));
    size_t before = records_begin(worker, connection);
    int good = SSL_read_ex(session->ssl, scratch->plain, sizeof(scratch->plain), &got);
    int why = good == 1 ? SSL_ERROR_NONE : SSL_get_error(session->ssl, good);
    int status = records_end(worker, connection, before, 0, false);
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

/*
 * Whether records may be made now: 0; -ENOBUFS where their marks have no place, as the peer has not
 * acknowledged enough; -EPROTO where the session is over, or about to be (half a handshake message
 * is there, and OpenSSL writes no data before the other half).
 */
static int may_write(struct worker *worker, struct connection *connection)
{
    struct tls_session *session = connection->tls;
    session->failed = session->failed || SSL_in_init(session->ssl);
    if (session->failed)
        return -EPROTO;
    if (record_marks_have_room(&session->marks, WRITE_RUNS))
        return 0;
    (void)metering_read(worker, connection);
    if (connection->deliveries == NULL)
        record_marks_forget(&session->marks);
    return record_marks_have_room(&session->marks, WRITE_RUNS) ? 0 : -ENOBUFS;
}

/* Handles the result of an SSL_write, which must have taken all bytes: the buffer behind it has
 * room. */
static ssize_t written(struct worker *worker, struct connection *connection, size_t before,
                       int good, size_t length, bool hold)
{
    int status = good == 1 ? records_end(worker, connection, before, length, hold) : -EPROTO;
    if (status == -EPROTO)
        connection->tls->failed = true;
    return status == 0 || status == -EAGAIN ? (ssize_t)length : status;
}

static ssize_t tls_send(struct worker *worker, struct connection *connection, const char *data,
                        size_t length, bool more)
{
    size_t taken = 0;
    int status = may_write(worker, connection);
    if (status != 0)
        return status;
    size_t before = records_begin(worker, connection);
    int good = SSL_write_ex(connection->tls->ssl, data, length, &taken);
    return written(worker, connection, before, good, length, more);
}

static int tls_flush(struct worker *worker, struct connection *connection, bool more)
{
    struct tls_session *session = connection->tls;
    if (session->pending == NULL || (more && !session->full))
        return 0;
    ssize_t sent =
        send(connection->fd, session->pending + session->pending_sent,
             session->pending_length - session->pending_sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)worker;
    if (sent < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    session->pending_sent += (size_t)sent;
    session->full = session->pending_sent < session->pending_length;
    if (session->full)
        return -EAGAIN;
    pending_drop(session);
    return 0;
}

/* How many bytes to encrypt now, at least a record: no more than the socket will take, because the
 * rest would have to be kept, for each of many slow clients. */
static size_t batch_size(const struct connection *connection)
{
    uint32_t memory[SK_MEMINFO_VARS] = {0};
    socklen_t size = sizeof(memory);
    if (getsockopt(connection->fd, SOL_SOCKET, SO_MEMINFO, memory, &size) != 0 ||
        memory[SK_MEMINFO_SNDBUF] <= memory[SK_MEMINFO_WMEM_QUEUED])
        return RECORD_MAX;
    /* The kernel counts its own structures, too: about a quarter at worst. */
    size_t room = memory[SK_MEMINFO_SNDBUF] - memory[SK_MEMINFO_WMEM_QUEUED];
    room -= room / 5;
    return room >= BATCH_MAX    ? BATCH_MAX
           : room >= RECORD_MAX ? room / RECORD_MAX * RECORD_MAX
                                : RECORD_MAX;
}

/* Reads the bytes of the file that are in memory; -ENODATA: the disk must bring them first. */
static ssize_t read_file(struct worker *worker, struct connection *connection, char *out,
                         size_t length)
{
    struct media_file *file = connection->file;
    size_t unread = transport_unread(worker, connection);
    /* Reading absent pages would start reading all of them from the disk in this thread. Where they
     * are likely to be absent, one byte is asked for first. */
    if (unread == 0 &&
        (transfer_is_cold(worker, connection) || file->telling == MEDIA_CANNOT_TELL)) {
        size_t ready = transport_ready(worker, connection, length);
        if (ready == 0)
            return -ENODATA;
        length = length < ready ? length : ready;
    }
    if (unread == 0 && file->telling != MEDIA_CANNOT_TELL)
        return media_file_read(file, out, length, connection->offset);
    ssize_t got = pread(file->fd, out, unread > 0 && unread < length ? unread : length,
                        (off_t)connection->offset);
    return got < 0 ? -errno : got;
}

static ssize_t tls_send_file(struct worker *worker, struct connection *connection, size_t length)
{
    struct tls_session *session = connection->tls;
    struct tls_scratch *scratch = worker->tls_scratch;
    size_t taken = 0, batch = batch_size(connection);
    int status = may_write(worker, connection);
    if (status == 0)
        status = tls_flush(worker, connection, true);
    if (status != 0)
        return status;
    length = length < batch ? length : batch;
    ssize_t got = read_file(worker, connection, scratch->file, length);
    if (got < 0)
        return got == -EINTR ? -EAGAIN : got;
    if (got == 0)
        return 0;
    size_t before = records_begin(worker, connection);
    int good = SSL_write_ex(session->ssl, scratch->file, (size_t)got, &taken);
    return written(worker, connection, before, good, (size_t)got, false);
}

static void tls_end(struct worker *worker, struct connection *connection)
{
    struct tls_session *session = connection->tls;
    if (!session->ready || session->failed ||
        (SSL_get_shutdown(session->ssl) & SSL_SENT_SHUTDOWN) != 0)
        return;
    size_t before = records_begin(worker, connection);
    (void)SSL_shutdown(session->ssl);
    (void)records_end(worker, connection, before, 0, false); /* the connection ends either way */
}

static uint64_t tls_acknowledged(const struct worker *worker, struct connection *connection,
                                 uint64_t tcp_bytes)
{
    (void)worker;
    return record_marks_acknowledge(&connection->tls->marks, tcp_bytes);
}

/* ---- kTLS ---- */

/* The kernel took `taken` of `length` bytes. A write that it took whole, and that nothing follows,
 * closes the record; any other may leave an open record, which is not in the socket's queue. */
static ssize_t kernel_took(struct connection *connection, ssize_t taken, size_t length, bool more)
{
    if (!more && taken == (ssize_t)length)
        connection->tls->closed = connection->sent + length;
    return taken;
}

static ssize_t kernel_send(struct worker *worker, struct connection *connection, const char *data,
                           size_t length, bool more)
{
    ssize_t taken = transport_plain_send(worker, connection, data, length, more);
    return kernel_took(connection, taken, length, more);
}

static ssize_t kernel_send_file(struct worker *worker, struct connection *connection, size_t length)
{
    SSL *ssl = connection->tls->ssl;
    size_t ready = transport_ready(worker, connection, length);
    if (ready == 0)
        return -ENODATA;
    ERR_clear_error();
    errno = 0;
    ossl_ssize_t sent =
        SSL_sendfile(ssl, connection->file->fd, (off_t)connection->offset, ready, 0);
    int error = errno;
    if (sent >= 0)
        return kernel_took(connection, sent, length, false);
    /* SSL_get_error tells a full socket from a dead one no better than errno does. */
    if (error == EAGAIN || error == EINTR || error == EBUSY)
        return -EAGAIN;
    log_debug("SSL_sendfile: %s", ERR_reason_error_string(ERR_peek_last_error()));
    return error != 0 ? -error : -EPIPE;
}

/*
 * The queue holds ciphertext, so at most as many bytes of plaintext are on their way, and those of
 * two records that are not in the queue yet (KERNEL_HELD). All plaintext that lay in closed records
 * when the queue was empty has arrived if the queue is empty KERNEL_QUIET_MS later.
 */
static uint64_t kernel_acknowledged(const struct worker *worker, struct connection *connection,
                                    uint64_t tcp_bytes)
{
    struct tls_session *session = connection->tls;
    int queued = 0;
    (void)tcp_bytes;
    if (ioctl(connection->fd, SIOCOUTQ, &queued) != 0)
        return connection->acknowledged;
    uint64_t held = (uint64_t)queued + KERNEL_HELD;
    uint64_t reached = connection->sent > held ? connection->sent - held : 0;
    bool was_empty = session->empty_ms != 0;
    bool quiet = was_empty && worker->now_ms - session->empty_ms >= KERNEL_QUIET_MS;
    if (queued > 0) {
        session->empty_ms = 0;
    } else if (!was_empty || quiet) {
        if (quiet && session->empty_closed > reached)
            reached = session->empty_closed;
        session->empty_ms = worker->now_ms;
        session->empty_closed = session->closed;
    }
    return reached > connection->acknowledged ? reached : connection->acknowledged;
}

const struct transport transport_tls = {
    .chunk_max = BATCH_MAX,
    .send = tls_send,
    .send_file = tls_send_file,
    .flush = tls_flush,
    .receive = tls_receive,
    .end = tls_end,
    .acknowledged = tls_acknowledged,
};

const struct transport transport_kernel_tls = {
    .chunk_max = (size_t)2048 * 1024,
    .send = kernel_send, /* the kernel makes a record of all that is written */
    .send_file = kernel_send_file,
    .flush = tls_flush,
    .receive = tls_receive,
    .end = tls_end,
    .acknowledged = kernel_acknowledged,
};
