/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A GET and its explanation, side by side. explain_node_steps.c has the refusals for the node's own
 * reasons, each in a site of its own.
 */
#ifndef TOLLGATE_TESTS_INTEGRATION_EXPLAIN_STEPS_H
#define TOLLGATE_TESTS_INTEGRATION_EXPLAIN_STEPS_H

#include <jansson.h>

#include "server/http/refusal.h"
#include "tests/integration/harness.h"

#define HOST "media.example"

/* By refusal: its name in capital letters and its status; NULL and 0 for a number that is none. */
extern const char *const refusal_names[REFUSAL_COUNT];
extern const unsigned refusal_statuses[REFUSAL_COUNT];

/* Sends a GET to the host (NULL: HOST). */
const struct answer *get_from(struct site *site, const char *host, const char *target);
/* The report, which the caller owns (json_decref). */
json_t *explain(struct site *site, const char *host, const char *target);
void expect_explained(struct site *site, const char *host, const char *target,
                      enum refusal refusal);
/* Repeats a GET until it is refused, because some refusals come only after a post. */
void await_refused(struct site *site, const char *host, const char *target, enum refusal refusal);
/* Expects that a GET is refused so, and that explain says the same before and after it. */
void expect_same(struct site *site, const char *host, const char *target, enum refusal refusal);

/* Begins a transfer that lasts until let_go. */
void hold(struct site *site, const char *link);
void let_go(void);

void without_redis(void);
void with_all_windows_open(void);
void with_all_connections_taken(void);
void with_anothers_name(void);
void while_it_is_drained(void);
void with_a_full_disk(void);

#endif
