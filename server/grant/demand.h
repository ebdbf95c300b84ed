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

#include "server/grant/purse.h"
#include "server/grant/window.h"

struct demand {
    struct window *window; /* borrows */
    struct purse *purse;   /* borrows; the response's own */
    uint64_t need;         /* bytes of the body that are still to be sent */
    uint64_t size;         /* of the file */
    int64_t iat;           /* of the token */
    bool has_terms;        /* Redis keeps a state of the link (struct ledger_terms) */
    bool link_bounds;      /* by max_bytes: the link has a fund of its own */
    bool is_under_way;     /* it sends already: it goes on with what there is */
    bool takes_nothing;    /* an inquiry: it only wants to know what would be granted */
};

/* The set of funds from which the response's next bytes are paid. */
static inline unsigned demand_set(const struct demand *demand)
{
    return purse_set(demand->window, demand->link_bounds);
}
/* Takes what the response needs from its window's spare funds: all or nothing before it begins, as
 * much as there is while it sends. False where Redis has to be asked. */
bool demand_fill(const struct demand *demand);
/* The same, but only where the window's grant allows to start or to go on without a question. */
bool demand_fill_unasked(const struct ledger *ledger, const struct demand *demand, uint64_t now_ms);

#endif
