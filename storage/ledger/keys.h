/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of an account's keys in Redis. Every source that builds a command includes it; the head
 * of functions/library.lua says what each key holds.
 */
#ifndef TOLLGATE_LEDGER_KEYS_H
#define TOLLGATE_LEDGER_KEYS_H

#include <stdio.h>

#include "storage/ledger/names.h"
#include "storage/ledger/redis_table.h"

/* A mark of Redis, which is another one once the keys of an account were deleted; see poster_proof.c. */
#define LEDGER_EMPTIED_KEY   "tg:emptied"
#define LEDGER_EMPTIED_FIELD "mark"
/* Writes by how much it is raised: by chance, so that no Redis has the mark of another one. */
void ledger_emptied_step(char out[24]);

/* All keys of an account share its hash tag, so one function call may touch them on a cluster. */
static inline void ledger_key(char out[LEDGER_KEY_MAX], const struct ledger_account *account,
                              const char *what)
{
    snprintf(out, LEDGER_KEY_MAX, "tg:{%s}:%s", account->tag, what);
}

static inline void ledger_link_key(char out[LEDGER_KEY_MAX], const struct ledger_account *account,
                                   const unsigned char link_id[LEDGER_LINK_ID_BYTES],
                                   const char *what)
{
    static const char digits[] = "0123456789abcdef";
    int length = snprintf(out, LEDGER_KEY_MAX, "tg:{%s}:link:", account->tag);
    char *at = out + length;
    for (size_t i = 0; i < LEDGER_LINK_ID_BYTES; i++) {
        *at++ = digits[link_id[i] >> 4];
        *at++ = digits[link_id[i] & 15];
    }
    snprintf(at, LEDGER_KEY_MAX - (size_t)(at - out), "%s", what);
}

/* `date`: yyyymmdd or yyyymm. */
static inline void ledger_usage_key(char out[LEDGER_KEY_MAX], const struct ledger_account *account,
                                    uint32_t date)
{
    snprintf(out, LEDGER_KEY_MAX, "tg:{%s}:usage:%06u", account->tag, date);
}

/* The keys of the ring of transactions. */
#define LEDGER_TRANSACTION_KEYS_COUNT LEDGER_COUNT(LEDGER_TRANSACTION_KEYS)
static inline void ledger_transaction_keys(char (*out)[LEDGER_KEY_MAX],
                                           const struct ledger_account *account)
{
    for (size_t i = 0; i < LEDGER_TRANSACTION_KEYS_COUNT; i++)
        snprintf(out[i], LEDGER_KEY_MAX, "tg:{%s}:transactions:%zu", account->tag, i);
}

#endif
