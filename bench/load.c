/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load itself: threads, each with a ring and a share of the connections. main.c and the tests
 * run it. A connection has one operation in flight at a time:
 *
 *   CONNECTING -> SENDING -> HEAD -> BODY -> SENDING (the next request) ...
 *                                         -> HOLDING (once) or PAUSED (the tick reconnects it)
 *
 * The kernel discards bodies that nobody verifies (MSG_TRUNC on TCP copies nothing), so that the
 * client takes as little of the machine as it can.
 */
#include <errno.h>
#include <liburing.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "bench/bench.h"

#define TICK_MS         50
#define SCARCE_PAUSE_MS 1
#define DISCARD_BYTES   ((size_t)1024 * 1024)
#define VERIFY_BYTES    ((size_t)32 * 1024) /* of each connection */
#define INPUT_BYTES     ((size_t)ANSWER_HEAD_MAX)

enum client_state {
    CLIENT_PAUSED,
    CLIENT_CONNECTING,
    CLIENT_SENDING,
    CLIENT_HEAD,
    CLIENT_BODY,
    CLIENT_HOLDING
};

struct client {
    int fd;
    enum client_state state;
    const char *request; /* borrows: what is being sent */
    size_t request_length, request_sent;
    size_t input_length; /* bytes of the head that have come */
    uint64_t body_left, started_ns;
    struct answer_head head;
    XXH3_state_t *hash; /* owns, where bodies are verified */
    char *input;        /* INPUT_BYTES of the thread's memory */
    char *body;         /* VERIFY_BYTES of the thread's memory, where bodies are verified */
};

struct load {
    const struct bench_options *options;
    struct bench_progress *progress;
    struct sockaddr_storage address;
    socklen_t address_length;
    uint64_t deadline_ns;
    atomic_ullong next; /* number of the next request of all threads */
};

struct thread {
    struct load *load; /* borrows */
    pthread_t id;
    unsigned client_count;
    struct client *clients;          /* owns */
    char *inputs, *bodies, *discard; /* owns them; either bodies or discard is NULL */
    struct io_uring ring;
    struct bench_result *result; /* owns */
    int error;                   /* errno of its start, negative; 0: none */
};

static const char *const error_keys[] = {
#define X(name, key, text) key,
    BENCH_ERRORS(X)
#undef X
};
static const char *const error_texts[] = {
#define X(name, key, text) text,
    BENCH_ERRORS(X)
#undef X
};

const char *bench_error_key(enum bench_error error)
{
    return error_keys[error];
}

const char *bench_error_text(enum bench_error error)
{
    return error_texts[error];
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- operations ---- */

static struct io_uring_sqe *sqe_of(struct thread *thread)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&thread->ring);
    if (sqe == NULL) {
        (void)io_uring_submit(&thread->ring);
        sqe = io_uring_get_sqe(&thread->ring); /* the queue is empty again */
    }
    return sqe;
}

static void connect_begin(struct thread *thread, struct client *client)
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
    client->started_ns = clock_ns(CLOCK_MONOTONIC);
    struct io_uring_sqe *sqe = sqe_of(thread);
    io_uring_prep_connect(sqe, client->fd, (struct sockaddr *)&thread->load->address,
                          thread->load->address_length);
    io_uring_sqe_set_data(sqe, client);
}

static void send_rest(struct thread *thread, struct client *client)
{
    struct io_uring_sqe *sqe = sqe_of(thread);
    io_uring_prep_send(sqe, client->fd, client->request + client->request_sent,
                       client->request_length - client->request_sent, MSG_NOSIGNAL);
    io_uring_sqe_set_data(sqe, client);
}

static void receive_head(struct thread *thread, struct client *client)
{
    struct io_uring_sqe *sqe = sqe_of(thread);
    io_uring_prep_recv(sqe, client->fd, client->input + client->input_length,
                       INPUT_BYTES - client->input_length, 0);
    io_uring_sqe_set_data(sqe, client);
}

static void receive_body(struct thread *thread, struct client *client)
{
    struct io_uring_sqe *sqe = sqe_of(thread);
    /* Discarded bodies may share one buffer; hashed ones may not, for several connections receive
     * at once. */
    size_t most = client->body != NULL ? VERIFY_BYTES : DISCARD_BYTES;
    size_t length = client->body_left < most ? (size_t)client->body_left : most;
    io_uring_prep_recv(sqe, client->fd, client->body != NULL ? client->body : thread->discard,
                       length, client->body != NULL ? 0 : MSG_TRUNC);
    io_uring_sqe_set_data(sqe, client);
}

static void drop(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    client->state = CLIENT_PAUSED;
}

