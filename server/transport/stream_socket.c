/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all transports do with the socket itself and with a file's bytes in memory: send, measure
 * acknowledgements, shut, reset. Called through the transports' tables and by server/delivery/. It
 * knows no TLS.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "server/transport/stream_internal.h"
#include "storage/media/media.h"

#define TCP_STATE_CLOSE 7 /* TCP_CLOSE of the kernel's net/tcp_states.h: the socket is dead */

ssize_t stream_socket_send(struct streams *streams, struct stream *stream, const char *data,
                           size_t length, bool more)
{
    (void)streams;
    ssize_t sent =
        send(stream->fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0));
    if (sent >= 0)
        return sent;
    return errno == EINTR ? -EAGAIN : -errno;
}

int stream_read_acknowledged(struct streams *streams, struct stream *stream, bool *is_dead)
{
    struct tcp_info info;
    socklen_t size = sizeof(info);
    memset(&info, 0, sizeof(info));
    if (getsockopt(stream->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
        return -errno;
    /* Acknowledged bytes of a record that is not whole yet count as progress, too: the peer may
     * just be slow. */
    if (info.tcpi_bytes_acked > stream->tcp_acknowledged)
        stream->progress_ms = streams->now_ms;
    stream->tcp_acknowledged = info.tcpi_bytes_acked;
    *is_dead = info.tcpi_state == TCP_STATE_CLOSE;
    return 0;
}

size_t stream_piece_ready(struct streams *streams, const struct stream_piece *piece)
{
    if (piece->is_unread)
        return piece->length < STREAM_UNREAD_MAX ? piece->length : STREAM_UNREAD_MAX;
    return media_reader_ready(streams->residency, piece->file, piece->reader, piece->offset,
                              piece->length, streams->now_ms);
}

size_t stream_queued(const struct stream *stream)
{
    int queued = 0;
    return ioctl(stream->fd, SIOCOUTQ, &queued) == 0 && queued > 0 ? (size_t)queued : 0;
}

void stream_shut(const struct stream *stream)
{
    if (stream->fd >= 0)
        shutdown(stream->fd, SHUT_WR);
}

void stream_end_by_reset(const struct stream *stream)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    if (stream->fd >= 0)
        setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}
