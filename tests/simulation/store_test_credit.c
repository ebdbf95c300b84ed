/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls at random of what workers ask: admissions with the figures of pools that mostly follow what
 * the store has, what is told of a pool, and what is reserved.
 */
#include <inttypes.h>
#include <stdio.h>

#include "tests/simulation/store_test_words.h"

static unsigned grant_keys(struct world *world, struct call *call, unsigned of)
{
    unsigned link = world_pick(world, LINKS);
    call_account_key(call, of, "account");
    call_account_key(call, of, "grants");
    call_link_key(call, of, link, "");
    call_link_key(call, of, link, ":grants");
    return link;
}

/* A pool as far as the store knows it. */
struct known_pool {
    long long posted, lease, count, ceiling, least;
};

static struct known_pool known_pool(struct world *world, const char *key, unsigned instance)
{
    struct known_pool pool = {0};
    char field[48];
    snprintf(field, sizeof(field), "%032x", instance);
    const char *known = store_field(world->store, key, field, NULL);
    if (known != NULL)
        (void)sscanf(known, "%16lld %16lld %16lld %16lld", &pool.lease, &pool.count, &pool.ceiling,
                     &pool.least);
    snprintf(field, sizeof(field), "p:%032x", instance);
    known = store_field(world->store, key, field, NULL);
    if (known != NULL)
        (void)sscanf(known, "%16lld", &pool.posted);
    return pool;
}

/* The figures of a pool: count, with `link` whether it is new, ceiling, least. Returns least. */
static int64_t figures(struct world *world, struct call *call, const struct known_pool *pool,
                       bool link)
{
    int64_t posted = pool->posted;
    world_number(world, call,
                 world_chance(world, 12) ? 0 : pool->count + ONE_OF(world, 1, 1, 1, 1, 2, 0));
    if (link)
        world_number(world, call, world_random(world, 300) == 0 ? 2 : ONE_OF(world, 0, 0, 0, 1));
    world_number(world, call,
                 world_chance(world, 60) ? pool->ceiling
                                         : posted + ONE_OF(world, 0, 100, 10000, 100000));
    int64_t least = posted + ONE_OF(world, 0, 0, 50, 5000, 1000000);
    world_number(world, call, least);
    return least;
}

static void wish(struct world *world, struct call *call, int64_t least)
{
    world_number(world, call, least + ONE_OF(world, 0, 100, 5000, 1000000, 4000000000));
    world_number(world, call, ONE_OF(world, 0, 0, 65536, 16777216));
}

void world_admit(struct world *world, struct call *call)
{
    char key[128];
    call_function(call, world_chance(world, 65) ? "tollgate_admit" : "tollgate_judge", 4);
    unsigned of = world_account(world), link = grant_keys(world, call, of);
    unsigned instance = INSTANCE + world_pick(world, IDS);
    world_lessee(world, call, of, instance);
    world_number(world, call, ONE_OF(world, 1000, 10000, 60000));
    world_number(world, call, world_now_ms(world) / 1000 - ONE_OF(world, 0, 10, 100, 100000));
    world_number(world, call, ONE_OF(world, 0, 1, 100, 5000, 1000000, 4000000000));
    snprintf(key, sizeof(key), "tg:{iss/a%u}:grants", of);
    struct known_pool pool = known_pool(world, key, instance);
    wish(world, call, figures(world, call, &pool, false));
    if (world_chance(world, 35))
        return;
    world_file(world, call, FILES, "");
    world_number(world, call, ONE_OF(world, 100, 1000, 1000000));
    world_number(world, call, ONE_OF(world, 0, 0, 1, 2, 3, 1000));
    world_number(world, call, ONE_OF(world, 0, 0, 1000, 10000, 10000000));
    world_number(world, call, world_now_ms(world) + ONE_OF(world, -10000, 1000, 100000, 10000000));
    world_number(world, call, ONE_OF(world, 1, 1000, 60000, 3600000));
    world_number(world, call, ONE_OF(world, 0, 0, 0, 1, 2));
    world_number(world, call,
                 world_now_ms(world) + ONE_OF(world, -4000000, -3600000, 0, 100000, 10000000));
    snprintf(key, sizeof(key), "tg:{iss/a%u}:link:%064u:grants", of, link);
    pool = known_pool(world, key, instance);
    wish(world, call, figures(world, call, &pool, true));
}

void world_tell(struct world *world, struct call *call)
{
    char key[128];
    unsigned of = world_account(world), instance = INSTANCE + world_pick(world, IDS);
    call_function(call, "tollgate_tell", 1);
    if (world_chance(world, 50))
        call_account_key(call, of, "grants");
    else
        call_link_key(call, of, world_pick(world, LINKS), ":grants");
    snprintf(key, sizeof(key), "%s", call->words[call->count - 1]);
    world_lessee(world, call, of, instance);
    world_number(world, call, ONE_OF(world, 1000, 10000, 60000));
    struct known_pool pool = known_pool(world, key, instance);
    if (world_chance(world, 5))
        pool = (struct known_pool){0};
    (void)figures(world, call, &pool, true);
}

void world_reserved(struct world *world, struct call *call)
{
    call_function(call, "tollgate_reserved", 1);
    call_account_key(call, world_account(world), "grants");
}

void world_pool(struct world *world, struct call *call)
{
    int64_t posted = (int64_t)world_random(world, 100000);
    unsigned instance = INSTANCE + world_pick(world, IDS);
    call_format(call, "p:%032x", instance);
    call_format(call, "%" PRId64, posted);
    call_format(call, "%032x", instance);
    call_format(call, "%u %u %" PRId64 " %" PRId64 " %" PRId64, 1 + world_pick(world, 3),
                world_pick(world, 50), posted + (int64_t)world_random(world, 20000),
                posted + (int64_t)world_random(world, 10000),
                world_now_ms(world) + (int64_t)world_random(world, 60000) - 20000);
}
