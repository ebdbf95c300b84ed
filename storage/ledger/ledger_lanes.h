/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A part of ledger.h, which users include: what each lane of the node's state directory still has to
 * post, for whoever wants to stop the node for good, or has given it another node's lanes.
 */
#ifndef TOLLGATE_STORAGE_LEDGER_LANES_H
#define TOLLGATE_STORAGE_LEDGER_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ledger;

#define LEDGER_LANES_MAX     26u /* numbers begin with 0, names with lane-a */
#define LEDGER_LANE_SIZE     8
#define LEDGER_INSTANCE_SIZE 33 /* 32 hexadecimal digits */

struct ledger_lane {
    char name[LEDGER_LANE_SIZE];         /* "lane-a" */
    char instance[LEDGER_INSTANCE_SIZE]; /* under which Redis keeps its watermarks; "": unknown */
    bool is_own;                         /* this process writes what it delivers there */
    bool is_posted;    /* Redis has all of it, and it may be asked to replay it at any time */
    uint64_t unposted; /* records of the journal that Redis may lack */
    uint64_t aside;    /* accounts that are set aside, whose records wait beside those */
    char text[512];    /* why it is not posted, where there is more to say; else "" */
};

/* Calls `each` with each lane that a process has ever used, the first one at first. Any thread; it takes
 * locks for moments. */
void ledger_each_lane(struct ledger *ledger,
                      void (*each)(void *context, const struct ledger_lane *lane), void *context);
/* Has all that was delivered marked, and what the lanes hold posted now, before its interval ends. Any
 * thread; it does not wait. */
void ledger_post_all_soon(struct ledger *ledger);

#endif
