/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the next bytes of a response's file are in memory, and the ring's work to bring them
 * there. Called by transfer.c and the transports. It sends nothing, and reads from the disk in this
 * thread only where the ring has tried in vain (transfer_unread).
 */
#include <fcntl.h>

#include "server/delivery/connection.h"
#include "storage/media/media.h"

#define COLD_MS    1000 /* a file counts as cold for so long after the disk was waited for */
#define TRIES      4    /* of the ring, before a chunk is read in this thread */
#define UNREAD_MAX ((size_t)64 * 1024)

bool transfer_is_cold(const struct worker *worker, const struct connection *connection)
{
    return connection->cold_ms != 0 && worker->now_ms - connection->cold_ms < COLD_MS;
}

size_t transfer_unread(struct worker *worker, const struct connection *connection)
{
    if (connection->reader.tries < TRIES)
        return 0;
    count(&worker->stats.chunks_unread, 1);
    return UNREAD_MAX;
}

size_t transfer_ready(struct worker *worker, struct connection *connection, size_t length)
{
    size_t unread = transfer_unread(worker, connection);
    if (unread > 0)
        return length < unread ? length : unread;
    return media_reader_ready(worker->residency, connection->file, &connection->reader,
                              connection->offset, length, worker->now_ms);
}

static struct io_uring_sqe *advise(struct worker *worker, const struct media_file *file,
                                   const struct media_need *need)
{
    struct io_uring_sqe *sqe = worker_sqe(worker);
    io_uring_prep_fadvise(sqe, file->fd, need->from, (off_t)(need->end - need->from),
                          POSIX_FADV_WILLNEED);
    sqe->user_data = operation_data(OPERATION_IGNORED, 0, 0);
    return sqe;
}

/*
 * The ring tells the kernel what to read ahead, then reads one byte of it, which arrives once the
 * rest has: so the worker never blocks. The two operations are linked, because the first runs in a
 * kernel thread and the second does not; hard-linked, so that the byte is read even where the first
 * failed; and made in one submit, because a chain ends there.
 */
void transfer_warm(struct worker *worker, struct connection *connection)
{
    struct media_file *file = connection->file;
    struct media_need need = media_reader_need(file, &connection->reader, connection->offset,
                                               connection->offset + connection->left);
    worker_reserve(worker, 2);
    advise(worker, file, &need)->flags |= IOSQE_IO_HARDLINK;
    struct io_uring_sqe *sqe = worker_sqe(worker);
    io_uring_prep_read(sqe, file->fd, worker->sink, (unsigned)need.read_length, need.read_from);
    sqe->user_data = operation_data(OPERATION_WARM, connection->generation, connection->index);
    /* The kernel looks the descriptor up when the read begins, so the file must stay open until
     * then. */
    media_file_hold(file);
    connection->warming = file;
    connection->in_flight++;
    connection->waiting = WAIT_WARM;
    connection->cold_ms = worker->now_ms;
    count(&worker->stats.chunks_cold, 1);
}

void transfer_warm_ahead(struct worker *worker, struct connection *connection)
{
    struct media_reader ahead = connection->reader;
    struct media_need need = media_reader_need(connection->file, &ahead, ahead.cold_from,
                                               connection->offset + connection->left);
    (void)advise(worker, connection->file, &need);
}
