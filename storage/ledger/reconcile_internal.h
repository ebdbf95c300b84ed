/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of reconciling share: the table of accounts, and the lanes. reconcile_table.c keeps it,
 * reconcile_redis.c fills in Redis' part, and reconcile_begin.c what a checkpoint says.
 */
#ifndef TOLLGATE_LEDGER_RECONCILE_INTERNAL_H
#define TOLLGATE_LEDGER_RECONCILE_INTERNAL_H

#include "storage/ledger/lane.h"
#include "storage/ledger/reconcile.h"
#include "storage/ledger/walk.h"

/* What one lane has of an account. */
struct reconcile_share {
    uint64_t watermark; /* of Redis; 0: none */
    int64_t given;      /* bytes that Redis has from it */
    uint64_t sequence;  /* of the last record in its journal */
    /* Where its first segments have left, and a checkpoint says what they hold. */
    uint64_t covered;          /* the last record that the checkpoint covers */
    uint64_t bytes, responses; /* of these records; in the end of those alone that have left */
    uint64_t first, early; /* of those that are left the first, and the last one covered; 0: none */
};

struct reconcile_account {
    struct ledger_figures figures;
    uint64_t logged_before;
    uint64_t
        left; /* records that Redis lacks, beside others that it has, and that have left a journal */
    char damage[120];
    char *tag;                       /* within `shares`' memory, behind them */
    struct reconcile_share shares[]; /* one for each lane */
};

struct reconcile_lane {
    char *state_dir; /* owns */
    unsigned number;
    char instance[LEDGER_HEX_SIZE];
    bool is_written;
    uint32_t from;  /* the last segment that the checkpoint covers with which it begins; 0: none */
    uint64_t chain; /* of the last record there */
    bool goes_on;   /* the next segment begins with that */
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
/* Whether there is such an account. */
bool reconcile_has(const struct ledger_reconcile *reconcile, const char *tag, size_t length);
/* The lane of this instance; NULL: it was not added. */
const struct reconcile_lane *reconcile_lane_of(const struct ledger_reconcile *reconcile,
                                               const char *instance);

/*
 * Of reconcile_begin.c. Before a lane is read: takes the checkpoint with which it begins, where its first segments
 * are neither there nor in the archive. 0, also where none is needed or there is none (lane->from); -ENOMEM or
 * another negative errno.
 */
int reconcile_begin(struct ledger_reconcile *reconcile, struct reconcile_lane *lane);
/* While it is read: gets each record of usage and money, and each segment's header. */
void reconcile_take_covered(struct ledger_reconcile *reconcile, struct reconcile_share *share,
                            const struct ledger_walk_record *shown);
void reconcile_take_header(struct ledger_reconcile *reconcile,
                           const struct ledger_walk_record *shown);
/* Behind it: counts what has left. 0; -EBADMSG: the checkpoint is not of this journal. */
int reconcile_end(struct ledger_reconcile *reconcile, const struct reconcile_lane *lane);

#endif
