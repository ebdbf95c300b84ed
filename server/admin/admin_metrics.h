/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All metrics of a node as data, in the groups that they form in GET /v1/health. admin_health.c
 * tells their values, and the manual describes them.
 */
#ifndef TOLLGATE_SERVER_ADMIN_ADMIN_METRICS_H
#define TOLLGATE_SERVER_ADMIN_ADMIN_METRICS_H

#include <jansson.h>
#include <stddef.h>

#include "server/base/metric.h"

/* X(name, about): the member of the answer that holds the group, and a sentence about it. */
#define METRIC_GROUPS(X)                                                                           \
    X(traffic, "What the workers do for clients.")                                                 \
    X(ledger, "The journal, and how much of it Redis has.")                                        \
    X(media, "The hashes of files.")                                                               \
    X(access_log, "The access log.")                                                               \
    X(log, "The node's own log.")                                                                  \
    X(admin, "The admin interface itself.")

enum metric_group_id {
#define X(name, about) METRIC_GROUP_##name,
    METRIC_GROUPS(X)
#undef X
        METRIC_GROUPS_COUNT
};

struct metric_group {
    const char *name, *about;
    const struct metric *metrics;
    size_t count;
};
extern const struct metric_group metric_groups[METRIC_GROUPS_COUNT];

/* Adds the group's metrics to the object `out`, in the order of their rows; `stats` is the struct
 * that holds their values. */
void metric_group_tell(json_t *out, enum metric_group_id group, const void *stats);

#endif
