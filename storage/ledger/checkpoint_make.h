/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making checkpoints, and beginning with one. The thread of checkpoints.c makes them; the scan begins
 * behind the newest. All of it may be interrupted anywhere: a file without its head is not a checkpoint,
 * and the one before stays until the next is verified.
 */
#ifndef TOLLGATE_LEDGER_CHECKPOINT_MAKE_H
#define TOLLGATE_LEDGER_CHECKPOINT_MAKE_H

#include "storage/ledger/checkpoint_file.h"
#include "storage/ledger/journal.h"

/* The directories and the instance of a lane. All is borrowed. */
struct checkpoint_place {
    const struct ledger_disk *disk;
    int journal, checkpoints; /* directories */
    const uint8_t *instance;  /* JOURNAL_ID_BYTES */
};

/* The number of the newest file of a checkpoint below or at `most`, finished or not; 0: there is none.
 * A negative errno: the directory cannot be read. */
int64_t checkpoint_newest(const struct checkpoint_place *place, uint32_t most);

/* Reads a whole checkpoint and verifies its hash. `each` (which may be NULL) gets each account, decoded,
 * which is cleared behind it; what it returns but 0 ends the reading. 0 and what else the checkpoint has in `out`, which the caller clears; -EBADMSG: it is none,
 * damaged, or of another instance; or a negative errno. Names are taken from `names`. */
typedef int checkpoint_each(void *context, const struct checkpoint_account *account);
int checkpoint_read(const struct checkpoint_place *place, uint32_t segment, struct names *names,
                    checkpoint_each *each, void *context, struct checkpoint *out);

/*
 * Makes the checkpoint of `segment` from that of `base` (0: from nothing) and the segments behind it,
 * all of which are full. Memory: the accounts and files in those segments, and one account of the
 * checkpoint. `stop` ends it sooner, with -ECANCELED. 0, with the file on disk; -EBADMSG with a sentence
 * in `error`: the journal or the checkpoint before is damaged; or a negative errno.
 */
int checkpoint_make(const struct checkpoint_place *place, uint32_t base, uint32_t segment,
                    const _Atomic bool *stop, char *error, size_t error_size);

#endif
