/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A purse holds the funds that a response has taken from its window: all that it needs when it
 * begins, so that no other response can begin on the same bytes, and as much as there is when it
 * goes on. admission.c fills purses and metering.c spends them; the rest goes back when the
 * response ends. See funds.h.
 */
#include "server/delivery/connection.h"
#include "server/link/token_cache.h"

unsigned purse_set(const struct connection *connection)
{
    unsigned set = 0;
    if (atomic_load_explicit(&connection->window->account_bounds, memory_order_relaxed))
        set |= LEDGER_FUND_BIT(LEDGER_FUND_ACCOUNT);
    if (connection->link->token->limits.max_bytes > 0)
        set |= LEDGER_FUND_BIT(LEDGER_FUND_LINK);
    return set;
}

uint64_t purse_need(const struct connection *connection)
{
    return connection->left + connection->left_after;
}

bool purse_fill(struct connection *connection)
{
    struct window *window = connection->window;
    unsigned set = purse_set(connection);
    uint64_t need = purse_need(connection);
    bool begins = connection->state != CONNECTION_SENDING;
    if (set == 0)
        return true;
    uint64_t has = window_take(window, set, need, begins, &connection->purse);
    return begins ? has == need : has > 0;
}

void purse_begin(struct connection *connection)
{
    if (connection->paying || funds_are_empty(&connection->purse))
        return;
    atomic_fetch_add(&connection->window->paying, 1);
    connection->paying = true;
}

void purse_return(const struct worker *worker, struct connection *connection)
{
    if (connection->window != NULL)
        window_give(worker->node->windows, connection->window, &connection->purse);
}

void purse_end(const struct worker *worker, struct connection *connection)
{
    purse_return(worker, connection);
    if (connection->paying)
        atomic_fetch_sub(&connection->window->paying, 1);
    connection->paying = false;
}
