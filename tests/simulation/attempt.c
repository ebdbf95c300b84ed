/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An order's way through a node: that of ledger_account_change (storage/ledger/orders.c), which
 * blocks and so cannot run here; the journal, the poster and Redis' functions are the real ones. A
 * try may end without an answer, with its node; then the shop tries again.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "server/base/check.h"
#include "storage/ledger/post.h"
#include "storage/ledger/wake.h"
#include "tests/simulation/shop.h"

#define WAIT_US (3 * SIM_SECOND) /* CHANGE_WAIT_MS */
#define POLL_US (5 * SIM_MS)

/* ---- the end of a try ---- */

const char *order_words(const struct order *order, char text[96])
{
    int used =
        snprintf(text, 96, "%s account-%u", post_operation_name(order->operation), order->account);
    if (order->operation == LEDGER_REVOKE_LINK)
        snprintf(text + used, 96 - (size_t)used, ", link-%u", order->link);
    else if (order->transaction[0] != '\0')
        snprintf(text + used, 96 - (size_t)used, " by %" PRId64 " (%s)", order->amount,
                 order->transaction);
    return text;
}

static void again(void *object, uint64_t number)
{
    struct sim *sim = object;
    struct order *order = &sim->shop->orders[number >> 8];
    if (!order->is_done && !order->is_refused && order->attempts == 0)
        order_begin(sim, order, (unsigned)(number & 255));
}

static void try_later(struct sim *sim, const struct order *order, uint64_t delay_us, uint64_t node)
{
    uint64_t index = (uint64_t)(order - sim->shop->orders);
    schedule_add(&sim->schedule, sim->schedule.now_us + delay_us, again, sim, index << 8 | node);
}

/* Redis has the effect of what is done by then. It may lose it later. */
static void check_in_force(struct sim *sim, const struct order *order)
{
    const struct sim_account *account = &sim->accounts[order->account];
    bool is_done = true;
    char text[96];
    if (sim->has_lost_data)
        return;
    if (order->operation == LEDGER_REVOKE_LINK)
        is_done = sim->links[order->link].revoked_us != 0;
    if (order->operation == LEDGER_SUSPEND || order->operation == LEDGER_ACTIVATE)
        is_done = (account->suspended_us != 0) == (order->operation == LEDGER_SUSPEND);
    if (order->operation == LEDGER_LIMIT)
        is_done = redis_number(sim, account->key, "rate") == order->amount;
    watch_looked(sim, SIM_PROMISE_in_force);
    if (!is_done)
        sim_break(sim, SIM_PROMISE_in_force, "the shop is told of %s, and Redis does not know it",
                  order_words(order, text));
}

static void attempt_end(struct attempt *attempt, bool is_done, const char *what)
{
    struct sim *sim = attempt->sim;
    struct order *order = attempt->order;
    char text[96];
    sim_tell(sim, "shop", "%s at %s: %s", order_words(order, text), attempt->node->name, what);
    if (attempt->account != NULL && attempt->node->ledger != NULL &&
        attempt->node->starts == attempt->starts)
        ledger_account_drop(&attempt->account);
    attempt->account = NULL;
    attempt->stage = STAGE_FREE;
    timer_stop(&attempt->poll);
    order->attempts--;
    if (is_done && !order->is_done) {
        struct sim_account *account = &sim->accounts[order->account];
        order->is_done = true;
        check_in_force(sim, order);
        sim->tally->operations++;
        account->set_us = order_sets(order) ? sim->schedule.now_us : account->set_us;
        watch_lacking(sim);
        if (order->operation == LEDGER_OPEN)
            account->is_opened = true;
        if (order->operation == LEDGER_SUSPEND || order->operation == LEDGER_ACTIVATE)
            account->wanted_status =
                order->operation == LEDGER_ACTIVATE ? LEDGER_ACTIVE : LEDGER_STATUS_SUSPENDED;
        if (order->operation == LEDGER_LIMIT)
            account->wanted_rate = order->amount;
        return;
    }
    if (!order->is_done && !order->is_refused && order->attempts == 0) {
        uint64_t index = (uint64_t)(order - sim->shop->orders);
        uint64_t chance = random_mix(sim->seed, 5000 + index, sim->schedule.now_us);
        try_later(sim, order, (100 + chance % 400) * SIM_MS, (chance >> 32) % SIM_NODES);
    }
}

/* ---- what Redis is asked ---- */

