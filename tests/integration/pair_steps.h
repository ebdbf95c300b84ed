/* SPDX-License-Identifier: Apache-2.0 */
/* Two nodes with one Redis, keys and media: what the tests of credit and of lost data share. */
#ifndef TOLLGATE_TESTS_INTEGRATION_PAIR_STEPS_H
#define TOLLGATE_TESTS_INTEGRATION_PAIR_STEPS_H

#include "tests/integration/harness.h"

struct pair {
    struct site *first, *second; /* named "test-node" and "second-node"; the first has the Redis */
};

struct pair pair_create(const char *settings);
void pair_destroy(struct pair *pair);
/* Waits until each node has noted the other: for a node that it has not seen yet, it does not wait. */
void pair_await_acquaintance(const struct pair *pair);

#endif
