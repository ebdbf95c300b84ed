/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A purse holds the funds that a response has taken from its window: all that it needs when it
 * begins, so that no other response can begin on the same bytes, and as much as there is when it
 * goes on. demand.c fills purses, metering spends them; the rest goes back when the response ends.
 * See funds.h. Only the worker of the response touches its purse.
 */
#ifndef TOLLGATE_SERVER_GRANT_PURSE_H
#define TOLLGATE_SERVER_GRANT_PURSE_H

#include <stdbool.h>

#include "server/grant/funds.h"
#include "server/grant/window.h"

struct purse {
    struct funds funds; /* taken from the window's for bytes not handed over yet */
    bool is_paying;     /* counted among its window's responses that took funds */
};

/* The set of funds (funds.h) from which bytes of the window are paid; `link_bounds`: the link has
 * max_bytes. */
static inline unsigned purse_set(const struct window *window, bool link_bounds)
{
    unsigned set = 0;
    if (atomic_load_explicit(&window->account_bounds, memory_order_relaxed))
        set |= LEDGER_FUND_BIT(LEDGER_FUND_ACCOUNT);
    if (link_bounds)
        set |= LEDGER_FUND_BIT(LEDGER_FUND_LINK);
    return set;
}
/* Counts a response that sends from its purse: others that are short of the same window's funds may
 * wait for its end. */
void purse_begin(struct purse *purse, struct window *window);
/* Gives the purse back to the window. */
void purse_return(struct purse *purse, struct windows *windows, struct window *window);
/* The same at the end of the response, which is no longer counted. */
void purse_end(struct purse *purse, struct windows *windows, struct window *window);

#endif
