/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a client's connection: its place, its beginning, the end of each response, its end.
 * See connection.h for the picture. Called by accept.c and by each file that ends a response or a
 * connection. It reads no byte of the client's (connection_input.c does), decides nothing about a
 * request, and sends nothing but the refusal of a connection for which there is no place.
 */
#include "server/delivery/connection.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/access_log/access_log.h"
#include "server/base/check.h"
#include "server/link/token_cache.h"

void connection_set_state(struct connection *connection, enum connection_state state)
{
    if (state == CONNECTION_SENDING)
        connection->rate_ms = 0; /* the next sweep begins to measure the rate */
    connection->state = (uint8_t)state;
}

/* ---- beginning ---- */

/* Refuses a client at a bound, best effort, without keeping state. Over TLS (`secure`) it only
 * closes the socket: no session exists that could carry an answer. */
static void turn_away(struct worker *worker, int fd, bool secure, unsigned status)
{
    char answer[256];
    if (!secure) {
        int length = snprintf(answer, sizeof(answer),
                              "HTTP/1.1 %u %s\r\n%sContent-Length: 0\r\nRetry-After: 5\r\n"
                              "Connection: close\r\n\r\n",
                              status, http_status_phrase(status), response_date_line(worker));
        check(length > 0 && (size_t)length < sizeof(answer));
        (void)send(fd, answer, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL);
        shutdown(fd, SHUT_WR);
    }
    close(fd);
    count(&worker->stats.connections_refused, 1);
}

/* Takes a slot that was used before, where one is free: the kernel has given it memory already. */
static uint32_t take_slot(struct worker *worker)
{
    uint32_t index = worker->free_first;
    if (index == CONNECTION_NONE)
        return worker->taken++;
    worker->free_first = worker->connections[index].input_size; /* of a free slot: the next one */
    return index;
}

/* Takes one of the connections_max places of the node, for connection_begin or back to give_place;
 * false where none is left. By compare and swap, so that of two workers that see the last place
 * only one gets it. */
static bool take_place(struct worker *worker)
{
    struct node *node = worker->node;
    unsigned open = atomic_load(&node->connections);
    if (worker->stopping ||
        (worker->free_first == CONNECTION_NONE && worker->taken == worker->capacity))
        return false;
    do {
        if (open >= node->config->connections_max)
            return false;
    } while (!atomic_compare_exchange_weak(&node->connections, &open, open + 1));
    return true;
}

static void give_place(struct worker *worker)
{
    atomic_fetch_sub(&worker->node->connections, 1);
}

/* Begins a connection that reads, in a place that take_place has taken. */
static struct connection *connection_begin(struct worker *worker, int fd)
{
    uint32_t index = take_slot(worker);
    struct connection *connection = &worker->connections[index];
    uint32_t generation = connection->generation;
    check(connection->state == CONNECTION_FREE);
    memset(connection, 0, sizeof(*connection));
    connection->magic = CONNECTION_MAGIC;
    connection->index = index;
    connection->generation = generation;
    connection->fd = fd;
    connection->transport = &transport_plain;
    connection->deadline_ms = worker->now_ms + worker->node->config->head_timeout_ms;
    connection->in_head = true;
    connection_set_state(connection, CONNECTION_READING);
    connection_join(worker, connection, LIST_OPEN);
    worker->open_count++;
    atomic_store_explicit(&worker->stats.connections_open, worker->open_count,
                          memory_order_relaxed);
    return connection;
}

void connection_accept(struct worker *worker, int fd, bool secure)
{
    struct node *node = worker->node;
    struct client_address client;
    if (!take_place(worker)) {
        turn_away(worker, fd, secure, 503);
        return;
    }
    int status = connection_client_of(node, fd, &client);
    if (status == -EDQUOT) {
        give_place(worker);
        turn_away(worker, fd, secure, 429);
        return;
    }
    if (status != 0) { /* the client is gone already */
        give_place(worker);
        close(fd);
        return;
    }
    /* MSG_MORE and sendfile decide where segments end; Nagle would delay the last one by 40 ms. */
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));

    struct connection *connection = connection_begin(worker, fd);
    connection_client_begin(node, connection, &client);
    count(&worker->stats.connections_accepted, 1);
    if (secure && tls_session_begin(worker, connection) != 0)
        connection_close(worker, connection, true);
    else
        connection_receive(worker, connection);
}

void connection_inquire(struct worker *worker, struct inquiry *inquiry)
{
    size_t length;
    const char *head = inquiry_head(inquiry, &length);
    if (!take_place(worker)) {
        inquiry_answer(&inquiry, REFUSAL_CONNECTIONS_EXHAUSTED);
        return;
    }
    struct connection *connection = connection_begin(worker, -1);
    connection->inquiry = inquiry;
    connection->peer_ended = true; /* no socket: nothing can be received */
    connection_input(worker, connection, head, length);
}

/* ---- end ---- */

