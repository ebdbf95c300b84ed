/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A demand is what one response needs of its window, to begin or to go on: so many bytes, for a
 * token of such an age. A worker works out what a connection demands when it decides; the demand
 * is borrowed and never kept, because what it says changes with each byte sent.
 */
#ifndef TOLLGATE_SERVER_GRANT_DEMAND_H
#define TOLLGATE_SERVER_GRANT_DEMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "server/grant/claim.h"
#include "server/grant/window.h"

struct demand {
    struct window *window; /* borrows */
    struct claim *claim;   /* borrows; the response's own */
    uint64_t need;         /* bytes of the body that are still to be sent */
    uint64_t size;         /* of the file */
    int64_t iat;           /* of the token */
    bool has_terms;        /* Redis keeps a state of the link (struct ledger_terms) */
    bool link_bounds;      /* by max_bytes: the link has a fund of its own */
    bool is_under_way;     /* it sends already: it has claimed what it needs */
    bool takes_nothing;    /* an inquiry: it only wants to know what would be granted */
};

/* Bytes that the response has not claimed. */
static inline uint64_t demand_unclaimed(const struct demand *demand)
{
    return demand->is_under_way ? 0 : demand->need;
}
/* Claims what a new response needs, all or nothing; of one under way, whether it can pay on. False
 * where Redis has to be asked for funds. */
bool demand_claim(const struct demand *demand, uint64_t now_ms);
/* The same, but only where what Redis has confirmed allows to start or to go on without a question. */
bool demand_claim_unasked(const struct ledger *ledger, const struct demand *demand,
                          uint64_t now_ms);

#endif