static bool is_over(const struct thread *thread)
{
    return atomic_load_explicit(&thread->load->progress->stop, memory_order_relaxed);
}

/* Takes the next request's number; false where all are taken. */
static bool next_request(struct thread *thread, struct client *client)
{
    const struct bench_options *options = thread->load->options;
    uint64_t number = atomic_fetch_add_explicit(&thread->load->next, 1, memory_order_relaxed);
    if (is_over(thread) || (options->requests_max != 0 && number >= options->requests_max) ||
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

static void request_begin(struct thread *thread, struct client *client)
{
    if (!next_request(thread, client)) {
        drop(client);
        return;
    }
    client->state = CLIENT_SENDING;
    client->started_ns = clock_ns(CLOCK_MONOTONIC);
    send_rest(thread, client);
}

static void fail(struct thread *thread, struct client *client, enum bench_error error)
{
    thread->result->errors[error]++;
    atomic_fetch_add_explicit(&thread->load->progress->errors, 1, memory_order_relaxed);
    drop(client);
}

/* ---- an answer ---- */

/* Only these answers count; the body of a refusal does not. */
static bool is_good(const struct client *client)
{
    return client->head.status >= 200 && client->head.status < 300;
}

static void answered(struct thread *thread, struct client *client)
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
        histogram_add(&result->latency_ns, clock_ns(CLOCK_MONOTONIC) - client->started_ns);
    }
    if (options->once)
        client->state = CLIENT_HOLDING;
    else if (!options->keep_alive || !client->head.keep_alive)
        drop(client);
    else
        request_begin(thread, client);
}

static void body_came(struct thread *thread, struct client *client, const void *data, size_t length)
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

static void head_came(struct thread *thread, struct client *client)
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

static void completed(struct thread *thread, struct client *client, int result)
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
    case CLIENT_PAUSED:
    case CLIENT_HOLDING:
        return; /* the connection was given up meanwhile */
    }
}

/* ---- a thread ---- */

static bool requests_left(const struct thread *thread)
{
    const struct bench_options *options = thread->load->options;
    uint64_t next = atomic_load_explicit(&thread->load->next, memory_order_relaxed);
    return (options->requests_max == 0 || next < options->requests_max) &&
           (!options->each_once || next < options->requests->count);
}

/* Reconnects paused connections, ends requests that take too long. True while something
 * is in flight. */
static bool tick(struct thread *thread, uint64_t now_ns)
{
    const struct bench_options *options = thread->load->options;
    bool over = now_ns >= thread->load->deadline_ns || is_over(thread), busy = false;
    for (unsigned i = 0; i < thread->client_count; i++) {
        struct client *client = &thread->clients[i];
        if (client->state == CLIENT_PAUSED && !over && requests_left(thread))
            connect_begin(thread, client);
        else if (client->state != CLIENT_PAUSED && client->state != CLIENT_HOLDING &&
                 now_ns > client->started_ns &&
                 now_ns - client->started_ns > (uint64_t)options->timeout_ms * 1000000u) {
            /* Its operation ends with the socket; the completion finds the state HOLDING
             * and does nothing. */
            thread->result->errors[BENCH_ERROR_TIMEOUT]++;
            (void)shutdown(client->fd, SHUT_RDWR);
            client->state = CLIENT_HOLDING;
        }
        busy = busy || client->state != CLIENT_PAUSED;
    }
    return busy && !over;
}

static void run(struct thread *thread)
{
    struct __kernel_timespec wait = {.tv_nsec = TICK_MS * 1000000L};
    uint64_t ticked_ns = 0;
    for (;;) {
        uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
        if (now_ns - ticked_ns >= TICK_MS * 1000000ull) {
            ticked_ns = now_ns;
            if (!tick(thread, now_ns))
                break;
        }
        struct io_uring_cqe *cqe;
        int result = io_uring_submit_and_wait_timeout(&thread->ring, &cqe, 1, &wait, NULL);
        /* The kernel lacks memory, or completions wait to be taken: no reason to end the load. */
        if (result == -EAGAIN || result == -ENOMEM)
            nanosleep(&(struct timespec){.tv_nsec = SCARCE_PAUSE_MS * 1000000L}, NULL);
        else if (result < 0 && result != -ETIME && result != -EINTR && result != -EBUSY)
            break;
        unsigned head, seen = 0;
        io_uring_for_each_cqe(&thread->ring, head, cqe)
        {
            seen++;
            completed(thread, io_uring_cqe_get_data(cqe), cqe->res);
        }
        io_uring_cq_advance(&thread->ring, seen);
    }
}

