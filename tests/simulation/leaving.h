/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What leaves the journals of the simulated nodes, and what goes wrong on its way to the archive.
 */
#ifndef TOLLGATE_SIMULATION_LEAVING_H
#define TOLLGATE_SIMULATION_LEAVING_H

#include <stdint.h>

#include <stdbool.h>

struct sim;
struct sim_node;

/* The node's disk (`self` is the node) is about to remove a segment of the journal. */
void leaving_watch(void *self, uint32_t segment);
/* Whether something is in the node's archive that has not got its name yet. */
bool leaving_is_packed(const struct sim_node *node);
/* Damages that; later, where there is none. */
void leaving_spoil(struct sim_node *node);

/* Whether Redis has some records of the account of the node's journal, and lacks others that have left it. */
bool leaving_lacks(const struct sim_node *node, unsigned account);
/* Whether it does of one of the nodes. */
bool leaving_lacks_any(struct sim *sim, unsigned account);
/* Whether the node has set the account aside. */
bool leaving_is_aside(struct sim_node *node, unsigned account);
/* The node has said something. */
void leaving_hear(struct sim_node *node, const char *text);
/* At rest: which accounts the node has set aside, and has told of. */
void leaving_check_aside(struct sim_node *node);

#endif
