/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's workers together: they are made and run, woken, told of a reload, ended and destroyed.
 * The files beside it call this from the main thread; node_workers_wake is also called by threads
 * of the ledger and of media, which run before there are workers and after them. What one worker
 * does is in server/delivery/worker.c.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "server/base/log.h"
#include "server/delivery/worker.h"
#include "server/node/node_internal.h"

static void set_has_workers(struct node *node, bool has)
{
    pthread_mutex_lock(&node->wake_mutex);
    node->has_workers = has;
    pthread_mutex_unlock(&node->wake_mutex);
}

void node_workers_wake(struct node *node)
{
    pthread_mutex_lock(&node->wake_mutex);
    if (node->has_workers) {
        for (unsigned i = 0; i < node->worker_count; i++)
            worker_wake(node->workers[i]);
    }
    pthread_mutex_unlock(&node->wake_mutex);
}

int node_workers_start(struct node_parts *parts, char *error, size_t error_size)
{
    struct node *node = parts->node;
    unsigned workers = parts->listening[LISTENER_PLAIN];
    for (unsigned i = 0; i < workers; i++) {
        int status = worker_create(&node->workers[i], node, i, error, error_size);
        if (node->workers[i] == NULL)
            return status;
        node->worker_count = i + 1;
        for (enum listener kind = LISTENER_PLAIN; kind < LISTENERS; kind++) {
            if (i < parts->listening[kind])
                node->workers[i]->listen_fd[kind] = parts->listen_fds[kind][i];
        }
        if (status != 0)
            return status;
    }
    set_has_workers(node, true);
    for (unsigned i = 0; i < workers; i++) {
        int status = -pthread_create(&node->workers[i]->thread, NULL, worker_run, node->workers[i]);
        if (status != 0) {
            snprintf(error, error_size, "worker %u: %s", i, strerrordesc_np(-status));
            return status;
        }
        node->workers[i]->started = true;
    }
    return 0;
}

void node_workers_tell_reload(struct node *node)
{
    atomic_fetch_add(&node->reloads, 1);
    for (unsigned i = 0; i < node->worker_count; i++)
        worker_wake(node->workers[i]);
}

void node_workers_stop(struct node *node)
{
    uint64_t cut = 0;
    atomic_store(&node->stopping, true);
    for (unsigned i = 0; i < node->worker_count; i++) {
        if (node->workers[i]->started)
            worker_wake(node->workers[i]);
    }
    for (unsigned i = 0; i < node->worker_count; i++) {
        if (node->workers[i]->started)
            pthread_join(node->workers[i]->thread, NULL);
        cut += atomic_load(&node->workers[i]->cut_at_stop);
    }
    if (node->worker_count > 0 && cut == 0)
        log_info("stopped; no transfer was cut");
    else if (cut > 0)
        log_info("stopped; %llu transfer%s cut after %llu ms (stop_timeout_ms)",
                 (unsigned long long)cut, cut == 1 ? " was" : "s were",
                 (unsigned long long)node->config->stop_timeout_ms);
}

void node_workers_destroy(struct node *node)
{
    set_has_workers(node, false);
    for (unsigned i = 0; i < node->worker_count; i++)
        worker_destroy(&node->workers[i]);
}
