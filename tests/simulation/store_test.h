/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of simulation_store_test share: a call, the calls at random, the real Redis, and
 * the count of answers. */
#ifndef TOLLGATE_TESTS_SIMULATION_STORE_TEST_H
#define TOLLGATE_TESTS_SIMULATION_STORE_TEST_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/simulation/store.h"

#define CALL_WORDS_MAX 1200
#define CALL_BYTES_MAX 131072 /* FUNCTION LOAD has the library */

/* One command; its words lie behind each other in `bytes`. */
struct call {
    int count;
    const char *words[CALL_WORDS_MAX];
    size_t lengths[CALL_WORDS_MAX];
    size_t used;
    /* A key whose fields Redis may answer in another order, where its hash is scattered; NULL:
     * none. */
    const char *unordered;
    char bytes[CALL_BYTES_MAX];
};

void call_begin(struct call *call);
void call_bytes(struct call *call, const char *bytes, size_t length);
void call_text(struct call *call, const char *text);
void call_format(struct call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Replaces a word. */
void call_replace(struct call *call, int index, const char *text);

/* ---- calls at random: store_test_calls.c ---- */

struct world {
    uint64_t random;
    struct store *store; /* borrowed; read for watermarks and uses that fit */
    uint64_t now_us;
    unsigned long calls;
    /* Malformed values that were put there, to be taken away again. */
    struct {
        char key[128], field[64];
    } poisoned[16];
    unsigned poisoned_count;
    unsigned swept; /* calls of the sweep over a node's bytes */
};

uint64_t world_random(struct world *world, uint64_t below);
bool world_chance(struct world *world, unsigned percent);
/* The next call. */
void world_call(struct world *world, struct call *call);
/* Any other command than FCALL of the ledger's functions: store_test_commands.c. */
void world_command(struct world *world, struct call *call);
void world_key(struct world *world, struct call *call);
const char *world_junk(struct world *world);
void world_file(struct world *world, struct call *call, unsigned names, const char *before);

/* ---- Redis: store_test_redis.c ---- */

struct real {
    redisContext *context;  /* owned; calls */
    redisContext *listener; /* owned; subscribed to everything */
    volatile uint64_t *clock_us;
    int pid;
    char directory[64];
};

/* Starts a redis-server whose clock is real->clock_us. Ends the process where it cannot. */
void real_start(struct real *real);
void real_stop(struct real *real);
void real_send(struct real *real, const struct call *call);
redisReply *real_next(struct real *real);
redisReply *real_words(struct real *real, int count, const char *const words[]);

/* ---- replies: store_test_reply.c ---- */

/* Whether both are the same: type, text, order. */
bool reply_same(const redisReply *a, const redisReply *b);
/* Sorts the elements of an array as groups of so many. */
void reply_sort(redisReply *reply, size_t group);
void reply_print(const redisReply *reply, int depth);
uint64_t reply_digest(const redisReply *reply, uint64_t seed);

/* The kinds that must occur: store_test_answers.c. */
extern const char *const required_answers[];
extern const size_t required_answers_count;

/* Counts the kind of this answer. */
void count_answer(const struct call *call, const redisReply *reply);
/* Counts a message: the channel, a line feed, and what was published. */
void count_message(const char *text, size_t length);
/* Prints all counts; returns how many of the answers that must occur did not. */
unsigned count_report(void);

#endif
