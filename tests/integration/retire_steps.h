/* SPDX-License-Identifier: Apache-2.0 */
/* A node that dies with records that Redis lacks: what the tests of retiring and of replaying share. */
#ifndef TOLLGATE_TESTS_INTEGRATION_RETIRE_STEPS_H
#define TOLLGATE_TESTS_INTEGRATION_RETIRE_STEPS_H

#include "tests/integration/harness.h"
#include "tests/integration/pair_steps.h"

/* What alice paid, and had delivered. */
struct debt {
    int64_t paid, used;
};
/* Alice opens an account and downloads at both nodes; then Redis is lost for a moment, while the second node
 * delivers more and takes a top-up, and is killed before it has posted that. */
struct debt leave_debt(struct pair *pair);
/* Whether alice's account is so in Redis itself, by now. */
void await_debt(struct site *site, const struct debt *debt);
/* What Redis says alice has used. */
int64_t used_in_redis(struct site *site);

void expect_in(const char *text, const char *part);

#endif
