/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls at random of the ledger's functions: a few accounts, links, nodes, instances and leases,
 * so that they collide; most calls fit what the store holds, so that each answer occurs.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "server/base/check.h"
#include "storage/ledger/redis_table.h"
#include "tests/simulation/store_test_words.h"

#define MANY 900 /* files of account 0 on day 0: its usage is scattered */

/* Two days, of which the second may have ended. */
static const char *const days[] = {"20291231", "20251120"};

static void call_usage_key(struct call *call, unsigned account, unsigned day, size_t digits)
{
    char rest[32];
    snprintf(rest, sizeof(rest), "usage:%.*s", (int)digits, days[day]);
    call_account_key(call, account, rest);
}

static void call_ring(struct call *call, unsigned account)
{
    char rest[32];
    for (unsigned slot = 0; slot < LEDGER_COUNT(LEDGER_TRANSACTION_KEYS); slot++) {
        snprintf(rest, sizeof(rest), "transactions:%u", slot);
        call_account_key(call, account, rest);
    }
}

/* ---- a call ---- */

void call_begin(struct call *call)
{
    call->count = 0;
    call->used = 0;
    call->unordered = NULL;
}

static void place(struct call *call, int index, const char *bytes, size_t length)
{
    check(index < CALL_WORDS_MAX && call->used + length + 1 <= CALL_BYTES_MAX);
    char *to = call->bytes + call->used;
    memcpy(to, bytes, length);
    to[length] = '\0';
    call->used += length + 1;
    call->words[index] = to;
    call->lengths[index] = length;
}

void call_bytes(struct call *call, const char *bytes, size_t length)
{
    place(call, call->count++, bytes, length);
}

void call_text(struct call *call, const char *text)
{
    call_bytes(call, text, strlen(text));
}

void call_format(struct call *call, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    check(length >= 0 && (size_t)length < sizeof(text));
    call_bytes(call, text, (size_t)length);
}

void call_replace(struct call *call, int index, const char *text)
{
    place(call, index, text, strlen(text));
}

void world_file(struct world *world, struct call *call, unsigned names, const char *before)
{
    char text[160];
    unsigned which = world_pick(world, names);
    if (which == 0) {
        size_t length = strlen(before);
        memcpy(text, before, length);
        memcpy(text + length, "a\0b\n\xff", 5);
        call_bytes(call, text, length + 5);
    } else if (which == 1) {
        call_format(call, "%s%080u.mp3", before, 1); /* too long for a hash that is a list */
    } else {
        call_format(call, "%s/f%u.mp3", before, which);
    }
}

void world_key(struct world *world, struct call *call)
{
    static const char *const rests[] = {"account", "grants", "transactions:1", "usage:20291231",
                                        "usage:202512"};
    unsigned which = world_pick(world, 10), of = world_account(world);
    if (which < 5)
        call_account_key(call, of, rests[which]);
    else if (which < 8)
        call_link_key(call, of, world_pick(world, LINKS), which == 7 ? ":grants" : "");
    else if (which == 8 && world_chance(world, 50))
        call_format(call, "tg:node:{node-%u}", world_pick(world, NODES));
    else if (which == 8)
        call_format(call, "tg:lease:{%032x}", INSTANCE + world_pick(world, IDS));
    else
        call_format(call, "tg:notices:i%u", world_pick(world, 2));
}

/* ---- the functions ---- */

void call_function(struct call *call, const char *function, int keys)
{
    call_text(call, "FCALL");
    call_text(call, function);
    call_format(call, "%d", keys);
}

/* `from` mostly follows the watermark. Returns how many records the post has. */
static void post_head(struct world *world, struct call *call, unsigned of, const char *kind,
                      int64_t records)
{
    char key[64], field[48];
    unsigned instance = INSTANCE + world_pick(world, IDS);
    snprintf(key, sizeof(key), "tg:{iss/a%u}:account", of);
    snprintf(field, sizeof(field), "w:%032x", instance);
    int64_t from =
        world_known(world, key, field) + 1 + (world_chance(world, 8) ? ONE_OF(world, -1, 1, 5) : 0);
    world_lessee(world, call, of, instance);
    world_number(world, call, from);
    world_number(world, call, world_random(world, 200) == 0 ? from - 1 : from + records - 1);
    call_text(call, world_random(world, 200) == 0 ? "wages" : kind);
}

