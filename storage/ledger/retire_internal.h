/* SPDX-License-Identifier: Apache-2.0 */
/* What retire.c and retire_copy.c share: a retirement under way. */
#ifndef TOLLGATE_LEDGER_RETIRE_INTERNAL_H
#define TOLLGATE_LEDGER_RETIRE_INTERNAL_H

#include <limits.h>
#include <sys/types.h>

#include "storage/ledger/lane.h"
#include "storage/ledger/retire.h"

struct retire {
    const char *directory;         /* borrows */
    char state_path[PATH_MAX];     /* without links */
    struct ledger_retirement *out; /* borrows */
    char *error;                   /* borrows */
    size_t error_size;
    int from, to; /* own: the two directories; -1: not open */
    int locks[LANES_MAX];
    uid_t uid; /* of the owner of the state directory */
    gid_t gid;
    /* The lane that is looked at. */
    char lane[LANE_NAME_SIZE], instance[LEDGER_HEX_SIZE];
    bool is_noted;
};

/* Writes the sentence, unless there is one, and returns `result`. */
int retire_refuse(struct retire *retire, int result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static inline void retire_step(const struct retire *retire, uint64_t copied)
{
    if (retire->out->progress != NULL)
        retire->out->progress(retire->out->context, retire->lane, copied);
}

/* ---- retire_copy.c ---- */

/* Takes the lock of a lane. The descriptor, or a negative errno: -EWOULDBLOCK where a process has it. */
int retire_lock(int directory, unsigned number);
/* As root: gives the lane and its files to the owner of the state directory. 0 or a negative errno. */
int retire_give(const struct retire *retire, int parent, const char *name);
/* Copies the lane to `name` in the state directory, durably, in place of what an interrupted copy has left, and
 * verifies that the copy has all that the lane has. 0 or a negative errno. */
int retire_copy(struct retire *retire, const char *name);

#endif
