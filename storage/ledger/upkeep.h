/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that keeps a lane's journal short: it makes checkpoints, and has segments leave that nobody needs any more.
 * Called by ledger.c. What it does, and when, checkpoints.c and retention.c decide.
 */
#ifndef TOLLGATE_LEDGER_UPKEEP_H
#define TOLLGATE_LEDGER_UPKEEP_H

#include "storage/ledger/ledger_internal.h"

/* Begins with what is on disk, and starts the thread, which a stepped ledger has not. 0 or a negative
 * errno. */
int upkeep_start(struct ledger *ledger);
/* Ends the thread, within the time that one write or read takes, and frees. */
void upkeep_stop(struct ledger *ledger);

#endif
