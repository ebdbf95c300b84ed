/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of random calls. See store_test_words.h.
 */
#include "tests/simulation/store_test_words.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- chance ---- */

unsigned world_pick(struct world *world, unsigned below)
{
    return (unsigned)world_random(world, below);
}

int64_t world_one_of(struct world *world, size_t count, const int64_t numbers[])
{
    return numbers[world_random(world, count)];
}

void world_number(struct world *world, struct call *call, int64_t value)
{
    if (world_random(world, 200) == 0)
        call_text(call, world_junk(world));
    else
        call_format(call, "%" PRId64, value);
}

int64_t world_now_ms(const struct world *world)
{
    return (int64_t)(world->now_us / 1000);
}

/* ---- names ---- */

unsigned world_account(struct world *world)
{
    return world_pick(world, ACCOUNTS);
}

void call_account_key(struct call *call, unsigned account, const char *rest)
{
    call_format(call, "tg:{iss/a%u}:%s", account, rest);
}

void call_link_key(struct call *call, unsigned account, unsigned link, const char *rest)
{
    call_format(call, "tg:{iss/a%u}:link:%064u%s", account, link, rest);
}

void world_id(struct world *world, struct call *call, unsigned base)
{
    if (world_random(world, 200) == 0)
        call_text(call, world_chance(world, 50) ? "0123456789abcdef" : world_junk(world));
    else
        call_format(call, "%032x", base + world_pick(world, IDS));
}

int64_t world_known(struct world *world, const char *key, const char *field)
{
    const char *known = store_field(world->store, key, field, NULL);
    long long value = 0;
    if (known != NULL)
        (void)sscanf(known, "%16lld", &value);
    return value;
}

void world_lessee(struct world *world, struct call *call, unsigned of, unsigned instance)
{
    char key[64], field[48];
    snprintf(key, sizeof(key), "tg:{iss/a%u}:account", of);
    snprintf(field, sizeof(field), "l:%032x", instance);
    int64_t lease = world_known(world, key, field);
    if (world_random(world, 200) == 0)
        call_text(call, world_chance(world, 50) ? "0123456789abcdef" : world_junk(world));
    else
        call_format(call, "%032x", instance);
    world_number(world, call,
                 (lease > 0 ? lease : 1) + (world_chance(world, 6) ? ONE_OF(world, -1, 1) : 0));
}
