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
 * An eighth of the limit, DESCRIPTORS_RESERVE_MAX at most, is for what must go on when clients have
 * taken all others: the admin interface, connections to Redis, segments of the journal, key files
 * and certificates. Clients' connections have descriptors below the reserve, open files the lower
 * half of it, too.
 */
#define DESCRIPTORS_RESERVE_MAX 128
struct descriptors {
    int limit;       /* RLIMIT_NOFILE's soft one */
    int connections; /* have descriptors below this one */
    int files;       /* likewise */
};
/* As the limit is now; somebody may have changed it from outside. */
struct descriptors descriptors_read(void);

/* Everything that the configuration allows, at once. */
uint64_t descriptors_wanted(const struct config *config);
/* Without so many a node cannot serve at all: what it has itself, the reserve, a few clients. */
uint64_t descriptors_least(const struct config *config);

/* Raises the soft limit to what is wanted, as far as the hard one lets us. */
void descriptors_raise(const struct config *config);
/* Whether a descriptor below `bound` is free now. `any` is one that is open. */
bool descriptors_left(int any, int bound);

#endif
