/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors: how many this process may have, and whether one is left. The workers ask before they
 * accept, and leave the last ones to the node itself.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_DESCRIPTORS_H
#define TOLLGATE_SERVER_DELIVERY_DESCRIPTORS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * An eighth of the limit, DESCRIPTORS_RESERVE_MAX at most, is reserved for what must go on when
 * clients have taken all others: the admin interface, connections to Redis, segments of the
 * journal, key files and certificates. Clients' connections take descriptors below the reserve
 * only; open files may take its lower half, too.
 */
#define DESCRIPTORS_RESERVE_MAX 128
/* The reserve of a limit. */
uint64_t descriptors_reserve(uint64_t limit);

struct descriptors {
    int limit;       /* the soft RLIMIT_NOFILE */
    int connections; /* clients' connections take descriptors below this one */
    int files;       /* likewise */
};
/* Reads the limit each time, because somebody may have changed it from outside. */
struct descriptors descriptors_read(void);

/* Whether a descriptor below `bound` is free now. `any` is an open one, which is duplicated
 * to find out. */
bool descriptors_left(int any, int bound);

#endif
