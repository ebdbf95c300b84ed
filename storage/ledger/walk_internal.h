/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a record that a reader has just read is shown to the outside. The walk and the scan that watches
 * use it.
 */
#ifndef TOLLGATE_LEDGER_WALK_INTERNAL_H
#define TOLLGATE_LEDGER_WALK_INTERNAL_H

#include "storage/ledger/reader.h"
#include "storage/ledger/walk.h"

/* The entry that stands just before the reader's place. `out` borrows from both. */
void walk_show(const struct journal_reader *reader, const struct journal_entry *entry,
               struct ledger_walk_record *out);

#endif
