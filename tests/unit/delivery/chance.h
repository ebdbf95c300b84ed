/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chance on the stage: what may happen to connections between the driver's runs, one thing at a
 * time, drawn from a seed, so that what a test finds can be found again. See stage.h.
 */
#ifndef TOLLGATE_TESTS_CHANCE_H
#define TOLLGATE_TESTS_CHANCE_H

#include "tests/unit/delivery/stage.h"

void chance_seed(uint64_t seed);
/* A number below `bound`. */
uint32_t chance(uint32_t bound);

/* A client connects, where a place is left and its address may have one more. */
struct connection *chance_connect(void);
/* A connection that is there, or NULL. */
struct connection *chance_connection(void);
/* One of the kernel's operations completes, if it has any. */
void chance_completion(void);
/* The peer acknowledges, or its socket dies. */
void chance_acknowledgement(void);
/* Time passes: a tick, an end of a wait, or the ready ones' turn. */
void chance_time(void);
/* The client ends its side, or the node has had enough of it. */
void chance_end(void);
/* The node stops: nobody is left then. */
void chance_stop(void);
/* How many connections have begun. */
unsigned chance_begun(void);
/* Asserts that each of them was freed once, and that their clients are counted no more. */
void chance_expect_all_freed(void);

#endif
