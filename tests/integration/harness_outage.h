/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of a node without Redis share: what its health says, and when it knows whom Redis has
 * confirmed.
 */
#ifndef TOLLGATE_TESTS_INTEGRATION_HARNESS_OUTAGE_H
#define TOLLGATE_TESTS_INTEGRATION_HARNESS_OUTAGE_H

#include "tests/integration/harness.h"

bool health_says(struct site *site, const char *text);
void await_health(struct site *site, const char *text);
/* Waits until the node has noted that it hears Redis, from when on it knows whom it has confirmed. */
void await_knowing(struct site *site);
/* Waits until the node has counted so many bytes as served without Redis, and expects no more than `most`. */
void expect_unasked(struct site *site, uint64_t least, uint64_t most);

#endif
