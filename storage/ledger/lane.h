/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lanes of a state directory. Each has a lock, an instance and a journal of its own, so that a
 * later process can write under one while an earlier one still posts what is in another:
 *
 *   STATE_DIR/directory         the random id of the state directory, to which the node's name belongs
 *   STATE_DIR/nodes             the nodes that this one saw, see birth.h
 *   STATE_DIR/lane-a/lock       held by the process that writes the lane's journal
 *   STATE_DIR/lane-a/instance   the random id under which Redis keeps watermarks and the lease
 *   STATE_DIR/lane-a/journal/   segments
 *   STATE_DIR/lane-a/checkpoints/  what they come to, see checkpoint_file.h
 *
 * ledger_open uses it. It reads no journal.
 */
#ifndef TOLLGATE_LEDGER_LANE_H
#define TOLLGATE_LEDGER_LANE_H

#include "storage/ledger/journal_format.h"
#include "storage/ledger/outside.h"

#define LANES_MAX       26u /* numbers begin with 0, names with lane-a */
#define LANE_NAME_SIZE  8
#define LEDGER_HEX_SIZE (2 * JOURNAL_ID_BYTES + 1)

struct lane {
    unsigned number;
    char name[LANE_NAME_SIZE];
    int state, directory, lock, journal, checkpoints; /* own; -1: none */
    uint8_t instance[JOURNAL_ID_BYTES];
    char state_id[LEDGER_HEX_SIZE]; /* of the state directory */
};

void lane_init(struct lane *lane);
/* Closes what is open, and so unlocks. */
void lane_close(struct lane *lane);
void lane_name(unsigned number, char out[LANE_NAME_SIZE]);
void lane_to_hex(const uint8_t id[JOURNAL_ID_BYTES], char out[LEDGER_HEX_SIZE]);

/*
 * Makes the state directory and the lane where they are missing, and locks the lane. A state
 * directory of before, which had lock, instance and journal at its top, becomes a lane first; that
 * may be interrupted at any point, and goes on with the next call. 0, or a negative errno (-EALREADY:
 * another process has it locked) and one sentence with the cure in `error`.
 */
int lane_lock(struct lane *lane, const char *state_dir, unsigned number, char *error,
              size_t error_size);
/* Whether the lane exists, with a lock that a process has taken at some time. */
bool lane_exists(const char *state_dir, unsigned number);
/* Whether a process holds the lane's lock. */
bool lane_is_locked(const char *state_dir, unsigned number);
/*
 * Opens the journal's directory of a lane for reading alone, and reads the lane's instance; makes
 * nothing. 0; -ENOENT: there is no such lane, or no process has begun a journal in it; -EBADMSG: the
 * file `instance` is damaged, or one of the two is missing; or another negative errno.
 */
int lane_look(const char *state_dir, unsigned number, uint8_t instance[JOURNAL_ID_BYTES],
              int *journal);
/* Where the lock is held; a boot that is not known is like no other. */
void lane_place(const struct lane *lane, struct ledger_place *out);
/* Of a lane that is locked: opens the directories of its journal and its checkpoints, and reads or
 * makes both ids. As lane_lock. */
int lane_enter(struct lane *lane, const char *state_dir, char *error, size_t error_size);

#endif
