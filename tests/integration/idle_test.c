/* SPDX-License-Identifier: Apache-2.0 */
/* What an idle node costs: the bounds in its configuration must not take memory until they
 * are used. */
#include <stdlib.h>

#include "tests/integration/harness.h"

#define MARGIN_BYTES (8u << 20)

static uint64_t memory_of(const char *settings)
{
    struct site *site = site_create(.settings = settings);
    uint64_t bytes = site_node_memory_bytes(site);
    site_destroy(&site);
    return bytes;
}

/* Each of these tables would take between 40 MB and 700 MB if the node walked through it once. */
Test(idle, a_node_has_no_memory_for_what_its_bounds_leave_room_for)
{
    if (getenv("TSAN_OPTIONS") != NULL)
        cr_skip_test("ThreadSanitizer keeps memory of its own beside what is reserved");
    uint64_t small = memory_of("workers: 2\nconnections_max: 1000\nhash_entries_max: 1000\n"
                               "connections_per_address_max: 10\n");
    uint64_t large = memory_of("workers: 2\nconnections_max: 1000000\nhash_entries_max: 10000000\n"
                               "connections_per_address_max: 1000000\ntokens_max: 4194304\n"
                               "open_files_max: 1000000\naccounts_max: 10000000\n");
    cr_assert_lt(large, small + MARGIN_BYTES, "%llu bytes and %llu", (unsigned long long)small,
                 (unsigned long long)large);
}
