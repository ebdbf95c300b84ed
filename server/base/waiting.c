/* SPDX-License-Identifier: Apache-2.0 */
/* Waits that do not spin when the kernel refuses to wait. See waiting.h. */
#include "server/base/waiting.h"

#include <errno.h>
#include <time.h>

#define FAILED_PAUSE_MS 100

void waiting_pause(int timeout_ms)
{
    int pause_ms = timeout_ms < 0 || timeout_ms > FAILED_PAUSE_MS ? FAILED_PAUSE_MS : timeout_ms;
    const struct timespec pause = {.tv_nsec = pause_ms * 1000000L};
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
}

int waiting_poll(struct pollfd *items, nfds_t count, int timeout_ms)
{
    int ready = poll(items, count, timeout_ms);
    if (ready >= 0) {
        return ready;
    }
    int failure = errno;
    for (nfds_t i = 0; i < count; i++) {
        items[i].revents = 0;
    }
    if (failure != EINTR) {
        waiting_pause(timeout_ms);
    }
    return 0;
}
