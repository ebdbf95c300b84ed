/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll(2) for the server's loops: where the wait itself fails, it pauses and returns 0, so that a
 * loop neither takes the failure for an event nor spins. Called by threads that wait outside a
 * worker's ring, and by the worker's loop for the pause; it keeps no state.
 */
#ifndef TOLLGATE_SERVER_BASE_WAITING_H
#define TOLLGATE_SERVER_BASE_WAITING_H

#include <poll.h>

/*
 * As poll(2), but never negative: how many of `items` are ready, with their revents. 0 where none
 * is, all revents 0: at the timeout (milliseconds; -1: none), on a signal, and where poll itself
 * fails (more items than RLIMIT_NOFILE is EINVAL for as long as it is so), then after a pause of a
 * tenth of a second at most. So the caller looks at its own deadline or stop after a 0.
 */
int waiting_poll(struct pollfd *items, nfds_t count, int timeout_ms);

/* Makes only the pause, for loops that wait by another call; `timeout_ms` as above. */
void waiting_pause(int timeout_ms);

#endif
