/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transport over plain TCP: send(2) and sendfile(2), called inline on the non-blocking socket.
 * It holds no bytes back. See stream.h.
 */
#include <errno.h>
#include <sys/sendfile.h>

#include "server/transport/stream_internal.h"
#include "storage/media/media.h"

static ssize_t plain_send_file(struct streams *streams, struct stream *stream,
                               const struct stream_piece *piece)
{
    off_t offset = (off_t)piece->offset;
    size_t ready = stream_piece_ready(streams, piece);
    if (ready == 0)
        return -ENODATA;
    ssize_t sent = sendfile(stream->fd, piece->file->fd, &offset, ready);
    if (sent >= 0)
        return sent;
    return errno == EINTR ? -EAGAIN : -errno;
}

static int plain_flush(struct streams *streams, struct stream *stream, bool more)
{
    (void)streams;
    (void)stream;
    (void)more;
    return 0; /* no byte waits for MSG_MORE: whatever follows pushes it out */
}

static enum stream_word plain_read(struct streams *streams, struct stream *stream,
                                   struct stream_input *input)
{
    (void)streams;
    (void)stream;
    if (input->length == 0)
        return STREAM_TAKEN;
    input->plain = input->data;
    input->plain_length = input->length;
    input->length = 0;
    return STREAM_BYTES;
}

static void plain_end(struct streams *streams, struct stream *stream)
{
    (void)streams;
    (void)stream;
}

static int plain_measure(struct streams *streams, struct stream *stream, bool *is_dead)
{
    int status = stream_read_acknowledged(streams, stream, is_dead);
    stream->acknowledged = stream->tcp_acknowledged;
    return status;
}

const struct transport transport_plain = {
    .chunk_max = (size_t)2048 * 1024,
    .send = stream_socket_send,
    .send_file = plain_send_file,
    .flush = plain_flush,
    .read = plain_read,
    .end = plain_end,
    .measure = plain_measure,
};

void stream_open(struct stream *stream, int fd)
{
    *stream = (struct stream){.fd = fd, .transport = &transport_plain};
}

void stream_take(struct stream_input *input, const char *data, size_t length)
{
    *input = (struct stream_input){.data = data, .length = length, .failure = TLS_FAILURE_COUNT};
}
