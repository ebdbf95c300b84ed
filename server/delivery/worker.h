/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker: one thread, one ring, one socket of each listener, its connections and caches.
 * workers.c in server/node/ makes, runs and destroys it; driver.c runs the steps of its connections,
 * which the files beside it hold (step.h). While the
 * worker runs, other threads touch only what is atomic here (the statistics, `redis_generation`,
 * `inquiries`, `cut_at_stop`), and wake it by worker_wake. The main thread alone uses `thread` and
 * `started`, and its announce_kind (listeners.c) reads `listen_fd` for the start's last lines while
 * the worker runs.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_WORKER_H
#define TOLLGATE_SERVER_DELIVERY_WORKER_H

#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/delivery/descriptors.h"
#include "server/delivery/metrics.h"
#include "server/delivery/node.h"
#include "server/delivery/step.h"
#include "server/grant/grants.h"
#include "server/http/http_fields.h"
#include "server/link/target_cache.h"
#include "server/loop/listener.h"
#include "server/transport/stream.h"
#include "storage/media/media.h"

#define WORKER_TICK_MS      100
#define WORKER_BUFFERS      512 /* of the receive ring */
#define WORKER_BUFFER_SIZE  4096
#define WORKER_SCRATCH_SIZE ((size_t)24 * 1024) /* a response head and a small body */
#define WORKER_BUFFER_GROUP 0
/*
 * Bytes received and not answered yet, of all connections of a worker. One connection can hold what
 * one turn brings (all buffers of the ring) before it is paused; the connection that would exceed
 * this sum is cut.
 */
#define WORKER_INPUT_MAX    ((size_t)256 * 1024 * 1024)

/* What a completion belongs to; the upper byte of user_data. */
enum operation {
    OPERATION_IGNORED, /* cancels and the like: nothing waits for their result */
    OPERATION_ACCEPT,
    OPERATION_WAKE,
    OPERATION_TICK,
    OPERATION_REDIS_READABLE,
    OPERATION_REDIS_WRITABLE,
    OPERATION_RECEIVE, /* from here on: of a connection */
    OPERATION_WRITABLE,
    OPERATION_WARM,
    OPERATION_OPEN,
};

struct connection;
struct inquiry;
struct redis_connection;
struct token_cache;
struct target_cache;
struct token_entry;
struct media_cache;
struct media_residency;
struct tls;
struct tls_scratch;

/* How a worker accepts at one of its listeners; see accept.c. */
enum accepting { ACCEPTING_NOT, ACCEPTING_ONE, ACCEPTING_ALL, ACCEPTING_ENDING };

/* Lists of connections; a connection is in at most one of each kind. */
struct connection_list {
    struct connection *first, *last;
};

struct worker {
    struct node *node; /* borrows */
    unsigned index;
    pthread_t thread;
    struct io_uring ring;
    int listen_fd[LISTENERS], wake_fd;
    uint64_t wake_value; /* what the ring reads wake_fd into */
    struct io_uring_buf_ring *buffers;
    char *buffer_memory;

    struct connection *connections; /* slab of `capacity` */
    uint32_t capacity, taken;       /* slots from `taken` on were never used, nor touched */
    uint32_t free_first, open_count;
    size_t input_bytes;               /* allocated for `input` of all connections */
    struct connection_list open;      /* all that are not closing */
    struct connection_list ready;     /* may go on sending without waiting */
    struct connection_list parked;    /* wait for a grant */
    struct connection_list hashing;   /* wait for their file's hash */
    struct connection_list rated;     /* wait for their rate, or to be acknowledged */
    struct connection_list unmetered; /* have bytes that are not acknowledged yet */
    struct delivery *deliveries_free;

    struct token_trust *trust; /* holds */
    struct tls *tls;           /* holds; NULL without listen_tls */
    unsigned reloads;          /* node->reloads when `trust` and `tls` were taken */
    unsigned pushes;           /* node->pushes when grants were last looked at */
    unsigned recalls;          /* node->recalls when funds were last given back */
    uint64_t recalled_ms;      /* when it saw that they had changed */
    struct tls_scratch *tls_scratch;
    struct token_cache *tokens;
    struct target_cache *targets;
    struct media_cache *files;
    struct media_residency *residency;
    struct streams streams; /* what its connections' streams share */
    struct redis_connection *redis;
    step_function *const *steps; /* by state (step.h); tests put others in their place */
    /* driver_run, by which answers of Redis reach the connections that asked. */
    void (*run)(struct worker *worker, struct connection *connection);
    struct ledger_clock clock; /* of the turn */
    struct grants grants;

