/* SPDX-License-Identifier: Apache-2.0 */
/* How many descriptors a node may have, and has left. See descriptors.h. */
#include "server/delivery/descriptors.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <unistd.h>

uint64_t descriptors_reserve(uint64_t limit)
{
    return limit / 8 < DESCRIPTORS_RESERVE_MAX ? limit / 8 : DESCRIPTORS_RESERVE_MAX;
}

struct descriptors descriptors_read(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT_MAX)
        limit.rlim_cur = INT_MAX;
    int all = (int)limit.rlim_cur, reserve = (int)descriptors_reserve(limit.rlim_cur);
    return (struct descriptors){
        .limit = all, .connections = all - reserve, .files = all - reserve / 2};
}

bool descriptors_left(int any, int bound)
{
    int lowest = fcntl(any, F_DUPFD_CLOEXEC, 0);
    if (lowest >= 0)
        close(lowest);
    return lowest >= 0 && lowest < bound;
}
