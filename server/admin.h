/*
 * The admin interface: HTTP/1.1 and JSON, one request per connection, in threads of its own, never
 * on a worker. It moves money and reads usage through the ledger, so nothing goes straight to Redis.
 * For operators on state_dir/admin.sock (mode 0600); for shops at admin_listen, where each issuer's
 * secret reaches the accounts of that issuer and no others.
 */
#ifndef TOLLGATE_SERVER_ADMIN_H
#define TOLLGATE_SERVER_ADMIN_H

#include <stddef.h>
#include <stdint.h>

struct admin;
struct config;
struct node;

/*
 * Reads the shops' secrets, binds the sockets (a stale one is removed: the caller has locked the
 * state directory) and starts the threads. What the node's phase allows is told and done from then
 * on: health always, all else while the node serves.
 */
int admin_start(struct admin **out, struct node *node, char *error, size_t error_size);
/* Reads the secrets again. Where one cannot be read, the previous ones stay in force, and the log
 * says so. */
void admin_reload(struct admin *admin);
/*
 * Finishes the calls under way, refuses those that wait or come later, and returns when nothing of
 * the node but its health is touched any more. Blocks for as long as a call may.
 */
void admin_close_desk(struct admin *admin);
/* Closes the desk, removes the sockets, joins. */
void admin_stop(struct admin **admin);

/* At most, with a connection to Redis for each call that is being done. */
uint64_t admin_descriptors(const struct config *config);

#endif
