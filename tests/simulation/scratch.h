/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory in which the nodes of a run have their state directories: their locks and instances
 * alone, since the journals are in memory. It goes away with the process that made it, whether that
 * ends, crashes, or is told to end by a signal. One thread calls all of this.
 */
#ifndef TOLLGATE_SIMULATION_SCRATCH_H
#define TOLLGATE_SIMULATION_SCRATCH_H

#include <sys/types.h>

/* The directory of this process. The first call makes it. */
const char *scratch_directory(void);
/* Removes a directory in it, and all that is there. */
void scratch_remove(const char *path);
/* Begins a child that ends with its parent and has a directory of its own, by its number below 64,
 * which its parent removes. Returns 0 in the child, and its process id in the parent. */
pid_t scratch_fork(unsigned number);

#endif
