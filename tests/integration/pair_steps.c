/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/pair_steps.h"

#include <stdlib.h>

struct pair pair_create(const char *settings)
{
    struct pair pair = {.first = site_create(.own_redis = true, .settings = settings)};
    pair.second = site_create(.beside = pair.first, .redis = site_redis_address(pair.first),
                              .node = "second-node", .settings = settings);
    return pair;
}

void pair_destroy(struct pair *pair)
{
    site_destroy(&pair->second);
    site_destroy(&pair->first);
}

void pair_await_acquaintance(const struct pair *pair)
{
    const char *of_second =
        site_format(pair->first, "grep -q second-node '%s/nodes'", site_state_dir(pair->first));
    const char *of_first =
        site_format(pair->first, "grep -q '^node' '%s/nodes'", site_state_dir(pair->second));
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (system(of_second) != 0 || system(of_first) != 0) {
        cr_assert(harness_now_ms() < deadline_ms, "the nodes do not see each other");
        harness_pause();
    }
}
