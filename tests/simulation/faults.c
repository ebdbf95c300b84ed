/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes wrong, and its mending when the world is to come to rest. See SIM_FAULTS in sim.h.
 */
#include "tests/simulation/sim.h"

#include <inttypes.h>

#include "storage/ledger/checkpoints.h"

static struct sim_node *draw_node(struct sim *sim, struct random *random)
{
    return &sim->nodes[random_below(random, SIM_NODES)];
}

/* How long a trouble lasts. */
static uint64_t draw_trouble(struct random *random, uint64_t most_ms)
{
    return random_between(random, 100, most_ms) * SIM_MS;
}

/* ---- connections ---- */

static void strike_cut(struct sim *sim, struct random *random)
{
    struct sim_node *node = draw_node(sim, random);
    struct sim_connection *connection =
        node_connection(node, (unsigned)random_below(random, SIM_CONNECTIONS));
    sim_tell(sim, node->name, "its %s connection is cut", connection->name);
    connection_cut(connection, random_next(random));
}

static void strike_delay(struct sim *sim, struct random *random)
{
    struct sim_node *node = draw_node(sim, random);
    struct sim_connection *connection =
        node_connection(node, (unsigned)random_below(random, SIM_CONNECTIONS));
    connection->slow_us = draw_trouble(random, 4000);
    connection->slow_until_us = sim->schedule.now_us + random_between(random, 1, 8 * SIM_SECOND);
    sim_tell(sim, node->name, "its %s connection takes %" PRIu64 " ms more", connection->name,
             connection->slow_us / SIM_MS);
}

static void strike_part(struct sim *sim, struct random *random)
{
    struct sim_node *node = draw_node(sim, random);
    uint64_t until_us = sim->schedule.now_us + draw_trouble(random, 9000);
    sim_tell(sim, node->name, "and Redis do not reach each other");
    for (unsigned i = 0; i < SIM_CONNECTIONS; i++)
        node_connection(node, i)->apart_until_us = until_us;
}

/* ---- Redis ---- */

static void strike_stall(struct sim *sim, struct random *random)
{
    uint64_t us = draw_trouble(random, 7000);
    sim_tell(sim, "Redis", "does nothing for %" PRIu64 " ms", us / SIM_MS);
    redis_stall(sim, sim->schedule.now_us + us);
}

static void start_redis(void *object, uint64_t number)
{
    struct sim *sim = object;
    (void)number;
    if (!sim->redis.is_up)
        sim_tell(sim, "Redis", "is up again");
    redis_start(sim);
}

static void end_redis(struct sim *sim, struct random *random, const char *what)
{
    sim_tell(sim, "Redis", "is killed%s", what);
    if (sim->redis.is_up)
        redis_kill(sim);
    schedule_add(&sim->schedule, sim->schedule.now_us + random_between(random, 1, 4 * SIM_SECOND),
                 start_redis, sim, 0);
}

static void strike_restart_redis(struct sim *sim, struct random *random)
{
    end_redis(sim, random, "");
}

static void end_readonly(void *object, uint64_t number)
{
    struct sim *sim = object;
    (void)number;
    sim->redis.is_readonly = false;
}

static void strike_readonly(struct sim *sim, struct random *random)
{
    sim_tell(sim, "Redis", "is a replica");
    sim->redis.is_readonly = true;
    schedule_add(&sim->schedule, sim->schedule.now_us + random_between(random, 1, 5 * SIM_SECOND),
                 end_readonly, sim, 0);
}

static void strike_empty(struct sim *sim, struct random *random)
{
    (void)random;
    sim_tell(sim, "Redis", "loses all data");
    sim->is_emptied = true;
    redis_empty(sim);
}

static void strike_lose_redis(struct sim *sim, struct random *random)
{
    end_redis(sim, random, ", and its data are lost");
    redis_empty(sim);
}

