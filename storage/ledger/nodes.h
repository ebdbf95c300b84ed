/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nodes that Redis knows, for operators: what each of their lanes has last said there. The admin interface
 * calls it.
 */
#ifndef TOLLGATE_LEDGER_NODES_H
#define TOLLGATE_LEDGER_NODES_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/ledger/ledger.h"

enum ledger_lease_state {
    LEDGER_LEASE_NONE,     /* Redis has none: it lost it */
    LEDGER_LEASE_HELD,     /* by a process that runs */
    LEDGER_LEASE_RETURNED, /* its process ended in order */
    LEDGER_LEASE_RUN_OUT,  /* its process was killed, or cannot reach Redis */
};

/* A lane, as Redis knows it. */
struct ledger_known_lane {
    char node[LEDGER_NODE_MAX + 1];       /* the name of its node */
    char directory[LEDGER_INSTANCE_SIZE]; /* the id of its state directory */
    char instance[LEDGER_INSTANCE_SIZE];
    bool is_own;        /* of this node's state directory */
    int64_t seen_ms;    /* since 1970, by Redis' clock: when it said something last */
    uint32_t functions; /* the version that its node calls; 0: one before version 20 */
    int64_t left_ms;    /* of a lease that is held */
    uint64_t number;    /* of the lease */
    uint64_t records;   /* of usage and money, that were on disk then */
    enum ledger_lease_state lease;
    /* As of the last renewal; a killed process may have left more. */
    bool tells_rest; /* the following are told; a node of an older version does not */
    uint64_t unposted, aside;
};

/* Calls `each` with each lane that said something within the last 30 days. 0, or -EAGAIN where Redis cannot be
 * asked. It blocks. */
int ledger_each_known_lane(struct ledger *ledger,
                           void (*each)(void *context, const struct ledger_known_lane *lane),
                           void *context);

#endif
