/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint of an account as calls of tollgate_fill: its usage, its uses of links and its operations
 * are rows, in this order, and a part is so many of them. Which rows a part has depends on the checkpoint
 * and on the size of a part alone, so that another process can go on where one has ended. Used by the
 * poster. It sends nothing.
 */
#ifndef TOLLGATE_LEDGER_FILL_PART_H
#define TOLLGATE_LEDGER_FILL_PART_H

#include "storage/ledger/checkpoint.h"
#include "storage/ledger/keys.h"

/* Rows of a part: each moves four fields at most. A part of another size would go on elsewhere. */
#define FILL_ROWS      250u
#define FILL_WORDS_MAX (32u + 16 * FILL_ROWS)
#define FILL_TEXT_MAX  ((size_t)(2 * FILL_ROWS + 8) * LEDGER_KEY_MAX + (size_t)FILL_ROWS * 10 * 24)

/* A command whose words lead into itself and into the account of which it was made. */
struct fill_part {
    int count;
    size_t used;  /* of the text */
    size_t bytes; /* of the words */
    const char *words[FILL_WORDS_MAX];
    size_t lengths[FILL_WORDS_MAX];
    uint32_t dates[2 * FILL_ROWS]; /* yyyymmdd or yyyymm */
    size_t dates_count;
    const struct checkpoint_use *links[FILL_ROWS];             /* one use of each */
    const struct checkpoint_operation *revocations[FILL_ROWS]; /* their links are keys, too */
    size_t links_count, revocations_count;
    size_t
        at[FILL_ROWS]; /* of each row: the place of its date among the dates, or of its link among
                             the keys; both from 1 */
    char text[FILL_TEXT_MAX];
};

/* What a part says of itself. All is borrowed. */
struct fill_says {
    const struct ledger_account *account;
    const struct checkpoint_account *checkpoint;
    const char *instance, *node; /* node: by whom an operation was taken that does not say */
    uint64_t lease;
    uint32_t segment, wait_ms;
    uint32_t number, rows; /* of the part, from 1; of each part: at most FILL_ROWS */
};

/* How many parts the account has: at least one. */
uint32_t fill_parts(const struct checkpoint_account *checkpoint, uint32_t rows);
/* Makes the command of a part, which must be one of them. */
void fill_part_make(struct fill_part *part, const struct fill_says *says);

#endif
