/* How many descriptors a node needs, may have and has left. See descriptors.h. */
#include "server/descriptors.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/admin.h"
#include "server/config.h"
#include "server/node.h"

#define OF_NODE   40 /* journal, Redis, media, logs, key files, the admin interface at rest */
#define OF_WORKER 8  /* ring, listeners, wake, Redis, a file that is being replaced */
#define CLIENTS   16 /* each with a file; a node that has room for fewer is of no use */

static uint64_t reserve_of(uint64_t limit)
{
    return limit / 8 < DESCRIPTORS_RESERVE_MAX ? limit / 8 : DESCRIPTORS_RESERVE_MAX;
}

uint64_t descriptors_wanted(const struct config *config)
{
    uint64_t workers = node_workers(config);
    return config->connections_max + workers * (config->open_files_max + OF_WORKER) +
           admin_descriptors(config) + OF_NODE + DESCRIPTORS_RESERVE_MAX;
}

uint64_t descriptors_least(const struct config *config)
{
    uint64_t least = node_workers(config) * OF_WORKER + OF_NODE + 2 * CLIENTS;
    return least + reserve_of(least * 8 / 7);
}

void descriptors_raise(const struct config *config)
{
    struct rlimit limit;
    rlim_t wanted = descriptors_wanted(config);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

struct descriptors descriptors_read(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT_MAX)
        limit.rlim_cur = INT_MAX;
    int all = (int)limit.rlim_cur, reserve = (int)reserve_of(limit.rlim_cur);
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
