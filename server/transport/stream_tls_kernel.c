/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends over TLS where the kernel makes the records (kTLS): OpenSSL has given it the keys, what is
 * sent goes to the socket itself, and files go by SSL_sendfile. Where the kernel's records end is
 * not known, so their acknowledged plaintext is rounded down until the socket's queue is empty.
 * Called through the table in stream_tls.c; it makes, marks and keeps no record.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/ioctl.h>

#include "server/base/log.h"
#include "server/transport/stream_internal.h"
#include "storage/media/media.h"

/* An open record and a partly sent one are not in the socket's queue. */
#define KERNEL_HELD     (2 * TLS_RECORD_MAX)
#define KERNEL_QUIET_MS 50 /* after so long a closed record is in the queue, if that has room */

/* The kernel took `taken` of `length` bytes. A write that it took whole, and that nothing follows,
 * closes the record; any other may leave an open record, which is not in the socket's queue. */
static ssize_t kernel_took(struct stream *stream, ssize_t taken, size_t length, bool more)
{
    if (!more && taken == (ssize_t)length)
        stream->tls->closed = stream->sent + length;
    return taken;
}

ssize_t stream_kernel_tls_send(struct streams *streams, struct stream *stream, const char *data,
                               size_t length, bool more)
{
    ssize_t taken = stream_socket_send(streams, stream, data, length, more);
    return kernel_took(stream, taken, length, more);
}

ssize_t stream_kernel_tls_send_file(struct streams *streams, struct stream *stream,
                                    const struct stream_piece *piece)
{
    SSL *ssl = stream->tls->ssl;
    size_t ready = stream_piece_ready(streams, piece);
    if (ready == 0)
        return -ENODATA;
    ERR_clear_error();
    errno = 0;
    ossl_ssize_t sent = SSL_sendfile(ssl, piece->file->fd, (off_t)piece->offset, ready, 0);
    int error = errno;
    if (sent >= 0)
        return kernel_took(stream, sent, piece->length, false);
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
int stream_kernel_tls_measure(struct streams *streams, struct stream *stream, bool *is_dead)
{
    struct tls_session *session = stream->tls;
    int queued = 0, status = stream_read_acknowledged(streams, stream, is_dead);
    if (status != 0 || ioctl(stream->fd, SIOCOUTQ, &queued) != 0)
        return status;
    uint64_t held = (uint64_t)queued + KERNEL_HELD;
    uint64_t reached = stream->sent > held ? stream->sent - held : 0;
    bool was_empty = session->empty_ms != 0;
    bool quiet = was_empty && streams->now_ms - session->empty_ms >= KERNEL_QUIET_MS;
    if (queued > 0) {
        session->empty_ms = 0;
    } else if (!was_empty || quiet) {
        if (quiet && session->empty_closed > reached)
            reached = session->empty_closed;
        session->empty_ms = streams->now_ms;
        session->empty_closed = session->closed;
    }
    if (reached > stream->acknowledged)
        stream->acknowledged = reached;
    return 0;
}
