/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one driver of all connections: it runs steps, and does what their outcomes say. See driver.h
 * and step.h. It reads no byte of a client's, decides nothing about a request, and sends nothing but
 * the refusal of a connection for which there is no place.
 */
#include "server/delivery/driver.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/base/check.h"
#include "server/base/log.h"
#include "server/delivery/delivery.h"
#include "server/delivery/framing.h"
#include "server/delivery/inquiry.h"
#include "server/link/token_cache.h"

static step_function *const steps[STATE_COUNT] = {
#define X(state, function) [STATE_##state] = (function),
    STEPS(X)
#undef X
};

/* ---- a connection's end ---- */

static void connection_free(struct worker *worker, struct connection *connection)
{
    check(connection->in_flight == 0 && connection->deliveries == NULL);
    stream_close(&connection->stream);
    inquiry_cancel(&connection->inquiry);
    worker->accept_freed = true;
    atomic_fetch_sub(&worker->node->connections, 1);
    connection_client_end(worker->node, connection);
    connection_input_drop(worker, connection, connection->input_length);
    free(connection->opening);
    connection->opening = NULL;
    connection->generation = (connection->generation + 1) & 0xffffff;
    connection->magic = 0;
    connection->next_free = worker->free_first;
    worker->free_first = connection->index;
    worker->open_count--;
    atomic_store_explicit(&worker->stats.connections_open, worker->open_count,
                          memory_order_relaxed);
    connection->state = STATE_FREE;
}

/* Frees a connection once no operation is in flight and no acknowledgement is waited for. */
static void free_if_over(struct worker *worker, struct connection *connection)
{
    if (connection->in_flight == 0 && connection->deliveries == NULL)
        connection_free(worker, connection);
}

/*
 * Ends the connection. `abort`: now and with a reset, so that a body cut short cannot be taken for a
 * whole one; bytes acknowledged so far are metered, the rest is given back. Else what is on its way
 * to the peer still arrives and is metered, and the socket is closed after that.
 */
static void connection_close(struct worker *worker, struct connection *connection, bool abort)
{
    struct stream *stream = &connection->stream;
    bool is_owed = !abort && metering_read(worker, connection);
    if (!is_owed)
        metering_end(worker, connection);
    else
        metering_done(connection);
    if (!abort)
        stream->transport->end(&worker->streams, stream);
    exchange_end(worker, connection);
    for (unsigned which = 0; which < LIST_COUNT; which++) {
        if (!is_owed || which != LIST_UNMETERED)
            connection_leave(worker, connection, (enum worker_list)which);
    }
    if (abort)
        stream_end_by_reset(stream);
    connection->state = STATE_CLOSE;
    /* Operations in flight keep the socket open: they are cancelled, and the last completion closes
     * it. */
    if (connection->in_flight > 0)
        connection_cancel(worker, connection);
    else
        free_if_over(worker, connection);
}

void driver_completed(struct worker *worker, struct connection *connection)
{
    check(connection->in_flight > 0);
    connection->in_flight--;
    if (connection->state == STATE_CLOSE)
        free_if_over(worker, connection);
}

void driver_settle(struct worker *worker, struct connection *connection)
{
    check(connection->state == STATE_CLOSE);
    if (metering_read(worker, connection))
        stream_end_by_reset(&connection->stream); /* so that nothing arrives that is not counted */
    metering_end(worker, connection);
    free_if_over(worker, connection);
}

/* ---- outcomes ---- */

static void log_cut(struct worker *worker, const struct exchange *exchange)
{
    const struct token *token = exchange->link != NULL ? exchange->link->token : NULL;
    count(&worker->stats.transfers_cut, 1);
    log_info("cut: %s; issuer=%s jti=%s path=%s sent=%llu of=%llu", exchange->why,
             token != NULL ? token->issuer_id : "-",
             token != NULL && token->jti[0] != '\0' ? token->jti : "-",
             exchange->file != NULL ? exchange->file->path : "-",
             (unsigned long long)(exchange->body_length - exchange->left),
             (unsigned long long)exchange->body_length);
}

/* The way to ANSWER, with the exchange's refusal. */
static void refuse(struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    exchange->answer = ANSWER_REFUSAL;
    exchange->waiting = WAIT_NONE;
    /* Now, or a slow client would hold funds while it is told. */
    if (exchange->window != NULL)
        claim_end(&exchange->claim, exchange->window);
    connection->state = STATE_ANSWER;
}

/* The response is over: the next head is read, or the connection lingers. */
static void end_response(struct worker *worker, struct connection *connection)
{
    bool is_kept = connection->keep_alive && !worker->stopping;
    exchange_end(worker, connection);
    connection->state = is_kept ? STATE_HEAD : STATE_LINGER;
    if (connection->delivery_count >= METERING_QUEUE_READ)
        (void)metering_read(worker, connection);
}

static void trace(const struct worker *worker, const struct connection *connection,
                  enum connection_state state, enum step_outcome outcome)
{
    log_trace("worker %u connection %u.%u: %s: %s%s%s", worker->index, connection->index,
              connection->generation, step_state_name(state), step_outcome_name(outcome),
              outcome == STEP_WAIT ? " for " : "",
              outcome == STEP_WAIT ? step_wait_text((enum wait)connection->exchange.waiting) : "");
}

