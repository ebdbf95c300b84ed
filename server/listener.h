/*
 * Listening sockets: one per worker on the same address (SO_REUSEPORT), so that the kernel spreads
 * connections and no lock is shared; or those that systemd holds for the node. Used when a node
 * starts.
 */
#ifndef TOLLGATE_SERVER_LISTENER_H
#define TOLLGATE_SERVER_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/worker.h"

#define LISTENER_BACKLOG                                                                           \
    4096 /* who waits to be accepted; the kernel caps it at net.core.somaxconn */

/*
 * Binds and listens on "HOST:PORT", "[V6]:PORT" or ":PORT" (all addresses) with `count` (1 or more) sockets,
 * whose descriptors `fds` receives; they are the caller's. Another process that listens there, or begins to at the
 * same moment, is refused, or this one is, after a second. Port 0 lets the kernel choose; `bound` receives
 * "HOST:PORT" as bound. 0, or a negative errno with a sentence that names `key`, the configuration's, and
 * the cure, and nothing open.
 */
int listener_open(const char *key, const char *address, unsigned count, int fds[], char *bound,
                  size_t bound_size, char *error, size_t error_size);

/*
 * For the doctor: whether an address as of listener_open could be bound by a socket that shares it with
 * nobody: 0, or bind's negative errno. Port 0 always can.
 */
int listener_probe(const char *address);

/*
 * Whether to try once more where an address is in use: the kernel takes the sockets of a killed node
 * from its ring some time after the process is gone. Pauses for a moment, and says no once it has been
 * asked for a second. `since_ms` is 0 before the first call.
 */
bool listener_tries_again(uint64_t *since_ms);

/* "HOST:PORT" that a listening socket is bound to; "" where it cannot be told. */
void listener_name(int fd, char *bound, size_t size);

/*
 * Sockets that a service manager passed (LISTEN_FDS and LISTEN_PID, sd_listen_fds(3)): how many of
 * the kind. Those that it names (LISTEN_FDNAMES, FileDescriptorName=) "tls" or "https" are for TLS.
 * A second call answers the same.
 */
unsigned listener_passed(enum listener kind);

/*
 * Takes the `index`th of them: a descriptor of its own for the caller, over the same socket, which
 * several workers may accept from. It must be a listening TCP socket. Errors as of listener_open.
 */
int listener_take(enum listener kind, unsigned index, char *error, size_t error_size);

/* Closes the passed descriptors themselves; those that were taken stay. */
void listener_close_passed(void);

#endif
