/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A limit of time for each test that has none of its own, so that one that hangs is named and fails
 * instead of keeping the others from ending. Every test binary is linked with it. (Criterion's option
 * --timeout leaves out the suites that are declared by their tests alone.)
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>

#define LIMIT_S 300 /* a busy machine and a sanitizer together do not take so long for a test */

ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
    FOREACH_SET(struct criterion_suite_set * suite, set->suites)
    {
        const struct criterion_test_extra_data *own = suite->suite.data;
        if (suite->tests == NULL || (own != NULL && own->timeout > 0))
            continue;
        FOREACH_SET(struct criterion_test * test, suite->tests)
        {
            if (test->data->timeout <= 0)
                test->data->timeout = LIMIT_S;
        }
    }
}
