/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load itself: threads, each with a ring and a share of the connections, and the sum of what they
 * counted. main.c and the tests run it; load_client.c knows what one connection does.
 */
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "bench/load_internal.h"

#define TICK_MS         50
#define SCARCE_PAUSE_MS 1

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

/* ---- a thread ---- */

static bool requests_left(const struct load_thread *thread)
{
    const struct bench_options *options = thread->load->options;
    uint64_t next = atomic_load_explicit(&thread->load->next, memory_order_relaxed);
    return (options->requests_max == 0 || next < options->requests_max) &&
           (!options->each_once || next < options->requests->count);
}

/* Reconnects paused connections, ends requests that take too long. True while something
 * is in flight. */
static bool tick(struct load_thread *thread, uint64_t now_ns)
{
    const struct bench_options *options = thread->load->options;
    bool over = now_ns >= thread->load->deadline_ns || load_is_over(thread), busy = false;
    for (unsigned i = 0; i < thread->client_count; i++) {
        struct client *client = &thread->clients[i];
        if (client->state == CLIENT_PAUSED && !over && requests_left(thread))
            client_connect(thread, client);
        else if (client->state != CLIENT_PAUSED && client->state != CLIENT_HOLDING &&
                 client->state != CLIENT_LATE && now_ns > client->started_ns &&
                 now_ns - client->started_ns > (uint64_t)options->timeout_ms * 1000000u) {
            /* Its operation ends with the socket, and then the connection is closed. */
            thread->result->errors[BENCH_ERROR_TIMEOUT]++;
            (void)shutdown(client->fd, SHUT_RDWR);
            client->state = CLIENT_LATE;
        }
        busy = busy || client->state != CLIENT_PAUSED;
    }
    return busy && !over;
}

static void run(struct load_thread *thread)
{
    struct __kernel_timespec wait = {.tv_nsec = TICK_MS * 1000000L};
    uint64_t ticked_ns = 0;
    for (;;) {
        uint64_t now_ns = load_clock_ns(CLOCK_MONOTONIC);
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
            client_completed(thread, io_uring_cqe_get_data(cqe), cqe->res);
        }
        io_uring_cq_advance(&thread->ring, seen);
    }
}

static int thread_prepare(struct load_thread *thread)
{
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                              IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
                                     .cq_entries = 4096};
    while (params.cq_entries < 2 * thread->client_count)
        params.cq_entries *= 2;
    bool verify = thread->load->options->verify;
    if (verify)
        thread->bodies = malloc(CLIENT_VERIFY_BYTES * thread->client_count);
    else
        thread->discard = malloc(CLIENT_DISCARD_BYTES);
    thread->inputs = malloc(CLIENT_INPUT_BYTES * thread->client_count);
    thread->result = calloc(1, sizeof(*thread->result));
    thread->clients = calloc(thread->client_count, sizeof(*thread->clients));
    for (unsigned i = 0; thread->clients != NULL && i < thread->client_count; i++)
        thread->clients[i].fd = -1; /* thread_free closes all others */
    if ((thread->discard == NULL && thread->bodies == NULL) || thread->inputs == NULL ||
        thread->result == NULL || thread->clients == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < thread->client_count; i++) {
        thread->clients[i].input = thread->inputs + i * CLIENT_INPUT_BYTES;
        if (!verify)
            continue;
        thread->clients[i].body = thread->bodies + i * CLIENT_VERIFY_BYTES;
        if ((thread->clients[i].hash = XXH3_createState()) == NULL)
            return -ENOMEM;
    }
    return io_uring_queue_init_params(1024, &thread->ring, &params);
}

static void thread_free(struct load_thread *thread)
{
    for (unsigned i = 0; thread->clients != NULL && i < thread->client_count; i++) {
        client_drop(&thread->clients[i]);
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
    struct load_thread *thread = context;
    thread->error = thread_prepare(thread);
    if (thread->error != 0)
        return NULL;
    run(thread);
    for (unsigned i = 0; i < thread->client_count; i++)
        thread->result->open +=
            thread->clients[i].fd >= 0 && thread->clients[i].state != CLIENT_LATE;
    thread->result->cpu_ns = load_clock_ns(CLOCK_THREAD_CPUTIME_ID);
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
    struct load_thread *threads = calloc(options->threads, sizeof(*threads));
    if (threads == NULL) {
        snprintf(error, error_size, "starting the client's threads: %s", strerrordesc_np(ENOMEM));
        return -ENOMEM;
    }
    memset(out, 0, sizeof(*out));
    uint64_t began_ns = load_clock_ns(CLOCK_MONOTONIC);
    load.deadline_ns = began_ns + options->duration_ms * 1000000u;
    unsigned started = 0;
    for (; started < options->threads; started++) {
        struct load_thread *thread = &threads[started];
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
    out->elapsed_ns = load_clock_ns(CLOCK_MONOTONIC) - began_ns;
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
