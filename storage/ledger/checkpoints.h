/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When checkpoints of a lane's journal are made: behind each million records or so, and at least
 * once a day where a segment has ended. Each is read again as a start reads it and compared with what the
 * ledger has counted itself before it counts; the one before is kept beside it. The thread of upkeep.c takes the
 * steps.
 */
#ifndef TOLLGATE_LEDGER_CHECKPOINTS_H
#define TOLLGATE_LEDGER_CHECKPOINTS_H

#include "storage/ledger/checkpoint_make.h"
#include "storage/ledger/ledger_internal.h"

/* Begins with what is on disk. `stop` ends a step sooner, and is borrowed. 0 or -ENOMEM. */
int checkpoints_create(struct ledger *ledger, const _Atomic bool *stop);
void checkpoints_destroy(struct ledger *ledger);

/* Makes, verifies or removes at most one checkpoint. It waits for the disk alone. Returns the monotonic
 * time at which it wants to be called again. */
uint64_t checkpoints_step(struct ledger *ledger);
/* Where the lane's checkpoints stand, also of a ledger that makes none. It borrows from the ledger. Any
 * thread. */
struct checkpoint_place checkpoints_place(const struct ledger *ledger);
/* The last segment that the newest verified checkpoint covers; 0: there is none. Any thread. */
uint32_t checkpoints_segment(const struct ledger *ledger);
/* The last segment that the two newest checkpoints cover, both of them verified; 0: there are not two. For
 * retention.c, on the thread that makes checkpoints: once in a process it reads a checkpoint. */
uint32_t checkpoints_spare(struct ledger *ledger);
/* The same, where that is known by now. Any thread. */
uint32_t checkpoints_covered(const struct ledger *ledger);

/*
 * Of the poster: keeps the file of a checkpoint of which some parts and not all may come to be in Redis, as
 * another may not take its place there, and all between this one and those that it keeps already; and lets
 * them go a day after the journal is in Redis, which may go back. From the start on, all that are there are
 * kept until then: an earlier process may have begun them.
 */
void checkpoints_hold(struct ledger *ledger, uint32_t segment);
void checkpoints_release(struct ledger *ledger);
/* The first one that is kept so, behind which the segments are needed, too; UINT32_MAX: there is none. Any
 * thread. */
uint32_t checkpoints_held(struct ledger *ledger);

/*
 * Compares a checkpoint with itself and with what the ledger has counted of each account. 0; -EBADMSG
 * with a sentence in `error`: it is not what the journal comes to; or another negative errno.
 */
int checkpoint_verify(struct ledger *ledger, uint32_t segment, char *error, size_t error_size);

#endif
