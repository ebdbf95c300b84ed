/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clocks that threads read in milliseconds. Monotonic time begins somewhere: only its
 * differences mean anything.
 */
#ifndef TOLLGATE_SERVER_BASE_CLOCK_H
#define TOLLGATE_SERVER_BASE_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

static inline uint64_t clock_ms_of(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static inline uint64_t clock_monotonic_ms(void)
{
    return clock_ms_of(CLOCK_MONOTONIC);
}

/* As of the last tick of the kernel, at most some milliseconds ago; it costs a few instructions. */
static inline uint64_t clock_coarse_ms(void)
{
    return clock_ms_of(CLOCK_MONOTONIC_COARSE);
}

/* Since 1970, as far as this machine knows; it may go back. */
static inline uint64_t clock_real_ms(void)
{
    return clock_ms_of(CLOCK_REALTIME);
}

/* The monotonic time that is `wait_ns` nanoseconds from now, as waits for conditions take it. */
static inline struct timespec clock_monotonic_after(uint64_t wait_ns)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    uint64_t ns = (uint64_t)at.tv_nsec + wait_ns % 1000000000;
    at.tv_sec += (time_t)(wait_ns / 1000000000 + ns / 1000000000);
    at.tv_nsec = (long)(ns % 1000000000);
    return at;
}

/* Has waits for the condition measure their deadlines by the monotonic clock. */
static inline void clock_cond_init(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(condition, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

#endif
