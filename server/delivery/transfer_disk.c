/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring's work to bring the next bytes of a response's file into memory. The step SEND calls it
 * where a stream finds that they are not there. It sends nothing, and waits for nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "server/base/check.h"
#include "server/delivery/transfer.h"
#include "storage/media/media.h"

#define COLD_MS 1000 /* a file counts as cold for so long after the disk was waited for */
#define TRIES   4    /* of the ring, before a chunk is read in this thread */

bool transfer_is_cold(const struct worker *worker, const struct connection *connection)
{
    return connection->cold_ms != 0 && worker->now_ms - connection->cold_ms < COLD_MS;
}

bool transfer_is_unread(struct worker *worker, const struct exchange *exchange)
{
    if (exchange->reader.tries < TRIES)
        return false;
    count(&worker->stats.chunks_unread, 1);
    return true;
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
enum step_outcome transfer_warm(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    struct media_file *file = exchange->file;
    struct media_need need = media_reader_need(file, &exchange->reader, exchange->offset,
                                               exchange->offset + exchange->left);
    check(connection->warming == NULL);
    worker_reserve(worker, 2);
    advise(worker, file, &need)->flags |= IOSQE_IO_HARDLINK;
    struct io_uring_sqe *sqe = connection_operation(worker, connection, OPERATION_WARM);
    io_uring_prep_read(sqe, file->fd, worker->sink, (unsigned)need.read_length, need.read_from);
    /* The kernel looks the descriptor up when the read begins, so the file must stay open until
     * then. */
    media_file_hold(file);
    connection->warming = file;
    exchange->waiting = WAIT_DISK;
    connection->cold_ms = worker->now_ms;
    count(&worker->stats.chunks_cold, 1);
    return STEP_WAIT;
}

void transfer_warm_ahead(struct worker *worker, const struct exchange *exchange)
{
    struct media_reader ahead = exchange->reader;
    struct media_need need = media_reader_need(exchange->file, &ahead, ahead.cold_from,
                                               exchange->offset + exchange->left);
    (void)advise(worker, exchange->file, &need);
}

enum step_outcome transfer_warmed(struct worker *worker, struct connection *connection, int result)
{
    struct exchange *exchange = &connection->exchange;
    if (result < 0 && result != -ECANCELED && result != -EAGAIN && result != -EINTR &&
        result != -ENOMEM) {
        exchange->why = strerrordesc_np(-result);
        return STEP_CUT;
    }
    /* The result is not looked at: sending meets the end of the file or a read error itself. */
    media_reader_brought(worker->residency, exchange->file, &exchange->reader, exchange->offset,
                         worker->now_ms);
    exchange->waiting = WAIT_TURN;
    connection_join(worker, connection, LIST_READY);
    return STEP_WAIT;
}
