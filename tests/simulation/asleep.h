/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts of simulated nodes that are asleep: what the checkpoints have of them. Of checkpoints.c.
 */
#ifndef TOLLGATE_SIMULATION_ASLEEP_H
#define TOLLGATE_SIMULATION_ASLEEP_H

#include "tests/simulation/sim.h"

/* What the node's ledger has of an account's records, asleep or not. False: the checkpoint cannot be read. */
bool node_records(const struct sim_node *node, const char *text, struct names_records *out);
/* Whether accounts have left the node's memory, of which its journal has more than its checkpoint. */
void watch_asleep(struct sim_node *node);

#endif