/* When the last use of this link and file was opened, as far as the store knows. */
static int64_t opened_at(struct world *world, unsigned of, unsigned link, const char *file)
{
    char key[128], field[200];
    snprintf(key, sizeof(key), "tg:{iss/a%u}:link:%064u", of, link);
    snprintf(field, sizeof(field), "p:%s", file);
    const char *use = store_field(world->store, key, field, NULL);
    const char *last = use == NULL ? NULL : strrchr(use, ' ');
    long long opened = world_now_ms(world);
    if (last != NULL && world_chance(world, 80))
        (void)sscanf(last, " %16lld", &opened);
    return world_chance(world, 20) ? opened - ONE_OF(world, 1, 1000, 60000, -5, -1000) : opened;
}

static void post_usage(struct world *world, struct call *call)
{
    unsigned of = world_account(world), day = world_pick(world, 2), link = world_pick(world, LINKS);
    unsigned links = world_chance(world, 50) ? 1 + world_pick(world, 2) : 0;
    bool many = of == 0 && day == 0;
    unsigned files =
        many ? 1 + world_pick(world, 40) : 1 + world_pick(world, world_chance(world, 5) ? 30 : 3);
    call_function(call, "tollgate_post", 4 + 2 * (int)links);
    call_account_key(call, of, "account");
    call_account_key(call, of, "grants");
    call_usage_key(call, of, day, 8);
    call_usage_key(call, of, day, 6);
    for (unsigned i = 0; i < links; i++) {
        call_link_key(call, of, (link + i) % LINKS, "");
        call_link_key(call, of, (link + i) % LINKS, ":grants");
    }
    post_head(world, call, of, "usage", 1 + (int64_t)world_random(world, 5));
    call_text(call, world_random(world, 300) == 0 ? world_junk(world) : days[day]);
    for (unsigned i = 0; i < files; i++) {
        world_file(world, call, many ? MANY : FILES, "");
        if (world_random(world, 300) == 0)
            call_replace(call, call->count - 1, "");
        /* Of these accounts the order of the fields is compared, too (see is_loose). */
        if (of % 2 == 1 && call->lengths[call->count - 1] >= 30)
            call_replace(call, call->count - 1, "/short.mp3");
        const char *file = call->words[call->count - 1];
        world_number(world, call,
                     world_random(world, 100) == 0
                         ? 9000000000000000
                         : ONE_OF(world, 0, 0, 1, 100, 1000, 5000, 1000000, 4000000));
        world_number(world, call, (int64_t)world_random(world, 4));
        unsigned which = links == 0 ? 0 : world_pick(world, links + 1);
        if (which == 0 && world_random(world, 100) != 0) {
            call_text(call, "");
            continue;
        }
        if (world_random(world, 60) == 0) {
            call_text(call, world_junk(world));
            continue;
        }
        int64_t opened = opened_at(world, of, (link + which - 1) % LINKS, file);
        call_format(call, "%u %" PRId64 " %" PRId64 " %" PRId64 " %u", 3 + 2 * which,
                    world_chance(world, 3) ? 0 : opened, opened + ONE_OF(world, 1, 1000, 600000),
                    world_now_ms(world) + ONE_OF(world, -4000000, 100000, 10000000),
                    world_pick(world, 2));
    }
}

