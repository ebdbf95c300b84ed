/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A world of the tests' own for a ledger without threads: a clock that moves where a test moves it,
 * a disk that fails where a test says so, and two connections to a Redis that the test plays. The
 * tests of the steps use it, from one thread.
 */
#ifndef TOLLGATE_TESTS_LEDGER_WORLD_H
#define TOLLGATE_TESTS_LEDGER_WORLD_H

#include "storage/ledger/ledger_internal.h"
#include "tests/unit/ledger/script.h"

#define WORLD_START_MS    1000000        /* on the monotonic clock */
#define WORLD_EPOCH_MS    1700000000000u /* the real time then */
#define WORLD_EVENTS_SIZE 8192

struct world {
    char directory[64], state[96];
    uint64_t now_ms;
    int64_t clock_step_ms;                     /* by which the wall clock was set */
    int create_error, write_error, sync_error; /* errno of every such call; 0: it works */
    unsigned creates, syncs;                   /* calls so far */
    char events[WORLD_EVENTS_SIZE];            /* what the ledger said, one line each */
    struct ledger_clock clock;
    struct ledger_disk disk;
    struct script poster, push;
    struct ledger_outside outside;
    struct ledger_options options;
    struct ledger *ledger;
};

/* Makes a directory and the tables; opens no ledger. */
void world_start(struct world *world);
void world_end(struct world *world);
/* Opens the ledger, and fails the test where it does not open. */
void world_open(struct world *world);
/* How often the ledger said something that contains the text. */
unsigned world_said(const struct world *world, const char *text);
/* Opens a download of shop/alice and adds the bytes. */
struct ledger_download *world_download(struct world *world, uint64_t bytes);

#endif
