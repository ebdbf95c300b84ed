/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of calls that stores have answered, in order: each with the time, its words and the answer. The
 * simulator writes one, and tests/versions replays it against functions of a later version. Beside the
 * calls of the ledger's functions it has what else changes a store; what only reads, and what a function
 * has refused, is left out.
 *
 * The file is RECORDING_MAGIC, the version of the functions, and their text; then entries. A number is
 * LEB128, a text its length and its bytes. An entry is its kind and a store's number; of a copy, the number
 * of the other store; of a call, microseconds since the entry before (zigzag), the count of its words, the
 * words, and the answer: a letter (i: zigzag; s, t, e: text, status, error; n: nil; a: count and elements).
 */
#ifndef TOLLGATE_TESTS_SIMULATION_STORE_RECORDING_H
#define TOLLGATE_TESTS_SIMULATION_STORE_RECORDING_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/simulation/store_internal.h"

#define RECORDING_MAGIC     "TGCALLS1"
#define RECORDING_WORDS_MAX 4096

enum recorded_kind { RECORDED_END, RECORDED_CALL, RECORDED_CLEAR, RECORDED_COPY };

/* ---- writing: one recording at a time in a process ---- */

/* Begins to record all stores that are created from now on, `most` calls of them: then the recording has
 * its end. False where the file cannot be made. */
bool recording_begin(const char *path, uint64_t most);
/* Ends it. False where the file could not be written in full. */
bool recording_finish(void);

/* What store.c reports. */
uint32_t recording_number(void);
void recording_change(enum recorded_kind kind, uint32_t store, uint32_t from);
void recording_call(uint32_t store, uint64_t real_us, const struct store_words *words,
                    const redisReply *reply);

/* ---- reading ---- */

/* A recording in memory. */
struct recording {
    uint8_t *bytes;           /* owns */
    size_t length, at, first; /* `first`: of the entries */
    uint32_t version;         /* of the functions that answered */
    const char *library;      /* their text, library_length bytes */
    size_t library_length;
    uint64_t real_us;
    uint64_t calls; /* that it has */
};

struct recorded {
    enum recorded_kind kind;
    uint32_t store, from;
    uint64_t real_us;
    struct store_words words; /* leads into the recording and the two arrays */
    const char *text[RECORDING_WORDS_MAX];
    size_t lengths[RECORDING_WORDS_MAX];
    redisReply *reply; /* owns */
};

/* Reads a whole file. False with why in `error` where it is none. */
bool recording_read(struct recording *recording, const char *path, char error[200]);
/* Goes back to the first entry. */
void recording_rewind(struct recording *recording);
/* The next entry, RECORDED_END behind the last one; frees the reply of the one before. A file that is not as it
 * should be ends the process (check). Give it zeros at first. */
enum recorded_kind recording_next(struct recording *recording, struct recorded *out);
void recording_free(struct recording *recording, struct recorded *last);

#endif
