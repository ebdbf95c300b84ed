/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waking accounts: a start loads those alone that the segments behind the newest checkpoint name. Of each other
 * one the checkpoint is asked, by its index, before its first record is journalled, its funds are asked for
 * or an order of it is taken. Workers have the writer do that; threads that may wait for the disk do it
 * themselves.
 */
#ifndef TOLLGATE_LEDGER_WAKE_H
#define TOLLGATE_LEDGER_WAKE_H

#include "storage/ledger/ledger_internal.h"

int wakes_create(struct ledger *ledger);
/* Drops the references of those that still wait, too. NULL-safe. */
void wakes_destroy(struct ledger *ledger);

/* Wakes the account, which may wait for the disk. 0 (also where it is awake), or a negative errno, as of
 * checkpoint_index_find: the checkpoint cannot be read. Any thread. */
int account_wake(struct ledger *ledger, struct ledger_account *account);
/* Of the writer: wakes the next ones of those that were asked for, so many that its marks are not late, and
 * tells the workers. False: more wait. */
bool wakes_step(struct ledger *ledger);

#endif
