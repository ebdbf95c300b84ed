/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A forged journal: records of accounts, times and downloads that no traffic has made, and checkpoints of
 * it, in a state directory that a node can be started on. Used by the tests of what is posted from them.
 */
#ifndef TOLLGATE_TESTS_LEDGER_FORGE_H
#define TOLLGATE_TESTS_LEDGER_FORGE_H

#include "storage/ledger/checkpoint_make.h"
#include "storage/ledger/ledger_internal.h"
#include "tests/unit/ledger/fixture.h"
#include "tests/unit/ledger/script.h"

#define FORGE_SEGMENT 65536u /* bytes: 256 records */

struct forge {
    struct script poster, push;
    struct ledger_outside outside;
    struct ledger *ledger;
    uint64_t downloads;
};

/* Starts a fixture whose node has segments of FORGE_SEGMENT bytes and makes no checkpoint by itself. */
void forge_start(struct fixture *fixture);
/* Opens the state directory of a node, which no other process has open; forge_close leaves it to one. */
void forge_open(struct forge *forge, const char *state, const char *node, uint64_t segment_bytes);
void forge_close(struct forge *forge);
/* Appends a record of an account of the issuer "shop"; its time must be set, and of what it says all but
 * the account, the file and the sequence. `path` is NULL for an operation. */
void forge_append(struct forge *forge, const char *account, const char *path,
                  struct journal_record *record);
/* Appends usage of a day at noon. */
void forge_usage(struct forge *forge, const char *account, const char *path, uint32_t day,
                 uint64_t bytes);
/* Appends an operation. */
void forge_operation(struct forge *forge, const char *account, enum ledger_operation operation,
                     int64_t amount, const char *transaction, uint64_t number);
/* Makes the checkpoint of a segment from that of `base` (0: from nothing). */
void forge_checkpoint(struct forge *forge, uint32_t base, uint32_t segment);
/* The directories of the open state directory. */
struct checkpoint_place forge_place(const struct forge *forge);
/* Noon of a day, yyyymmdd. */
uint64_t forge_noon(uint32_t day);

#endif
