/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends over TLS where OpenSSL makes the records in this process (tls_records.h): a response's
 * bytes, a file's, and the close_notify, no more at a time than the socket takes. Called through
 * the table in stream_tls.c. It reads nothing from the peer, and closes no connection.
 */
#include <errno.h>
#include <linux/sock_diag.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/transport/stream_internal.h"
#include "storage/media/media.h"

#define WRITE_RUNS 3 /* of one SSL_write: an answer, full records, the rest */

/*
 * Whether records may be made now: 0; -ENOBUFS where their marks have no place, as the peer has not
 * acknowledged enough; -EPROTO where the session is over, or about to be (half a handshake message
 * is there, and OpenSSL writes no data before the other half).
 */
static int may_write(struct streams *streams, struct stream *stream)
{
    struct tls_session *session = stream->tls;
    session->failed = session->failed || SSL_in_init(session->ssl);
    if (session->failed)
        return -EPROTO;
    if (record_marks_have_room(&session->marks, WRITE_RUNS))
        return 0;
    bool is_dead;
    (void)stream_tls_measure(streams, stream, &is_dead);
    if (!stream->is_owed)
        record_marks_forget(&session->marks);
    return record_marks_have_room(&session->marks, WRITE_RUNS) ? 0 : -ENOBUFS;
}

/* Handles the result of an SSL_write, which must have taken all bytes: the buffer behind it has
 * room. */
static ssize_t written(struct streams *streams, struct stream *stream, size_t before, int good,
                       size_t length, bool hold)
{
    int status =
        good == 1 ? tls_records_end(streams->scratch, stream->tls, before, length, hold) : -EPROTO;
    if (status == -EPROTO)
        stream->tls->failed = true;
    return status == 0 || status == -EAGAIN ? (ssize_t)length : status;
}

ssize_t stream_tls_send(struct streams *streams, struct stream *stream, const char *data,
                        size_t length, bool more)
{
    size_t taken = 0;
    int status = may_write(streams, stream);
    if (status != 0)
        return status;
    size_t before = tls_records_begin(streams->scratch, stream->tls);
    int good = SSL_write_ex(stream->tls->ssl, data, length, &taken);
    return written(streams, stream, before, good, length, more);
}

int stream_tls_flush(struct streams *streams, struct stream *stream, bool more)
{
    (void)streams;
    return tls_records_flush(stream->tls, more);
}

/* How many bytes to encrypt now, at least a record: no more than the socket will take, because the
 * rest would have to be kept, for each of many slow clients. */
static size_t batch_size(const struct stream *stream)
{
    uint32_t memory[SK_MEMINFO_VARS] = {0};
    socklen_t size = sizeof(memory);
    if (getsockopt(stream->fd, SOL_SOCKET, SO_MEMINFO, memory, &size) != 0 ||
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
static ssize_t read_file(struct streams *streams, const struct stream_piece *piece, char *out)
{
    struct media_file *file = piece->file;
    size_t length = piece->length;
    bool tells = file->telling != MEDIA_CANNOT_TELL;
    /* Reading absent pages would start reading all of them from the disk in this thread. Where they
     * are likely to be absent, one byte is asked for first. */
    if (piece->is_unread || piece->is_cold || !tells) {
        length = stream_piece_ready(streams, piece);
        if (length == 0)
            return -ENODATA;
    }
    if (!piece->is_unread && tells)
        return media_file_read(file, out, length, piece->offset);
    ssize_t got = pread(file->fd, out, length, (off_t)piece->offset);
    return got < 0 ? -errno : got;
}

ssize_t stream_tls_send_file(struct streams *streams, struct stream *stream,
                             const struct stream_piece *piece)
{
    struct tls_session *session = stream->tls;
    struct tls_scratch *scratch = streams->scratch;
    size_t taken = 0, batch = batch_size(stream);
    int status = may_write(streams, stream);
    if (status == 0)
        status = tls_records_flush(session, true);
    if (status != 0)
        return status;
    struct stream_piece part = *piece;
    part.length = part.length < batch ? part.length : batch;
    ssize_t got = read_file(streams, &part, scratch->file);
    if (got < 0)
        return got == -EINTR ? -EAGAIN : got;
    if (got == 0)
        return 0;
    size_t before = tls_records_begin(streams->scratch, stream->tls);
    int good = SSL_write_ex(session->ssl, scratch->file, (size_t)got, &taken);
    return written(streams, stream, before, good, (size_t)got, false);
}

void stream_tls_end(struct streams *streams, struct stream *stream)
{
    struct tls_session *session = stream->tls;
    if (!session->ready || session->failed ||
        (SSL_get_shutdown(session->ssl) & SSL_SENT_SHUTDOWN) != 0)
        return;
    size_t before = tls_records_begin(streams->scratch, stream->tls);
    (void)SSL_shutdown(session->ssl);
    (void)tls_records_end(streams->scratch, stream->tls, before, 0,
                          false); /* the connection ends either way */
}

int stream_tls_measure(struct streams *streams, struct stream *stream, bool *is_dead)
{
    int status = stream_read_acknowledged(streams, stream, is_dead);
    stream->acknowledged = record_marks_acknowledge(&stream->tls->marks, stream->tcp_acknowledged);
    return status;
}
