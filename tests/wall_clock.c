/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A preload that gives a process another wall clock: CLOCK_REALTIME, gettimeofday and time. The
 * eight bytes (little-endian) of a file that is mapped once say which:
 *
 *   CLOCK_STEP_FILE  nanoseconds, signed, by which the clock is ahead; the soak steps it so
 *   CLOCK_TOLD_FILE  microseconds since 1970, which the time is; simulation_store_test tells its
 *                    redis-server so
 *
 * It never moves the monotonic clock, as a clock that an operator or NTP sets does not.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NANOSECONDS 1000000000LL

static const volatile int64_t *step, *told;

static const volatile int64_t *map(const char *variable)
{
    const char *path = getenv(variable);
    if (path == NULL)
        return NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*step), PROT_READ, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        abort(); /* a process at another time would fail a test, or pass it, for nothing */
    close(fd);
    return page;
}

__attribute__((constructor)) static void map_files(void)
{
    step = map("CLOCK_STEP_FILE");
    told = map("CLOCK_TOLD_FILE");
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
    long result = syscall(SYS_clock_gettime, clock, out);
    if (result != 0 || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
        return (int)result;
    int64_t now = out->tv_sec * NANOSECONDS + out->tv_nsec;
    if (told != NULL)
        now = *told * 1000;
    if (step != NULL)
        now += *step;
    out->tv_sec = now / NANOSECONDS;
    out->tv_nsec = now % NANOSECONDS;
    return 0;
}

/* `zone` is obsolete; no program of the tests asks for it. */
int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    (void)zone;
    struct timespec now;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return result;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}
