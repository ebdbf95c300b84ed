/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk in memory for one state directory's journal and checkpoints: it keeps what was written apart from what was
 * synced, so that a loss of power may take the one and leave the other, torn or whole. It outlives
 * the process that writes it.
 */
#ifndef TOLLGATE_SIMULATION_DISK_H
#define TOLLGATE_SIMULATION_DISK_H

#include "storage/ledger/outside.h"
#include "tests/simulation/random.h"

#define DISK_SEGMENTS_MAX 64 /* of the journal, and as many checkpoints */

struct disk_segment {
    uint64_t bytes;                /* 0: no segment has this number */
    uint8_t *written, *synced;     /* own */
    uint64_t dirty_from, dirty_to; /* the bytes that were written and not synced */
};

struct disk {
    struct ledger_disk table;
    /* Number - 1 is the index; the checkpoints stand behind the journal's segments. */
    struct disk_segment segments[2 * DISK_SEGMENTS_MAX];
    bool is_full;      /* no segment can be made */
    unsigned fails_in; /* the write or sync that fails, counted down; 0: none */
    unsigned
        dies_in; /* likewise: from that one on every call fails, as for a process that is killed there */
    bool is_dead;
    bool has_failed; /* a call for the journal did, since it was revived */
    bool is_overrun; /* a write went beyond the end of its segment */
    unsigned opened; /* descriptors given and not closed */
    /* Called before a segment of the journal is removed; NULL: not. */
    void (*removes)(void *self, uint32_t number);
    void *removes_self; /* borrows */
};

void disk_init(struct disk *disk);
void disk_free(struct disk *disk);
/* Replaces `to` by a copy of what another directory holds. */
void disk_copy(struct disk *to, const struct disk *from);
/* The power is lost: of what was not synced, a random part from its begin on stays, the last
 * sectors of it perhaps alone. */
void disk_lose_power(struct disk *disk, struct random *random);
/* Removes the journal's newest segment. False where there is none. */
bool disk_lose_segment(struct disk *disk);
/* The segment of the journal that has this number, from 1. */
const struct disk_segment *disk_journal_segment(const struct disk *disk, uint32_t number);
/* For the next process: the disk works, and all descriptors are closed. */
void disk_revive(struct disk *disk);

#endif
