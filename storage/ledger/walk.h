/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the records of a journal from outside, in order, as `tollgate ledger inspect` and
 * `tollgate ledger reconcile` do: beside the running node, or of a copy. It writes nothing and asks Redis
 * nothing. Records are shown as journal_format.h decodes them, with their names put together.
 */
#ifndef TOLLGATE_LEDGER_WALK_H
#define TOLLGATE_LEDGER_WALK_H

#include "storage/ledger/journal_format.h"

/* One record, and where it stands. All of it is borrowed until the callback returns. */
struct ledger_walk_record {
    const struct journal_record *record;
    uint32_t format;              /* of its segment */
    uint32_t segment;             /* its number, from 1 */
    uint64_t position;            /* where in the segment's file it begins, in bytes */
    uint64_t chain;               /* its value */
    const char *account;          /* "issuer/account"; NULL: it is of none */
    const char *tag;              /* the same, percent-encoded as in Redis' keys; NULL likewise */
    const char *file;             /* the path; NULL: it has none */
    const char *operation, *plan; /* of MONEY: "open" and "prepaid", as Redis has them; else NULL */
    const char *keys[JOURNAL_RESPONSES]; /* that signed the responses' links; NULL: not known */
};

/* 0 to go on; anything else ends the walk, which returns it. */
typedef int ledger_walk_take(void *context, const struct ledger_walk_record *record);

struct ledger_walk {
    ledger_walk_take *take;
    void (*progress)(void *context, uint32_t segment, uint32_t segments); /* or NULL */
    void *context;
    const char *archive; /* the directory with segments that have left the journal, or NULL */
    uint32_t first;      /* the segments that are read; 0: from the first one, to the last one */
    uint32_t last;

    /* What was found. */
    char lane[8];      /* "lane-a" */
    char instance[33]; /* under which Redis keeps its watermarks */
    bool is_written;   /* a process appends meanwhile; what it appends is left out */
    bool is_torn;      /* what stands behind the last record was torn by a crash */
    uint32_t begin;    /* the first segment that is there, in the journal or the archive */
    uint32_t segments; /* the last one that has a record */
    uint64_t records;  /* that were read */
    uint32_t segment;  /* of the last of them */
    uint64_t position; /* behind that, in bytes */
    uint64_t chain;    /* its value there */
};

/*
 * Reads the journal of the lane of this number (0: lane-a). The chain of the records is verified, and
 * nothing else: ledger_verify does that. It needs memory for the names of one segment. 0; -ENOENT:
 * there is no journal in such a lane; -ERANGE: the journal has no records in segment `first`; -ENODATA: not any more, and the archive has not either; -EBADMSG: a
 * record is damaged; what `take` returned; or another negative errno. Of those but the first and the callback's
 * own, one sentence with the cause and the cure stands in `error`.
 */
int ledger_walk(const char *state_dir, unsigned lane, struct ledger_walk *walk, char *error,
                size_t error_size);

#endif
