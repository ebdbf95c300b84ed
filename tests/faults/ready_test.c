/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node says of itself to balancers and supervisors while Redis is away: it grants nothing, is
 * ready for a while, and lives.
 */
#include <signal.h>
#include <string.h>

#include "tests/integration/harness.h"

static const struct answer *health(struct site *site)
{
    return site_admin(site, "GET", "/v1/health", NULL);
}

static bool says(const struct answer *answer, const char *text)
{
    return strstr((const char *)answer->body, text) != NULL;
}

/* Balancers do not turn away from all nodes at once, and no supervisor restarts the node. */
Test(ready, ends_after_its_grace_while_redis_is_silent_and_granting_ends_before)
{
    struct site *site =
        site_create(.own_redis = true, .settings = "workers: 1\nready_grace_ms: 5000\n");
    site_redis_signal(site, SIGSTOP);
    uint64_t stopped_ms = harness_now_ms();
    const struct answer *answer;
    do {
        answer = health(site);
        cr_assert_eq(answer->status, 200, "%s", (const char *)answer->body);
        cr_assert_lt(harness_now_ms(), stopped_ms + HARNESS_DEADLINE_MS);
        harness_pause();
    } while (!says(answer, "\"granting\":false"));
    cr_log_info("granting ended %d ms after Redis was stopped",
                (int)(harness_now_ms() - stopped_ms));
    do {
        answer = health(site);
        cr_assert_lt(harness_now_ms(), stopped_ms + HARNESS_DEADLINE_MS);
        harness_pause();
    } while (answer->status == 200);
    cr_expect_geq(harness_now_ms(), stopped_ms + 5000);
    cr_expect(says(answer, "\"alive\":true"), "%s", (const char *)answer->body);
    site_redis_signal(site, SIGCONT);
    site_node_await_ready(site);
    cr_expect(says(health(site), "\"granting\":true"));
    site_destroy(&site);
}