    uint64_t now_ms;          /* monotonic, once a turn */
    int64_t now_s;            /* since 1970, once a turn */
    uint32_t now_fraction_ms; /* milliseconds within now_s */
    int64_t date_s;           /* the second that date_line names */
    char date_line[sizeof("Date: \r\n") + HTTP_DATE_SIZE];
    struct __kernel_timespec tick;
    struct connection *sweep_next; /* where the sweep of `open` goes on; NULL: at the first */
    /* Of the exchange that goes from HEAD to FILE just now: no other comes between. */
    struct http_head head;
    struct token_target target;        /* 9 KiB that request_target_read fills */
    struct token_request wanted;       /* borrows `target`, or the target cache */
    char fault[TOKEN_PATH_FAULT_SIZE]; /* what is wrong with the path */
    enum accepting accepting[LISTENERS];
    struct descriptors descriptors; /* as counted at the last tick */
    uint64_t accept_paused_ms;      /* since when no descriptor was left for a client; 0: one is */
    uint64_t accept_failed_ms;      /* when a descriptor was lacking last */
    bool accept_freed;              /* a connection has ended since accepting was tried */
    bool stopping, woken;
    uint64_t stopped_ms;                 /* since when it is stopping */
    bool has_origins;                    /* an issuer has pages that may fetch by script */
    bool redirects;                      /* plain HTTP is answered with the https:// origin */
    bool started;                        /* main thread only: the thread must be joined */
    atomic_ullong redis_generation;      /* the ledger's, in which the worker may ask; 0: none */
    atomic_ullong turned_ms;             /* `now_ms` of the last tick, for other threads */
    _Atomic(struct inquiry *) inquiries; /* put by admin threads, newest first; see inquiry.c */
    atomic_ullong cut_at_stop;           /* transfers ended by the stop's deadline */
    char scratch[WORKER_SCRATCH_SIZE];
    /* The ring reads here only to bring a file's pages into memory; nothing reads it. */
    char sink[MEDIA_BRING_MAX];

    struct worker_stats stats;
};

/*
 * Creates the worker with its ring and caches in the calling thread; its sockets are given to it
 * afterwards, and worker_run takes it over. 0, or a negative errno, with a sentence in `error`;
 * where *out is set, the caller destroys it in either case.
 */
int worker_create(struct worker **out, struct node *node, unsigned index, char *error,
                  size_t error_size);
/* The thread's function: serves until the node stops and the connections have ended. Takes the
 * struct worker; returns NULL. */
void *worker_run(void *worker);
void worker_destroy(struct worker **worker);
/* From any thread: makes the worker look at node->stopping and its parked connections. */
void worker_wake(struct worker *worker);

/* Begins to accept, where descriptors are left; see accept.c. Not while the worker stops. */
void accept_arm(struct worker *worker);
/* Takes a completion of OPERATION_ACCEPT; `more`: further ones will follow. */
void accept_completed(struct worker *worker, enum listener listener, int result, bool more);
/* Each WORKER_TICK_MS: counts how many descriptors are left, resumes or pauses accepting, and logs
 * either. */
void accept_tick(struct worker *worker);
/* Stops accepting for good: takes the clients that have connected already, and none after them.
 * Call it before `stopping` is set, or those clients would be turned away. */
void accept_stop(struct worker *worker);

/* Returns a submission entry, submitting the queue first where it is full. Never NULL. */
struct io_uring_sqe *worker_sqe(struct worker *worker);
/* Makes room for `entries`, so that they reach the kernel in one submit: a chain of linked entries
 * ends where a submit ends. */
void worker_reserve(struct worker *worker, unsigned entries);

static inline uint64_t operation_data(enum operation operation, uint32_t generation, uint32_t index)
{
    return (uint64_t)operation << 56 | (uint64_t)(generation & 0xffffff) << 32 | index;
}

#endif
