/* How many processors this process may use, by affinity and by the cgroup's quota. Used for
 * `workers: auto`. */
#ifndef TOLLGATE_SERVER_BASE_PROCESSORS_H
#define TOLLGATE_SERVER_BASE_PROCESSORS_H

/* 1 at least; the cgroup's cpu.max (v2) is rounded up. */
unsigned processors_available(void);

#endif
