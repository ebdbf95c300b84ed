/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold once the world has come to rest: nothing goes wrong any more, all clients have
 * gone, and everything is posted. See promises.c for what must hold at any time.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/simulation/leaving.h"
#include "tests/simulation/sim.h"
#include "tests/simulation/store.h"

/* What usage adds up to in three ways, none of which has ended within a run. */
enum sum { SUM_OF_DAYS, SUM_OF_FILES, SUM_OF_MONTHS, SUMS };

struct usage_sum {
    struct sim *sim;
    uint64_t bytes[SIM_ACCOUNTS][SUMS];
    unsigned account;
    enum sum sum;
};

static void add_usage(void *context, const char *field, size_t field_length, const char *value,
                      size_t length)
{
    struct usage_sum *sum = context;
    (void)field_length, (void)length;
    if (field[0] == (sum->sum == SUM_OF_MONTHS ? 'm' : 'b') && field[1] == ':')
        sum->bytes[sum->account][sum->sum] += strtoull(value, NULL, 10);
}

static void add_usage_key(void *context, const char *key, size_t length, enum store_kind kind,
                          int64_t expires_ms)
{
    struct usage_sum *sum = context;
    (void)length, (void)kind, (void)expires_ms;
    sum->account = watch_account_of(sum->sim, key);
    bool is_usage = strstr(key, "}:usage:") != NULL;
    sum->sum = !is_usage                        ? SUM_OF_MONTHS
               : strlen(strrchr(key, ':')) == 9 ? SUM_OF_DAYS
                                                : SUM_OF_FILES;
    if (sum->account < SIM_ACCOUNTS && (is_usage || strstr(key, "}:account") != NULL))
        store_each_field(sum->sim->redis.store, key, add_usage, sum);
}

static void check_bills_at_rest(struct sim *sim)
{
    static const char *const names[SUMS] = {"day and file", "month and file", "month"};
    struct usage_sum usage = {.sim = sim};
    store_each_key(sim->redis.store, add_usage_key, &usage);
    for (unsigned i = 0; i < SIM_ACCOUNTS; i++) {
        uint64_t least = 0, most = 0;
        for (unsigned j = 0; j < SIM_NODES + SIM_COPIES; j++) {
            if (!sim->nodes[j].is_kept_out)
                least += sim->nodes[j].before[i].least + sim->nodes[j].metered[i].least;
            most += sim->nodes[j].before[i].most + sim->nodes[j].metered[i].most;
        }
        uint64_t used = (uint64_t)redis_number(sim, sim->accounts[i].key, "used");
        watch_looked(sim, SIM_PROMISE_billed_exactly);
        if ((used < least && !leaving_lacks_any(sim, i)) || used > most)
            sim_break(sim, SIM_PROMISE_billed_exactly,
                      "account %s is billed %" PRIu64 " bytes, and journals keep %" PRIu64
                      " to %" PRIu64,
                      sim->accounts[i].name, used, least, most);
        watch_looked(sim, SIM_PROMISE_usage);
        for (unsigned sum = 0; sum < SUMS; sum++)
            if (used != usage.bytes[i][sum])
                sim_break(sim, SIM_PROMISE_usage,
                          "account %s is billed %" PRIu64 " bytes, and its usage by %s is %" PRIu64,
                          sim->accounts[i].name, used, names[sum], usage.bytes[i][sum]);
    }
}

/* A use in which nothing arrived is not a use. Redis cannot count one that it has lost. */
static void check_uses(struct sim *sim, const struct sim_link *link)
{
    char field[300];
    snprintf(field, sizeof(field), "p:%s", sim->files[link->file].path);
    const char *value = store_field(sim->redis.store, link->key, field, NULL);
    if (link->max_uses == 0 || value == NULL || sim->has_lost_data)
        return;
    char *at;
    (void)strtoull(value, &at, 10);
    uint64_t acknowledged = strtoull(at, &at, 10);
    unsigned uses = acknowledged == 0 ? 0 : 1;
    for (const char *space = strchr(at + 1, ' '); space != NULL; space = strchr(space + 1, ' '))
        uses++;
    watch_looked(sim, SIM_PROMISE_uses);
    if (uses > link->max_uses)
        sim_break(sim, SIM_PROMISE_uses, "link %ld has %u uses of %u: %s", link - sim->links, uses,
                  link->max_uses, value);
}

struct leak {
    struct sim *sim;
    const char *key;
};

static void check_leak(void *context, const char *field, size_t field_length, const char *value,
                       size_t length)
{
    const struct leak *leak = context;
    struct sim *sim = leak->sim;
    (void)field_length, (void)length;
    struct sim_pool pool;
    if (!sim_pool_of(sim, leak->key, field, value, &pool))
        return;
    for (unsigned i = 0; i < SIM_NODES; i++) {
        const struct sim_node *node = &sim->nodes[i];
        if (node->ledger == NULL || node->is_kept_out || strcmp(node->id, field) != 0 ||
            pool.lease != ledger_lease_number(node->ledger))
            continue;
        watch_looked(sim, SIM_PROMISE_nothing_reserved);
        if (pool.expires_ms > redis_real_ms(sim) &&
            (pool.ceiling > pool.posted || pool.least > pool.posted))
            sim_break(sim, SIM_PROMISE_nothing_reserved, "%s of %s: %s", leak->key, field, value);
    }
}