/* Does what an outcome says. True where the connection's step is to be run. */
static bool apply(struct worker *worker, struct connection *connection, enum step_outcome outcome)
{
    if (log_traces())
        trace(worker, connection, (enum connection_state)connection->state, outcome);
    switch (outcome) {
    case STEP_NEXT:
        connection->state++;
        return true;
    case STEP_ANSWER:
        connection->state = STATE_ANSWER;
        return true;
    case STEP_REFUSE:
        refuse(connection);
        return true;
    case STEP_DONE:
        end_response(worker, connection);
        return true;
    case STEP_CLOSE:
    case STEP_CUT:
        if (outcome == STEP_CUT && connection->state == STATE_SEND &&
            connection->exchange.why != NULL)
            log_cut(worker, &connection->exchange);
        connection_close(worker, connection, outcome == STEP_CUT);
        return false;
    case STEP_WAIT:
    case STEP_OUTCOMES:
        break;
    }
    return false;
}

static void run(struct worker *worker, struct connection *connection)
{
    while (apply(worker, connection, worker->steps[connection->state](worker, connection)))
        continue;
}

/* ---- entry points ---- */

void driver_prepare(struct worker *worker)
{
    worker->steps = steps;
    worker->run = driver_run;
}

void driver_run(struct worker *worker, struct connection *connection)
{
    connection->unread = connection->input;
    connection->unread_length = connection->input_length;
    run(worker, connection);
    size_t used = connection->input_length - connection->unread_length;
    if (used > 0 && driver_is_open(connection))
        connection_input_drop(worker, connection, used);
}

void driver_input(struct worker *worker, struct connection *connection, const char *data,
                  size_t length)
{
    if (connection->state == STATE_LINGER)
        return; /* the answer said Connection: close; later requests are ignored */
    bool is_first = connection->input_length == 0 && connection->state == STATE_HEAD;
    connection->unread = data;
    connection->unread_length = length;
    if (is_first)
        run(worker, connection);
    if (!driver_is_open(connection) || connection->unread_length == 0)
        return;
    if (!connection_input_append(worker, connection, connection->unread, connection->unread_length))
        driver_cut(worker, connection, "clients sent requests faster than they read the answers");
    else if (!is_first && connection->state == STATE_HEAD)
        driver_run(worker, connection);
}

void driver_apply(struct worker *worker, struct connection *connection, enum step_outcome outcome)
{
    if (driver_is_open(connection) && apply(worker, connection, outcome))
        driver_run(worker, connection);
}

void driver_cut(struct worker *worker, struct connection *connection, const char *why)
{
    if (!driver_is_open(connection)) /* it has no exchange that could be cut */
        return;
    connection->exchange.why = why;
    driver_apply(worker, connection, STEP_CUT);
}

/* ---- a connection's beginning ---- */

/* Refuses a client at a bound, best effort, without keeping state. Over TLS (`secure`) it only
 * closes the socket: no session exists that could carry an answer. */
static void turn_away(struct worker *worker, int fd, bool secure, unsigned status)
{
    char answer[256];
    if (!secure) {
        int length = snprintf(answer, sizeof(answer),
                              "HTTP/1.1 %u %s\r\n%sContent-Length: 0\r\nRetry-After: 5\r\n"
                              "Connection: close\r\n\r\n",
                              status, http_status_phrase(status), framing_date_line(worker));
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
    worker->free_first = worker->connections[index].next_free;
    return index;
}

/* Takes one of the connections_max places of the node; false where none is left. By compare and swap,
 * so that of two workers that see the last place only one gets it. */
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

/* Begins a connection that waits for a head, in a place that take_place has taken. */
static struct connection *begin(struct worker *worker, int fd)
{
    uint32_t index = take_slot(worker);
    struct connection *connection = &worker->connections[index];
    uint32_t generation = connection->generation;
    check(connection->state == STATE_FREE);
    memset(connection, 0, sizeof(*connection));
    connection->magic = CONNECTION_MAGIC;
    connection->index = index;
    connection->generation = generation;
    stream_open(&connection->stream, fd);
    connection->began_ms = worker->now_ms;
    connection->deadline_ms = worker->now_ms + worker->node->config->head_timeout_ms;
    connection->in_head = true;
    connection->state = STATE_HEAD;
    connection_join(worker, connection, LIST_OPEN);
    worker->open_count++;
    atomic_store_explicit(&worker->stats.connections_open, worker->open_count,
                          memory_order_relaxed);
    return connection;
}

struct connection *driver_begin(struct worker *worker, int fd)
{
    return take_place(worker) ? begin(worker, fd) : NULL;
}

void driver_accept(struct worker *worker, int fd, bool secure)
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

    struct connection *connection = begin(worker, fd);
    connection_client_begin(node, connection, &client);
    count(&worker->stats.connections_accepted, 1);
    if (secure && stream_begin_tls(&worker->streams, &connection->stream, worker->tls) != 0)
        driver_cut(worker, connection, NULL);
    else
        driver_run(worker, connection);
}

void driver_inquire(struct worker *worker, struct inquiry *inquiry)
{
    size_t length;
    const char *head = inquiry_head(inquiry, &length);
    struct connection *connection = driver_begin(worker, -1);
    if (connection == NULL) {
        inquiry_answer(&inquiry, REFUSAL_CONNECTIONS_EXHAUSTED);
        return;
    }
    connection->inquiry = inquiry;
    connection->peer_ended = true; /* no socket: nothing can be received */
    driver_input(worker, connection, head, length);
}
