/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of metrics, each beside what it counts, as the rows of one. See admin_metrics.h. */
#include "server/admin/admin_metrics.h"

#include <string.h>

#include "server/access_log/access_log.h"
#include "server/base/log.h"
#include "server/delivery/metrics.h"
#include "storage/ledger/ledger.h"
#include "storage/media/media.h"

#define X(...) METRIC_ROW(struct node_stats, __VA_ARGS__),
static const struct metric metrics_of_traffic[] = {METRICS(X)};
#undef X

#define X(...) METRIC_ROW(struct ledger_stats, __VA_ARGS__),
static const struct metric metrics_of_ledger[] = {LEDGER_METRICS(X)};
#undef X

#define X(...) METRIC_ROW(struct media_hash_stats, __VA_ARGS__),
static const struct metric metrics_of_media[] = {MEDIA_METRICS(X)};
#undef X

#define X(...) METRIC_ROW(struct access_log_stats, __VA_ARGS__),
static const struct metric metrics_of_access_log[] = {ACCESS_LOG_METRICS(X)};
#undef X

#define X(...) METRIC_ROW(struct log_stats, __VA_ARGS__),
static const struct metric metrics_of_log[] = {LOG_METRICS(X)};
#undef X

#define X(...) METRIC_ROW(struct admin_stats, __VA_ARGS__),
static const struct metric metrics_of_admin[] = {ADMIN_METRICS(X)};
#undef X

const struct metric_group metric_groups[METRIC_GROUPS_COUNT] = {
#define X(name, about)                                                                             \
    {#name, about, metrics_of_##name, sizeof(metrics_of_##name) / sizeof(metrics_of_##name[0])},
    METRIC_GROUPS(X)
#undef X
};

void metric_group_tell(json_t *out, enum metric_group_id group, const void *stats)
{
    for (size_t i = 0; i < metric_groups[group].count; i++) {
        const struct metric *metric = &metric_groups[group].metrics[i];
        uint64_t value;
        memcpy(&value, (const char *)stats + metric->offset, sizeof(value));
        (void)json_object_set_new(out, metric->field, json_integer((json_int_t)value));
    }
}
