/* SPDX-License-Identifier: Apache-2.0 */
/* What the workers count: each counter is summed, once, over all of them. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "server/delivery/metrics.h"
#include "server/delivery/node.h"
#include "server/delivery/worker.h"

static struct node node;

static void make_workers(unsigned workers)
{
    for (unsigned i = 0; i < workers; i++) {
        node.workers[i] = calloc(1, sizeof(struct worker));
        cr_assert_not_null(node.workers[i]);
    }
    node.worker_count = workers;
}

static void free_workers(void)
{
    for (unsigned i = 0; i < node.worker_count; i++)
        free(node.workers[i]);
}

Test(metrics, each_counter_is_summed_once_over_the_workers, .fini = free_workers)
{
    struct node_stats sums;
    unsigned long long row = 0;
    make_workers(3);
#define X(name, kind, unit, labels, field, help)                                                   \
    row++;                                                                                         \
    for (unsigned i = 0; i < 3; i++)                                                               \
        count(&node.workers[i]->stats.field, row << (8 * i));
    METRICS(X)
#undef X
    node_stats(&node, &sums);
    row = 0;
#define X(name, kind, unit, labels, field, help)                                                   \
    row++;                                                                                         \
    cr_expect_eq(sums.field, row * 0x10101, #field " is %llu", (unsigned long long)sums.field);
    METRICS(X)
#undef X
    cr_assert_gt(row, 30);
}

Test(metrics, a_response_counts_in_the_class_of_its_status, .fini = free_workers)
{
    struct node_stats sums;
    make_workers(1);
    struct worker_stats *stats = &node.workers[0]->stats;
    count_response(stats, 200);
    count_response(stats, 299);
    count_response(stats, 304);
    count_response(stats, 404);
    count_response(stats, 503);
    count_response(stats, 599);
    count_response(stats, 100);
    node_stats(&node, &sums);
    cr_expect_eq(sums.responses_2xx, 2);
    cr_expect_eq(sums.responses_3xx, 1);
    cr_expect_eq(sums.responses_4xx, 1);
    cr_expect_eq(sums.responses_5xx, 2);
}

Test(metrics, a_failure_of_tls_counts_in_its_kind_and_in_the_sum, .fini = free_workers)
{
    struct node_stats sums;
    make_workers(1);
    for (unsigned kind = 0; kind < TLS_FAILURE_COUNT; kind++)
        for (unsigned i = 0; i <= kind; i++)
            count_tls_failure(&node.workers[0]->stats, (enum tls_failure)kind);
    node_stats(&node, &sums);
    cr_expect_eq(sums.tls_failed, TLS_FAILURE_COUNT * (TLS_FAILURE_COUNT + 1) / 2);
#define X(unused, name, help) cr_expect_eq(sums.tls_failed_##name, TLS_FAILURE_##name + 1, #name);
    TLS_FAILURES(X, )
#undef X
}
