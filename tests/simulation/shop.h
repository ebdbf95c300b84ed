/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the shop and its tries have in common: shop.c decides what the shop wants, attempt.c brings
 * it through a node.
 */
#ifndef TOLLGATE_SIMULATION_SHOP_H
#define TOLLGATE_SIMULATION_SHOP_H

#include "tests/simulation/sim.h"

#define ORDERS_MAX   1024
#define ATTEMPTS_MAX 24

/* What the shop wants, until it is told that it is done. */
struct order {
    enum ledger_operation operation;
    unsigned account, link;
    int64_t amount;
    char transaction[24]; /* "": none */
    bool is_done, is_refused, is_counted;
    unsigned attempts; /* under way */
};

enum stage { STAGE_FREE, STAGE_POSTED, STAGE_ASKED, STAGE_JOURNALLED, STAGE_IN_REDIS, STAGE_TOLD };

/* One try at one node. */
struct attempt {
    struct sim *sim;
    struct order *order;
    struct sim_node *node;
    uint64_t starts; /* of the node: which process */
    enum stage stage;
    uint64_t until_us;
    uint64_t records;               /* of the account, that Redis must have first */
    struct ledger_account *account; /* holds */
    struct money money;
    unsigned owed;   /* answers of Redis */
    uint64_t losses; /* of Redis, when it was asked */
    bool is_lost, is_current;
    enum ledger_verdict verdict;
    uint64_t number;            /* of the operation */
    bool is_known, is_in_force; /* once it was posted */
    struct timer poll;
};

struct shop {
    struct order orders[ORDERS_MAX];
    unsigned count;
    struct attempt attempts[ATTEMPTS_MAX];
};

/* Whether the order moves money, so that it has a transaction. */
static inline bool order_moves_money(const struct order *order)
{
    return order->transaction[0] != '\0';
}
/* Whether it sets something that a later order of its kind replaces. */
static inline bool order_sets(const struct order *order)
{
    return order->operation == LEDGER_SUSPEND || order->operation == LEDGER_ACTIVATE ||
           order->operation == LEDGER_LIMIT;
}
/* The order in words, for the story. Returns `text`. */
const char *order_words(const struct order *order, char text[96]);
/* Tries the order at this node, and again at another until it is done. */
void order_begin(struct sim *sim, struct order *order, unsigned number);

#endif
