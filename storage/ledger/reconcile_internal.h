/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of reconciling share: the table of accounts, and the lanes. reconcile.c keeps it,
 * reconcile_redis.c fills in Redis' part.
 */
#ifndef TOLLGATE_LEDGER_RECONCILE_INTERNAL_H
#define TOLLGATE_LEDGER_RECONCILE_INTERNAL_H

#include "storage/ledger/lane.h"
#include "storage/ledger/reconcile.h"

/* What one lane has of an account. */
struct reconcile_share {
    uint64_t watermark; /* of Redis; 0: none */
    int64_t given;      /* bytes that Redis has from it */
    uint64_t sequence;  /* of the last record in its journal */
};

struct reconcile_account {
    struct ledger_figures figures;
    uint64_t logged_before;
    char damage[120];
    char *tag;                       /* within `shares`' memory, behind them */
    struct reconcile_share shares[]; /* one for each lane */
};

struct reconcile_lane {
    char *state_dir; /* owns */
    unsigned number;
    char instance[LEDGER_HEX_SIZE];
    bool is_written;
};

struct ledger_reconcile {
    struct reconcile_lane *lanes; /* owns */
    size_t lanes_count;
    struct reconcile_account **slots; /* owns, as the accounts: open addressing, doubled at half */
    size_t slots_count, count;
    const char *archive; /* borrows; NULL: none */
    bool has_redis;
    struct ledger_foreign *foreign; /* owns */
    size_t foreign_count, foreign_room;
    size_t lane; /* that is being read */
    ledger_reconcile_progress *progress;
    void *context;
};

/* Finds the account of this tag, or makes it. NULL: no memory. */
struct reconcile_account *reconcile_account(struct ledger_reconcile *reconcile, const char *tag,
                                            size_t length);
/* The lane of this instance; NULL: it was not added. */
const struct reconcile_lane *reconcile_lane_of(const struct ledger_reconcile *reconcile,
                                               const char *instance);

#endif
