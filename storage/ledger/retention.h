/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a segment leaves the journal. It may go once
 *
 *   - the two newest checkpoints cover it, so that one that is damaged leaves a start possible,
 *   - Redis has all of its records, also those of accounts that are set aside,
 *   - it is older than `keep_ms`, or the records behind it take `keep_bytes`.
 *
 * Where there is an archive, its copy there has been read back before it goes. The thread of upkeep.c takes the
 * steps; a process may be killed between any two of them, and within each.
 */
#ifndef TOLLGATE_LEDGER_RETENTION_H
#define TOLLGATE_LEDGER_RETENTION_H

#include "storage/ledger/ledger_internal.h"

/* `stop` ends a step sooner, and is borrowed. 0 or -ENOMEM. */
int retention_create(struct ledger *ledger, const _Atomic bool *stop);
void retention_destroy(struct ledger *ledger);

/* Takes one step: looks for a segment, packs, verifies, keeps or removes it, or removes what has ended in the
 * archive. It waits for the disks alone. Returns the monotonic time at which it wants to be called again. */
uint64_t retention_step(struct ledger *ledger);

/* Fills in the figures of the metrics. Any thread; NULL-safe where the ledger is not wholly open. */
void retention_stats(struct ledger *ledger, struct ledger_stats *out);
#endif
