/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of the load. It has one operation in flight at a time:
 *
 *   CONNECTING -> SENDING -> HEAD -> BODY -> SENDING (the next request) ...
 *                                         -> HOLDING (once) or PAUSED (the tick reconnects it)
 *
 * Where an answer does not come in time, it is LATE, and PAUSED when that operation has ended.
 *
 * The kernel discards bodies that nobody verifies (MSG_TRUNC on TCP copies nothing), so that the
 * client takes as little of the machine as it can. A thread of load.c calls it; it never waits.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/load_internal.h"

static struct io_uring_sqe *sqe_of(struct load_thread *thread)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&thread->ring);
    if (sqe == NULL) {
        (void)io_uring_submit(&thread->ring);
        sqe = io_uring_get_sqe(&thread->ring); /* the queue is empty again */
    }
    return sqe;
}

void client_connect(struct load_thread *thread, struct client *client)
{
    int one = 1;
    client->fd = socket(thread->load->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0) {
        thread->result->errors[BENCH_ERROR_CONNECT]++;
        client->state = CLIENT_PAUSED;
        return;
    }
    (void)setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    client->state = CLIENT_CONNECTING;
    client->started_ns = load_clock_ns(CLOCK_MONOTONIC);
    struct io_uring_sqe *sqe = sqe_of(thread);
    io_uring_prep_connect(sqe, client->fd, (struct sockaddr *)&thread->load->address,
                          thread->load->address_length);
    io_uring_sqe_set_data(sqe, client);
}

static void send_rest(struct load_thread *thread, struct client *client)
{
    struct io_uring_sqe *sqe = sqe_of(thread);
    io_uring_prep_send(sqe, client->fd, client->request + client->request_sent,
                       client->request_length - client->request_sent, MSG_NOSIGNAL);
    io_uring_sqe_set_data(sqe, client);
}

static void receive_head(struct load_thread *thread, struct client *client)
{
    struct io_uring_sqe *sqe = sqe_of(thread);
    io_uring_prep_recv(sqe, client->fd, client->input + client->input_length,
                       CLIENT_INPUT_BYTES - client->input_length, 0);
    io_uring_sqe_set_data(sqe, client);
}

static void receive_body(struct load_thread *thread, struct client *client)
{
    struct io_uring_sqe *sqe = sqe_of(thread);
    /* Discarded bodies may share one buffer; hashed ones may not, for several connections receive
     * at once. */
    size_t most = client->body != NULL ? CLIENT_VERIFY_BYTES : CLIENT_DISCARD_BYTES;
    size_t length = client->body_left < most ? (size_t)client->body_left : most;
    io_uring_prep_recv(sqe, client->fd, client->body != NULL ? client->body : thread->discard,
                       length, client->body != NULL ? 0 : MSG_TRUNC);
    io_uring_sqe_set_data(sqe, client);
}

void client_drop(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    client->state = CLIENT_PAUSED;
}

/* Takes the next request's number; false where all are taken. */
static bool next_request(struct load_thread *thread, struct client *client)
{
    const struct bench_options *options = thread->load->options;
    uint64_t number = atomic_fetch_add_explicit(&thread->load->next, 1, memory_order_relaxed);
    if (load_is_over(thread) || (options->requests_max != 0 && number >= options->requests_max) ||
        (options->each_once && number >= options->requests->count))
        return false;
    size_t index = (size_t)(number % options->requests->count);
    client->request = options->requests->text + options->requests->offsets[index];
    client->request_length =
        options->requests->offsets[index + 1] - options->requests->offsets[index];
    client->request_sent = 0;
    client->input_length = 0;
    return true;
}

static void request_begin(struct load_thread *thread, struct client *client)
{
    if (!next_request(thread, client)) {
        client_drop(client);
        return;
    }
    client->state = CLIENT_SENDING;
    client->started_ns = load_clock_ns(CLOCK_MONOTONIC);
    send_rest(thread, client);
}

static void fail(struct load_thread *thread, struct client *client, enum bench_error error)
{
    thread->result->errors[error]++;
    atomic_fetch_add_explicit(&thread->load->progress->errors, 1, memory_order_relaxed);
    client_drop(client);
}