static void go_back(void *object, uint64_t snapshot)
{
    struct sim *sim = object;
    uint64_t age_us = sim->schedule.now_us - sim->redis.snapshot_us[snapshot];
    if (sim->is_resting)
        return;
    sim_tell(sim, "Redis", "is as it was %" PRIu64 " ms ago", age_us / SIM_MS);
    if (sim->redis.is_up)
        redis_kill(sim);
    redis_go_back(sim, (enum redis_snapshot)snapshot);
    schedule_add(&sim->schedule, sim->schedule.now_us + 500 * SIM_MS, start_redis, sim, 0);
}

static void strike_fail_over(struct sim *sim, struct random *random)
{
    redis_keep(sim, SNAPSHOT_OF_REPLICA);
    schedule_add(&sim->schedule, sim->schedule.now_us + random_between(random, 1, 2 * SIM_SECOND),
                 go_back, sim, SNAPSHOT_OF_REPLICA);
}

static void strike_restore(struct sim *sim, struct random *random)
{
    /* In some worlds it is older than the journals, whose segments leave soon, are kept. */
    uint64_t least_s = sim->keeps_some ? 20 : 3, most_s = sim->keeps_some ? 45 : 15;
    if (sim->redis.is_kept[SNAPSHOT_OF_BACKUP])
        return;
    redis_keep(sim, SNAPSHOT_OF_BACKUP);
    schedule_add(&sim->schedule,
                 sim->schedule.now_us + random_between(random, least_s, most_s) * SIM_SECOND,
                 go_back, sim, SNAPSHOT_OF_BACKUP);
}

/* ---- while Redis is filled from checkpoints ---- */

static void strike_between_parts(struct sim *sim, struct random *random)
{
    bool any = false;
    for (unsigned i = 0; i < SIM_NODES; i++)
        any =
            any || (sim->nodes[i].ledger != NULL && checkpoints_segment(sim->nodes[i].ledger) > 0);
    if (!any)
        return; /* nothing would be filled */
    strike_empty(sim, random);
    fills_arm(sim, random);
}

void fault_between_parts(struct sim_node *node, uint64_t seed)
{
    struct sim *sim = node->sim;
    struct random random = {seed};
    sim_tell(sim, node->name, "has posted a part of a checkpoint");
    switch (random_below(&random, 8)) {
    case 0:
        strike_empty(sim, &random);
        break;
    case 1:
        strike_restart_redis(sim, &random);
        break;
    case 2:
        redis_keep(sim, SNAPSHOT_OF_BACKUP);
        schedule_add(&sim->schedule, sim->schedule.now_us + 3 * SIM_SECOND, go_back, sim,
                     SNAPSHOT_OF_BACKUP);
        break;
    case 3:
    case 4:
        node_kill(node, "between two parts");
        break;
    default:
        connection_cut(&node->poster, random_next(&random));
    }
}

/* ---- nodes ---- */

static void kill_slow(void *object, uint64_t number)
{
    (void)number;
    node_kill(object, "while Redis was slow to hear of it");
}

static void strike_kill(struct sim *sim, struct random *random)
{
    struct sim_node *node = draw_node(sim, random);
    if (sim->is_resting) {
        node_kill(node, "between two steps");
        return;
    }
    /* What its workers ask last comes after its next process has begun. */
    for (unsigned i = 0; i < SIM_WORKERS; i++) {
        node->workers[i].connection.slow_us = random_between(random, 2, 8) * SIM_SECOND;
        node->workers[i].connection.slow_until_us = sim->schedule.now_us + SIM_SECOND;
    }
    schedule_add(&sim->schedule, sim->schedule.now_us + SIM_SECOND, kill_slow, node, 0);
}

static void strike_kill_writing(struct sim *sim, struct random *random)
{
    struct sim_node *node = draw_node(sim, random);
    node->disk.dies_in = (unsigned)random_between(random, 1, 4);
    node->loses_power = random_happens(random, 1, 2);
}

static void strike_stop(struct sim *sim, struct random *random)
{
    node_stop(draw_node(sim, random));
}

