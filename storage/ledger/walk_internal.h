/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk through a lane's journal as a cursor, from any segment on: what walk.h shows and what evidence.h tells is
 * found so. It verifies the chain of what it reads and nothing else, writes nothing, and sees what was written when
 * it began. The scan that watches shows its records likewise.
 */
#ifndef TOLLGATE_LEDGER_WALK_INTERNAL_H
#define TOLLGATE_LEDGER_WALK_INTERNAL_H

#include "storage/ledger/archive.h"
#include "storage/ledger/evidence.h"
#include "storage/ledger/names.h"
#include "storage/ledger/reader.h"
#include "storage/ledger/walk.h"

struct journal_walk {
    const char *state_dir;                     /* borrows */
    const struct ledger_evidence_watch *watch; /* borrows; NULL: nobody is told how far it is */
    struct names names;
    struct journal_reader reader;
    struct archive_disk disk;
    int directory; /* owns */
    unsigned lane;
    uint8_t instance[JOURNAL_ID_BYTES];
    bool is_written; /* a process has the lane */
    bool is_torn;    /* walk_next has ended before what a crash has torn */
    uint32_t first;  /* segment that is in the journal, or in its archive */
    uint32_t last;   /* segment with a record; 0: the journal has none */
    uint32_t until;  /* the caller's: the segment in which the walk ends; 0: the last one */
    char *error;     /* borrows */
    size_t error_size;
};

/*
 * Opens the journal of the lane of this number. 0; -ENOENT: there is none; another negative errno, and one
 * sentence with the cause and the cure in `error`. walk_close follows only where it returned 0.
 */
int walk_open(struct journal_walk *walk, const char *state_dir, unsigned lane,
              const struct ledger_evidence_watch *watch, char *error, size_t error_size);
void walk_close(struct journal_walk *walk);

/* Goes to the start of a segment, 1..last. As walk_next, with 0 for success; -ENODATA, and a sentence: the segment has
 * left the journal, and is not in the archive that was named. */
int walk_begin(struct journal_walk *walk, uint32_t segment);
/*
 * Reads the next record, in the next segment where this one ends. 1 with a record, whose names are valid until the
 * next call; 0 at the end of the journal, or of `until`; -EBADMSG: it is damaged; another negative errno: it cannot be read; of
 * both one sentence stands in `error`.
 */
int walk_next(struct journal_walk *walk, struct journal_entry *out);
/* Where the record that walk_next has read stands. */
struct ledger_evidence_place walk_place(const struct journal_walk *walk,
                                        const struct journal_record *record);

/* How a record is shown to the outside: the entry that stands just before the reader's place. `out` borrows from both. */
void walk_show(const struct journal_reader *reader, const struct journal_entry *entry,
               struct ledger_walk_record *out);

#endif