/* ---- an answer ---- */

/* Only these answers count; the body of a refusal does not. */
static bool is_good(const struct client *client)
{
    return client->head.status >= 200 && client->head.status < 300;
}

static void answered(struct load_thread *thread, struct client *client)
{
    struct bench_result *result = thread->result;
    const struct bench_options *options = thread->load->options;
    bool good = is_good(client);
    result->statuses[client->head.status]++;
    if (!good) {
        result->errors[BENCH_ERROR_STATUS]++;
        atomic_fetch_add_explicit(&thread->load->progress->errors, 1, memory_order_relaxed);
    } else if (client->hash != NULL && client->head.status == 200 && client->head.has_hash) {
        XXH128_canonical_t digest;
        XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(client->hash));
        if (memcmp(digest.digest, client->head.hash, sizeof(client->head.hash)) != 0) {
            fail(thread, client, BENCH_ERROR_MISMATCH);
            return;
        }
        result->verified++;
    }
    if (good) {
        result->requests++;
        atomic_fetch_add_explicit(&thread->load->progress->requests, 1, memory_order_relaxed);
        histogram_add(&result->latency_ns, load_clock_ns(CLOCK_MONOTONIC) - client->started_ns);
    }
    if (options->once)
        client->state = CLIENT_HOLDING;
    else if (!options->keep_alive || !client->head.keep_alive)
        client_drop(client);
    else
        request_begin(thread, client);
}

static void body_came(struct load_thread *thread, struct client *client, const void *data,
                      size_t length)
{
    if (client->hash != NULL)
        (void)XXH3_128bits_update(client->hash, data, length);
    client->body_left -= length;
    if (is_good(client)) {
        thread->result->body_bytes += length;
        atomic_fetch_add_explicit(&thread->load->progress->body_bytes, length,
                                  memory_order_relaxed);
    }
    if (client->body_left == 0)
        answered(thread, client);
    else
        receive_body(thread, client);
}

static void head_came(struct load_thread *thread, struct client *client)
{
    int length = answer_parse(client->input, client->input_length, &client->head);
    if (length < 0) {
        fail(thread, client, BENCH_ERROR_MALFORMED);
        return;
    }
    if (length == 0) {
        receive_head(thread, client);
        return;
    }
    size_t body = client->input_length - (size_t)length;
    client->body_left = client->head.body_length;
    if (body > client->body_left) { /* more bytes than the answer announced */
        fail(thread, client, BENCH_ERROR_MALFORMED);
        return;
    }
    if (client->hash != NULL)
        (void)XXH3_128bits_reset(client->hash);
    client->state = CLIENT_BODY;
    body_came(thread, client, client->input + length, body);
}

void client_completed(struct load_thread *thread, struct client *client, int result)
{
    switch (client->state) {
    case CLIENT_CONNECTING:
        if (result < 0) {
            fail(thread, client, BENCH_ERROR_CONNECT);
            return;
        }
        thread->result->connects++;
        request_begin(thread, client);
        return;
    case CLIENT_SENDING:
        if (result <= 0) {
            fail(thread, client, BENCH_ERROR_RESET);
            return;
        }
        client->request_sent += (size_t)result;
        if (client->request_sent < client->request_length) {
            send_rest(thread, client);
            return;
        }
        client->state = CLIENT_HEAD;
        receive_head(thread, client);
        return;
    case CLIENT_HEAD:
    case CLIENT_BODY:
        if (result <= 0) {
            fail(thread, client, result == 0 ? BENCH_ERROR_CLOSED : BENCH_ERROR_RESET);
        } else if (client->state == CLIENT_HEAD) {
            client->input_length += (size_t)result;
            head_came(thread, client);
        } else {
            body_came(thread, client, client->body, (size_t)result);
        }
        return;
    case CLIENT_LATE:
        client_drop(client);
        return;
    case CLIENT_PAUSED:
    case CLIENT_HOLDING:
        return; /* the connection was given up meanwhile */
    }
}
