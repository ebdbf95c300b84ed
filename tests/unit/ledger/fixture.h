/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the ledger's tests share: a temporary directory, a real redis-server on a Unix socket in it,
 * a ledger over both, and waiting for conditions. Used by tests/unit/ledger/ only.
 */
#ifndef TOLLGATE_TESTS_LEDGER_FIXTURE_H
#define TOLLGATE_TESTS_LEDGER_FIXTURE_H

#include <hiredis/hiredis.h>
#include <sys/types.h>

#include "storage/ledger/ledger_internal.h"

/* The keys of an account's ring of transactions, as words of a command. */
#define FIXTURE_RING(tag)                                                                          \
    "tg:{" tag "}:transactions:0 tg:{" tag "}:transactions:1 tg:{" tag "}:transactions:2 "         \
    "tg:{" tag "}:transactions:3 tg:{" tag "}:transactions:4 "

struct fixture {
    char directory[64];
    char state[96], socket[96], address[112];
    pid_t redis; /* 0: not running */
    redisContext *connection;
    volatile int64_t
        *clock; /* maps how far Redis' clock is ahead (ns); NULL: it is the machine's */
    struct ledger_options options;
    struct ledger *ledger;
};

/* Makes the directory and starts Redis; opens no ledger. */
void fixture_start(struct fixture *fixture);
/* Closes the ledger, ends Redis and removes the directory. */
void fixture_end(struct fixture *fixture);
/* Opens the ledger and fails the test where it does not open. */
void fixture_open(struct fixture *fixture);
/* The same, and waits for LEDGER_READY. */
void fixture_open_ready(struct fixture *fixture);
/* Opens the ledger of another node, node-2, with the same Redis, and waits until it is ready. The
 * caller closes it. */
struct ledger *fixture_open_other(struct fixture *fixture);
/* Returns ledger_close's result, after at most 10 s. */
int64_t fixture_close(struct fixture *fixture);

void fixture_redis_start(struct fixture *fixture);
void fixture_redis_kill(struct fixture *fixture);
/* Starts Redis again, empty, with a wall clock that can be moved. */
void fixture_redis_start_clock(struct fixture *fixture);
/* Moves Redis' wall clock on by so many days. */
void fixture_redis_move_clock(struct fixture *fixture, int days);
/* Sends a command in hiredis' format; the caller frees the reply. */
redisReply *fixture_redis(struct fixture *fixture, const char *format, ...);
/* The same for a reply that is an integer, or a string that holds one. */
int64_t fixture_redis_integer(struct fixture *fixture, const char *format, ...);
/* A field of an account's hash as a number, 0 where it is absent. */
int64_t fixture_account_field(struct fixture *fixture, const char *tag, const char *field);
/* Loads the ledger's function library into Redis. */
void fixture_function_load(struct fixture *fixture);

/* Waits for the state and fails the test where it is not reached in time. */
void fixture_wait_state(struct fixture *fixture, enum ledger_state state);
/* Waits for the state; false where it is not reached within timeout_ms. */
bool fixture_reaches_state(struct fixture *fixture, enum ledger_state state, uint32_t timeout_ms);
void fixture_pause(void); /* 2 ms, between two looks at a condition */

/* An account of the issuer "shop", and a file. The caller drops them. */
struct ledger_account *fixture_account(struct fixture *fixture, const char *name);
struct ledger_file *fixture_file(struct fixture *fixture, const char *path);
/* Opens a download, adds the bytes to it and closes it. */
void fixture_deliver(struct fixture *fixture, const char *account, const char *path,
                     uint64_t bytes);
/* Changes an account of the issuer "shop"; returns ledger_account_change's result. `repeated` may
 * be NULL. */
int fixture_change(struct fixture *fixture, enum ledger_operation operation, const char *account,
                   int64_t amount, const char *transaction, bool *repeated);

/* The sums of all differences in a journal, read from its segments. */
struct fixture_sums {
    uint64_t records, usage_records, bytes, responses;
    int64_t money;
    uint64_t segments;
};
void fixture_read_journal(const char *state, struct fixture_sums *out);
/* The bytes of all months of the account's tag. The days and the months by file that Redis has of them are
 * compared with them. */
uint64_t fixture_redis_usage(struct fixture *fixture, const char *tag);

void fixture_copy(const char *from, const char *to);
void fixture_remove(const char *path);

#endif
