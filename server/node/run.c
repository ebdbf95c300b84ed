/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's life in the main thread: makes struct node, starts everything (start.c), waits for
 * signals and acts on them (reload.c, watch.c), and ends it (stop.c). command_serve.c calls it. See
 * server/delivery/node.h for what the threads share.
 */
#include "server/node/run.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/access_log/access_log.h"
#include "server/base/log.h"
#include "server/base/strike.h"
#include "server/node/node_internal.h"
#include "server/node/service_manager.h"

#define WATCH_MS 400 /* between two looks at the key files */

/* Signals are taken by the main thread alone; every thread started later inherits the mask. */
static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN); /* sendfile has no MSG_NOSIGNAL */
}

/* Waits for the signal that ends the node. Meanwhile it reloads at SIGHUP and when a key file
 * changes, reopens the access log at SIGUSR1, and watches the OCSP responses. */
static int wait_for_end(struct node *node, struct admin *admin, const sigset_t *signals,
                        struct node_watch *watch)
{
    for (;;) {
        const struct timespec pause = {.tv_nsec = WATCH_MS * 1000000L};
        int number = sigtimedwait(signals, NULL, &pause);
        if (number == SIGTERM || number == SIGINT)
            return number;
        if (number == SIGHUP)
            node_reload(node, admin);
        else if (number == SIGUSR1 && node->access_log != NULL)
            access_log_reopen(node->access_log);
        node_watch(node, watch);
    }
}

int node_run(const struct config *config, const struct config_source *source, char *error,
             unsigned long error_size)
{
    struct node *node = calloc(1, sizeof(*node));
    struct node_parts parts = {.node = node};
    sigset_t signals;
    struct timespec now;
    struct node_watch watch;
    if (node == NULL) {
        snprintf(error, error_size, "out of memory");
        return -ENOMEM;
    }
    strike_name_set(config->token_attribute);
    /* Some fifteen threads allocate now and then. Each malloc arena keeps the most memory that it
     * ever needed, so their number is bounded. */
    mallopt(M_ARENA_MAX, (int)node_workers(config) + 1);
    int status = log_start();
    if (status != 0) {
        snprintf(error, error_size, "start the log's thread: %s", strerrordesc_np(-status));
        free(node);
        return status;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    node->config = config;
    node->source = *source;
    node->phase = NODE_STARTING;
    pthread_mutex_init(&node->phase_mutex, NULL);
    pthread_mutex_init(&node->reload_mutex, NULL);
    pthread_mutex_init(&node->wake_mutex, NULL);
    node->started_ms = (uint64_t)now.tv_sec * 1000;
    block_signals(&signals);
    node_watch_begin(&watch, config);
    status = node_start(&parts, error, error_size);
    if (status == 0) {
        service_manager_tell("READY=1");
        int number = wait_for_end(node, parts.admin, &signals, &watch);
        service_manager_tell("STOPPING=1");
        log_info("SIG%s: stopping; transfers in progress may finish within %llu ms "
                 "(stop_timeout_ms)",
                 sigabbrev_np(number), (unsigned long long)config->stop_timeout_ms);
    }
    int stopped = node_stop(&parts);
    pthread_mutex_destroy(&node->phase_mutex);
    pthread_mutex_destroy(&node->reload_mutex);
    pthread_mutex_destroy(&node->wake_mutex);
    explicit_bzero(&node->redis, sizeof(node->redis));
    free(node);
    log_stop();
    return status != 0 ? status : stopped;
}
