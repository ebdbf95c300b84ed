/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides when a worker accepts clients, and when it pauses because descriptors have run out.
 * worker.c's loop calls it; it hands each accepted socket to driver.c and never reads from one.
 *
 *   NOT --descriptors for a whole queue--> ALL (multishot) --no longer enough--> ENDING --> NOT
 *    '----a descriptor is left-----------> ONE --accepted, or failed-----------> NOT
 *
 * While no descriptor is left, clients wait in the kernel's queue. The worker tries again when one
 * of its connections has ended, and at each tick, as something else may have freed a descriptor.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/base/log.h"
#include "server/delivery/descriptors.h"
#include "server/delivery/driver.h"
#include "server/loop/listener.h"
#include "storage/media/media.h"

#define RESUMED_MS     1000 /* without a failure, before the log says that accepting goes on */
#define FILES_GIVEN_UP 8    /* idle cached files closed, at most, to make room for one connection */

/*
 * A multishot accept takes all waiting clients in one go, so there must be room for the full queues
 * of all workers. Where those queues exceed half of the descriptors, half of them is taken to be
 * enough: the queues are hardly all full at once.
 */
static bool has_room_for_all(const struct worker *worker)
{
    const struct node *node = worker->node;
    int64_t most = worker->descriptors.connections;
    int64_t queues = (int64_t)node->worker_count * (worker->tls != NULL ? 2 : 1) * LISTENER_BACKLOG;
    int64_t half = most / 2 > LISTENER_BACKLOG ? most / 2 : LISTENER_BACKLOG;
    return most - (int64_t)atomic_load(&node->connections) > (queues < half ? queues : half);
}

static bool has_room_for_one(struct worker *worker)
{
    int given_up = 0;
    while (!descriptors_left(worker->wake_fd, worker->descriptors.connections)) {
        if (given_up++ == FILES_GIVEN_UP || !media_cache_give_back(worker->files))
            return false;
    }
    return true;
}

static void pause_accepting(struct worker *worker, int error)
{
    worker->accept_failed_ms = worker->now_ms;
    if (worker->accept_paused_ms != 0)
        return;
    worker->accept_paused_ms = worker->now_ms;
    log_warning(
        "worker %u: clients wait until descriptors are freed: %s (the limit is %d); raise %s",
        worker->index, strerrordesc_np(error), worker->descriptors.limit,
        error == ENFILE ? "sysctl fs.file-max"
                        : "LimitNOFILE= or ulimit -n, or lower connections_max");
}

static void arm(struct worker *worker, enum listener listener)
{
    if (worker->listen_fd[listener] < 0 || worker->accepting[listener] != ACCEPTING_NOT)
        return;
    bool all = has_room_for_all(worker);
    if (!all && !has_room_for_one(worker)) {
        pause_accepting(worker, EMFILE);
        return;
    }
    struct io_uring_sqe *sqe = worker_sqe(worker);
    /* The socket itself must be non-blocking, because sendfile(2) has no MSG_DONTWAIT. */
    const int flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
    if (all)
        io_uring_prep_multishot_accept(sqe, worker->listen_fd[listener], NULL, NULL, flags);
    else
        io_uring_prep_accept(sqe, worker->listen_fd[listener], NULL, NULL, flags);
    sqe->user_data = operation_data(OPERATION_ACCEPT, 0, listener);
    worker->accepting[listener] = all ? ACCEPTING_ALL : ACCEPTING_ONE;
}

static void cancel(struct worker *worker, enum listener listener)
{
    struct io_uring_sqe *sqe = worker_sqe(worker);
    io_uring_prep_cancel64(sqe, operation_data(OPERATION_ACCEPT, 0, listener), 0);
    sqe->user_data = operation_data(OPERATION_IGNORED, 0, 0);
}

static void end(struct worker *worker, enum listener listener)
{
    enum accepting accepting = worker->accepting[listener];
    if (accepting == ACCEPTING_ONE || accepting == ACCEPTING_ALL) {
        cancel(worker, listener);
        worker->accepting[listener] = ACCEPTING_ENDING;
    }
}

static void end_where_all_do_not_fit(struct worker *worker, enum listener listener)
{
    if (worker->accepting[listener] == ACCEPTING_ALL && !has_room_for_all(worker))
        end(worker, listener);
}

void accept_arm(struct worker *worker)
{
    worker->accept_freed = false;
    if (worker->stopping)
        return;
    arm(worker, LISTENER_PLAIN);
    arm(worker, LISTENER_TLS);
}

void accept_completed(struct worker *worker, enum listener listener, int result, bool more)
{
    if (result >= 0)
        driver_accept(worker, result, listener == LISTENER_TLS);
    else if (result == -EMFILE || result == -ENFILE || result == -ENOMEM || result == -ENOBUFS)
        pause_accepting(worker, -result);
    else if (result != -ECANCELED && result != -EAGAIN && result != -ECONNABORTED)
        log_warning("worker %u: accept: %s", worker->index, strerrordesc_np(-result));
    if (more) {
        end_where_all_do_not_fit(worker, listener);
        return;
    }
    worker->accepting[listener] = ACCEPTING_NOT;
    if (result >= 0 || result == -ECANCELED || result == -ECONNABORTED)
        accept_arm(worker); /* after another failure the tick does: trying at once would spin */
}

void accept_tick(struct worker *worker)
{
    struct descriptors now = descriptors_read();
    /* An accept keeps the limit that was in force when it was submitted: a change must end it. */
    bool changed = now.limit != worker->descriptors.limit;
    worker->descriptors = now;
    media_cache_set_descriptor_max(worker->files, now.files);
    for (enum listener listener = LISTENER_PLAIN; listener < LISTENERS; listener++) {
        if (changed)
            end(worker, listener);
        else
            end_where_all_do_not_fit(worker, listener);
    }
    accept_arm(worker);
    if (worker->accept_paused_ms != 0 && !worker->stopping &&
        worker->now_ms - worker->accept_failed_ms >= RESUMED_MS) {
        log_info("worker %u: accepts again; clients had to wait now and then for %llu s",
                 worker->index,
                 (unsigned long long)(worker->now_ms - worker->accept_paused_ms) / 1000);
        worker->accept_paused_ms = 0;
    }
}

/*
 * Accepts all clients that have connected, so that they are answered, and has the kernel refuse
 * later ones. close() alone would leave those waiting, as the accept on the ring keeps the socket
 * open until the ring itself ends.
 */
static void empty_and_shut(struct worker *worker, enum listener listener)
{
    int fd = worker->listen_fd[listener];
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0) {
        for (int i = 0; i <= LISTENER_BACKLOG; i++) {
            int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
            if (client < 0 && errno != ECONNABORTED)
                break;
            if (client >= 0)
                driver_accept(worker, client, listener == LISTENER_TLS);
        }
    }
    shutdown(fd, SHUT_RD);
}

void accept_stop(struct worker *worker)
{
    for (enum listener listener = LISTENER_PLAIN; listener < LISTENERS; listener++) {
        if (worker->listen_fd[listener] < 0)
            continue;
        cancel(worker, listener);
        /* A service manager keeps the socket that it passed: the next node serves its queue. */
        if (listener_passed(listener) == 0)
            empty_and_shut(worker, listener);
        close(worker->listen_fd[listener]);
        worker->listen_fd[listener] = -1;
    }
}
