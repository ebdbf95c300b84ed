/*
 * The names of an account's keys in Redis. Used by whoever builds a command; what stands behind
 * each key is said at the head of functions.lua.
 */
#ifndef TOLLGATE_LEDGER_KEYS_H
#define TOLLGATE_LEDGER_KEYS_H

#include "names.h"

#include <stdio.h>

/* All keys of an account share its hash tag, so one function call may touch them on a cluster. */
static inline void ledger_key(char out[LEDGER_KEY_MAX], const struct ledger_account *account,
                              const char *what)
{
    snprintf(out, LEDGER_KEY_MAX, "tg:{%s}:%s", account->tag, what);
}

static inline void ledger_usage_key(char out[LEDGER_KEY_MAX], const struct ledger_account *account,
                                    uint32_t day)
{
    snprintf(out, LEDGER_KEY_MAX, "tg:{%s}:usage:%08u", account->tag, day);
}

#endif
