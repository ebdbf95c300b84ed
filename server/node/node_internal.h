/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of a node's life share: run.c, which calls the others, start.c, stop.c,
 * listeners.c, workers.c, reload.c and watch.c. Everything here belongs to the main thread, but for
 * node_workers_wake.
 */
#ifndef TOLLGATE_SERVER_NODE_NODE_INTERNAL_H
#define TOLLGATE_SERVER_NODE_NODE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/delivery/node.h"
#include "server/link/trust.h"
#include "server/loop/listener.h"

struct admin;
struct redis_child;

/* What start.c opens besides the members of struct node, and stop.c closes. */
struct node_parts {
    struct node *node;
    struct redis_child *child;
    struct admin *admin;
    int listen_fds[LISTENERS][CONFIG_WORKERS_MAX]; /* the worker's, once there is one */
    unsigned listening[LISTENERS];                 /* how many of these are open */
};

/* Writes what is wrong with a key set to the log. */
extern const struct trust_warner node_trust_log;

/* Starts the node. 0, or a negative errno with one sentence in `error`; node_stop follows in either
 * case. */
int node_start(struct node_parts *parts, char *error, size_t error_size);
/*
 * Stops whatever runs of the node. The admin interface ends last, so that health says "stopping"
 * for as long as the node lives. 0, or a negative errno where the journal could not be closed.
 */
int node_stop(struct node_parts *parts);

/*
 * Opens and closes again each address that the node is to listen at: nothing is begun, neither
 * journal nor Redis, for a port that is taken or an address that is another host's. 0, or a
 * negative errno with one sentence in `error`.
 */
int node_listeners_try(const struct node *node, char *error, size_t error_size);
/*
 * Opens parts->listen_fds. Each worker has a listener of its own, or shares those that were passed
 * to the process. Called last: who connects before the workers accept is refused, and asks another
 * node, instead of waiting for a Redis that starts. 0, or a negative errno with one sentence in
 * `error`.
 */
int node_listeners_open(struct node_parts *parts, char *error, size_t error_size);
/* Closes the listeners that no worker has taken over. */
void node_listeners_close(struct node_parts *parts);
/* Logs where the node listens. Called once everything answers, the admin socket too: a script may
 * wait for the last line before it goes on. */
void node_listeners_announce(const struct node *node);

/* Makes and runs a worker for each listener. 0, or a negative errno with one sentence in `error`.
 */
int node_workers_start(struct node_parts *parts, char *error, size_t error_size);
/* Makes each worker look at what has changed. From any thread, at any time. */
void node_workers_wake(struct node *node);
/* Makes each worker take the new key sets and certificates. */
void node_workers_tell_reload(struct node *node);
/* Ends the workers' threads: transfers may finish within stop_timeout_ms, the others are cut. */
void node_workers_stop(struct node *node);
/* Frees the workers, whose threads have ended. */
void node_workers_destroy(struct node *node);

/* At SIGHUP: reads again what a reload takes, and logs what else has changed. */
void node_reload(struct node *node, struct admin *admin);
/*
 * Reads the key sets again; the caller tells the workers, who verify again what they remember of
 * the old trust. `news`: say so where they cannot be read; a file that stays broken is tried again
 * and again. False where the previous ones stay in force.
 */
bool node_reload_keys(struct node *node, bool news);

/* What the key files were when they were read last. */
struct node_watch {
    uint64_t print;
    bool broken;
};
/* Called before the key files are read, so that no change of theirs is missed. */
void node_watch_begin(struct node_watch *watch, const struct config *config);
/* Takes key files that have changed, and warns of each OCSP response that has ended. */
void node_watch(struct node *node, struct node_watch *watch);

#endif
