/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's life, from its start to its stop. command_serve.c calls it; what others ask of a running
 * node is in server/delivery/node.h.
 */
#ifndef TOLLGATE_SERVER_NODE_RUN_H
#define TOLLGATE_SERVER_NODE_RUN_H

struct config;
struct config_source;

/*
 * Runs a node until SIGTERM or SIGINT, in the calling (main) thread. At SIGHUP it reads `source`,
 * from which `config` came, again, to tell what has changed. 0 after a clean stop, or a negative
 * errno with one sentence in `error` where it could not start.
 */
int node_run(const struct config *config, const struct config_source *source, char *error,
             unsigned long error_size);

#endif
