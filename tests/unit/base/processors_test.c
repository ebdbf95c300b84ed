/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many processors there are for this process: one at least, never more than its affinity
 * allows, and one where the affinity allows only one.
 */
#include <criterion/criterion.h>
#include <sched.h>

#include "server/base/processors.h"

Test(processors, are_no_more_than_the_affinity_allows)
{
    cpu_set_t set;
    cr_assert_eq(sched_getaffinity(0, sizeof(set), &set), 0);
    cr_expect_geq(processors_available(), 1u);
    cr_expect_leq(processors_available(), (unsigned)CPU_COUNT(&set));
    /* Each test is a process of its own, so no other one is confined. */
    int first = 0;
    while (!CPU_ISSET(first, &set))
        first++;
    CPU_ZERO(&set);
    CPU_SET(first, &set);
    cr_assert_eq(sched_setaffinity(0, sizeof(set), &set), 0);
    cr_expect_eq(processors_available(), 1u);
}
