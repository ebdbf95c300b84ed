/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims of both pools at once. See claim.h. Called by demand.c, and by the transfer and the metering
 * of the response's worker; it asks Redis nothing.
 */
#include "server/grant/claim.h"

#include "server/base/check.h"

static struct pool *account_pool(struct window *window)
{
    return &window->account_group->pool;
}

static struct pool *link_pool(struct window *window)
{
    return &window->link_group->pool;
}

bool claim_begin(struct claim *claim, struct window *window, bool of_link, uint64_t bytes)
{
    check(claim->bytes == 0 && claim->paid == 0);
    if (!pool_begin(account_pool(window), bytes))
        return false;
    if (of_link && !pool_begin(link_pool(window), bytes)) {
        pool_end(account_pool(window), bytes);
        return false;
    }
    *claim = (struct claim){.bytes = bytes, .of_link = of_link};
    return true;
}

uint64_t claim_pay(struct claim *claim, struct window *window, uint64_t want)
{
    check(want <= claim->bytes);
    uint64_t bytes = pool_pay(account_pool(window), want);
    if (claim->of_link && bytes > 0) {
        uint64_t of_link = pool_pay(link_pool(window), bytes);
        pool_refund(account_pool(window), bytes - of_link);
        bytes = of_link;
    }
    claim->bytes -= bytes;
    claim->paid += bytes;
    return bytes;
}

void claim_refund(struct claim *claim, struct window *window, uint64_t bytes)
{
    check(bytes <= claim->paid);
    pool_refund(account_pool(window), bytes);
    if (claim->of_link)
        pool_refund(link_pool(window), bytes);
    claim->paid -= bytes;
    claim->bytes += bytes;
}

void claim_hand(struct claim *claim, uint64_t bytes)
{
    check(bytes <= claim->paid);
    claim->paid -= bytes;
}

void claim_end(struct claim *claim, struct window *window)
{
    claim_refund(claim, window, claim->paid);
    pool_end(account_pool(window), claim->bytes);
    if (claim->of_link)
        pool_end(link_pool(window), claim->bytes);
    *claim = (struct claim){0};
}

void claim_return(struct window *window, bool of_link, uint64_t bytes)
{
    pool_return(account_pool(window), bytes);
    if (of_link)
        pool_return(link_pool(window), bytes);
}