static const char *plan_word(const struct attempt *attempt)
{
    const struct order *order = attempt->order;
    bool is_prepaid = attempt->sim->accounts[order->account].is_prepaid;
    return post_plan_name(order->operation, is_prepaid ? LEDGER_PREPAID : LEDGER_POSTPAID);
}

/* Whether what Redis has answered counts: account_redis_confirm. */
static void take_birth(void *context, const redisReply *reply)
{
    struct attempt *attempt = context;
    struct ledger *ledger = attempt->node->ledger;
    attempt->owed--;
    attempt->is_lost |= ledger == NULL || ledger_confirm_reply(ledger, reply) != 0 ||
                        ledger_data_is_lost(ledger) || ledger_losses(ledger) != attempt->losses;
}

static void took(struct attempt *attempt, const redisReply *reply)
{
    attempt->owed--;
    attempt->is_lost |= reply == NULL || reply->type == REDIS_REPLY_ERROR;
}

static void take_info(void *context, const redisReply *reply)
{
    struct attempt *attempt = context;
    char run_id[64];
    took(attempt, reply);
    attempt->is_current =
        reply != NULL && attempt->node->ledger != NULL && redis_run_id(reply, run_id) &&
        ledger_redis_is_current(attempt->node->ledger, ledger_redis_served(attempt->node->ledger),
                                run_id);
}

static void take_verdict(void *context, const redisReply *reply)
{
    struct attempt *attempt = context;
    took(attempt, reply);
    if (attempt->is_lost)
        return;
    attempt->verdict = (enum ledger_verdict)reply->element[0]->integer;
    attempt->number = (uint64_t)reply->element[1]->integer;
}

static void take_transaction(void *context, const redisReply *reply)
{
    struct attempt *attempt = context;
    const struct order *order = attempt->order;
    char content[96];
    took(attempt, reply);
    int length = snprintf(content, sizeof(content), "%s %" PRId64 " %s ",
                          post_operation_name(order->operation), order->amount, plan_word(attempt));
    attempt->is_known = reply != NULL && reply->type == REDIS_REPLY_STRING &&
                        strncmp(reply->str, content, (size_t)length) == 0;
}

static void take_setting(void *context, const redisReply *reply)
{
    struct attempt *attempt = context;
    const struct order *order = attempt->order;
    char rate[24];
    took(attempt, reply);
    snprintf(rate, sizeof(rate), "%" PRId64, order->amount);
    const char *wanted = order->operation == LEDGER_LIMIT     ? rate
                         : order->operation == LEDGER_SUSPEND ? "suspended"
                                                              : "active";
    attempt->is_in_force =
        reply != NULL && reply->type == REDIS_REPLY_STRING && strcmp(reply->str, wanted) == 0;
}

static void send(struct attempt *attempt, int count, const char *const words[],
                 ledger_redis_done *done)
{
    struct sim_connection *connection = &attempt->node->admin;
    size_t lengths[16];
    check(count <= 16);
    for (int i = 0; i < count; i++)
        lengths[i] = strlen(words[i]);
    if (connection->table.send(connection, count, words, lengths, done, NULL, attempt) == 0)
        attempt->owed++;
    else
        attempt->is_lost = true;
}

static const char *const info[] = {"INFO"};
static const char *const birth[] = {"HGET", "tg:birth", "id"};

/* Asks who Redis is, and whether the order may be journalled. */
static void ask_verdict(struct attempt *attempt)
{
    const struct order *order = attempt->order;
    const struct sim_account *account = &attempt->sim->accounts[order->account];
    char amount[24], least[24];
    snprintf(amount, sizeof(amount), "%" PRId64, order->amount);
    snprintf(least, sizeof(least), "%" PRIu64, atomic_load(&attempt->account->operations) + 1);
    const char *const words[] = {"FCALL",
                                 "tollgate_order",
                                 "6",
                                 account->key,
                                 account->ring_keys[0],
                                 account->ring_keys[1],
                                 account->ring_keys[2],
                                 account->ring_keys[3],
                                 account->ring_keys[4],
                                 post_operation_name(order->operation),
                                 amount,
                                 plan_word(attempt),
                                 order->transaction,
                                 least,
                                 "0",
                                 "60000"};
    attempt->is_lost = false;
    send(attempt, 1, info, take_info);
    send(attempt, sizeof(words) / sizeof(words[0]), words, take_verdict);
    send(attempt, 3, birth, take_birth);
}

