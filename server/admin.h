/*
 * The admin interface: HTTP/1.1 and JSON, one request per connection, in threads of its own, never
 * on a worker. It moves money and reads usage through the ledger, so nothing goes straight to Redis.
 * For operators on state_dir/admin.sock (mode 0600); for shops at admin_listen, where each issuer's
 * secret reaches the accounts of that issuer and no others.
 */
#ifndef TOLLGATE_SERVER_ADMIN_H
#define TOLLGATE_SERVER_ADMIN_H

#include <stddef.h>

struct admin;
struct node;

/*
 * Reads the shops' secrets, binds the sockets (a stale one is removed: the state directory is
 * locked) and starts the threads.
 */
int admin_start(struct admin **out, struct node *node, char *error, size_t error_size);
/* The secrets anew; where one cannot be read, those before stay in force and the log says so. */
void admin_reload(struct admin *admin);
/* Finishes the requests under way, removes the sockets, joins. */
void admin_stop(struct admin **admin);

#endif
