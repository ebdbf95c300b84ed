/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shop: it opens accounts, moves money, suspends, activates and revokes, at one node or at two at
 * once, and tries again until it is told that it is done. See shop.h.
 */
#include "tests/simulation/shop.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "storage/ledger/post.h"
#include "tests/simulation/leaving.h"
#include "tests/simulation/store.h"

#define BATCH_US    (50 * SIM_MS)     /* between two operations of a batch */
#define FILLS_US    (12 * SIM_SECOND) /* when a batch fills the journals */
#define FILLS_COUNT 200

/* ---- what the shop does ---- */

static struct order *order_make(struct sim *sim, enum ledger_operation operation, unsigned account,
                                int64_t amount)
{
    struct shop *shop = sim->shop;
    if (shop->count == ORDERS_MAX)
        return NULL;
    struct order *order = &shop->orders[shop->count++];
    *order = (struct order){.operation = operation, .account = account, .amount = amount};
    if (operation == LEDGER_OPEN || operation == LEDGER_TOP_UP || operation == LEDGER_ADJUST)
        snprintf(order->transaction, sizeof(order->transaction), "order-%u", shop->count);
    if (order_moves_money(order) && amount > 0)
        sim->accounts[account].money_most += amount;
    return order;
}

/* Whether a setting of the account is on its way, its status or its limits: the next one waits. */
static bool is_setting(const struct shop *shop, unsigned account)
{
    for (unsigned i = 0; i < shop->count; i++) {
        const struct order *order = &shop->orders[i];
        if (order->account == account && !order->is_done && order_sets(order))
            return true;
    }
    return false;
}

void shop_operate(struct sim *sim, struct random *random)
{
    unsigned account = (unsigned)random_below(random, SIM_ACCOUNTS);
    unsigned node = (unsigned)random_below(random, SIM_NODES);
    uint64_t kind = random_below(random, 20);
    int64_t amount = (int64_t)random_between(random, 1, 1000000);
    struct order *order = NULL;
    if (!sim->accounts[account].is_opened)
        return;
    if (kind < 8) {
        order = order_make(sim, LEDGER_TOP_UP, account, amount);
    } else if (kind < 10) {
        order = order_make(sim, LEDGER_ADJUST, account,
                           random_happens(random, 1, 2) ? amount / 4 : -(amount / 4 + 1));
    } else if (kind < 12) {
        uint32_t link = (uint32_t)random_below(random, SIM_LINKS);
        order = order_make(sim, LEDGER_REVOKE_LINK, sim->links[link].account,
                           (int64_t)(SIM_EPOCH_MS + 86400000));
        if (order != NULL)
            order->link = link;
    } else if (is_setting(sim->shop, account)) {
        return;
    } else if (kind < 15) {
        order = order_make(sim, LEDGER_LIMIT, account, amount);
    } else {
        bool suspends = sim->accounts[account].wanted_status == LEDGER_ACTIVE;
        order = order_make(sim, suspends ? LEDGER_SUSPEND : LEDGER_ACTIVATE, account, 0);
    }
    if (order == NULL)
        return;
    order_begin(sim, order, node);
    if (order_moves_money(order) && (random_happens(random, 1, 4) || sim->sends_twice))
        order_begin(sim, order, (node + 1) % SIM_NODES); /* twice, at once */
}

static void batch(void *object, uint64_t number)
{
    struct sim_node *node = object;
    struct sim *sim = node->sim;
    unsigned account = (unsigned)(random_mix(sim->seed, 7000, number) % SIM_ACCOUNTS);
    if (number > 0)
        schedule_add(&sim->schedule, sim->schedule.now_us + BATCH_US, batch, node, number - 1);
    if (!sim->accounts[account].is_opened || sim->is_resting)
        return;
    struct order *order = order_make(sim, LEDGER_TOP_UP, account, 1);
    if (order != NULL)
        order_begin(sim, order, node->number);
}

void shop_batch(struct sim_node *node, unsigned count)
{
    struct schedule *schedule = &node->sim->schedule;
    schedule_add(schedule, schedule->now_us, batch, node, count);
}

static void open_accounts(void *object, uint64_t number)
{
    struct sim *sim = object;
    struct random random = {random_mix(sim->seed, 6000, number)};
    struct order *order = order_make(sim, LEDGER_OPEN, (unsigned)number,
                                     (int64_t)random_between(&random, 1000000, 6000000));
    order_begin(sim, order, (unsigned)random_below(&random, SIM_NODES));
}

void shop_create(struct sim *sim)
{
    sim->shop = calloc(1, sizeof(*sim->shop));
    check(sim->shop != NULL);
    for (unsigned i = 0; i < SIM_ACCOUNTS; i++)
        schedule_add(&sim->schedule, sim->schedule.now_us + (100 + 50 * i) * SIM_MS, open_accounts,
                     sim, i);
    /* Where segments are to leave before Redis comes back older, they are filled soon. */
    for (unsigned i = 0; i < SIM_NODES && sim->keeps_some; i++)
        schedule_add(&sim->schedule, sim->schedule.now_us + FILLS_US, batch, &sim->nodes[i],
                     FILLS_COUNT);
}

