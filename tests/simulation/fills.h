/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is watched while nodes fill a Redis from their checkpoints, and what goes wrong between two parts of
 * one. See fills.c.
 */
#ifndef TOLLGATE_SIMULATION_FILLS_H
#define TOLLGATE_SIMULATION_FILLS_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>

struct random;
struct sim;
struct sim_node;

#define FILLS_ACCOUNTS 4 /* SIM_ACCOUNTS */

struct sim_fills {
    char begun[FILLS_ACCOUNTS][300]; /* `filling` of each account, as it was seen last */
    unsigned strikes_in;             /* parts until something goes wrong; 0: nothing does */
    uint64_t seed;                   /* decides what */
};

/* Has something go wrong behind one of the next parts. */
void fills_arm(struct sim *sim, struct random *random);
/* Redis was called by the node to fill the account, with these arguments. Returns whether it has taken a part
 * that it had not yet. */
bool fills_take(struct sim_node *node, unsigned account, const char *const arguments[],
                const redisReply *reply);
/* Something of the account was granted, or posted from records. */
void fills_forbid(struct sim *sim, unsigned account, const char *what);
/* Redis has other data now. */
void fills_look(struct sim *sim);

#endif
