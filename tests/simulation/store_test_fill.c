/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls at random of tollgate_fill: of instances that have posted nothing, with parts that mostly follow what
 * was taken, and a few rows of each kind.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/ledger/redis_table.h"
#include "tests/simulation/store_test_words.h"

#define FILLER   (INSTANCE + 64) /* the number of the first instance that fills */
#define FILLERS  64              /* each of them fills an account once */
#define ROWS_MAX 4

static const char *const dates[] = {"202512", "20251231", "20251230", "202401"};
#define DATES (sizeof(dates) / sizeof(dates[0]))

/* Which part is due of the account. */
static int64_t due_part(struct world *world, unsigned of, unsigned instance)
{
    char key[64], id[40];
    long long part = 0;
    snprintf(key, sizeof(key), "tg:{iss/a%u}:account", of);
    snprintf(id, sizeof(id), "%032x", instance);
    const char *filling = store_field(world->store, key, "filling", NULL);
    const char *entry = filling == NULL ? NULL : strstr(filling, id);
    if (entry != NULL)
        (void)sscanf(entry, "%*s %*s %*s %16lld", &part);
    return part + 1;
}

static void head(struct world *world, struct call *call, unsigned of, unsigned instance)
{
    world_lessee(world, call, of, instance);
    world_number(world, call, world_random(world, 20) == 0 ? 2 : 1); /* segment */
    world_number(world, call, world_random(world, 50) == 0 ? 8 : 9); /* sequence */
    int64_t part = due_part(world, of, instance);
    world_number(world, call, world_chance(world, 85) ? part : part + ONE_OF(world, -1, 1));
    world_number(world, call, world_chance(world, 30)); /* the last one */
    world_number(world, call, ONE_OF(world, 0, 0, 100, 10000));
    world_number(world, call, ONE_OF(world, 0, 0, 1, 5)); /* operations that move no money */
    world_number(world, call, (int64_t)world_random(world, 2000));
}

static void usage_row(struct world *world, struct call *call)
{
    unsigned date = world_pick(world, DATES);
    world_number(world, call, 1 + (int64_t)date);
    if (strlen(dates[date]) == 6 && world_chance(world, 30))
        call_text(call, "");
    else
        world_file(world, call, FILES, "");
    world_number(world, call, ONE_OF(world, 0, 1, 1000, 1000000));
    world_number(world, call, (int64_t)world_random(world, 3));
}

static void use_row(struct world *world, struct call *call)
{
    int64_t now = world_now_ms(world);
    world_file(world, call, FILES, "");
    world_number(world, call, ONE_OF(world, 0, 1, 1000));
    if (world_random(world, 60) == 0)
        call_text(call, world_junk(world));
    else
        call_format(call, "%zu %" PRId64 " %" PRId64 " %" PRId64 " %u",
                    2 + LEDGER_COUNT(LEDGER_TRANSACTION_KEYS) + DATES + 1,
                    now - (int64_t)world_random(world, 5), now + 600000, now + 10000000,
                    world_pick(world, 2));
}

static void money_row(struct world *world, struct call *call)
{
    static const char *const operations[] = {"open",  "top_up",      "adjust",
                                             "limit", "revoke_link", "suspend"};
    unsigned which = world_pick(world, 6);
    bool of_link = which == 4;
    call_text(call, operations[which]);
    world_number(world, call,
                 of_link ? world_now_ms(world) + 100000 : ONE_OF(world, 0, 1, 1000, 1000000));
    call_text(call, which != 0 ? "-" : world_chance(world, 30) ? "postpaid" : "prepaid");
    world_number(world, call, world_now_ms(world));
    if (which > 2)
        call_text(call, "");
    else
        call_format(call, "t:%" PRIu64, world_random(world, 2000));
    world_number(world, call, ONE_OF(world, 0, 1000000));
    world_number(world, call, ONE_OF(world, 0, 4));
    world_number(world, call, (int64_t)world_random(world, 2000));
    call_format(call, "node-%u", world_pick(world, 3));
    world_number(world, call,
                 of_link ? 2 + (int64_t)LEDGER_COUNT(LEDGER_TRANSACTION_KEYS) + (int64_t)DATES + 1
                         : 0);
}

void world_fill(struct world *world, struct call *call)
{
    unsigned of = world_account(world), link = world_pick(world, LINKS);
    unsigned instance = FILLER + (unsigned)(world->calls / 200 % FILLERS);
    unsigned rows[3];
    char rest[32];
    call_function(call, "tollgate_fill",
                  2 + (int)LEDGER_COUNT(LEDGER_TRANSACTION_KEYS) + (int)DATES + 2);
    call_account_key(call, of, "account");
    call_account_key(call, of, "grants");
    for (unsigned slot = 0; slot < LEDGER_COUNT(LEDGER_TRANSACTION_KEYS); slot++) {
        snprintf(rest, sizeof(rest), "transactions:%u", slot);
        call_account_key(call, of, rest);
    }
    for (size_t i = 0; i < DATES; i++) {
        snprintf(rest, sizeof(rest), "usage:%s", dates[i]);
        call_account_key(call, of, rest);
    }
    call_link_key(call, of, link, "");
    call_link_key(call, of, link, ":grants");
    head(world, call, of, instance);
    world_number(world, call, (int64_t)DATES);
    world_number(world, call, 1);
    for (unsigned i = 0; i < 3; i++) {
        rows[i] = world_pick(world, ROWS_MAX);
        world_number(world, call, rows[i]);
    }
    for (size_t i = 0; i < DATES; i++)
        call_text(call, dates[i]);
    for (unsigned i = 0; i < rows[0]; i++)
        usage_row(world, call);
    for (unsigned i = 0; i < rows[1]; i++)
        use_row(world, call);
    for (unsigned i = 0; i < rows[2]; i++)
        money_row(world, call);
}
