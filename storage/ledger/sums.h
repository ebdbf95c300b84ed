/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the records of each download add up to, while a journal is read: a download's record has both
 * its total and the difference to the one before, and the two must agree. The scan uses it.
 */
#ifndef TOLLGATE_LEDGER_SUMS_H
#define TOLLGATE_LEDGER_SUMS_H

#include "storage/ledger/journal_format.h"

/* Cumulative counters of one download, of one epoch. */
struct download_sum {
    uint64_t download; /* 0: no download */
    uint64_t bytes, responses;
    bool closed;
};

/* Open addressing, doubled at half. Zero-initialised: empty. */
struct sums {
    struct download_sum *slots; /* owns */
    size_t count, room;
    /* Of a download that was opened in a segment before this one, the first record that comes says what it
     * had come to; 0: of none. */
    uint32_t since;
};

/* Adds a USAGE record. 0; -EBADMSG: its parts do not add up; -ENOMEM. */
int sums_add(struct sums *sums, const struct journal_record *record);
/* Sets what an open download has come to. 0 or -ENOMEM. */
int sums_set(struct sums *sums, const struct download_sum *sum);
/* Forgets all: another process begins. */
void sums_clear(struct sums *sums);
void sums_free(struct sums *sums);

#endif
