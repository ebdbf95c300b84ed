/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many processors this process may use, by its affinity and its cgroup's quota. Called by
 * node.c for `workers: auto`; it changes neither.
 */
#ifndef TOLLGATE_SERVER_BASE_PROCESSORS_H
#define TOLLGATE_SERVER_BASE_PROCESSORS_H

/* The number of processors, 1 at least; the cgroup's cpu.max (v2) is rounded up. */
unsigned processors_available(void);

#endif