/* Asks who Redis is, and what the order came to. */
static void ask_outcome(struct attempt *attempt)
{
    const struct order *order = attempt->order;
    const struct sim_account *account = &attempt->sim->accounts[order->account];
    const char *const transaction[] = {"FCALL",
                                       "tollgate_transaction",
                                       "5",
                                       account->ring_keys[0],
                                       account->ring_keys[1],
                                       account->ring_keys[2],
                                       account->ring_keys[3],
                                       account->ring_keys[4],
                                       order->transaction};
    const char *const setting[] = {"HGET", account->key,
                                   order->operation == LEDGER_LIMIT ? "rate" : "status"};
    attempt->is_lost = attempt->is_known = attempt->is_in_force = false;
    send(attempt, 1, info, take_info);
    send(attempt, sizeof(transaction) / sizeof(transaction[0]), transaction, take_transaction);
    send(attempt, 3, setting, take_setting);
    send(attempt, 3, birth, take_birth);
}

/* ---- its way ---- */

static void journal(struct attempt *attempt)
{
    const struct order *order = attempt->order;
    struct ledger *ledger = attempt->node->ledger;
    if (names_take_place(attempt->account) != 0) {
        attempt_end(attempt, false, "no place");
        return;
    }
    attempt->money = (struct money){.account = attempt->account};
    attempt->money.record.type = JOURNAL_MONEY;
    attempt->money.record.operation = order->operation;
    attempt->money.record.plan =
        attempt->sim->accounts[order->account].is_prepaid ? LEDGER_PREPAID : LEDGER_POSTPAID;
    if (order->operation != LEDGER_OPEN)
        attempt->money.record.plan = LEDGER_PREPAID;
    attempt->money.record.amount = order->amount;
    attempt->money.record.operation_number = attempt->number;
    if (order->operation == LEDGER_REVOKE_LINK)
        for (size_t i = 0; i < LEDGER_LINK_ID_BYTES; i++)
            snprintf(attempt->money.record.transaction + 2 * i, 3, "%02x",
                     attempt->sim->links[order->link].link_id[i]);
    else
        memcpy(attempt->money.record.transaction, order->transaction, sizeof(order->transaction));
    attempt->stage = STAGE_JOURNALLED;
    writer_queue_money(ledger, &attempt->money);
    node_write_now(attempt->node);
}

static void on_asked(struct attempt *attempt)
{
    if (attempt->is_lost || !attempt->is_current) {
        attempt_end(attempt, false, "Redis cannot be asked");
        return;
    }
    switch (attempt->verdict) {
    case LEDGER_VERDICT_TAKEN:
        if (attempt->number > atomic_load(&attempt->account->operations))
            atomic_store(&attempt->account->operations, attempt->number);
        journal(attempt);
        break;
    case LEDGER_VERDICT_KNOWN:
        attempt_end(attempt, true, "was done before");
        break;
    case LEDGER_VERDICT_TOO_LITTLE:
        attempt->order->is_refused = true;
        attempt_end(attempt, false, "the balance is too low");
        break;
    case LEDGER_VERDICT_CONTRADICTED:
        sim_break(attempt->sim, SIM_PROMISE_money_kept, "%s is known with another content",
                  attempt->order->transaction);
        break;
    case LEDGER_VERDICT_OPEN:
    case LEDGER_VERDICT_NOT_OPEN:
    case LEDGER_VERDICT_TOO_LARGE:
    case LEDGER_VERDICT_BUSY:
    case LEDGER_VERDICT_FILLING:
        attempt_end(attempt, false, "Redis does not take it now");
        break;
    }
}

static void on_told(struct attempt *attempt)
{
    if (attempt->is_lost || !attempt->is_current)
        attempt_end(attempt, false, "is durable, and Redis cannot be asked");
    else if (order_moves_money(attempt->order) && !attempt->is_known)
        attempt_end(attempt, false, "is posted, and not there");
    else if (order_sets(attempt->order) && !attempt->is_in_force)
        attempt_end(attempt, false, "is posted, and a later order counts");
    else
        attempt_end(attempt, true, "is done");
}

/* Whether Redis has lost data that it did not get again, as far as the node knows. */
static bool lacks_data(const struct sim_node *node)
{
    return ledger_state(node->ledger) == LEDGER_CATCHING_UP || ledger_data_is_lost(node->ledger) ||
           !ledger_is_settled(node->ledger);
}

