/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each lane of an open ledger has journalled, and what of it is in Redis. The admin interface asks
 * for it. It reads atomics, and takes no lock that anybody holds over the disk or Redis.
 */
#ifndef TOLLGATE_LEDGER_STATUS_H
#define TOLLGATE_LEDGER_STATUS_H

#include "storage/ledger/ledger.h"

#define LEDGER_STATUS_MAX 26u /* lanes */

struct ledger_lane_status {
    char lane[8];      /* "lane-a" */
    char instance[33]; /* under which Redis keeps its watermarks */
    bool is_own;       /* else an earlier process left it, and this node posts it */
    enum ledger_state state;
    char text[512];         /* why it is not ready; "": it is */
    uint64_t lease;         /* its number; 0: none yet */
    uint32_t first_segment; /* that is in the journal */
    uint32_t segments;      /* that are */
    uint64_t records;       /* that were written, those that have left the journal as well */
    uint64_t bytes;         /* that those take that are there */
    char retention[512];    /* why segments stay that should have left it; "": none does */
    uint64_t posted, unposted;
    uint64_t unposted_since_ms; /* since 1970: when the first of them was written, as far as this
                                   process knows; 0: none is unposted */
    uint64_t accounts, accounts_unposted; /* that have records there */
};

/* Fills the lanes, the node's own first. Returns how many. It walks all accounts that are awake. Any
 * thread. */
size_t ledger_status(struct ledger *ledger, struct ledger_lane_status out[LEDGER_STATUS_MAX]);

#endif