static int thread_prepare(struct thread *thread)
{
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                              IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
                                     .cq_entries = 4096};
    while (params.cq_entries < 2 * thread->client_count)
        params.cq_entries *= 2;
    bool verify = thread->load->options->verify;
    if (verify)
        thread->bodies = malloc(VERIFY_BYTES * thread->client_count);
    else
        thread->discard = malloc(DISCARD_BYTES);
    thread->inputs = malloc(INPUT_BYTES * thread->client_count);
    thread->result = calloc(1, sizeof(*thread->result));
    thread->clients = calloc(thread->client_count, sizeof(*thread->clients));
    if ((thread->discard == NULL && thread->bodies == NULL) || thread->inputs == NULL ||
        thread->result == NULL || thread->clients == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < thread->client_count; i++) {
        thread->clients[i].fd = -1;
        thread->clients[i].input = thread->inputs + i * INPUT_BYTES;
        if (!verify)
            continue;
        thread->clients[i].body = thread->bodies + i * VERIFY_BYTES;
        if ((thread->clients[i].hash = XXH3_createState()) == NULL)
            return -ENOMEM;
    }
    return io_uring_queue_init_params(1024, &thread->ring, &params);
}

static void thread_free(struct thread *thread)
{
    for (unsigned i = 0; thread->clients != NULL && i < thread->client_count; i++) {
        drop(&thread->clients[i]);
        XXH3_freeState(thread->clients[i].hash);
    }
    free(thread->clients);
    free(thread->inputs);
    free(thread->bodies);
    free(thread->discard);
    free(thread->result);
}

static void *thread_main(void *context)
{
    struct thread *thread = context;
    thread->error = thread_prepare(thread);
    if (thread->error != 0)
        return NULL;
    run(thread);
    for (unsigned i = 0; i < thread->client_count; i++)
        thread->result->open += thread->clients[i].fd >= 0;
    thread->result->cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    io_uring_queue_exit(&thread->ring); /* ends operations in flight before their memory is freed */
    return NULL;
}

/* ---- the whole ---- */

static int resolve(struct load *load, char *error, size_t error_size)
{
    const struct request_set *requests = load->options->requests;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int result = getaddrinfo(requests->host, requests->port, &hints, &found);
    if (result != 0) {
        snprintf(error, error_size, "%s:%s: %s", requests->host, requests->port,
                 gai_strerror(result));
        return -EHOSTUNREACH;
    }
    memcpy(&load->address, found->ai_addr, found->ai_addrlen);
    load->address_length = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

static void add(struct bench_result *out, const struct bench_result *part)
{
    out->requests += part->requests;
    out->body_bytes += part->body_bytes;
    out->verified += part->verified;
    out->connects += part->connects;
    out->cpu_ns += part->cpu_ns;
    out->open += part->open;
    for (size_t i = 0; i < BENCH_ERROR_COUNT; i++)
        out->errors[i] += part->errors[i];
    for (size_t i = 0; i < sizeof(out->statuses) / sizeof(*out->statuses); i++)
        out->statuses[i] += part->statuses[i];
    histogram_merge(&out->latency_ns, &part->latency_ns);
}

int bench_run(const struct bench_options *options, struct bench_progress *progress,
              struct bench_result *out, char *error, size_t error_size)
{
    struct load load = {.options = options, .progress = progress};
    int result = resolve(&load, error, error_size);
    if (result != 0)
        return result;
    struct thread *threads = calloc(options->threads, sizeof(*threads));
    if (threads == NULL)
        return -ENOMEM;
    memset(out, 0, sizeof(*out));
    uint64_t began_ns = clock_ns(CLOCK_MONOTONIC);
    load.deadline_ns = began_ns + options->duration_ms * 1000000u;
    unsigned started = 0;
    for (; started < options->threads; started++) {
        struct thread *thread = &threads[started];
        thread->load = &load;
        thread->client_count = options->connections / options->threads +
                               (started < options->connections % options->threads);
        if ((result = -pthread_create(&thread->id, NULL, thread_main, thread)) != 0)
            break;
    }
    if (result != 0)
        atomic_store(&progress->stop, true);
    for (unsigned i = 0; i < started; i++) {
        pthread_join(threads[i].id, NULL);
        if (threads[i].error != 0)
            result = threads[i].error;
        else
            add(out, threads[i].result);
    }
    out->elapsed_ns = clock_ns(CLOCK_MONOTONIC) - began_ns;
    for (unsigned i = 0; i < started; i++)
        thread_free(&threads[i]);
    free(threads);
    if (result != 0)
        snprintf(error, error_size, "starting the client's threads: %s%s", strerrordesc_np(-result),
                 result == -EPERM || result == -ENOSYS
                     ? "; io_uring is refused here, by a seccomp filter or kernel.io_uring_disabled"
                     : "");
    return result;
}
