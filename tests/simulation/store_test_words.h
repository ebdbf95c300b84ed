/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of random calls of the ledger's functions: a few accounts, links, instances and leases, so
 * that they collide, and numbers that mostly fit. For the files of simulation_store_test that make
 * calls.
 */
#ifndef TOLLGATE_SIMULATION_STORE_TEST_WORDS_H
#define TOLLGATE_SIMULATION_STORE_TEST_WORDS_H

#include "tests/simulation/store_test.h"

#define ACCOUNTS 6
#define LINKS    3
#define NODES    4
#define IDS      3
#define INSTANCE 16 /* the number of the first instance's id */
#define FILES    12

unsigned world_pick(struct world *world, unsigned below);
int64_t world_one_of(struct world *world, size_t count, const int64_t numbers[]);
#define ONE_OF(world, ...)                                                                         \
    world_one_of(world, sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t),                  \
                 (const int64_t[]){__VA_ARGS__})
/* A number; now and then something else. */
void world_number(struct world *world, struct call *call, int64_t value);
int64_t world_now_ms(const struct world *world);

unsigned world_account(struct world *world);
void call_account_key(struct call *call, unsigned account, const char *rest);
void call_link_key(struct call *call, unsigned account, unsigned link, const char *rest);
void world_id(struct world *world, struct call *call, unsigned base);
/* A number that the store knows, else 0. */
int64_t world_known(struct world *world, const char *key, const char *field);
/* An instance, and mostly the lease under which it asked or posted last, as far as the store knows. */
void world_lessee(struct world *world, struct call *call, unsigned of, unsigned instance);

/* ---- store_test_credit.c ---- */

void world_admit(struct world *world, struct call *call);
void world_tell(struct world *world, struct call *call);
void world_reserved(struct world *world, struct call *call);
/* Adds a field and a value of a hash of grants: a pool that a function could have written. Most of what
 * stands there is to be one, since one that is malformed has all questions of its fund refused. */
void world_pool(struct world *world, struct call *call);

/* ---- store_test_fill.c ---- */

void world_fill(struct world *world, struct call *call);

/* ---- store_test_calls.c ---- */

void call_function(struct call *call, const char *function, int keys);

#endif
