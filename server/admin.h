/*
 * The admin interface: HTTP/1.1 and JSON on state_dir/admin.sock (mode 0600), one request per
 * connection, in a thread of its own, never on a worker. It moves money and reads usage through the
 * ledger, so nothing goes straight to Redis.
 */
#ifndef TOLLGATE_SERVER_ADMIN_H
#define TOLLGATE_SERVER_ADMIN_H

#include <stddef.h>

struct admin;
struct node;

/* Binds the socket (a stale one is removed: the state directory is locked) and starts the thread.
 */
int admin_start(struct admin **out, struct node *node, char *error, size_t error_size);
/* Finishes the request under way, removes the socket, joins. */
void admin_stop(struct admin **admin);

#endif
