/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin interface: HTTP/1.1 and JSON, one request per connection, in threads of its own, never
 * on a worker. The main thread starts and stops it (start.c and stop.c in server/node/). It moves
 * money and reads usage through the ledger and never talks to Redis itself. Operators reach it on
 * state_dir/admin.sock (mode 0600), shops at admin_listen, where each issuer's secret opens the
 * accounts of that issuer and no others.
 */
#ifndef TOLLGATE_SERVER_ADMIN_ADMIN_H
#define TOLLGATE_SERVER_ADMIN_ADMIN_H

#include <stddef.h>
#include <stdint.h>

struct admin;
struct config;
struct node;

/*
 * Reads the shops' secrets, binds the sockets and starts the threads. A stale socket is removed, so
 * the caller must have locked the state directory. From then on health is answered always, and all
 * other calls while the node's phase is NODE_SERVING. 0, or a negative errno with a sentence in
 * `error`, and *out is NULL.
 */
int admin_start(struct admin **out, struct node *node, char *error, size_t error_size);
/* Reads the secrets again. Where one cannot be read, the previous ones stay in force, and the log
 * says so. */
void admin_reload(struct admin *admin);
/*
 * Finishes the calls under way, refuses those that wait or come later, and returns when the admin
 * interface touches nothing of the node but its health. Blocks for as long as a call may.
 */
void admin_close_desk(struct admin *admin);
/* Closes the desk, joins the threads, and removes the sockets. *admin becomes NULL. */
void admin_stop(struct admin **admin);

/* How many descriptors the interface has open at most, connections to Redis included. */
uint64_t admin_descriptors(const struct config *config);

#endif
