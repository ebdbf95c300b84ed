/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's loop: waits on the ring, hands each completion to the file that handles it, runs the
 * connections that can go on without waiting, and writes the commands queued for Redis. workers.c
 * in server/node/ starts it; it parses and sends nothing itself. See worker.h for what is shared.
 */
#include "server/delivery/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/waiting.h"
#include "server/delivery/admission.h"
#include "server/delivery/connection.h"
#include "server/delivery/delivery.h"
#include "server/delivery/driver.h"
#include "server/delivery/events.h"
#include "server/delivery/inquiry.h"
#include "server/delivery/readiness.h"
#include "server/delivery/redis_connection.h"
#include "server/link/target_cache.h"
#include "server/link/token_cache.h"
#include "server/loop/ring.h"
#include "server/transport/tls.h"
#include "server/transport/tls_records.h"
#include "storage/media/media.h"

#define COMPLETIONS_TURN 256
#define WINDOWS_SWEEP_MS 500
#define READY_BYTES_TURN ((uint64_t)256 * 1024) /* at least; sent in a fraction of a millisecond */
#define SCARCE_PAUSE_MS  10

static void read_clocks(struct worker *worker)
{
    struct timespec now;
    worker->now_ms = worker->streams.now_ms = clock_monotonic_ms();
    clock_gettime(CLOCK_REALTIME, &now);
    worker->now_s = now.tv_sec;
    worker->now_fraction_ms = (uint32_t)(now.tv_nsec / 1000000);
}

/* ---- standing operations ---- */

static void arm_wake(struct worker *worker)
{
    struct io_uring_sqe *sqe = worker_sqe(worker);
    io_uring_prep_read(sqe, worker->wake_fd, &worker->wake_value, sizeof(worker->wake_value), 0);
    sqe->user_data = operation_data(OPERATION_WAKE, 0, 0);
}

static void arm_tick(struct worker *worker)
{
    struct io_uring_sqe *sqe = worker_sqe(worker);
    worker->tick = (struct __kernel_timespec){.tv_nsec = WORKER_TICK_MS * 1000000LL};
    io_uring_prep_timeout(sqe, &worker->tick, 0, 0);
    sqe->user_data = operation_data(OPERATION_TICK, 0, 0);
}

static void on_tick(struct worker *worker)
{
    accept_tick(worker);
    ticks_run(worker);
    redis_connection_tick(worker->redis);
    atomic_store_explicit(&worker->turned_ms, worker->now_ms, memory_order_relaxed);
    if (worker->index == 0)
        readiness_observe(worker->node, worker->now_ms);
    ticks_look_again(worker);
    if (worker->now_ms - worker->grants.swept_ms >= WINDOWS_SWEEP_MS ||
        windows_idle_ms(worker->node->windows) == 0 || grants_owe_ceilings(&worker->grants))
        admission_sweep(worker);
    else if (worker->now_ms - worker->recalled_ms <= LEDGER_RECALL_MS)
        grants_give_back(&worker->grants, worker->now_ms);
    arm_tick(worker);
}

static void on_stop(struct worker *worker)
{
    accept_stop(worker); /* takes the clients that have connected already */
    worker->stopping = true;
    worker->stopped_ms = worker->now_ms;
    ticks_stop_idle(worker);
}

/* ---- the switch ---- */

static void on_completion(struct worker *worker, const struct io_uring_cqe *cqe)
{
    enum operation operation = (enum operation)(cqe->user_data >> 56);
    uint32_t generation = (uint32_t)(cqe->user_data >> 32) & 0xffffff;
    uint32_t index = (uint32_t)cqe->user_data;
    bool more = (cqe->flags & IORING_CQE_F_MORE) != 0;
    switch (operation) {
    case OPERATION_IGNORED:
        break;
    case OPERATION_ACCEPT:
        check(index < LISTENERS);
        accept_completed(worker, (enum listener)index, cqe->res, more);
        break;
    case OPERATION_WAKE:
        worker->woken = true;
        arm_wake(worker);
        break;
    case OPERATION_TICK:
        on_tick(worker);
        break;
    case OPERATION_REDIS_READABLE:
        redis_connection_readable(worker->redis, generation, cqe->res, more);
        break;
    case OPERATION_REDIS_WRITABLE:
        redis_connection_writable(worker->redis, generation);
        break;
    case OPERATION_RECEIVE:
    case OPERATION_WRITABLE:
    case OPERATION_WARM:
    case OPERATION_OPEN:
        check(index < worker->taken);
        /* A slot is not used again before its last completion, so the generation always agrees. */
        check(worker->connections[index].generation == generation);
        events_completed(worker, &worker->connections[index], operation, cqe->res, cqe->flags);
        break;
    }
}

