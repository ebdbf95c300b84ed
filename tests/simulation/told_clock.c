/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A preload that tells a process the time: CLOCK_REALTIME, gettimeofday and time are the
 * microseconds in the file that TOLD_CLOCK_FILE names (eight bytes, little-endian, mapped once). The
 * monotonic clock runs on. Only simulation_store_test uses it, for its redis-server.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MICROSECONDS 1000000ULL

static const volatile uint64_t *told;

__attribute__((constructor)) static void map_clock(void)
{
    const char *path = getenv("TOLD_CLOCK_FILE");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    void *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*told), PROT_READ, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        abort(); /* a server at another time would pass for a difference */
    close(fd);
    told = page;
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
    if (told == NULL || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
        return (int)syscall(SYS_clock_gettime, clock, out);
    uint64_t now = *told;
    out->tv_sec = (time_t)(now / MICROSECONDS);
    out->tv_nsec = (long)(now % MICROSECONDS) * 1000;
    return 0;
}

/* `zone` is obsolete; Redis does not ask for it. */
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
