/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adds, takes and levels the bytes of funds. Called by window_funds.c, grants.c and metering.c; it
 * takes no lock and asks Redis nothing. See funds.h.
 */
#include "server/grant/funds.h"

#include "server/base/check.h"

uint64_t funds_least(const struct funds *funds, unsigned set)
{
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < LEDGER_FUNDS; i++) {
        if (funds_has(set, i) && funds->bytes[i] < least)
            least = funds->bytes[i];
    }
    return least;
}

bool funds_are_empty(const struct funds *funds)
{
    bool empty = true;
    for (unsigned i = 0; i < LEDGER_FUNDS; i++)
        empty = empty && funds->bytes[i] == 0;
    return empty;
}

void funds_add(struct funds *funds, unsigned set, uint64_t bytes)
{
    for (unsigned i = 0; i < LEDGER_FUNDS; i++)
        funds->bytes[i] += funds_has(set, i) ? bytes : 0;
}

void funds_spend(struct funds *funds, unsigned set, uint64_t bytes)
{
    check(funds_least(funds, set) >= bytes);
    for (unsigned i = 0; i < LEDGER_FUNDS; i++)
        funds->bytes[i] -= funds_has(set, i) ? bytes : 0;
}

void funds_move(struct funds *to, struct funds *from)
{
    for (unsigned i = 0; i < LEDGER_FUNDS; i++) {
        to->bytes[i] += from->bytes[i];
        from->bytes[i] = 0;
    }
}

static void move_some(uint64_t *to, uint64_t *from, uint64_t most)
{
    uint64_t part = *from < most ? *from : most;
    *to += part;
    *from -= part;
}

uint64_t funds_fill(struct funds *purse, struct funds *from, unsigned set, uint64_t target)
{
    for (unsigned i = 0; i < LEDGER_FUNDS; i++) {
        if (funds_has(set, i) && purse->bytes[i] < target)
            move_some(&purse->bytes[i], &from->bytes[i], target - purse->bytes[i]);
    }
    uint64_t least = funds_least(purse, set);
    return least < target ? least : target;
}

uint64_t funds_level(struct funds *purse, struct funds *spare, unsigned set, struct funds *surplus)
{
    struct funds sum = *spare, own = *purse;
    funds_move(&sum, &own);
    uint64_t least = funds_least(&sum, set);
    for (unsigned i = 0; i < LEDGER_FUNDS; i++) {
        if (!funds_has(set, i))
            continue;
        uint64_t over = sum.bytes[i] - least, before = spare->bytes[i];
        move_some(&surplus->bytes[i], &spare->bytes[i], over);
        move_some(&surplus->bytes[i], &purse->bytes[i], over - (before - spare->bytes[i]));
    }
    return least;
}