static uint64_t bytes_handed(const struct worker *worker)
{
    return atomic_load_explicit(&worker->stats.bytes_handed, memory_order_relaxed);
}

/*
 * Runs the ready connections (those that had used up their share of a turn, or whose chunk has come
 * from the disk) one after the other, until they have sent twice as many bytes as the others have
 * in this turn; `before` is the count when the turn began. The rest wait for the next turn, which
 * first answers what has arrived meanwhile: so neither kind starves the other.
 */
static void run_ready(struct worker *worker, uint64_t before)
{
    uint64_t now = bytes_handed(worker);
    uint64_t share = 2 * (now - before) > READY_BYTES_TURN ? 2 * (now - before) : READY_BYTES_TURN;
    ticks_run_ready(worker, share);
}

/* Takes over key sets and certificates that were reloaded. The caches tell outdated entries by the
 * generation; TLS sessions keep the certificates that they began with. */
static void refresh(struct worker *worker)
{
    unsigned reloads = atomic_load(&worker->node->reloads);
    if (reloads == worker->reloads)
        return;
    token_trust_drop(&worker->trust);
    tls_drop(&worker->tls);
    worker->trust = node_trust_hold(worker->node);
    worker->tls = node_tls_hold(worker->node);
    worker->reloads = reloads;
    ticks_revise(worker, true);
}

/* After grants were dropped, has the responses that wait for their socket or rate ask again now. */
static void look_again(struct worker *worker)
{
    unsigned pushes = atomic_load(&worker->node->pushes);
    if (pushes == worker->pushes)
        return;
    worker->pushes = pushes;
    ticks_revise(worker, false);
}

/* Another node is short of what this one holds and does not need. */
static void give_back(struct worker *worker)
{
    unsigned recalls = atomic_load(&worker->node->recalls);
    if (recalls == worker->recalls)
        return;
    worker->recalls = recalls;
    worker->recalled_ms = worker->now_ms;
    grants_give_back(&worker->grants, worker->now_ms);
}

static void turn(struct worker *worker)
{
    struct io_uring_cqe *cqe;
    unsigned head, seen = 0;
    uint64_t before = bytes_handed(worker);
    read_clocks(worker);
    io_uring_for_each_cqe(&worker->ring, head, cqe)
    {
        on_completion(worker, cqe);
        if (++seen == COMPLETIONS_TURN)
            break;
    }
    io_uring_cq_advance(&worker->ring, seen);
    if (worker->woken) {
        worker->woken = false;
        refresh(worker);
        look_again(worker);
        give_back(worker);
        if (atomic_load(&worker->node->stopping) && !worker->stopping)
            on_stop(worker);
        ticks_look_again(worker);
        events_take_inquiries(worker);
    }
    redis_connection_read(worker->redis);
    run_ready(worker, before);
    if (worker->accept_paused_ms != 0 && worker->accept_freed)
        accept_arm(worker);
    redis_connection_flush(worker->redis);
}

/* Whether the next turn has something to do that no completion will announce. */
static bool has_work(const struct worker *worker)
{
    return worker->ready.first != NULL || redis_connection_has_unread(worker->redis);
}

void *worker_run(void *argument)
{
    struct worker *worker = argument;
    char name[16], error[512];
    snprintf(name, sizeof(name), "worker-%u", worker->index);
    pthread_setname_np(pthread_self(), name);
    /* SINGLE_ISSUER binds the ring to the thread that enables it: this one. */
    int status = ring_enable(&worker->ring, error, sizeof(error));
    if (status < 0) {
        log_error("worker %u: %s", worker->index, error);
        return NULL;
    }
    read_clocks(worker);
    atomic_store_explicit(&worker->turned_ms, worker->now_ms, memory_order_relaxed);
    arm_wake(worker);
    arm_tick(worker);
    accept_tick(worker);
    redis_connection_tick(worker->redis);
    redis_connection_flush(worker->redis);
    for (;;) {
        /* With something to do, completions are fetched without waiting for one. */
        status = io_uring_submit_and_wait(&worker->ring, has_work(worker) ? 0 : 1);
        /* A wait that failed for want of memory is not a wake-up, nor the worker's end. */
        if (status == -EAGAIN || status == -ENOMEM) {
            waiting_pause(SCARCE_PAUSE_MS);
        } else if (status < 0 && status != -EINTR && status != -EBUSY) {
            log_error("worker %u: io_uring_enter: %s", worker->index, strerrordesc_np(-status));
            break;
        }
        if (has_work(worker))
            io_uring_get_events(&worker->ring);
        turn(worker);
        if (!worker->stopping)
            continue;
        if (worker->open_count == 0)
            break;
        if (worker->now_ms - worker->stopped_ms >= worker->node->config->stop_timeout_ms)
            ticks_cut_all(worker);
    }
    inquiry_close(worker);
    /* Give back the funds that the windows still have, while the connection to Redis is up. */
    admission_sweep(worker);
    redis_connection_flush(worker->redis);
    /* Closed here and not later: outstanding questions wake other workers, which all still exist
     * now. */
    redis_connection_close(worker->redis);
    return NULL;
}

