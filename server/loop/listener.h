/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets: one per worker on the same address (SO_REUSEPORT), so that the kernel spreads
 * connections and no lock is shared; or those that systemd holds for the node. Used when a node
 * starts, for its admin port, too, and by the doctor. They accept nothing (accept.c does).
 */
#ifndef TOLLGATE_SERVER_LOOP_LISTENER_H
#define TOLLGATE_SERVER_LOOP_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a worker accepts from; the index of OPERATION_ACCEPT. */
enum listener { LISTENER_PLAIN, LISTENER_TLS, LISTENERS };

#define LISTENER_BACKLOG 4096 /* clients to be accepted; the kernel's cap: net.core.somaxconn */

/*
 * Binds and listens on "HOST:PORT", "[V6]:PORT" or ":PORT" (all addresses) with `count` (1 or more)
 * sockets. `fds` receives their descriptors, which are the caller's. Two processes never share the
 * port: where another one listens there, this one is refused after a second. Port 0 lets the kernel
 * choose; `bound` receives "HOST:PORT" as bound. 0, or a negative errno with nothing open and, in
 * `error`, a sentence that names `key` (the configuration's) and the cure.
 */
int listener_open(const char *key, const char *address, unsigned count, int fds[], char *bound,
                  size_t bound_size, char *error, size_t error_size);

/*
 * For the doctor: whether an address, as listener_open takes it, could be bound by a socket that
 * shares it with nobody. 0, or the negative errno of bind. Port 0 always can.
 */
int listener_probe(const char *address);

/*
 * Whether to try once more where an address is in use: the kernel closes the sockets in the ring of
 * a killed node some time after the process is gone. Pauses for a moment; false once a second has
 * passed since the first call, before which *since_ms is 0.
 */
bool listener_tries_again(uint64_t *since_ms);

/* Writes the "HOST:PORT" to which a listening socket is bound; "" where it cannot be told. */
void listener_name(int fd, char *bound, size_t size);

/*
 * How many sockets of the kind a service manager has passed (LISTEN_FDS and LISTEN_PID,
 * sd_listen_fds(3)). Those that it names "tls" or "https" (LISTEN_FDNAMES, FileDescriptorName=) are
 * for TLS. A second call answers the same.
 */
unsigned listener_passed(enum listener kind);

/*
 * Returns a new descriptor, which is the caller's, for the passed socket `index` of the kind, from
 * which several workers may accept. It must be a listening TCP socket. Errors as for listener_open.
 */
int listener_take(enum listener kind, unsigned index, char *error, size_t error_size);

/* Closes the passed descriptors themselves; those that were taken stay. */
void listener_close_passed(void);

#endif
