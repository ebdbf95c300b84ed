/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random numbers that a seed alone decides (SplitMix64, Steele, Lea and Flood 2014). Everything in
 * the simulation that is left to chance comes from here.
 */
#ifndef TOLLGATE_SIMULATION_RANDOM_H
#define TOLLGATE_SIMULATION_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct random {
    uint64_t state;
};

static inline uint64_t random_next(struct random *random)
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}
/* From 0 to `count` - 1; `count` is 1 or more. */
static inline uint64_t random_below(struct random *random, uint64_t count)
{
    return random_next(random) % count;
}
/* From `low` to `high`, both possible. */
static inline uint64_t random_between(struct random *random, uint64_t low, uint64_t high)
{
    return low + random_below(random, high - low + 1);
}
/* True `part` times in `whole`. */
static inline bool random_happens(struct random *random, unsigned part, unsigned whole)
{
    return random_below(random, whole) < part;
}
/* Writes `count` hexadecimal digits, without a NUL. */
static inline void random_hex(struct random *random, char *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = "0123456789abcdef"[random_below(random, 16)];
}
/* A seed for what has two numbers of its own, so that leaving one thing out moves no other. */
static inline uint64_t random_mix(uint64_t seed, uint64_t a, uint64_t b)
{
    struct random random = {seed ^ a * UINT64_C(0xd6e8feb86659fd93)};
    random.state = random_next(&random) ^ b;
    return random_next(&random);
}

#endif
