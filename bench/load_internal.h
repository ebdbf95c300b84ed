/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What load.c and load_client.c share: a thread of the load, and its connections. Only these two
 * include it.
 */
#ifndef TOLLGATE_BENCH_LOAD_INTERNAL_H
#define TOLLGATE_BENCH_LOAD_INTERNAL_H

#include <liburing.h>
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>
#include <xxhash.h>

#include "bench/bench.h"

#define CLIENT_DISCARD_BYTES ((size_t)1024 * 1024)
#define CLIENT_VERIFY_BYTES  ((size_t)32 * 1024) /* of each connection */
#define CLIENT_INPUT_BYTES   ((size_t)ANSWER_HEAD_MAX)

enum client_state {
    CLIENT_PAUSED,
    CLIENT_CONNECTING,
    CLIENT_SENDING,
    CLIENT_HEAD,
    CLIENT_BODY,
    CLIENT_HOLDING,
    CLIENT_LATE /* its answer did not come in time; its operation has still to end */
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
    char *input;        /* CLIENT_INPUT_BYTES of the thread's memory */
    char *body;         /* CLIENT_VERIFY_BYTES of the thread's memory, where bodies are verified */
};

struct load {
    const struct bench_options *options;
    struct bench_progress *progress;
    struct sockaddr_storage address;
    socklen_t address_length;
    uint64_t deadline_ns;
    atomic_ullong next; /* number of the next request of all threads */
};

struct load_thread {
    struct load *load; /* borrows */
    pthread_t id;
    unsigned client_count;
    struct client *clients;          /* owns */
    char *inputs, *bodies, *discard; /* owns them; either bodies or discard is NULL */
    struct io_uring ring;
    struct bench_result *result; /* owns */
    int error;                   /* errno of its start, negative; 0: none */
};

static inline uint64_t load_clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline bool load_is_over(const struct load_thread *thread)
{
    return atomic_load_explicit(&thread->load->progress->stop, memory_order_relaxed);
}

/* Begins to connect; where no socket is to be had, the connection stays PAUSED. */
void client_connect(struct load_thread *thread, struct client *client);
/* Takes the result of the connection's operation, and begins the next. */
void client_completed(struct load_thread *thread, struct client *client, int result);
/* Closes the connection. */
void client_drop(struct client *client);

#endif
