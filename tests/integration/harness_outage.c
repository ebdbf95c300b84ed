/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/harness_outage.h"

#include <string.h>

bool health_says(struct site *site, const char *text)
{
    const struct answer *health = site_admin(site, "GET", "/v1/health", NULL);
    return strstr((const char *)health->body, text) != NULL;
}

void await_health(struct site *site, const char *text)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (!health_says(site, text)) {
        cr_assert(harness_now_ms() < deadline_ms, "health never says %s", text);
        harness_pause();
    }
}

void await_knowing(struct site *site)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (health_says(site, "\"continues_left_s\":0")) {
        cr_assert(harness_now_ms() < deadline_ms, "the node never hears Redis");
        harness_pause();
    }
}

void expect_unasked(struct site *site, uint64_t least, uint64_t most)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS, bytes;
    while ((bytes = site_traffic(site, "bytes_unasked")) < least) {
        cr_assert(harness_now_ms() < deadline_ms, "%llu bytes went on, not %llu",
                  (unsigned long long)bytes, (unsigned long long)least);
        harness_pause();
    }
    cr_expect_leq(bytes, most, "%llu bytes went on, more than %llu", (unsigned long long)bytes,
                  (unsigned long long)most);
}
