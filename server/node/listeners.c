/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sockets that a node listens at: whether they can be had, before anything else is begun; one
 * of each kind for each worker; and the lines of the log that name them. start.c and stop.c call
 * it. How one socket is opened, or taken from the service manager, is in server/loop/listener.c.
 */
#include <unistd.h>

#include "server/base/log.h"
#include "server/delivery/worker.h"
#include "server/loop/listener.h"
#include "server/node/node_internal.h"
#include "server/transport/tls.h"

/* Raises the number of workers so that each socket passed to the process is served. */
static unsigned count_workers(const struct config *config)
{
    unsigned workers = node_workers(config);
    for (enum listener kind = LISTENER_PLAIN; kind < LISTENERS; kind++) {
        if (workers < listener_passed(kind))
            workers = listener_passed(kind) < CONFIG_WORKERS_MAX ? listener_passed(kind)
                                                                 : CONFIG_WORKERS_MAX;
    }
    return workers;
}

static const char *const listen_keys[] = {
    [LISTENER_PLAIN] = "listen", [LISTENER_TLS] = "listen_tls"};

static const char *listen_address(const struct config *config, enum listener kind)
{
    return kind == LISTENER_TLS ? config->listen_tls : config->listen;
}

int node_listeners_open(struct node_parts *parts, char *error, size_t error_size)
{
    const struct config *config = parts->node->config;
    char bound[300];
    int status = 0;
    unsigned workers = count_workers(config);
    for (enum listener kind = LISTENER_PLAIN; kind < LISTENERS; kind++) {
        unsigned passed = listener_passed(kind), opened = 0;
        int *fds = parts->listen_fds[kind];
        if (kind == LISTENER_TLS && parts->node->tls == NULL)
            continue;
        if (passed == 0) {
            status = listener_open(listen_keys[kind], listen_address(config, kind), workers, fds,
                                   bound, sizeof(bound), error, error_size);
            opened = status == 0 ? workers : 0;
        }
        while (passed > 0 && opened < workers &&
               (status = listener_take(kind, opened % passed, error, error_size)) >= 0)
            fds[opened++] = status;
        parts->listening[kind] = opened;
        if (status < 0)
            return status;
    }
    listener_close_passed();
    return 0;
}

int node_listeners_try(const struct node *node, char *error, size_t error_size)
{
    char bound[300];
    int fd, status = 0;
    for (enum listener kind = LISTENER_PLAIN; kind < LISTENERS && status == 0; kind++) {
        if (listener_passed(kind) > 0 || (kind == LISTENER_TLS && node->tls == NULL))
            continue;
        status = listener_open(listen_keys[kind], listen_address(node->config, kind), 1, &fd, bound,
                               sizeof(bound), error, error_size);
        if (status == 0)
            close(fd);
    }
    return status;
}

void node_listeners_close(struct node_parts *parts)
{
    for (enum listener kind = LISTENER_PLAIN; kind < LISTENERS; kind++) {
        for (unsigned i = parts->node->worker_count; i < parts->listening[kind]; i++)
            close(parts->listen_fds[kind][i]);
    }
}

static void announce_kind(const struct node *node, enum listener kind, const char *what)
{
    char bound[300];
    unsigned passed = listener_passed(kind), sockets = passed > 0 ? passed : 1;
    for (unsigned i = 0; i < sockets && i < node->worker_count; i++) {
        listener_name(node->workers[i]->listen_fd[kind], bound, sizeof(bound));
        log_info("%s %s with %u worker%s%s", what, bound, node->worker_count,
                 node->worker_count == 1 ? "" : "s",
                 passed > 0 ? ", passed by the service manager" : "");
    }
}

void node_listeners_announce(const struct node *node)
{
    if (node->tls != NULL) {
        log_info("%u certificate%s; TLS records are encrypted %s", tls_certificate_count(node->tls),
                 tls_certificate_count(node->tls) == 1 ? "" : "s",
                 tls_has_kernel() ? "by the kernel"
                                  : "by OpenSSL, because the kernel's module tls is not loaded; "
                                    "modprobe tls makes it faster");
        announce_kind(node, LISTENER_TLS, "speaking TLS on");
    }
    announce_kind(node, LISTENER_PLAIN, "listening on");
}
