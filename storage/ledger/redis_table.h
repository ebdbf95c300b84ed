/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers on which a node and the functions in Redis must agree. ledger.h makes its enums of
 * them, and the build makes the constants of functions/ (constants.lua.in): so this file holds
 * macros only. What a number means is stored and sent: add one at the end, and never give it to
 * something else.
 */
#ifndef TOLLGATE_STORAGE_LEDGER_REDIS_TABLE_H
#define TOLLGATE_STORAGE_LEDGER_REDIS_TABLE_H

/* Moves where a library of the older version would answer otherwise. */
#define LEDGER_FUNCTIONS_FORMAT 5

/* 2^53 - 1: what a Lua number holds exactly. */
#define LEDGER_NUMBER_MAX       9007199254740991

/* What an admission answers. */
#define LEDGER_ADMISSIONS(X)                                                                       \
    X(GRANTED, 0)                                                                                  \
    X(UNKNOWN, 1)                                                                                  \
    X(SUSPENDED, 2)                                                                                \
    X(INSUFFICIENT, 3)                                                                             \
    X(REVOKED, 4)          /* the link itself, or by its age all such links of the account */      \
    X(USED_UP, 5)          /* max_uses */                                                          \
    X(LINK_BYTES_UP, 6)    /* the link's max_bytes does not cover what is needed */                \
    X(NOT_BEGUN, 7)        /* RESUMING, and no window is open */                                   \
    X(ACCOUNT_BYTES_UP, 8) /* the account's max_bytes does not cover what is needed */

/* How far a response is for which a grant is asked. */
#define LEDGER_STAGES(X)                                                                           \
    X(BEGINNING, 0) /* a new response: Redis opens a use where none is open */                     \
    X(RESUMING, 1)  /* a new response after exp: only in a window that is open */                  \
    X(UNDER_WAY, 2) /* more for a response that has begun: it is never cut for its use */

/* Funds, each with its bit in the set that an admission answers. */
#define LEDGER_FUND_TABLE(X)                                                                       \
    X(ACCOUNT, 0, 1) /* the balance, or max_bytes, of the account */                               \
    X(LINK, 1, 2)    /* max_bytes of the link */

#endif
