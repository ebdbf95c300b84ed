/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /v1/health: what it says of a node that is ready, that is not yet, and that stops, and
 * while Redis is gone.
 */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/admin_metrics.h"
#include "server/base/clock.h"
#include "server/command/admin_client.h"
#include "server/delivery/worker.h"
#include "server/redis/redis_child.h"
#include "tests/unit/admin/fixture.h"

Test(admin, health_tells_a_ready_node_and_its_counters)
{
    json_t *answer = admin_ask("GET", "/v1/health", NULL, 200);
    for (size_t i = 0; i < 3; i++) {
        static const char *const verdicts[][2] = {
            {"ready", "ready_text"}, {"granting", "granting_text"}, {"alive", "alive_text"}};
        cr_expect(json_is_true(json_object_get(answer, verdicts[i][0])), "%s", verdicts[i][0]);
        expect_text(answer, verdicts[i][1], "");
    }
    expect_text(answer, "node", "node-1");
    const json_t *ledger = json_object_get(answer, "ledger");
    expect_text(ledger, "state", "ready");
    cr_assert(json_is_integer(json_object_get(ledger, "records_unposted")));
    const json_t *redis_health = json_object_get(answer, "redis");
    cr_assert(json_is_true(json_object_get(redis_health, "up")));
    expect_text(redis_health, "address", admin_node.redis.address);
    expect_number(json_object_get(answer, "traffic"), "requests", 0);
    expect_number(json_object_get(answer, "media"), "files_hashed", 0);
    for (unsigned id = 0; id < METRIC_GROUPS_COUNT; id++) {
        const struct metric_group *group = &metric_groups[id];
        for (size_t i = 0; i < group->count; i++)
            cr_expect(json_is_integer(json_object_get(json_object_get(answer, group->name),
                                                      group->metrics[i].field)),
                      "health lacks %s.%s", group->name, group->metrics[i].field);
    }
    json_decref(answer);
}

Test(admin, health_tells_when_redis_is_gone)
{
    redis_child_stop(&admin_redis);
    await_redis(false);
    struct admin_response response;
    cr_assert_eq(admin_client_call(admin_socket, "GET", "/v1/health", NULL, &response), 0);
    json_t *answer = json_loads(response.body, JSON_REJECT_DUPLICATES, NULL);
    cr_assert(json_is_false(json_object_get(json_object_get(answer, "redis"), "up")), "%s",
              response.body);
    free(response.body);
    json_decref(answer);
}

Test(admin, health_is_503_until_every_worker_may_ask_redis)
{
    struct worker *worker = calloc(1, sizeof(*worker));
    cr_assert_not_null(worker);
    admin_node.workers[0] = worker;
    admin_node.worker_count = 1;
    json_t *answer = admin_ask("GET", "/v1/health", NULL, 503);
    cr_assert(json_is_false(json_object_get(answer, "ready")));
    expect_text(answer, "granting_text", "worker 0 has no connection to Redis");
    expect_text(answer, "ready_text", "worker 0 has no connection to Redis");
    cr_assert(json_is_false(json_object_get(answer, "alive")), "it has not turned either");
    json_decref(answer);
    char raw[4096];
    exchange_raw("GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n", raw, sizeof(raw));
    cr_assert_not_null(strstr(raw, "\r\nRetry-After: 1\r\n"), "%s", raw);

    /* A node that was granting a moment ago stays ready for ready_grace_ms. */
    uint64_t grace_ms = admin_node.config->ready_grace_ms;
    atomic_store(&admin_node.granted_ms, clock_monotonic_ms());
    answer = admin_ask("GET", "/v1/health", NULL, 200);
    cr_assert(json_is_false(json_object_get(answer, "granting")));
    json_decref(answer);
    atomic_store(&admin_node.granted_ms, clock_monotonic_ms() - grace_ms);
    json_decref(admin_ask("GET", "/v1/health", NULL, 503));

    atomic_store(&worker->turned_ms, clock_monotonic_ms());
    atomic_store(&worker->redis_generation, ledger_redis_served(admin_node.ledger));
    json_decref(admin_ask("GET", "/v1/health", NULL, 200));
    admin_node.worker_count = 0;
    free(worker);
}

Test(admin, health_is_503_while_the_node_stops)
{
    atomic_store(&admin_node.stopping, true);
    json_t *answer = admin_ask("GET", "/v1/health", NULL, 503);
    cr_assert(json_is_true(json_object_get(answer, "stopping")));
    json_decref(answer);
}
