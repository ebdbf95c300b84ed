/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a seed has in store: when requests come, what the shop does, and what goes wrong. Each act
 * has a seed of its own, so that leaving one out changes no other: a failure can be shrunk.
 */
#include <stdlib.h>

#include "server/base/check.h"
#include "tests/simulation/sim.h"

#define REQUESTS_PER_S 6
#define SHOP_PER_S     1

static const unsigned rates[] = {
#define X(name, rate, help) rate,
    SIM_FAULTS(X)
#undef X
};

/* Whether the fault loses data of Redis. */
static bool loses_data(enum sim_fault fault)
{
    return fault == SIM_FAULT_empty || fault == SIM_FAULT_lose_redis ||
           fault == SIM_FAULT_fail_over || fault == SIM_FAULT_restore ||
           fault == SIM_FAULT_between_parts;
}

/* Whether Redis comes back with an older state. */
static bool goes_back(enum sim_fault fault)
{
    return fault == SIM_FAULT_fail_over || fault == SIM_FAULT_restore;
}

/* Redis loses data in a seed, or a journal does. */
static bool may_strike(const struct sim *sim, enum sim_fault fault)
{
    if (fault == SIM_FAULT_archive && !sim->has_archive)
        return false;
    if (sim->keeps_some && loses_data(fault) && !goes_back(fault))
        return false;
    return loses_data(fault) == sim->may_lose_redis ||
           (!loses_data(fault) && fault != SIM_FAULT_lose_segment);
}

static void add(struct sim_plan *plan, uint64_t at_us, enum sim_act_kind kind, enum sim_fault fault,
                uint64_t seed)
{
    if (plan->count % 256 == 0) {
        plan->acts = realloc(plan->acts, (plan->count + 256) * sizeof(*plan->acts));
        check(plan->acts != NULL);
    }
    plan->acts[plan->count++] =
        (struct sim_act){.at_us = at_us, .kind = kind, .fault = fault, .seed = seed};
}

static int by_time(const void *one, const void *other)
{
    const struct sim_act *a = one, *b = other;
    if (a->at_us != b->at_us)
        return a->at_us < b->at_us ? -1 : 1;
    return a->seed < b->seed ? -1 : a->seed > b->seed;
}

static void name_key(char out[48], const struct sim_account *account, const char *what)
{
    snprintf(out, 48, "tg:{" SIM_ISSUER "/%s}:%s", account->name, what);
}

static void make_accounts(struct sim *sim, struct random *random)
{
    for (unsigned i = 0; i < SIM_ACCOUNTS; i++) {
        struct sim_account *account = &sim->accounts[i];
        snprintf(account->name, sizeof(account->name), "account-%u", i);
        name_key(account->key, account, "account");
        name_key(account->grants_key, account, "grants");
        for (unsigned slot = 0; slot < SIM_RING; slot++) {
            char what[24];
            snprintf(what, sizeof(what), "transactions:%u", slot);
            name_key(account->ring_keys[slot], account, what);
        }
        account->is_prepaid = sim->has_funds && random_happens(random, 3, 4);
        account->wanted_status = LEDGER_ACTIVE;
    }
    for (unsigned i = 0; i < SIM_FILES; i++) {
        snprintf(sim->files[i].path, sizeof(sim->files[i].path), "/file-%0*u.mp3",
                 i + 1 < SIM_FILES ? 1 : (int)JOURNAL_NAME_PART, i);
        sim->files[i].size = random_between(random, 20000, 2500000);
    }
    for (unsigned i = 0; i < SIM_LINKS; i++) {
        struct sim_link *link = &sim->links[i];
        link->account = (unsigned)random_below(random, SIM_ACCOUNTS);
        link->file = (unsigned)random_below(random, SIM_FILES);
        if (random_happens(random, 1, 3))
            link->max_uses = (uint32_t)random_between(random, 1, 12);
        if (sim->has_funds && random_happens(random, 1, 3))
            link->max_bytes = random_between(random, 1, 6 * sim->files[link->file].size);
        for (unsigned j = 0; j < LEDGER_LINK_ID_BYTES; j++)
            link->link_id[j] = (unsigned char)random_next(random);
        int length = snprintf(link->key, sizeof(link->key),
                              "tg:{" SIM_ISSUER "/%s}:link:", sim->accounts[link->account].name);
        for (unsigned j = 0; j < LEDGER_LINK_ID_BYTES; j++)
            length += snprintf(link->key + length, sizeof(link->key) - (size_t)length, "%02x",
                               link->link_id[j]);
    }
}

void plan_make(struct sim *sim)
{
    struct random random = {random_mix(sim->seed, 1, 1)};
    struct sim_plan *plan = &sim->plan;
    sim->has_funds = random_happens(&random, 1, 2);
    sim->may_lose_redis = random_happens(&random, 1, 2);
    bool has_clocks = random_happens(&random, 1, 2);
    sim->lets_go = sim->seed % 3 != 0;
    sim->has_archive = sim->lets_go && sim->seed % 3 == 1;
    sim->sends_twice = sim->seed % 5 == 0;
    sim->keeps_some = sim->lets_go && sim->seed % 7 < 3;
    sim->quiet_ms = sim->seed % 2 == 0 ? 0 : sim->seed % 4 == 1 ? 1 : 2000;
    make_accounts(sim, &random);
    uint64_t begin_us = sim->schedule.now_us + SIM_SECOND;
    for (unsigned i = 0; i < SIM_DURATION_S * REQUESTS_PER_S; i++)
        add(plan, begin_us + random_below(&random, SIM_DURATION_S * SIM_SECOND), ACT_REQUEST, 0,
            random_next(&random));
    for (unsigned i = 0; i < SIM_DURATION_S * SHOP_PER_S; i++)
        add(plan, begin_us + random_below(&random, SIM_DURATION_S * SIM_SECOND), ACT_SHOP, 0,
            random_next(&random));
    for (unsigned fault = 0; fault < SIM_FAULTS_COUNT; fault++) {
        /* A seed has about half of the faults, so that each meets others in many ways. */
        bool has = random_happens(&random, 1, 2) && may_strike(sim, fault) &&
                   (fault != SIM_FAULT_clock || has_clocks);
        unsigned rate = rates[fault] * (fault == SIM_FAULT_restore && sim->keeps_some ? 5 : 1);
        for (unsigned i = 0; i < SIM_DURATION_S; i++) {
            uint64_t at_us = begin_us + random_below(&random, SIM_DURATION_S * SIM_SECOND);
            uint64_t seed = random_next(&random);
            if (random_below(&random, 600) < 2 * rate && has)
                add(plan, at_us, ACT_FAULT, fault, seed);
        }
    }
    qsort(plan->acts, plan->count, sizeof(*plan->acts), by_time);
}

void plan_free(struct sim *sim)
{
    free(sim->plan.acts);
    sim->plan = (struct sim_plan){0};
}
