/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations of a connection on the worker's ring. connection_operation alone counts one as in
 * flight; the driver counts its last completion. It decides nothing.
 */
#include <poll.h>

#include "server/delivery/connection.h"

struct io_uring_sqe *connection_operation(struct worker *worker, struct connection *connection,
                                          enum operation operation)
{
    struct io_uring_sqe *sqe = worker_sqe(worker);
    sqe->user_data = operation_data(operation, connection->generation, connection->index);
    connection->in_flight++;
    return sqe;
}

void connection_receive(struct worker *worker, struct connection *connection)
{
    if (connection->receiving || connection->peer_ended)
        return;
    struct io_uring_sqe *sqe = connection_operation(worker, connection, OPERATION_RECEIVE);
    io_uring_prep_recv_multishot(sqe, connection->stream.fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = WORKER_BUFFER_GROUP;
    connection->receiving = true;
    connection->receive_pausing = false;
}

void connection_await_room(struct worker *worker, struct connection *connection)
{
    if (connection->polling)
        return;
    struct io_uring_sqe *sqe = connection_operation(worker, connection, OPERATION_WRITABLE);
    io_uring_prep_poll_add(sqe, connection->stream.fd, POLLOUT);
    connection->polling = true;
}

void connection_pause(struct worker *worker, struct connection *connection)
{
    if (connection->receive_pausing)
        return;
    connection->receive_pausing = true;
    struct io_uring_sqe *sqe = worker_sqe(worker);
    io_uring_prep_cancel64(
        sqe, operation_data(OPERATION_RECEIVE, connection->generation, connection->index), 0);
    sqe->user_data = operation_data(OPERATION_IGNORED, 0, 0);
}

void connection_cancel(struct worker *worker, const struct connection *connection)
{
    struct io_uring_sqe *sqe = worker_sqe(worker);
    io_uring_prep_cancel_fd(sqe, connection->stream.fd, IORING_ASYNC_CANCEL_ALL);
    sqe->user_data = operation_data(OPERATION_IGNORED, 0, 0);
}