/* ---- making one ---- */

static int make_ring(struct worker *worker, char *error, size_t error_size)
{
    int status = ring_open(&worker->ring, error, error_size);
    if (status < 0)
        return status;
    return ring_add_buffers(&worker->ring, WORKER_BUFFERS, WORKER_BUFFER_SIZE, WORKER_BUFFER_GROUP,
                            &worker->buffers, &worker->buffer_memory, error, error_size);
}

static int make_connections(struct worker *worker)
{
    /*
     * The kernel spreads connections by hash, not evenly, so each worker has slots for all that the
     * node may have. Untouched slots cost no memory, so nothing may walk through them: the free
     * list holds only slots that were used before.
     */
    worker->capacity = (uint32_t)worker->node->config->connections_max;
    size_t size = worker->capacity * sizeof(struct connection);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_ANONYMOUS | MAP_PRIVATE | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return -errno;
    worker->connections = memory;
    worker->free_first = CONNECTION_NONE;
    return 0;
}

static void file_name_free(void *user)
{
    struct ledger_file *name = user;
    ledger_file_drop(&name);
}

int worker_create(struct worker **out, struct node *node, unsigned index, char *error,
                  size_t error_size)
{
    struct worker *worker = calloc(1, sizeof(*worker));
    if (worker == NULL)
        return -ENOMEM;
    *out = worker;
    snprintf(error, error_size, "worker %u: out of memory", index);
    worker->node = node;
    worker->index = index;
    for (unsigned i = 0; i < LISTENERS; i++)
        worker->listen_fd[i] = -1;
    worker->ring.ring_fd = -1;
    worker->redirects = strcmp(node->config->plain_http, "redirect") == 0;
    for (unsigned i = 0; i < node->config->issuers_count; i++)
        worker->has_origins = worker->has_origins || node->config->issuers[i].origins_count > 0;
    worker->trust = node_trust_hold(node);
    worker->tls = node_tls_hold(node);
    worker->wake_fd = eventfd(0, EFD_CLOEXEC);
    int status = worker->wake_fd < 0 ? -errno : make_ring(worker, error, error_size);
    if (status == 0)
        status = make_connections(worker);
    if (status == 0)
        status = token_cache_create(&worker->tokens, node->ledger, node->verifications,
                                    node->config->tokens_max);
    if (status == 0)
        status = target_cache_create(&worker->targets);
    if (status == 0)
        status =
            media_cache_create(&worker->files, node->media, (uint32_t)node->config->open_files_max,
                               (uint32_t)node->config->revalidate_ms, file_name_free);
    if (status == 0)
        status = media_residency_create(&worker->residency);
    if (status == 0 && worker->tls != NULL)
        status = tls_scratch_create(&worker->tls_scratch);
    worker->streams =
        (struct streams){.residency = worker->residency, .scratch = worker->tls_scratch};
    driver_prepare(worker);
    if (status == 0)
        status = redis_connection_create(&worker->redis, worker);
    if (status == 0)
        asker_prepare(worker);
    return status;
}

void worker_destroy(struct worker **out)
{
    struct worker *worker = *out;
    if (worker == NULL)
        return;
    redis_connection_destroy(&worker->redis);
    target_cache_destroy(&worker->targets);
    token_cache_destroy(&worker->tokens);
    media_cache_destroy(&worker->files);
    media_residency_destroy(&worker->residency);
    token_trust_drop(&worker->trust);
    tls_drop(&worker->tls);
    tls_scratch_destroy(&worker->tls_scratch);
    if (worker->ring.ring_fd >= 0)
        io_uring_queue_exit(&worker->ring);
    while (worker->deliveries_free != NULL) {
        struct delivery *delivery = worker->deliveries_free;
        worker->deliveries_free = delivery->next;
        free(delivery);
    }
    if (worker->buffers != NULL)
        munmap(worker->buffers, WORKER_BUFFERS * sizeof(struct io_uring_buf));
    if (worker->connections != NULL)
        munmap(worker->connections, worker->capacity * sizeof(struct connection));
    free(worker->buffer_memory);
    for (unsigned i = 0; i < LISTENERS; i++) {
        if (worker->listen_fd[i] >= 0)
            close(worker->listen_fd[i]);
    }
    if (worker->wake_fd >= 0)
        close(worker->wake_fd);
    free(worker);
    *out = NULL;
}