static void post_money(struct world *world, struct call *call)
{
    static const char *const operations[] = {"open",   "open",   "top_up", "top_up",   "top_up",
                                             "adjust", "adjust", "limit",  "activate", "activate"};
    static const char *const unusual[] = {"pay", "revoke_link", "revoke_before", "suspend"};
    unsigned of = world_account(world);
    const char *operation =
        world_chance(world, 92) ? operations[world_pick(world, 10)] : unusual[world_pick(world, 4)];
    bool with_link = strcmp(operation, "revoke_link") == 0 && world_random(world, 5) != 0;
    call_function(call, "tollgate_post", with_link ? 8 : 7);
    call_account_key(call, of, "account");
    call_account_key(call, of, "grants");
    call_ring(call, of);
    if (with_link)
        call_link_key(call, of, world_pick(world, LINKS), "");
    post_head(world, call, of, "money", world_random(world, 100) == 0 ? 2 : 1);
    call_text(call, operation);
    if (strcmp(operation, "revoke_link") == 0)
        world_number(world, call, world_now_ms(world) + ONE_OF(world, 1000, 100000, -4000000));
    else if (strcmp(operation, "revoke_before") == 0)
        world_number(world, call,
                     world_now_ms(world) / 1000 - ONE_OF(world, 50, 5000, 500000, 5000000));
    else if (strcmp(operation, "adjust") == 0)
        world_number(world, call, -ONE_OF(world, 1, 1000, 1000000, 9007199254740991));
    else
        world_number(world, call, ONE_OF(world, 0, 1000, 1000000, 1000000000, 9007199254740991));
    call_text(call, strcmp(operation, "open") != 0 ? "-"
                    : world_chance(world, 30)      ? "postpaid"
                                                   : "prepaid");
    if (world_random(world, 200) == 0)
        call_replace(call, call->count - 1, "-");
    if (world_random(world, 200) == 0)
        call_replace(call, call->count - 1, "free");
    world_number(world, call, world_now_ms(world) - ONE_OF(world, 0, 0, 1000, 100000));
    if (world_chance(world, 10))
        call_text(call, "");
    else if (world_random(world, 200) == 0)
        call_text(call, "tr ans");
    else
        call_format(call, "t:%" PRIu64, world_random(world, 2000));
    world_number(world, call, ONE_OF(world, 0, 0, 0, 1000000, 100000000));
    world_number(world, call, ONE_OF(world, 0, 0, 4));
    if (strcmp(operation, "limit") == 0 && world_chance(world, 4))
        call_replace(call, call->count - 1 - (int)world_pick(world, 2), world_junk(world));
    world_number(world, call, world_chance(world, 20) ? 0 : (int64_t)world_random(world, 2000));
    if (world_random(world, 200) == 0)
        call_text(call, world_junk(world));
    else
        call_format(call, "node-%u", world_pick(world, 3));
}

/* What a node asks before it journals an operation. */
static void order(struct world *world, struct call *call)
{
    static const char *const operations[] = {"open",    "open",     "top_up", "adjust", "adjust",
                                             "suspend", "activate", "limit",  "pay"};
    /* Now and then so many that no more are taken. */
    bool storm = world->calls % 10000 > 9000;
    unsigned of = storm ? 1 : world_account(world);
    const char *operation = storm ? "adjust" : operations[world_pick(world, 9)];
    call_function(call, "tollgate_order", 6);
    call_account_key(call, of, "account");
    call_ring(call, of);
    call_text(call, operation);
    world_number(world, call,
                 storm ? -1
                 : strcmp(operation, "adjust") == 0
                     ? -ONE_OF(world, 1, 1000, 1000000, 9007199254740991)
                     : ONE_OF(world, 0, 1000, 1000000, 9007199254740991));
    call_text(call, strcmp(operation, "open") != 0 ? "-"
                    : world_chance(world, 30)      ? "postpaid"
                                                   : "prepaid");
    if (world_random(world, 200) == 0)
        call_text(call, "tr ans");
    else
        call_format(call, "t:%" PRIu64, world_random(world, 2000));
    world_number(world, call, ONE_OF(world, 1, 1, 1, 100));
    world_number(world, call, storm ? 0 : ONE_OF(world, 0, 0, 1));
    world_number(world, call, storm ? 86400000 : ONE_OF(world, 1, 1000, 60000));
}

static void name(struct world *world, struct call *call)
{
    call_function(call, "tollgate_name", 1);
    call_format(call, "tg:node:{node-%u}", world_pick(world, NODES));
    world_id(world, call, 0);
    world_id(world, call, INSTANCE);
}

static void birth(struct world *world, struct call *call)
{
    bool says = world_chance(world, 70);
    call_function(call, "tollgate_birth", 1);
    call_text(call, "tg:birth");
    call_format(call, "a%u", world_pick(world, 9));
    world_number(world, call, (int64_t)world_pick(world, 2));
    if (says)
        world_id(world, call, INSTANCE);
    else
        call_text(call, "");
    call_format(call, "node-%u", world_pick(world, NODES));
    world_id(world, call, 0);
    call_text(call, world_chance(world, 50) ? "-" : "a1");
    call_text(call, world_chance(world, 50) ? "-" : "5f3c0a52");
    call_text(call, world_chance(world, 50) ? "a1" : "-");
    world_id(world, call, INSTANCE);
    world_number(world, call, ONE_OF(world, 0, 1000, 1764000000000));
    if (says)
        call_text(call, "20");
}

