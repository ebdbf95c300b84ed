/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Funds: bytes that Redis has reserved for this node, of an account (its balance or its max_bytes)
 * and of a link (its max_bytes). A window holds those that no response needs yet; a response takes
 * what it needs from there when it begins, spends it as it hands bytes to the kernel, and gives
 * back what is left when it ends. So no fund ever gets back more than was taken from it, even where
 * an account becomes limited, or unlimited, while bytes are under way.
 *
 * These are plain numbers: a caller that shares funds between threads holds a lock (window.h).
 */
#ifndef TOLLGATE_SERVER_GRANT_FUNDS_H
#define TOLLGATE_SERVER_GRANT_FUNDS_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/ledger/ledger.h"

struct funds {
    uint64_t bytes[LEDGER_FUNDS]; /* by enum ledger_fund */
};

/* Whether the set has the fund. A set of funds is a sum of LEDGER_FUND_BITs; bytes that are paid
 * from the empty set are not bounded. */
static inline bool funds_has(unsigned set, unsigned fund)
{
    return (set >> fund & 1) != 0;
}
/* How many bytes can be spent from all funds of the set; UINT64_MAX where the set is empty. */
uint64_t funds_least(const struct funds *funds, unsigned set);
bool funds_are_empty(const struct funds *funds);
/* Adds `bytes` to each fund of the set. */
void funds_add(struct funds *funds, unsigned set, uint64_t bytes);
/* Takes `bytes` from each fund of the set, which must have them. */
void funds_spend(struct funds *funds, unsigned set, uint64_t bytes);
/* Moves all of `from` to `to`. */
void funds_move(struct funds *to, struct funds *from);
/*
 * Brings each fund of the set in `purse` up to `target` bytes, as far as `from` has them. Returns
 * how many bytes can be spent from the purse then, `target` at most.
 */
uint64_t funds_fill(struct funds *purse, struct funds *from, unsigned set, uint64_t target);
/*
 * Levels the funds of the set. Purse and spare together may have more of one than of another,
 * where they were filled for another set. What a fund has beyond the least one goes to `surplus`,
 * out of the spare first, so that one question to Redis can ask the same of each. Returns what
 * each fund has left.
 */
uint64_t funds_level(struct funds *purse, struct funds *spare, unsigned set, struct funds *surplus);

#endif
