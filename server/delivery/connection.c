/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of a client's connection: accepting, receiving, reading heads one after the other,
 * ending. See connection.h for the picture. It decides nothing about a request (request.c does),
 * and sends nothing itself but the refusal of a connection for which there is no place.
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
#include "server/base/log.h"
#include "server/http/http_content.h"
#include "server/link/token_cache.h"

#define RATE_PERIOD_MS 5000
#define STOP_FIRST_MS  1000 /* how long a first request may still come once the node stops */

/* ---- lists ---- */

static struct connection_list *list_of(struct worker *worker, enum connection_link link)
{
    switch (link) {
    case LINK_OPEN:
        return &worker->open;
    case LINK_READY:
        return &worker->ready;
    case LINK_PARKED:
        return &worker->parked;
    case LINK_UNMETERED:
        return &worker->unmetered;
    case LINK_RATED:
        return &worker->rated;
    case LINK_HASHING:
        return &worker->hashing;
    case LINK_COUNT:
        break;
    }
    check(false);
    return NULL;
}

void connection_link(struct worker *worker, struct connection *connection,
                     enum connection_link link)
{
    struct connection_list *list = list_of(worker, link);
    if (connection->linked[link])
        return;
    /* LINK_READY is a queue, so a connection joins at its end. The other lists are walked
     * whole: one that is put back during such a walk joins at the head, where the walk does not
     * meet it again. */
    struct connection *before = link == LINK_READY ? list->last : NULL;
    struct connection *after = link == LINK_READY ? NULL : list->first;
    connection->linked[link] = true;
    connection->previous[link] = before;
    connection->next[link] = after;
    *(before != NULL ? &before->next[link] : &list->first) = connection;
    *(after != NULL ? &after->previous[link] : &list->last) = connection;
}

void connection_unlink(struct worker *worker, struct connection *connection,
                       enum connection_link link)
{
    if (!connection->linked[link])
        return;
    connection->linked[link] = false;
    if (link == LINK_OPEN && worker->sweep_next == connection)
        worker->sweep_next = connection->next[link];
    struct connection_list *list = list_of(worker, link);
    struct connection *before = connection->previous[link], *after = connection->next[link];
    *(before != NULL ? &before->next[link] : &list->first) = after;
    *(after != NULL ? &after->previous[link] : &list->last) = before;
}

void connection_set_state(struct connection *connection, enum connection_state state)
{
    if (state == CONNECTION_SENDING)
        connection->rate_ms = 0; /* the next sweep begins to measure the rate */
    connection->state = (uint8_t)state;
}

/* ---- beginning and end ---- */

/* A client that pipelines faster than it is answered is not read from while more than the longest
 * head waits. */
static bool has_input_enough(const struct worker *worker, const struct connection *connection)
{
    return connection->input_length > worker->node->config->head_bytes_max;
}

