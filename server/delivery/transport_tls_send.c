/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends over TLS where OpenSSL makes the records in this process (tls_records.h): a response's
 * bytes, a file's, and the close_notify, no more at a time than the socket takes. Called through
 * the table in transport_tls.c. It reads nothing from the peer, and closes no connection.
 */
#include <errno.h>
#include <linux/sock_diag.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/delivery/connection.h"
#include "server/delivery/transport_tls_internal.h"
#include "server/transport/tls_records.h"
#include "storage/media/media.h"

#define WRITE_RUNS 3 /* of one SSL_write: an answer, full records, the rest */

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
    int status = good == 1
                     ? tls_records_end(worker->tls_scratch, connection->tls, before, length, hold)
                     : -EPROTO;
    if (status == -EPROTO)
        connection->tls->failed = true;
    return status == 0 || status == -EAGAIN ? (ssize_t)length : status;
}

ssize_t transport_tls_send(struct worker *worker, struct connection *connection, const char *data,
                           size_t length, bool more)
{
    size_t taken = 0;
    int status = may_write(worker, connection);
    if (status != 0)
        return status;
    size_t before = tls_records_begin(worker->tls_scratch, connection->tls);
    int good = SSL_write_ex(connection->tls->ssl, data, length, &taken);
    return written(worker, connection, before, good, length, more);
}

int transport_tls_flush(struct worker *worker, struct connection *connection, bool more)
{
    (void)worker;
    return tls_records_flush(connection->tls, more);
}

/* How many bytes to encrypt now, at least a record: no more than the socket will take, because the
 * rest would have to be kept, for each of many slow clients. */
static size_t batch_size(const struct connection *connection)
{
    uint32_t memory[SK_MEMINFO_VARS] = {0};
    socklen_t size = sizeof(memory);
    if (getsockopt(connection->fd, SOL_SOCKET, SO_MEMINFO, memory, &size) != 0 ||
        memory[SK_MEMINFO_SNDBUF] <= memory[SK_MEMINFO_WMEM_QUEUED])
        return TLS_RECORD_MAX;
    /* The kernel counts its own structures, too: about a quarter at worst. */
    size_t room = memory[SK_MEMINFO_SNDBUF] - memory[SK_MEMINFO_WMEM_QUEUED];
    room -= room / 5;
    return room >= TLS_BATCH_MAX    ? TLS_BATCH_MAX
           : room >= TLS_RECORD_MAX ? room / TLS_RECORD_MAX * TLS_RECORD_MAX
                                    : TLS_RECORD_MAX;
}

/* Reads the bytes of the file that are in memory; -ENODATA: the disk must bring them first. */
static ssize_t read_file(struct worker *worker, struct connection *connection, char *out,
                         size_t length)
{
    struct media_file *file = connection->file;
    size_t unread = transfer_unread(worker, connection);
    /* Reading absent pages would start reading all of them from the disk in this thread. Where they
     * are likely to be absent, one byte is asked for first. */
    if (unread == 0 &&
        (transfer_is_cold(worker, connection) || file->telling == MEDIA_CANNOT_TELL)) {
        size_t ready = transfer_ready(worker, connection, length);
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

ssize_t transport_tls_send_file(struct worker *worker, struct connection *connection, size_t length)
{
    struct tls_session *session = connection->tls;
    struct tls_scratch *scratch = worker->tls_scratch;
    size_t taken = 0, batch = batch_size(connection);
    int status = may_write(worker, connection);
    if (status == 0)
        status = tls_records_flush(session, true);
    if (status != 0)
        return status;
    length = length < batch ? length : batch;
    ssize_t got = read_file(worker, connection, scratch->file, length);
    if (got < 0)
        return got == -EINTR ? -EAGAIN : got;
    if (got == 0)
        return 0;
    size_t before = tls_records_begin(worker->tls_scratch, connection->tls);
    int good = SSL_write_ex(session->ssl, scratch->file, (size_t)got, &taken);
    return written(worker, connection, before, good, (size_t)got, false);
}

void transport_tls_end(struct worker *worker, struct connection *connection)
{
    struct tls_session *session = connection->tls;
    if (!session->ready || session->failed ||
        (SSL_get_shutdown(session->ssl) & SSL_SENT_SHUTDOWN) != 0)
        return;
    size_t before = tls_records_begin(worker->tls_scratch, connection->tls);
    (void)SSL_shutdown(session->ssl);
    (void)tls_records_end(worker->tls_scratch, connection->tls, before, 0,
                          false); /* the connection ends either way */
}

uint64_t transport_tls_acknowledged(const struct worker *worker, struct connection *connection,
                                    uint64_t tcp_bytes)
{
    (void)worker;
    return record_marks_acknowledge(&connection->tls->marks, tcp_bytes);
}
