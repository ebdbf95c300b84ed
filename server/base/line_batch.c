/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a batch of lines, whole ones or none. See line_batch.h. */
#include "server/base/line_batch.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/waiting.h"

#define LOOK_MS 200 /* how often a wait for room looks at give_up_ms */

static bool is_time_over(const atomic_ullong *give_up_ms)
{
    uint64_t end_ms = atomic_load(give_up_ms);
    return end_ms != 0 && clock_monotonic_ms() >= end_ms;
}

/* Returns how many bytes were written; where those are fewer than `length`, *error says why. */
static size_t write_out(int fd, const char *data, size_t length, const atomic_ullong *give_up_ms,
                        int *error)
{
    size_t done = 0;
    while (done < length) {
        ssize_t written = write(fd, data + done, length - done);
        if (written >= 0) {
            done += (size_t)written;
            continue;
        }
        *error = errno;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN || is_time_over(give_up_ms))
            break;
        struct pollfd room = {.fd = fd, .events = POLLOUT};
        (void)waiting_poll(&room, 1, LOOK_MS);
    }
    return done;
}

static uint64_t lines_in(const char *data, size_t length)
{
    uint64_t lines = 0;
    for (const char *at = data; (at = memchr(at, '\n', (size_t)(data + length - at))) != NULL; at++)
        lines++;
    return lines;
}

struct line_batch_outcome line_batch_write(struct line_batch *batch, int fd,
                                           const atomic_ullong *give_up_ms)
{
    struct line_batch_outcome outcome = {0};
    size_t done = 0;
    if (batch->torn && write_out(fd, "\n", 1, give_up_ms, &outcome.error) == 1)
        batch->torn = false;
    if (!batch->torn)
        done = write_out(fd, batch->bytes, batch->length, give_up_ms, &outcome.error);
    outcome.written = lines_in(batch->bytes, done);
    outcome.lost = lines_in(batch->bytes, batch->length) - outcome.written;
    batch->torn = batch->torn || (done > 0 && batch->bytes[done - 1] != '\n');
    batch->length = 0;
    return outcome;
}
