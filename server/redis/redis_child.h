/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded Redis: a private redis-server child on a Unix socket in the state directory,
 * append-only file on, noeviction, restarted with backoff when it dies or answers nothing for 10 s
 * (LOADING and BUSY are answers). Started and watched by a thread of its own; it dies with the
 * node. Not used where `redis` names an address.
 */
#ifndef TOLLGATE_SERVER_REDIS_REDIS_CHILD_H
#define TOLLGATE_SERVER_REDIS_REDIS_CHILD_H

#include <stddef.h>
#include <sys/types.h>

struct redis_child;

/*
 * Starts it and waits (some seconds at most) until it answers PING. `address` receives
 * "unix:STATE_DIR/redis.sock". A redis-server left by a killed node on the same directory is ended
 * first (its pid file, compared with /proc to be ours). On failure a negative errno and a
 * sentence with the cure.
 */
int redis_child_start(struct redis_child **out, const char *state_dir, char *address,
                      size_t address_size, char *error, size_t error_size);
/* The process id of redis-server now; 0 while it is being restarted. */
pid_t redis_child_pid(struct redis_child *child);
/* Ends redis-server and frees the child: SIGTERM, on which redis-server syncs its append-only file,
 * then SIGKILL after 10 s. */
void redis_child_stop(struct redis_child **child);

#endif
