/* SPDX-License-Identifier: Apache-2.0 */
/* What is drawn at random for the calls of simulation_store_test: numbers, and texts that no function
 * expects. */
#include "tests/simulation/store_test.h"

uint64_t world_random(struct world *world, uint64_t below)
{
    uint64_t z = world->random += 0x9e3779b97f4a7c15; /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % below;
}

bool world_chance(struct world *world, unsigned percent)
{
    return world_random(world, 100) < percent;
}

const char *world_junk(struct world *world)
{
    /* Shorter than what Lua hashes in part (see is_loose). */
    static const char *const junk[] = {"",
                                       "01",
                                       "1.5",
                                       "1e3",
                                       "-0",
                                       "+1",
                                       " 1",
                                       "1 ",
                                       "abc",
                                       "-1",
                                       "9007199254740991",
                                       "9007199254740992",
                                       "-9007199254740992",
                                       "123456789012345678901",
                                       "0x10",
                                       "nan",
                                       "inf",
                                       "f f f",
                                       "x 99999999999999999999 1;",
                                       "ab 1 99999999999999999999",
                                       "1 0 5 99999999999999999999",
                                       "0123456789abcdef 1 x",
                                       "1 2 3",
                                       "a\nb\r\n",
                                       "%s%n"};
    return junk[world_random(world, sizeof(junk) / sizeof(junk[0]))];
}