static void receive_arm(struct worker *worker, struct connection *connection)
{
    if (connection->receiving || connection->peer_ended || has_input_enough(worker, connection))
        return;
    struct io_uring_sqe *sqe = worker_sqe(worker);
    io_uring_prep_recv_multishot(sqe, connection->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = WORKER_BUFFER_GROUP;
    sqe->user_data = operation_data(OPERATION_RECEIVE, connection->generation, connection->index);
    connection->receiving = true;
    connection->receive_pausing = false;
    connection->in_flight++;
}

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
    connection_link(worker, connection, LINK_OPEN);
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
        receive_arm(worker, connection);
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

/* Accounts for `input`, which has `size` bytes allocated now. */
static void input_resized(struct worker *worker, struct connection *connection, size_t size)
{
    worker->input_bytes += size - connection->input_size;
    connection->input_size = (uint32_t)size;
}

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
    free(connection->input);
    free(connection->output);
    input_resized(worker, connection, 0);
    connection->input = connection->output = NULL;
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
        purse_end(&connection->purse, worker->node->windows, connection->window);
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
    for (unsigned link = 0; link < LINK_COUNT; link++) {
        if (!owed || link != LINK_UNMETERED)
            connection_unlink(worker, connection, (enum connection_link)link);
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

/* ---- input ---- */

static bool input_append(struct worker *worker, struct connection *connection, const char *data,
                         size_t length)
{
    size_t needed = connection->input_length + length;
    if (needed > connection->input_size) {
        size_t size = connection->input_size == 0 ? 1024 : connection->input_size;
        while (size < needed)
            size *= 2;
        char *input = worker->input_bytes + size - connection->input_size > WORKER_INPUT_MAX
                          ? NULL
                          : realloc(connection->input, size);
        if (input == NULL)
            return false;
        connection->input = input;
        input_resized(worker, connection, size);
    }
    memcpy(connection->input + connection->input_length, data, length);
    connection->input_length += (uint32_t)length;
    return true;
}

static void input_consume(struct worker *worker, struct connection *connection, size_t length)
{
    connection->input_length -= (uint32_t)length;
    memmove(connection->input, connection->input + length, connection->input_length);
    if (connection->input_length == 0) {
        free(connection->input); /* an idle connection keeps no buffer */
        connection->input = NULL;
        input_resized(worker, connection, 0);
    }
}

/* Answers a head that is malformed or too large, or has not come in time. Where TLS is spoken,
 * plain HTTP is told so and anything else is not answered. */
static void refuse_head(struct worker *worker, struct connection *connection, const char *data,
                        size_t length, enum refusal refusal)
{
    if (connection->unencrypted) {
        bool is_http = http_head_is_begun(data, length);
        count_tls_failure(&worker->stats, is_http ? TLS_FAILURE_plain_http : TLS_FAILURE_other);
        if (!is_http) {
            connection_close(worker, connection, false);
            return;
        }
        refusal = REFUSAL_PLAIN_HTTP;
    }
    connection->keep_alive = connection->head_only = connection->navigation = false;
    connection->origin = NULL;
    response_refuse(worker, connection, refusal);
}

/* Handles the heads at the start of `data`, as many as can be answered now. Returns how many bytes
 * are done with. */
static size_t consume(struct worker *worker, struct connection *connection, const char *data,
                      size_t length)
{
    size_t used = 0;
    const size_t head_max = worker->node->config->head_bytes_max;
    if (connection->expects_proxy && connection->tls == NULL) {
        used = connection_client_header(worker, connection, data, length);
        if (used == 0)
            return 0;
    }
    while (connection->state == CONNECTION_READING && used < length) {
        struct http_head head;
        enum refusal refusal = REFUSAL_HEAD_MALFORMED;
        enum http_head_status status = http_head_parse(data + used, length - used, &head, &refusal);
        if (status == HTTP_HEAD_COMPLETE && !connection->unencrypted)
            status = http_content_skip(data + used, length - used, &head, &refusal);
        size_t size = status == HTTP_HEAD_COMPLETE ? head.length : length - used;
        if (status != HTTP_HEAD_REFUSED && size > head_max) {
            status = HTTP_HEAD_REFUSED;
            refusal = REFUSAL_HEAD_TOO_LARGE;
        }
        if (status == HTTP_HEAD_PARTIAL)
            break;
        if (connection->delivery_count >= METERING_QUEUE_MAX && metering_read(worker, connection) &&
            connection->delivery_count >= METERING_QUEUE_MAX)
            break; /* the tick reads on when the peer has acknowledged */
        if (status == HTTP_HEAD_REFUSED) {
            count(&worker->stats.requests, connection->inquiry == NULL);
            refuse_head(worker, connection, data + used, length - used, refusal);
            return length;
        }
        if (request_begin(worker, connection, &head) == REQUEST_AGAIN)
            break;
        used += size;
    }
    return used;
}

/*
 * Sets how long the peer has for what comes next. A head's time runs from its first byte (on a new
 * connection: from the accept). Further bytes do not extend it, or a peer that sends a byte now and
 * then could hold its place for ever.
 */
static void set_reading_deadline(struct worker *worker, struct connection *connection)
{
    if (connection->state != CONNECTION_READING)
        return;
    const struct config *config = worker->node->config;
    if (connection->input_length > 0 && !connection->in_head) {
        connection->in_head = true;
        connection->deadline_ms = worker->now_ms + config->head_timeout_ms;
    } else if (connection->input_length == 0 && connection->first_done) {
        connection->in_head = false;
        connection->deadline_ms = worker->now_ms + config->idle_timeout_ms;
    }
}

/* Whether heads wait in `input` until the peer has acknowledged more. metering_tick reads on. */
static bool is_held_back(const struct connection *connection)
{
    return connection->state == CONNECTION_READING && connection->input_length > 0 &&
           connection->delivery_count >= METERING_QUEUE_MAX;
}

void connection_peer_ended(struct worker *worker, struct connection *connection)
{
    connection->peer_ended = true;
    tls_session_interrupted(worker, connection, TLS_FAILURE_other);
    if (is_held_back(connection))
        return;
    if (connection->state == CONNECTION_READING || connection->state == CONNECTION_LINGERING) {
        if (metering_read(worker, connection))
            connection_set_state(connection, CONNECTION_LINGERING);
        else
            connection_close(worker, connection, false);
    }
}

void connection_resume(struct worker *worker, struct connection *connection)
{
    if (connection->state != CONNECTION_READING)
        return;
    if (connection->input_length > 0) {
        size_t used = consume(worker, connection, connection->input, connection->input_length);
        if (connection->state == CONNECTION_CLOSING || connection->state == CONNECTION_FREE)
            return;
        if (used > 0)
            input_consume(worker, connection, used);
    }
    if (connection->state != CONNECTION_READING)
        return;
    set_reading_deadline(worker, connection);
    if (connection->peer_ended)
        connection_peer_ended(worker, connection);
    else
        receive_arm(worker, connection);
}

void connection_resume_if_alive(struct worker *worker, uint32_t index, uint32_t generation)
{
    struct connection *connection = &worker->connections[index];
    if (connection->generation == generation)
        connection_resume(worker, connection);
}

void connection_input(struct worker *worker, struct connection *connection, const char *data,
                      size_t length)
{
    size_t used = 0;
    if (connection->state == CONNECTION_LINGERING)
        return; /* the answer said Connection: close; later requests are ignored */
    if (connection->input_length == 0) {
        used = consume(worker, connection, data, length);
        if (connection->state == CONNECTION_CLOSING || connection->state == CONNECTION_FREE)
            return;
    }
    if (used < length && !input_append(worker, connection, data + used, length - used)) {
        transfer_cut(worker, connection, "clients sent requests faster than they read the answers");
        return;
    }
    if (used == 0 && connection->input_length > length) {
        connection_resume(worker, connection);
        return;
    }
    set_reading_deadline(worker, connection);
}

void connection_unencrypted(struct worker *worker, struct connection *connection, const char *data,
                            size_t length)
{
    tls_session_end(connection);
    connection->transport = &transport_plain;
    connection->unencrypted = true;
    connection_input(worker, connection, data, length);
}

/* Reads the header of a proxy, which comes before TLS. What follows it goes to the session. */
static void received_before_tls(struct worker *worker, struct connection *connection,
                                const char *data, size_t length)
{
    if (!input_append(worker, connection, data, length)) {
        connection_close(worker, connection, true);
        return;
    }
    size_t used =
        connection_client_header(worker, connection, connection->input, connection->input_length);
    if (used == 0)
        return;
    char *input = connection->input;
    size_t left = connection->input_length - used;
    connection->input = NULL;
    connection->input_length = 0;
    input_resized(worker, connection, 0);
    if (left > 0)
        connection->transport->receive(worker, connection, input + used, left);
    free(input);
}

static void received_bytes(struct worker *worker, struct connection *connection, const char *data,
                           size_t length)
{
    if (connection->expects_proxy && connection->tls != NULL)
        received_before_tls(worker, connection, data, length);
    else
        connection->transport->receive(worker, connection, data, length);
}

static void receive_pause(struct worker *worker, struct connection *connection)
{
    if (connection->receive_pausing)
        return;
    connection->receive_pausing = true;
    struct io_uring_sqe *sqe = worker_sqe(worker);
    io_uring_prep_cancel64(
        sqe, operation_data(OPERATION_RECEIVE, connection->generation, connection->index), 0);
    sqe->user_data = operation_data(OPERATION_IGNORED, 0, 0);
}

void connection_received(struct connection *connection, struct worker *worker, int result,
                         unsigned flags)
{
    bool more = (flags & IORING_CQE_F_MORE) != 0;
    if (flags & IORING_CQE_F_BUFFER) {
        unsigned buffer = flags >> IORING_CQE_BUFFER_SHIFT;
        check(buffer < WORKER_BUFFERS);
        char *data = worker->buffer_memory + (size_t)buffer * WORKER_BUFFER_SIZE;
        if (result > 0 && connection->state != CONNECTION_CLOSING)
            received_bytes(worker, connection, data, (size_t)result);
        io_uring_buf_ring_add(worker->buffers, data, WORKER_BUFFER_SIZE, (unsigned short)buffer,
                              io_uring_buf_ring_mask(WORKER_BUFFERS), 0);
        io_uring_buf_ring_advance(worker->buffers, 1);
    }
    if (more) {
        if (connection->state != CONNECTION_CLOSING && has_input_enough(worker, connection))
            receive_pause(worker, connection);
        return;
    }
    connection->receiving = false;
    if (connection->state == CONNECTION_CLOSING) {
        connection_completed(worker, connection);
        return;
    }
    connection_completed(worker, connection);
    if (result > 0 || result == -ENOBUFS || result == -ECANCELED) {
        receive_arm(worker, connection);
        return;
    }
    if (result == 0) {
        connection_peer_ended(worker, connection);
    } else {
        /* A reset: TCP_INFO can still be read, but nothing more will be acknowledged. */
        connection->peer_ended = true;
        tls_session_interrupted(worker, connection, TLS_FAILURE_other);
        connection_close(worker, connection, true);
    }
}

/* ---- after a response ---- */

void connection_responded(struct worker *worker, struct connection *connection)
{
    response_release(worker, connection);
    connection->first_done = true;
    connection->short_until_ms = connection->short_retry_ms = 0;
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

/* ---- deadlines ---- */

static void sweep_one(struct worker *worker, struct connection *connection)
{
    if (connection->deadline_ms == 0 || worker->now_ms < connection->deadline_ms)
        return;
    switch ((enum connection_state)connection->state) {
    case CONNECTION_READING:
        if (is_held_back(connection)) {
            break; /* metering_tick applies the stall timeout */
        } else if (connection->expects_proxy && connection->input_length > 0) {
            connection_client_late(worker->node, connection);
            connection_close(worker, connection, false);
        } else if (connection->input_length > 0) {
            refuse_head(worker, connection, connection->input, connection->input_length,
                        REFUSAL_HEAD_TIMEOUT);
        } else if (connection->deliveries == NULL) {
            tls_session_interrupted(worker, connection, TLS_FAILURE_timed_out);
            connection_close(worker, connection, false);
        }
        break;
    case CONNECTION_LINGERING:
        if (connection->deliveries == NULL)
            connection_close(worker, connection, false);
        break; /* with something owed, metering_tick applies the stall timeout */
    case CONNECTION_SENDING:
        if (connection->waiting != WAIT_WRITABLE || connection->deliveries != NULL)
            break;
        if (metering_has_progress(worker, connection))
            connection->deadline_ms = worker->now_ms + worker->node->config->stall_timeout_ms;
        else
            transfer_cut(worker, connection, TRANSFER_STALLED);
        break;
    case CONNECTION_FREE:
    case CONNECTION_OPENING:
    case CONNECTION_PREPARING:
    case CONNECTION_ADMITTING:
    case CONNECTION_CLOSING:
        break;
    }
}

/* Judges a transfer every RATE_PERIOD_MS. A slow one is cut only while nearly all places of the
 * node are taken, because it keeps others out then. */
static void judge_rate(struct worker *worker, struct connection *connection)
{
    const struct config *config = worker->node->config;
    uint64_t elapsed_ms = worker->now_ms - connection->rate_ms;
    if (connection->state != CONNECTION_SENDING || elapsed_ms < RATE_PERIOD_MS)
        return;
    bool begun = connection->rate_ms != 0;
    uint64_t acknowledged = connection->tcp_acknowledged - connection->rate_acknowledged;
    bool pressure = atomic_load(&worker->node->connections) >= config->connections_max / 10 * 9;
    connection->rate_ms = worker->now_ms;
    connection->rate_acknowledged = connection->tcp_acknowledged;
    if (begun && pressure && !transfer_is_limited(connection) &&
        acknowledged < config->rate_min_bytes_per_s * elapsed_ms / 1000)
        transfer_cut(worker, connection,
                     "slower than rate_min_bytes_per_s while connections_max is nearly reached");
}

void connection_sweep(struct worker *worker)
{
    struct connection *connection = worker->sweep_next;
    if (connection == NULL)
        connection = worker->open.first;
    for (uint32_t left = worker->open_count / 10 + 1; left > 0 && connection != NULL; left--) {
        worker->sweep_next = connection->next[LINK_OPEN]; /* connection_unlink moves it on, too */
        sweep_one(worker, connection);
        judge_rate(worker, connection);
        connection = worker->sweep_next;
    }
}

/* Whether the connection is so new that its first request may be on its way. */
static bool has_just_come(const struct worker *worker, const struct connection *connection)
{
    return !connection->first_done && worker->now_ms - worker->stopped_ms < STOP_FIRST_MS;
}

void connection_stop_idle(struct worker *worker)
{
    struct connection *connection = worker->open.first;
    while (connection != NULL) {
        struct connection *next = connection->next[LINK_OPEN];
        if (connection->state == CONNECTION_READING && !has_just_come(worker, connection) &&
            !metering_read(worker, connection))
            connection_close(worker, connection, false);
        connection = next;
    }
}
