/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Posts that are read ahead: for each account what Redis lacks, until it is due. The poster adds
 * records in the journal's order and takes the posts of the accounts that are due. It sends nothing.
 *
 *   due    at the end of post_interval_ms, which begins with the first record that waits; at once for
 *          operations, at the bound, where somebody waits for the account or for the whole journal,
 *          and sooner for a download's end and for a prepaid account that is short of bytes
 */
#ifndef TOLLGATE_LEDGER_PENDING_H
#define TOLLGATE_LEDGER_PENDING_H

#include "storage/ledger/post.h"

#define PENDING_MAX     65536 /* records of operations, and files in posts; then all are due */
#define PENDING_NEAR_MS 1000  /* in place of the interval, where the balance soon ends */

struct pending {
    /* Accounts with posts, in the order of their first records in the journal. */
    struct ledger_account *first, *last;
    size_t count;
    uint64_t due_ms; /* of the account that is due next, or sooner; UINT64_MAX: none waits */
};

/* Adds the record that the reader has just read, with its account. 0 or -ENOMEM. */
int pending_add(struct pending *pending, const struct ledger *ledger,
                const struct journal_reader *reader, const struct journal_entry *entry);
/* Makes the posts of the accounts for which somebody asked since the last call due, and what is
 * journalled of them until now. */
void pending_take_asked(struct pending *pending, struct ledger *ledger);
/* Drops the account's posts. */
void pending_drop(struct pending *pending, struct ledger_account *account);
/* Moves the posts that are due to the batch: of accounts whose time has come, and of those with a
 * record among the first `least` of the journal. 0 or -ENOMEM. */
int pending_collect(struct pending *pending, struct post_batch *batch, uint64_t now_ms,
                    uint64_t least);
/* Drops all posts; also makes an empty one. */
void pending_clear(struct pending *pending);

#endif