void shop_destroy(struct sim *sim)
{
    free(sim->shop);
    sim->shop = NULL;
}

bool shop_is_idle(struct sim *sim)
{
    for (unsigned i = 0; i < sim->shop->count; i++) {
        const struct order *order = &sim->shop->orders[i];
        /* What is set aside takes no order. */
        if (!order->is_done && !order->is_refused && !leaving_lacks_any(sim, order->account))
            return false;
    }
    for (unsigned i = 0; i < ATTEMPTS_MAX; i++) {
        const struct attempt *attempt = &sim->shop->attempts[i];
        if (attempt->stage != STAGE_FREE && !leaving_lacks_any(sim, attempt->order->account))
            return false;
    }
    return true;
}

bool shop_counts_once(struct sim *sim, const char *transaction)
{
    struct shop *shop = sim->shop;
    unsigned i = 0;
    while (i < shop->count && strcmp(shop->orders[i].transaction, transaction) != 0)
        i++;
    check(i < shop->count);
    bool is_first = !shop->orders[i].is_counted;
    shop->orders[i].is_counted = true;
    return is_first;
}

static const char *known_of(struct sim *sim, const struct order *order)
{
    const struct sim_account *account = &sim->accounts[order->account];
    const char *known = NULL;
    for (unsigned slot = 0; slot < SIM_RING && known == NULL; slot++)
        known = store_field(sim->redis.store, account->ring_keys[slot], order->transaction, NULL);
    return known;
}

uint64_t shop_given_back(struct sim *sim, unsigned account)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < sim->shop->count; i++) {
        const struct order *order = &sim->shop->orders[i];
        if (order->account == account && order->is_counted && order->amount < 0 &&
            known_of(sim, order) == NULL)
            sum += (uint64_t)-order->amount;
    }
    return sum;
}

/* ---- at rest ---- */

/* Returns the money that the order brought, which is none where Redis does not know it. */
static int64_t check_order(struct sim *sim, const struct order *order)
{
    const struct sim_account *account = &sim->accounts[order->account];
    char content[96], text[96];
    if (!order_moves_money(order))
        return 0;
    const char *known = known_of(sim, order);
    enum ledger_plan plan = account->is_prepaid ? LEDGER_PREPAID : LEDGER_POSTPAID;
    size_t length = (size_t)snprintf(content, sizeof(content), "%s %" PRId64 " %s",
                                     post_operation_name(order->operation), order->amount,
                                     post_plan_name(order->operation, plan));
    /* Behind the content stands the rank of the one that counts, once one was posted. */
    bool is_counted = known != NULL && strlen(known) > length;
    watch_looked(sim, SIM_PROMISE_money_kept);
    if (!is_counted && order->is_done && !leaving_lacks_any(sim, order->account))
        sim_break(sim, SIM_PROMISE_money_kept, "Redis does not know %s, of which the shop was told",
                  order_words(order, text));
    if (known != NULL &&
        (strncmp(known, content, length) != 0 || strstr(known, " conflict") != NULL))
        sim_break(sim, SIM_PROMISE_money_kept, "Redis has \"%s\" of %s", known,
                  order_words(order, text));
    return is_counted ? order->amount : 0;
}

void shop_check(struct sim *sim)
{
    const struct shop *shop = sim->shop;
    int64_t money[SIM_ACCOUNTS] = {0};
    for (unsigned i = 0; i < shop->count; i++)
        money[shop->orders[i].account] += check_order(sim, &shop->orders[i]);
    for (unsigned i = 0; i < SIM_ACCOUNTS; i++) {
        const struct sim_account *account = &sim->accounts[i];
        int64_t used = redis_number(sim, account->key, "used");
        int64_t balance = redis_number(sim, account->key, "balance");
        int64_t wanted = account->is_prepaid ? money[i] - used : money[i];
        watch_looked(sim, SIM_PROMISE_balance);
        if (account->is_opened && balance != wanted)
            sim_break(sim, SIM_PROMISE_balance,
                      "account %s has %" PRId64 ", and %" PRId64 " came in, of which %" PRId64
                      " were billed",
                      account->name, balance, money[i], used);
        const char *status = store_field(sim->redis.store, account->key, "status", NULL);
        if (!account->is_opened || status == NULL || leaving_lacks_any(sim, i) ||
            account->is_set_beside)
            continue;
        watch_looked(sim, SIM_PROMISE_status_is_last);
        if ((strcmp(status, "active") == 0) != (account->wanted_status == LEDGER_ACTIVE))
            sim_break(sim, SIM_PROMISE_status_is_last, "account %s is %s", account->name, status);
        watch_looked(sim, SIM_PROMISE_limit_is_last);
        if (redis_number(sim, account->key, "rate") != account->wanted_rate)
            sim_break(sim, SIM_PROMISE_limit_is_last,
                      "account %s has a rate of %" PRId64 ", not %" PRId64, account->name,
                      redis_number(sim, account->key, "rate"), account->wanted_rate);
    }
}
