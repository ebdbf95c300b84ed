/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two functions of the C library, in whose place the simulation's stand: random numbers come from
 * the seed, and the state directories' few files (the lock, the instance) need no sync, since the
 * simulated disk holds the journal.
 */
#include <sys/random.h>
#include <unistd.h>

#include "tests/simulation/sim.h"

static struct random entropy;

void sim_entropy_seed(uint64_t seed)
{
    entropy.state = seed;
}

ssize_t getrandom(void *buffer, size_t length, unsigned flags)
{
    uint8_t *out = buffer;
    (void)flags;
    for (size_t i = 0; i < length; i++)
        out[i] = (uint8_t)random_next(&entropy);
    return (ssize_t)length;
}

int fsync(int fd)
{
    (void)fd;
    return 0;
}