/* Whether the figures are of an account without a bound. They reserve no funds: they say that a node
 * shares a limit of the account, until the node tells them again or they expire. A question that its
 * node has given up may come when the account has just got such a limit. */
static bool is_unbounded(struct sim *sim, const char *grants_key)
{
    unsigned account = watch_account_of(sim, grants_key);
    return strstr(grants_key, ":link:") == NULL && !sim->accounts[account].is_prepaid &&
           redis_number(sim, sim->accounts[account].key, "max_bytes") == 0;
}

static void check_leaks(void *context, const char *key, size_t length, enum store_kind kind,
                        int64_t expires_ms)
{
    struct leak leak = {.sim = context, .key = key};
    (void)length, (void)kind, (void)expires_ms;
    /* What an account that is set aside has reserved stays so: its bytes cannot be posted. */
    if (strstr(key, ":grants") != NULL && !is_unbounded(leak.sim, key) &&
        !leaving_lacks_any(leak.sim, watch_account_of(leak.sim, key)))
        store_each_field(leak.sim->redis.store, key, check_leak, &leak);
}

bool watch_is_at_rest(struct sim *sim)
{
    for (unsigned i = 0; i < SIM_RESPONSES; i++)
        if (sim->responses[i].state != RESPONSE_FREE)
            return false;
    for (unsigned i = 0; i < SIM_NODES; i++) {
        const struct sim_node *node = &sim->nodes[i];
        if (node->is_retired || node->is_kept_out)
            continue;
        if (!node->is_up || ledger_state(node->ledger) != LEDGER_READY ||
            atomic_load(&node->ledger->downloads) > 0 ||
            ledger_posted(node->ledger) < atomic_load(&node->ledger->journal.durable_records) ||
            !watch_serves(node))
            return false;
    }
    return shop_is_idle(sim);
}

void watch_rest(struct sim *sim)
{
    watch_looked(sim, SIM_PROMISE_posted);
    for (unsigned i = 0; i < SIM_NODES; i++) {
        struct sim_node *node = &sim->nodes[i];
        char text[LEDGER_TEXT_MAX] = "it does not run";
        if (node->is_retired || node->is_kept_out)
            continue;
        if (node->ledger != NULL)
            ledger_state_text(node->ledger, text, sizeof(text));
        if (!node->is_up || ledger_state(node->ledger) != LEDGER_READY ||
            ledger_posted(node->ledger) < atomic_load(&node->ledger->journal.durable_records))
            sim_break(sim, SIM_PROMISE_posted, "%s has not posted everything: %s", node->name,
                      text);
        else if (atomic_load(&node->ledger->downloads) > 0)
            sim_break(sim, SIM_PROMISE_answered, "%s has windows that never end", node->name);
        leaving_check_aside(node);
        watch_looked(sim, SIM_PROMISE_serves);
        if (node->is_up && !watch_serves(node))
            sim_break(sim, SIM_PROMISE_serves, "%s does not serve, or counts windows", node->name);
    }
    if (!sim->is_broken && !shop_is_idle(sim))
        sim_break(sim, SIM_PROMISE_money_kept, "an operation of the shop never ends");
    check_bills_at_rest(sim);
    shop_check(sim);
    for (unsigned i = 0; i < SIM_LINKS; i++)
        check_uses(sim, &sim->links[i]);
    store_each_key(sim->redis.store, check_leaks, sim);
}

struct telling {
    struct sim *sim;
    char text[900]; /* a key, with its fields */
    size_t used;
};

static void tell_field(void *context, const char *field, size_t field_length, const char *value,
                       size_t length)
{
    struct telling *telling = context;
    (void)field_length, (void)length;
    if (telling->used < sizeof(telling->text))
        telling->used +=
            (size_t)snprintf(telling->text + telling->used, sizeof(telling->text) - telling->used,
                             "; %s: %s", field, value);
}

static void tell_key(void *context, const char *key, size_t length, enum store_kind kind,
                     int64_t expires_ms)
{
    struct telling telling = {.sim = context};
    (void)length, (void)kind, (void)expires_ms;
    telling.used = (size_t)snprintf(telling.text, sizeof(telling.text), "%s", key);
    store_each_field(telling.sim->redis.store, key, tell_field, &telling);
    sim_tell(telling.sim, "holds", "%s", telling.text);
}

/* Tells what Redis holds. */
void watch_tell(struct sim *sim)
{
    store_each_key(sim->redis.store, tell_key, sim);
}
