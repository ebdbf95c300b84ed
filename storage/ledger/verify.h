/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verifying the journals of a state directory from outside, as `tollgate ledger verify` does: of the
 * node's own, beside the running node, or of a copy, a backup or the directory of a node that is gone.
 * It writes nothing there and asks Redis nothing. To see whether a process has a lane it takes the
 * lane's lock, shared, for a moment, which a process that starts waits for.
 */
#ifndef TOLLGATE_LEDGER_VERIFY_H
#define TOLLGATE_LEDGER_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/ledger/ledger_lanes.h"

struct ledger_walk_record; /* walk.h */

/* What a lane's journal holds, up to its end or to where it is damaged. */
struct ledger_verification {
    void (*progress)(void *context, uint32_t segment,
                     uint32_t segments); /* the caller's, or NULL */
    /* The caller's, or NULL: it gets each record that is sound, in order. 0, or a negative errno, which
     * ends the reading and is returned. */
    int (*take)(void *context, const struct ledger_walk_record *record);
    void *context;
    uint64_t day_end_ms; /* the caller's: of the day whose head is asked for; 0: of none */
    /* The caller's, or NULL: the directory in which segments are that have left the journal. Without it, or where
     * the oldest have ended there, the reading begins with the first segment that is left. */
    const char *archive;

    char lane[8];             /* "lane-a" */
    char instance[33];        /* under which Redis keeps its watermarks */
    bool is_written;          /* a process appends meanwhile; what it appends is left out */
    uint64_t accounts;        /* that have records there */
    uint32_t first, segments; /* the first one that was read, and the last one that is there */
    uint64_t records, usage_records, operations;
    uint64_t bytes, responses;  /* that its downloads add up to */
    uint64_t first_ms, last_ms; /* of its records, since 1970; 0: there are none */
    uint32_t segment;           /* of its last sound record */
    uint64_t position;          /* behind that, in bytes */
    uint64_t chain;             /* its value there */
    /* The last record before day_end_ms, as evidence.h has it. */
    bool has_head, is_head_final; /* final: a later one follows */
    uint32_t head_segment;
    uint64_t head_byte, head_chain; /* where it begins; its value */
    uint32_t torn;   /* records behind it that a crash has cut; the next start drops them */
    bool is_stopped; /* that record is of a clean end */
};

/*
 * Reads and verifies the journal of the lane of this number: the chain of its records, the sequence of
 * each account, the sums of each download. It needs memory for the names in it. 0; -ENOENT: there is
 * no journal in such a lane; -EBADMSG: it is damaged; another negative errno: it cannot be read. Of the
 * last two, one sentence with the cause and the cure stands in `error`.
 */
int ledger_verify(const char *state_dir, unsigned lane, struct ledger_verification *out,
                  char *error, size_t error_size);

#endif
