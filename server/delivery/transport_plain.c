/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transport over plain TCP: send(2) and sendfile(2), called inline on the non-blocking socket
 * by transfer.c. It holds no bytes back. See transport.h.
 */
#include <errno.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include "server/delivery/connection.h"
#include "server/delivery/transport.h"
#include "storage/media/media.h"

ssize_t transport_plain_send(struct worker *worker, struct connection *connection, const char *data,
                             size_t length, bool more)
{
    (void)worker;
    ssize_t sent =
        send(connection->fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0));
    if (sent >= 0)
        return sent;
    return errno == EINTR ? -EAGAIN : -errno;
}

static ssize_t plain_send_file(struct worker *worker, struct connection *connection, size_t length)
{
    off_t offset = (off_t)connection->offset;
    size_t ready = transfer_ready(worker, connection, length);
    if (ready == 0)
        return -ENODATA;
    ssize_t sent = sendfile(connection->fd, connection->file->fd, &offset, ready);
    if (sent >= 0)
        return sent;
    return errno == EINTR ? -EAGAIN : -errno;
}

static int plain_flush(struct worker *worker, struct connection *connection, bool more)
{
    (void)worker;
    (void)connection;
    (void)more;
    return 0; /* no byte waits for MSG_MORE: whatever follows pushes it out */
}

static void plain_receive(struct worker *worker, struct connection *connection, const char *data,
                          size_t length)
{
    connection_input(worker, connection, data, length);
}

static void plain_end(struct worker *worker, struct connection *connection)
{
    (void)worker;
    (void)connection;
}

static uint64_t plain_acknowledged(const struct worker *worker, struct connection *connection,
                                   uint64_t tcp_bytes)
{
    (void)worker;
    (void)connection;
    return tcp_bytes;
}

const struct transport transport_plain = {
    .chunk_max = (size_t)2048 * 1024,
    .send = transport_plain_send,
    .send_file = plain_send_file,
    .flush = plain_flush,
    .receive = plain_receive,
    .end = plain_end,
    .acknowledged = plain_acknowledged,
};
