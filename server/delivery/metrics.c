/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sums of what the workers count, for the admin interface, and those counters that are chosen
 * by a value: a status, a kind of failure. See metrics.h. It never waits for a worker.
 */
#include "server/delivery/metrics.h"

#include <string.h>

#include "server/delivery/node.h"
#include "server/delivery/worker.h"

void node_stats(const struct node *node, struct node_stats *out)
{
    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < node->worker_count; i++) {
        const struct worker_stats *stats = &node->workers[i]->stats;
#define X(name, kind, unit, labels, field, help) out->field += atomic_load(&stats->field);
        METRICS(X)
#undef X
    }
}

void admin_stats(const struct node *node, struct admin_stats *out)
{
#define X(name, kind, unit, labels, field, help) out->field = atomic_load(&node->admin.field);
    ADMIN_METRICS(X)
#undef X
}

void count_response(struct worker_stats *stats, unsigned status)
{
    switch (status / 100) {
    case 2:
        count(&stats->responses_2xx, 1);
        break;
    case 3:
        count(&stats->responses_3xx, 1);
        break;
    case 4:
        count(&stats->responses_4xx, 1);
        break;
    case 5:
        count(&stats->responses_5xx, 1);
        break;
    default: /* 1xx: not a response's last word */
        break;
    }
}

void count_tls_failure(struct worker_stats *stats, enum tls_failure kind)
{
    count(&stats->tls_failed, 1);
    switch (kind) {
#define X(unused, name, help)                                                                      \
    case TLS_FAILURE_##name:                                                                       \
        count(&stats->tls_failed_##name, 1);                                                       \
        break;
        TLS_FAILURES(X, )
#undef X
    case TLS_FAILURE_COUNT:
        break;
    }
}
