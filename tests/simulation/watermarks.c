/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many records of each account Redis has of each instance, as its posts and checkpoints were taken: a
 * watermark never falls, and nothing is left out.
 */
#include "tests/simulation/watermarks.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "tests/simulation/sim.h"

#define INSTANCES_MAX   16
#define INSTANCE_LENGTH 32

struct watermark {
    char instance[INSTANCE_LENGTH + 1];
    uint64_t reached[SIM_ACCOUNTS];
    uint64_t most[SIM_ACCOUNTS]; /* that was ever reached, also in a Redis that lost it */
};

struct watch {
    struct watermark watermarks[INSTANCES_MAX];
    unsigned instances;
};

void watch_create(struct sim *sim)
{
    sim->watch = calloc(1, sizeof(*sim->watch));
    check(sim->watch != NULL);
}

void watch_destroy(struct sim *sim)
{
    free(sim->watch);
    sim->watch = NULL;
}

static struct watermark *watermark_of(struct sim *sim, const char *instance)
{
    struct watch *watch = sim->watch;
    unsigned i = 0;
    while (i < watch->instances && strcmp(watch->watermarks[i].instance, instance) != 0)
        i++;
    check(i < INSTANCES_MAX && strlen(instance) == INSTANCE_LENGTH);
    if (i == watch->instances)
        memcpy(watch->watermarks[watch->instances++].instance, instance, INSTANCE_LENGTH + 1);
    return &watch->watermarks[i];
}

static void move_watermark(struct watermark *of, unsigned account, uint64_t to)
{
    of->reached[account] = to;
    if (to > of->most[account])
        of->most[account] = to;
}

void watch_takes(struct sim *sim, unsigned account, const char *instance, uint64_t from,
                 uint64_t to)
{
    struct watermark *of = watermark_of(sim, instance);
    watch_looked(sim, SIM_PROMISE_watermark);
    if (from != of->reached[account] + 1 || to < from)
        sim_break(sim, SIM_PROMISE_watermark,
                  "of account %s, records %" PRIu64 " to %" PRIu64
                  " of %s were taken after %" PRIu64,
                  sim->accounts[account].name, from, to, instance, of->reached[account]);
    move_watermark(of, account, to);
}

bool watch_fills_to(struct sim *sim, unsigned account, const char *instance, uint64_t to)
{
    struct watermark *of = watermark_of(sim, instance);
    if (of->reached[account] >= to)
        return false;
    if (of->reached[account] > 0)
        sim_break(sim, SIM_PROMISE_watermark,
                  "account %s was filled to %" PRIu64 " where %" PRIu64 " of %s were taken",
                  sim->accounts[account].name, to, of->reached[account], instance);
    move_watermark(of, account, to);
    return true;
}

uint64_t watch_most(const struct sim *sim, const char *instance, unsigned account)
{
    const struct watch *watch = sim->watch;
    for (unsigned i = 0; i < watch->instances; i++)
        if (strcmp(watch->watermarks[i].instance, instance) == 0)
            return watch->watermarks[i].most[account];
    return 0;
}

bool watch_lacks(struct sim *sim, const char *instance, unsigned account)
{
    char field[INSTANCE_LENGTH + 3];
    snprintf(field, sizeof(field), "w:%s", instance);
    return (uint64_t)redis_number(sim, sim->accounts[account].key, field) <
           watch_most(sim, instance, account);
}

void watch_lost_watermarks(struct sim *sim, unsigned account)
{
    struct watch *watch = sim->watch;
    char field[INSTANCE_LENGTH + 3];
    for (unsigned i = 0; i < watch->instances; i++) {
        snprintf(field, sizeof(field), "w:%s", watch->watermarks[i].instance);
        watch->watermarks[i].reached[account] =
            (uint64_t)redis_number(sim, sim->accounts[account].key, field);
    }
}
