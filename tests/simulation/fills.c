/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches how accounts are filled from checkpoints: each part is taken in order, nothing is granted of an
 * account of which parts are missing. Between two parts a node or Redis is struck, where the plan says so.
 */
#include "tests/simulation/fills.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "tests/simulation/sim.h"
#include "tests/simulation/store.h"

_Static_assert(FILLS_ACCOUNTS == SIM_ACCOUNTS, "each account has a place");

struct standing {
    unsigned long part;
    uint64_t until_ms;
};

/* What "instance segment sequence part until;" says of an instance. */
static struct standing standing_of(const char *begun, const char *instance)
{
    struct standing standing = {0};
    const char *entry = strstr(begun, instance);
    if (entry == NULL)
        return standing;
    char *at = (char *)(uintptr_t)entry + strlen(instance);
    (void)strtoull(at, &at, 10);
    (void)strtoull(at, &at, 10);
    standing.part = strtoul(at, &at, 10);
    standing.until_ms = strtoull(at, &at, 10);
    return standing;
}

static void look(struct sim *sim, unsigned account)
{
    const char *value = store_field(sim->redis.store, sim->accounts[account].key, "filling", NULL);
    size_t length = value == NULL ? 0 : strlen(value);
    check(length < sizeof(sim->fills.begun[account]));
    memcpy(sim->fills.begun[account], value == NULL ? "" : value, length + 1);
}

void fills_look(struct sim *sim)
{
    for (unsigned i = 0; i < SIM_ACCOUNTS; i++)
        look(sim, i);
}

void fills_arm(struct sim *sim, struct random *random)
{
    sim->fills.strikes_in = (unsigned)random_between(random, 1, 8);
    sim->fills.seed = random_next(random);
}

static void strike(void *object, uint64_t seed)
{
    fault_between_parts(object, seed);
}

bool fills_take(struct sim_node *node, unsigned account, const char *const arguments[],
                const redisReply *reply)
{
    struct sim *sim = node->sim;
    const char *instance = arguments[0];
    unsigned long part = strtoul(arguments[4], NULL, 10);
    bool is_last = strcmp(arguments[5], "1") == 0;
    unsigned long stood = standing_of(sim->fills.begun[account], instance).part;
    if (reply->element[0]->integer != 0)
        return false;
    watch_looked(sim, SIM_PROMISE_filled);
    look(sim, account);
    unsigned long stands = standing_of(sim->fills.begun[account], instance).part;
    uint64_t filled = is_last ? (uint64_t)reply->element[1]->integer : 0;
    bool is_new = part > stood && (filled == 0 || watch_fills_to(sim, account, instance, filled));
    if (is_new && (part != stood + 1 || (!is_last && stands != part)))
        sim_break(sim, SIM_PROMISE_filled,
                  "of account %s part %lu of a checkpoint was taken after part %lu",
                  sim->accounts[account].name, part, stood);
    if (is_new && sim->fills.strikes_in > 0 && --sim->fills.strikes_in == 0)
        schedule_add(&sim->schedule, sim->schedule.now_us, strike, node, sim->fills.seed);
    return is_new;
}

void fills_forbid(struct sim *sim, unsigned account, const char *what)
{
    const char *at = sim->fills.begun[account];
    for (; *at != '\0'; at = strchr(at, ';') + 1)
        if (standing_of(at, "").until_ms > redis_real_ms(sim))
            sim_break(sim, SIM_PROMISE_filled,
                      "something of account %s is %s, and parts of it are missing",
                      sim->accounts[account].name, what);
}
