/*
 * Listening sockets: one per worker on the same address (SO_REUSEPORT), so that the kernel spreads
 * connections and no lock is shared. Used when a node starts.
 */
#ifndef TOLLGATE_SERVER_LISTENER_H
#define TOLLGATE_SERVER_LISTENER_H

#include <stddef.h>

/*
 * Binds and listens on "HOST:PORT", "[V6]:PORT" or ":PORT" (all addresses). Port 0 lets the kernel
 * choose: `bound` receives "HOST:PORT" as bound, and is the address for the further listeners.
 * Returns the descriptor, or a negative errno with a sentence that names the cure.
 */
int listener_open(const char *address, char *bound, size_t bound_size, char *error,
                  size_t error_size);

#endif
