/*
 * Funds: bytes that Redis has reserved for this node, of an account (its balance or its max_bytes)
 * and of a link (its max_bytes). A window holds those that nobody needs yet; a response takes what
 * it needs from there when it begins, spends it as it hands bytes to the kernel, and gives back what
 * is left when it ends. So no fund ever gets back more than was taken from it, also where an account
 * is limited, or no longer limited, while bytes are under way.
 *
 * Plain numbers: whoever shares funds between threads holds a lock (window.h).
 */
#ifndef TOLLGATE_SERVER_FUNDS_H
#define TOLLGATE_SERVER_FUNDS_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/ledger/ledger.h"

struct funds {
    uint64_t bytes[LEDGER_FUNDS]; /* by enum ledger_fund */
};

/* A set of funds is the sum of LEDGER_FUND_BIT. Nothing bounds what is of none. */
static inline bool funds_has(unsigned set, unsigned fund)
{
    return (set >> fund & 1) != 0;
}
/* What can be spent that is of all funds of the set; UINT64_MAX where the set is empty. */
uint64_t funds_least(const struct funds *funds, unsigned set);
bool funds_are_empty(const struct funds *funds);
/* Adds `bytes` to each fund of the set. */
void funds_add(struct funds *funds, unsigned set, uint64_t bytes);
/* Takes `bytes` from each fund of the set, which must have them. */
void funds_spend(struct funds *funds, unsigned set, uint64_t bytes);
/* All of `from` goes to `to`. */
void funds_move(struct funds *to, struct funds *from);
/*
 * Brings each fund of the set in `purse` up to `target` bytes, as far as `from` has them. Returns
 * what can be spent of the purse then, `target` at most.
 */
uint64_t funds_fill(struct funds *purse, struct funds *from, unsigned set, uint64_t target);
/*
 * Purse and spare together have more of one fund of the set than of another where the set was
 * another before. What the fullest has beyond the least goes to `surplus`, out of the spare first:
 * one question then asks the same of each. Returns what is left of each.
 */
uint64_t funds_level(struct funds *purse, struct funds *spare, unsigned set, struct funds *surplus);

#endif
