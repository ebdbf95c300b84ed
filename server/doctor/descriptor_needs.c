/* SPDX-License-Identifier: Apache-2.0 */
/* How many descriptors a node needs. See descriptor_needs.h. */
#include "server/doctor/descriptor_needs.h"

#include <sys/resource.h>

#include "server/admin/admin.h"
#include "server/config/config.h"
#include "server/delivery/descriptors.h"
#include "server/delivery/node.h"

#define OF_NODE   40 /* journal, Redis, media, logs, key files, the admin interface at rest */
#define OF_WORKER 8  /* ring, listeners, wake, Redis, a file that is being replaced */
#define CLIENTS   16 /* each with a file; a node that has room for fewer is of no use */

uint64_t descriptor_needs_most(const struct config *config)
{
    uint64_t workers = node_workers(config);
    return config->connections_max + workers * (config->open_files_max + OF_WORKER) +
           admin_descriptors(config) + OF_NODE + DESCRIPTORS_RESERVE_MAX;
}

uint64_t descriptor_needs_least(const struct config *config)
{
    uint64_t least = node_workers(config) * OF_WORKER + OF_NODE + 2 * CLIENTS;
    return least + descriptors_reserve(least * 8 / 7);
}

void descriptor_needs_raise(const struct config *config)
{
    struct rlimit limit;
    rlim_t wanted = descriptor_needs_most(config);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}