/* Whether Redis has the account's records of then; if not, they are posted now. */
static bool is_posted(struct attempt *attempt)
{
    struct sim_node *node = attempt->node;
    if (atomic_load(&attempt->account->watermark) >= attempt->records)
        return true;
    ledger_post_soon(node->ledger, attempt->account);
    timer_set(&node->sim->schedule, &node->post, node->sim->schedule.now_us);
    return false;
}

static void poll(void *object, uint64_t number)
{
    struct attempt *attempt = object;
    struct sim *sim = attempt->sim;
    struct sim_node *node = attempt->node;
    (void)number;
    timer_set(&sim->schedule, &attempt->poll, sim->schedule.now_us + POLL_US);
    if (attempt->owed > 0)
        return;
    if (node->ledger == NULL || node->starts != attempt->starts) {
        attempt_end(attempt, false, "the node has gone");
        return;
    }
    bool is_open = node->admin.state == CONNECTION_OPEN;
    switch (attempt->stage) {
    case STAGE_POSTED:
        if (node->admin.state == CONNECTION_CLOSED)
            (void)node->admin.table.open(&node->admin);
        if (sim->schedule.now_us > attempt->until_us) {
            attempt_end(attempt, false, "what was journalled before is not posted in time");
        } else if (attempt->order->operation == LEDGER_REVOKE_LINK) {
            journal(attempt);
        } else if (lacks_data(node)) {
            break; /* another node's journal may hold a later order than Redis knows of */
        } else if (is_posted(attempt) && is_open) {
            attempt->stage = STAGE_ASKED;
            attempt->losses = ledger_losses(node->ledger);
            ask_verdict(attempt);
        }
        break;
    case STAGE_ASKED:
        on_asked(attempt);
        break;
    case STAGE_JOURNALLED:
        if (!writer_money_is_done(node->ledger, &attempt->money))
            break;
        names_give_place_back(attempt->account); /* where nothing of it was journalled */
        if (attempt->money.result != 0) {
            attempt_end(attempt, false, "the journal does not take it");
            break;
        }
        attempt->records = atomic_load(&attempt->account->sequence);
        attempt->stage = STAGE_IN_REDIS;
        break;
    case STAGE_IN_REDIS:
        if (sim->schedule.now_us > attempt->until_us)
            attempt_end(attempt, false, "is durable, and not posted in time");
        else if (is_posted(attempt) && attempt->order->operation == LEDGER_REVOKE_LINK)
            attempt_end(attempt, true, "is done");
        else if (is_posted(attempt) && is_open) {
            attempt->stage = STAGE_TOLD;
            ask_outcome(attempt);
        }
        break;
    case STAGE_TOLD:
        on_told(attempt);
        break;
    case STAGE_FREE:
        check(false);
    }
}

void order_begin(struct sim *sim, struct order *order, unsigned number)
{
    struct shop *shop = sim->shop;
    struct sim_node *node = &sim->nodes[number];
    struct attempt *attempt = shop->attempts;
    enum ledger_state state = node->ledger != NULL ? ledger_state(node->ledger) : LEDGER_FAILED;
    const char *name = sim->accounts[order->account].name;
    while (attempt < shop->attempts + ATTEMPTS_MAX && attempt->stage != STAGE_FREE)
        attempt++;
    if (attempt == shop->attempts + ATTEMPTS_MAX || !node->is_up || state == LEDGER_REFUSED ||
        state == LEDGER_FAILED) {
        try_later(sim, order, 300 * SIM_MS, (number + 1) % SIM_NODES);
        return;
    }
    uint64_t generation = attempt->poll.generation;
    *attempt = (struct attempt){
        .sim = sim,
        .order = order,
        .node = node,
        .starts = node->starts,
        .stage = STAGE_POSTED,
        .until_us = sim->schedule.now_us + WAIT_US,
        .poll = {.fire = poll, .object = attempt, .generation = generation + 1},
    };
    check(ledger_account_get(node->ledger, SIM_ISSUER, name, strlen(name), &attempt->account) == 0);
    order->attempts++;
    if (account_wake(node->ledger, attempt->account) != 0) {
        attempt_end(attempt, false, "its account cannot be read");
        return;
    }
    attempt->records = atomic_load(&attempt->account->sequence);
    timer_set(&sim->schedule, &attempt->poll, sim->schedule.now_us + POLL_US);
}