static void connection_free(struct worker *worker, struct connection *connection)
{
    check(connection->in_flight == 0 && connection->deliveries == NULL);
    tls_session_end(connection);
    inquiry_cancel(&connection->inquiry);
    if (connection->fd >= 0)
        close(connection->fd);
    worker->accept_freed = true;
    give_place(worker);
    connection_client_end(worker->node, connection);
    connection_input_free(worker, connection);
    free(connection->output);
    connection->output = NULL;
    connection->fd = -1;
    connection->generation = (connection->generation + 1) & 0xffffff;
    connection->magic = 0;
    connection->input_size = worker->free_first;
    worker->free_first = connection->index;
    worker->open_count--;
    atomic_store_explicit(&worker->stats.connections_open, worker->open_count,
                          memory_order_relaxed);
    connection_set_state(connection, CONNECTION_FREE);
}

static void response_release(struct worker *worker, struct connection *connection)
{
    if (connection->file != NULL)
        media_file_drop(worker->files, &connection->file);
    if (connection->window != NULL)
        claim_end(&connection->claim, connection->window);
    limits_leave(connection);
    connection_client_release(worker->node, connection);
    window_drop(&connection->window, worker->now_ms);
    token_entry_drop(&connection->link);
    access_drop(worker, &connection->access);
    free(connection->parts);
    connection->parts = NULL;
    connection->left_after = 0;
    connection->hash_ticket = 0;
    connection->standing_asks = 0;
    connection->standing_good = false;
    /* While a file is being opened, `output` is its name, which the ring may not have read yet. */
    if (connection->state == CONNECTION_OPENING)
        return;
    free(connection->output);
    connection->output = NULL;
    connection->output_length = connection->output_sent = connection->output_head = 0;
}

/* Has close() reset the connection and throw away what the kernel still holds of it. */
static void end_by_reset(const struct connection *connection)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}

/* Frees a connection once no operation is in flight and no acknowledgement is waited for. */
static void free_if_over(struct worker *worker, struct connection *connection)
{
    if (connection->in_flight == 0 && connection->deliveries == NULL)
        connection_free(worker, connection);
}

void connection_close(struct worker *worker, struct connection *connection, bool abort)
{
    if (connection->state == CONNECTION_CLOSING)
        return;
    bool owed = !abort && metering_read(worker, connection);
    if (!owed)
        metering_end(worker, connection);
    else
        metering_done(connection);
    if (!abort)
        connection->transport->end(worker, connection);
    response_release(worker, connection);
    for (unsigned which = 0; which < LIST_COUNT; which++) {
        if (!owed || which != LIST_UNMETERED)
            connection_leave(worker, connection, (enum worker_list)which);
    }
    if (abort)
        end_by_reset(connection);
    connection_set_state(connection, CONNECTION_CLOSING);
    if (connection->in_flight == 0) {
        free_if_over(worker, connection);
        return;
    }
    /* Operations in flight keep the socket open: they are cancelled, and the last
     * completion closes it. */
    struct io_uring_sqe *sqe = worker_sqe(worker);
    io_uring_prep_cancel_fd(sqe, connection->fd, IORING_ASYNC_CANCEL_ALL);
    sqe->user_data = operation_data(OPERATION_IGNORED, 0, 0);
}

void connection_completed(struct worker *worker, struct connection *connection)
{
    check(connection->in_flight > 0);
    connection->in_flight--;
    if (connection->state == CONNECTION_CLOSING)
        free_if_over(worker, connection);
}

void connection_settle(struct worker *worker, struct connection *connection)
{
    check(connection->state == CONNECTION_CLOSING);
    if (metering_read(worker, connection))
        end_by_reset(connection); /* so that nothing arrives that is not counted */
    metering_end(worker, connection);
    free_if_over(worker, connection);
}

/* ---- after a response ---- */

void connection_responded(struct worker *worker, struct connection *connection)
{
    response_release(worker, connection);
    connection->first_done = true;
    patience_end(&connection->patience);
    connection->waiting = WAIT_NONE;
    if (connection->keep_alive && !worker->stopping) {
        connection_set_state(connection, CONNECTION_READING);
        connection->in_head = false;
        connection->deadline_ms = worker->now_ms + worker->node->config->idle_timeout_ms;
        return;
    }
    /*
     * RFC 9112 9.6: shut our side and wait. To close at once could cause a reset, which destroys
     * what the peer has not read yet; and the last bytes must be acknowledged before TCP_INFO is
     * read for the bill.
     */
    (void)metering_read(worker, connection);
    connection->transport->end(worker, connection);
    shutdown(connection->fd, SHUT_WR);
    connection_set_state(connection, CONNECTION_LINGERING);
    connection->deadline_ms = worker->now_ms + CONNECTION_LINGER_MS;
    if (connection->peer_ended && !metering_read(worker, connection))
        connection_close(worker, connection, false);
}
