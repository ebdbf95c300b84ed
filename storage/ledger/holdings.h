/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this lane holds of accounts' and links' funds, in a table of its own that is mapped, so that
 * it outlives a killed process: STATE_DIR/lane-a/pools. The next process tells Redis, before the node
 * is ready, that none of it is held any more; others then have it at once. What finds no place in the
 * table, or is lost with it, is free after twice its validity. Workers note and forget, the poster
 * tells; one lock guards the table. It also keeps when Redis noted the lane last, so that the next
 * process, too, knows a Redis that has lost that note.
 */
#ifndef TOLLGATE_LEDGER_HOLDINGS_H
#define TOLLGATE_LEDGER_HOLDINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/ledger/ledger_names.h"

#define HOLDINGS_MAX     4096

#define HOLDING_TEXT_MAX (LEDGER_ISSUER_MAX + 1 + LEDGER_ACCOUNT_MAX)

struct holding {
    uint32_t length;
    char text[HOLDING_TEXT_MAX]; /* "issuer/account" */
    bool of_link;
    unsigned char link_id[LEDGER_LINK_ID_BYTES];
};

struct holdings;

/* Maps the table in the directory, and makes it where it is missing. 0 or a negative errno. */
int holdings_open(struct holdings **out, int directory);
void holdings_close(struct holdings **holdings);

/* Notes one. Returns its place, or -1 where there is none (also without a table). */
int holdings_note(struct holdings *holdings, const struct holding *holding);
/* Forgets the one at this place; nothing where it is -1. */
void holdings_forget(struct holdings *holdings, int place);
/* Finds the next one that a process before this one has left, from this place on. Returns its place,
 * or -1: there is none. */
int holdings_left(struct holdings *holdings, int from, struct holding *out);

/* When Redis noted this lane last, in ms since 1970 by Redis' clock; 0: never, or it is not known. */
uint64_t holdings_noted_ms(const struct holdings *holdings);
/* Keeps that; the poster calls it. Without a table nothing is kept. */
void holdings_keep_noted(struct holdings *holdings, uint64_t noted_ms);

#endif
