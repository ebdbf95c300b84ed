/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts the responses that pay from their purses, and gives purses back. Called by admission.c and
 * connection.c of the response's worker; it asks Redis nothing. See purse.h.
 */
#include "server/grant/purse.h"

void purse_begin(struct purse *purse, struct window *window)
{
    if (purse->is_paying || funds_are_empty(&purse->funds))
        return;
    atomic_fetch_add(&window->paying, 1);
    purse->is_paying = true;
}

void purse_return(struct purse *purse, struct windows *windows, struct window *window)
{
    window_give(windows, window, &purse->funds);
}

void purse_end(struct purse *purse, struct windows *windows, struct window *window)
{
    purse_return(purse, windows, window);
    if (purse->is_paying)
        atomic_fetch_sub(&window->paying, 1);
    purse->is_paying = false;
}
