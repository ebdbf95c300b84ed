/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run of a seed: makes the world, lets its plan happen moment after moment, mends all that is
 * wrong, and looks at what must hold once the world has come to rest. See sim.h.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "tests/simulation/leaving.h"
#include "tests/simulation/sim.h"
#include "tests/simulation/store.h"

#define REST_US   (90 * SIM_SECOND) /* until then the world must have come to rest */
#define SETTLE_US (3 * SIM_SECOND)  /* what is on its way then arrives */
#define LAST_US   (2 * SIM_SECOND)  /* when clients go away at the end */

const char *sim_fault_name(enum sim_fault fault)
{
    static const char *const names[] = {
#define X(name, rate, help) #name,
        SIM_FAULTS(X)
#undef X
    };
    return names[fault];
}

const char *sim_promise_name(enum sim_promise promise)
{
    static const char *const names[] = {
#define X(name, help) #name,
        SIM_PROMISES(X)
#undef X
    };
    return names[promise];
}

void sim_break(struct sim *sim, enum sim_promise promise, const char *format, ...)
{
    va_list arguments;
    if (sim->is_broken)
        return;
    sim->is_broken = true;
    sim->broken = promise;
    va_start(arguments, format);
    vsnprintf(sim->why, sizeof(sim->why), format, arguments);
    va_end(arguments);
    sim_tell(sim, "BROKEN", "%s: %s", sim_promise_name(promise), sim->why);
}

/* ---- the plan happens ---- */

static void act(void *object, uint64_t number)
{
    struct sim *sim = object;
    const struct sim_act *act = &sim->plan.acts[number];
    struct random random = {act->seed};
    switch (act->kind) {
    case ACT_REQUEST:
        /* Where accounts become quiet, the others have more records, so that checkpoints cover them soon. */
        for (unsigned i = 0; i < (sim->quiet_ms != 0 ? 4u : 1u); i++)
            response_request(sim, &random);
        break;
    case ACT_SHOP:
        shop_operate(sim, &random);
        break;
    case ACT_FAULT:
        fault_strike(sim, act->fault, &random);
        break;
    }
}

static void on_tick(void *object, uint64_t number)
{
    struct sim *sim = object;
    watch_tick(sim);
    schedule_add(&sim->schedule, sim->schedule.now_us + SIM_TICK_MS * SIM_MS, on_tick, sim, number);
}

static void first_start(void *object, uint64_t number)
{
    (void)number;
    node_start(object);
}

void sim_create(struct sim **out, uint64_t seed, const char *directory, struct sim_tally *tally,
                FILE *story)
{
    struct sim *sim = calloc(1, sizeof(*sim));
    check(sim != NULL);
    sim->seed = seed;
    sim->tally = tally;
    sim->story = story;
    sim->schedule.now_us = SIM_SECOND; /* timers take 0 for never */
    plan_make(sim);
    redis_init(sim);
    watch_create(sim);
    for (unsigned i = 0; i < SIM_NODES + SIM_COPIES; i++)
        node_init(sim, i, directory);
    for (unsigned i = 0; i < SIM_RESPONSES; i++)
        sim->responses[i].sim = sim;
    *out = sim;
}

static void begin(struct sim *sim)
{
    shop_create(sim);
    for (unsigned i = 0; i < SIM_NODES; i++)
        schedule_add(&sim->schedule, sim->schedule.now_us + i * SIM_MS, first_start, &sim->nodes[i],
                     0);
    schedule_add(&sim->schedule, sim->schedule.now_us, on_tick, sim, 0);
    for (size_t i = 0; i < sim->plan.count; i++)
        if (!sim->plan.acts[i].is_left_out)
            schedule_add(&sim->schedule, sim->plan.acts[i].at_us, act, sim, i);
}

/* Takes moments until then, or until a promise is broken. */
static void run_until(struct sim *sim, uint64_t until_us)
{
    struct moment moment;
    while (!sim->is_broken && schedule_take(&sim->schedule, until_us, &moment)) {
        sim->tally->moments++;
        moment.fire(moment.object, moment.number);
    }
}

/* Until nothing moves any more, also once what was on its way has arrived. */
static void come_to_rest(struct sim *sim)
{
    uint64_t limit_us = sim->schedule.now_us + REST_US;
    do {
        while (!sim->is_broken && !watch_is_at_rest(sim) && sim->schedule.now_us < limit_us)
            run_until(sim, sim->schedule.now_us + SIM_SECOND / 2);
        run_until(sim, sim->schedule.now_us + SETTLE_US);
    } while (!sim->is_broken && !watch_is_at_rest(sim) && sim->schedule.now_us < limit_us);
}

/* A Redis that has lost data may have what a node has given back since, and a question that was on its way when
 * its node lost its power may be granted long after: both end by themselves. */
