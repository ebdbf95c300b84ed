/*
 * Descriptors: how many a node needs and may have, and whether one is left. Used at the start
 * (node.c, doctor.c) and by the workers, which leave the last ones to the node itself.
 */
#ifndef TOLLGATE_SERVER_DESCRIPTORS_H
#define TOLLGATE_SERVER_DESCRIPTORS_H

#include <stdbool.h>
#include <stdint.h>

struct config;

/*
 * An eighth of the limit, DESCRIPTORS_RESERVE_MAX at most, is reserved for what must go on when
 * clients have taken all others: the admin interface, connections to Redis, segments of the
 * journal, key files and certificates. Clients' connections take descriptors below the reserve
 * only; open files may take its lower half, too.
 */
#define DESCRIPTORS_RESERVE_MAX 128
struct descriptors {
    int limit;       /* the soft RLIMIT_NOFILE */
    int connections; /* clients' connections take descriptors below this one */
    int files;       /* likewise */
};
/* Reads the limit anew each time: somebody may have changed it from outside. */
struct descriptors descriptors_read(void);

/* How many are in use when everything is open that the configuration allows. */
uint64_t descriptors_wanted(const struct config *config);
/* How many a node cannot serve without: its own, the reserve, and those of a few clients. */
uint64_t descriptors_least(const struct config *config);

/* Raises the soft limit to what is wanted, as far as the hard limit allows. */
void descriptors_raise(const struct config *config);
/* Whether a descriptor below `bound` is free now. `any` is an open one, which is duplicated
 * to find out. */
bool descriptors_left(int any, int bound);

#endif