static void lease(struct world *world, struct call *call)
{
    char key[64];
    bool releases = world_chance(world, 30);
    call_function(call, releases ? "tollgate_lease_release" : "tollgate_lease", 1);
    snprintf(key, sizeof(key), "tg:lease:{%032x}", INSTANCE + world_pick(world, IDS));
    call_text(call, key);
    int64_t last = world_known(world, key, "number");
    world_number(world, call, world_chance(world, 70) ? last : last + ONE_OF(world, -1, 1));
    if (!releases) {
        world_number(world, call, world_chance(world, 90) ? 0 : last + ONE_OF(world, -1, 0, 2));
        world_number(world, call, ONE_OF(world, 1, 1000, 10000, 60000));
    }
    world_number(world, call, (int64_t)world->calls / 1000 + (int64_t)world_random(world, 30));
    if (releases)
        return;
    call_text(call, world_random(world, 200) == 0 ? "no boot" : "5f3c0a52-0000");
    world_number(world, call, 2049);
    world_number(world, call, (int64_t)world_random(world, 3));
    world_number(world, call, ONE_OF(world, 0, 0, 0, 5));
    world_number(world, call, world_chance(world, 50) ? 0 : world_known(world, key, "until"));
    world_number(world, call, world_known(world, key, "begun") + ONE_OF(world, -1, 0, 0, 1));
}

static void usage(struct world *world, struct call *call)
{
    unsigned of = world_account(world);
    unsigned day = world_pick(world, 2), digits = world_chance(world, 50) ? 8 : 6;
    call_function(call, "tollgate_usage", 2);
    call_account_key(call, of, "account");
    call_usage_key(call, of, day, digits);
    call->unordered = call->words[call->count - 1];
    if (world_random(world, 100) == 0)
        call_text(call, world_junk(world));
    else
        call_format(call, "%.*s", (int)digits, days[day]);
    if (world_random(world, 50) == 0)
        call_text(call, world_junk(world));
    else
        call_text(call, "0");
    world_number(world, call, ONE_OF(world, 1, 10, 100, 1000));
}

static void transaction(struct world *world, struct call *call)
{
    call_function(call, "tollgate_transaction", (int)LEDGER_COUNT(LEDGER_TRANSACTION_KEYS));
    call_ring(call, world_account(world));
    call_format(call, "t:%" PRIu64, world_random(world, 2000));
}

/* Another count of keys or arguments than the function takes. */
static void spoil(struct world *world, struct call *call)
{
    switch (world_pick(world, 4)) {
    case 0:
        call->count -= 1 + (int)world_pick(world, 2);
        break;
    case 1:
        call_text(call, world_junk(world));
        break;
    case 2:
        call_replace(call, 2, world_chance(world, 50) ? "0" : world_junk(world));
        break;
    default:
        call_replace(call, 3 + (int)world_pick(world, (unsigned)call->count - 3),
                     world_junk(world));
        break;
    }
}

void world_call(struct world *world, struct call *call)
{
    unsigned which = world_pick(world, 100);
    bool storm = world->calls % 10000 > 9500;
    world->calls++;
    call_begin(call);
    if (storm && which < 50)
        order(world, call);
    else if (which < 32)
        world_admit(world, call);
    else if (which < 47)
        post_usage(world, call);
    else if (which < 62)
        post_money(world, call);
    else if (which < 64)
        world_tell(world, call);
    else if (which < 65)
        birth(world, call);
    else if (which < 67)
        world_reserved(world, call);
    else if (which < 71)
        order(world, call);
    else if (which < 72)
        name(world, call);
    else if (which < 78)
        lease(world, call);
    else if (which < 80)
        usage(world, call);
    else if (which < 81)
        transaction(world, call);
    else if (which < 85)
        world_fill(world, call);
    else {
        world_command(world, call);
        return;
    }
    if (world_random(world, 50) == 0)
        spoil(world, call);
    if (call->unordered != NULL && call->count > 4)
        call->unordered = call->words[4]; /* the key of tollgate_usage, which may be spoiled now */
}