static void outlive_pools(struct sim *sim)
{
    come_to_rest(sim);
    bool is_late = sim->schedule.now_us < sim->late_granted_us + 2 * SIM_VALIDITY_MS * SIM_MS;
    if (!sim->is_broken && (sim->has_lost_data || is_late)) {
        run_until(sim, sim->schedule.now_us + 2 * SIM_VALIDITY_MS * SIM_MS);
        come_to_rest(sim);
    }
}

static void look_at_rest(struct sim *sim)
{
    if (sim->is_broken)
        return;
    sim_tell(sim, "all", "the world is at rest");
    watch_rest(sim);
}

/* ---- what must come back ---- */

static bool lacks_something(struct sim *sim)
{
    for (unsigned i = 0; i < SIM_ACCOUNTS; i++)
        if (leaving_lacks_any(sim, i))
            return true;
    return false;
}

/* The operator has posted from the archives what Redis lacks, and has left the journals. */
static void replay_archives(struct sim *sim)
{
    sim_tell(sim, "all", "the archives are replayed");
    sim->reads_archives = true;
    for (unsigned i = 0; i < SIM_NODES; i++)
        node_kill(&sim->nodes[i], "so that its archive is replayed");
    watch_looked(sim, SIM_PROMISE_comes_back);
    outlive_pools(sim);
    look_at_rest(sim);
}

/* Redis loses all data once more, and nothing else goes wrong: all is as before. */
static void empty_at_last(struct sim *sim)
{
    int64_t used[SIM_ACCOUNTS], balance[SIM_ACCOUNTS];
    bool is_whole = !lacks_something(sim);
    for (unsigned i = 0; i < SIM_ACCOUNTS; i++) {
        used[i] = redis_number(sim, sim->accounts[i].key, "used");
        balance[i] = redis_number(sim, sim->accounts[i].key, "balance");
    }
    sim_tell(sim, "Redis", "loses all data at last");
    redis_kill(sim);
    redis_empty(sim);
    redis_start(sim);
    run_until(sim, sim->schedule.now_us + SETTLE_US);
    outlive_pools(sim);
    look_at_rest(sim);
    for (unsigned i = 0; i < SIM_ACCOUNTS && is_whole && !sim->is_broken; i++) {
        const char *key = sim->accounts[i].key;
        watch_looked(sim, SIM_PROMISE_comes_back);
        if (redis_number(sim, key, "used") != used[i] ||
            redis_number(sim, key, "balance") != balance[i])
            sim_break(sim, SIM_PROMISE_comes_back,
                      "account %s had a balance of %" PRId64 " and %" PRId64
                      " bytes billed, and now %" PRId64 " and %" PRId64,
                      sim->accounts[i].name, balance[i], used[i], redis_number(sim, key, "balance"),
                      redis_number(sim, key, "used"));
    }
}

/* Whether the journals of the nodes hold all that was ever posted, and are posted: a copy's posts are lost with it. */
static bool are_whole(const struct sim *sim)
{
    for (unsigned i = 0; i < SIM_NODES; i++)
        if (sim->nodes[i].is_kept_out || sim->nodes[i].is_retired)
            return false;
    return sim->nodes[SIM_NODES].starts == 0;
}

void sim_run(struct sim *sim)
{
    uint64_t begun_us = sim->schedule.now_us;
    story_begin(sim);
    begin(sim);
    run_until(sim, begun_us + (SIM_DURATION_S + 1) * SIM_SECOND);
    if (!sim->is_broken) {
        fault_heal(sim);
        for (unsigned i = 0; i < SIM_RESPONSES; i++)
            if (sim->responses[i].state != RESPONSE_FREE)
                sim->responses[i].ends_us = sim->schedule.now_us + LAST_US;
        outlive_pools(sim);
    }
    look_at_rest(sim);
    if (!sim->is_broken && sim->has_archive && lacks_something(sim))
        replay_archives(sim);
    if (!sim->is_broken && sim->may_lose_redis && are_whole(sim))
        empty_at_last(sim);
    if (sim->is_broken && sim->story != NULL)
        watch_tell(sim);
    sim->tally->simulated_us += sim->schedule.now_us - begun_us;
}

uint64_t sim_digest(struct sim *sim)
{
    uint64_t digest = store_digest(sim->redis.store);
    for (unsigned i = 0; i < SIM_ACCOUNTS; i++)
        digest = random_mix(digest, sim->accounts[i].delivered, i);
    return random_mix(digest, sim->schedule.order, sim->schedule.now_us);
}

void sim_destroy(struct sim **out)
{
    struct sim *sim = *out;
    struct moment moment;
    for (unsigned i = 0; i < SIM_NODES + SIM_COPIES; i++)
        node_free(&sim->nodes[i]);
    while (schedule_take(&sim->schedule, UINT64_MAX, &moment))
        connection_discard(&moment);
    schedule_free(&sim->schedule);
    shop_destroy(sim);
    watch_destroy(sim);
    redis_free(sim);
    plan_free(sim);
    free(sim);
    *out = NULL;
}