static void strike_disk_error(struct sim *sim, struct random *random)
{
    struct sim_node *node = draw_node(sim, random);
    sim_tell(sim, node->name, "its disk is about to fail");
    node->disk.fails_in = (unsigned)random_between(random, 1, 4);
}

static void end_disk_full(void *object, uint64_t number)
{
    struct sim_node *node = object;
    (void)number;
    node->disk.is_full = false;
}

static void strike_disk_full(struct sim *sim, struct random *random)
{
    struct sim_node *node = draw_node(sim, random);
    sim_tell(sim, node->name, "its disk is full");
    node->disk.is_full = true;
    if (random_happens(random, 1, 2)) /* what is left of the journal is used up soon */
        shop_batch(node, (unsigned)random_between(random, 20, 100));
    schedule_add(&sim->schedule, sim->schedule.now_us + random_between(random, 2, 40) * SIM_SECOND,
                 end_disk_full, node, 0);
}

static void strike_archive(struct sim *sim, struct random *random)
{
    draw_node(sim, random)->spoils_archive = true;
}

static void strike_clock(struct sim *sim, struct random *random)
{
    struct sim_node *node = draw_node(sim, random);
    node->clock_ms = (int64_t)random_between(random, 0, 7200000) - 3600000;
    sim_tell(sim, node->name, "its clock is now %" PRId64 " ms %s that of Redis",
             node->clock_ms < 0 ? -node->clock_ms : node->clock_ms,
             node->clock_ms < 0 ? "behind" : "ahead of");
}

static void end_copy(void *object, uint64_t number)
{
    struct sim_node *node = object;
    (void)number;
    node->is_retired = node->is_kept_out = true; /* what it has not posted is lost */
    node_kill(node, "for good");
    node->exists = false;
}

static void start_copy(struct sim *sim, struct random *random, const char *name)
{
    struct sim_node *from = draw_node(sim, random);
    struct sim_node *copy = &sim->nodes[SIM_NODES];
    if (copy->exists || copy->is_retired || from->starts == 0)
        return;
    node_copy(copy, from, name != NULL ? name : from->name);
    sim_tell(sim, copy->name, "a copy of the directory of %s is started", from->name);
    node_start(copy);
    schedule_add(&sim->schedule, sim->schedule.now_us + random_between(random, 1, 6 * SIM_SECOND),
                 end_copy, copy, 0);
}

static void strike_copy(struct sim *sim, struct random *random)
{
    start_copy(sim, random, NULL);
}

static void strike_copy_renamed(struct sim *sim, struct random *random)
{
    start_copy(sim, random, "node-9");
}

static void strike_lose_segment(struct sim *sim, struct random *random)
{
    struct sim_node *node = draw_node(sim, random);
    if (node->has_lost_segment)
        return;
    node->has_lost_segment = node->is_kept_out = true;
    node_kill(node, "and its newest segment is lost");
    (void)disk_lose_segment(&node->disk);
    watch_lost_segment(node);
}

void fault_strike(struct sim *sim, enum sim_fault fault, struct random *random)
{
    static void (*const strikes[])(struct sim *, struct random *) = {
#define X(name, rate, help) strike_##name,
        SIM_FAULTS(X)
#undef X
    };
    sim->tally->struck[fault]++;
    strikes[fault](sim, random);
}

void fault_heal(struct sim *sim)
{
    sim_tell(sim, "all", "nothing goes wrong any more");
    sim->is_resting = true;
    sim->redis.is_readonly = false;
    redis_start(sim);
    redis_stall(sim, sim->schedule.now_us);
    for (unsigned i = 0; i < SIM_NODES + SIM_COPIES; i++) {
        struct sim_node *node = &sim->nodes[i];
        for (unsigned j = 0; j < SIM_CONNECTIONS; j++) {
            struct sim_connection *connection = node_connection(node, j);
            connection->slow_until_us = connection->apart_until_us = 0;
        }
        node->disk.is_full = false;
        node->disk.fails_in = node->disk.dies_in = 0;
        if (i == SIM_NODES && node->exists)
            end_copy(node, 0);
        node_replace_disk(node);
    }
}
