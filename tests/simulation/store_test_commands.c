/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls at random beside those of the ledger's functions: the commands that C sends, malformed
 * values put where the functions read, libraries loaded, listed and lost, and a library of the
 * test's own whose function runs Lua that it is sent.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "storage/ledger/redis_talk.h"
#include "tests/simulation/store_test_words.h"

static const char probe_library[] =
    "#!lua name=probe\n"
    "local function run(keys, args) return loadstring(args[1])(keys, args) end\n"
    "redis.register_function('probe_write', run)\n"
    "redis.register_function{function_name = 'probe_read', callback = run, flags = "
    "{'no-writes'}}\n";

static unsigned pick(struct world *world, unsigned below)
{
    return (unsigned)world_random(world, below);
}

#define PICK(world, list) (list)[pick(world, sizeof(list) / sizeof((list)[0]))]

static void field(struct world *world, struct call *call)
{
    static const char *const fields[] = {
        "status",    "plan",      "balance",   "recalled", "used",      "revision",
        "conflicts", "rate",      "max_bytes", "opened",   "holds",     "revoked_before",
        "status_at", "limits_at", "revoked",   "bytes",    "instance",  "until",
        "records",   "node-1",    "t:7",       "",         "max_conns", "operations",
        "opening"};
    unsigned which = pick(world, 33);
    if (which < 25)
        call_text(call, fields[which]);
    else if (which < 27)
        call_format(call, "w:%032x", 16 + pick(world, 3));
    else
        world_file(world, call, 12, which < 29 ? "b:" : which < 31 ? "r:" : "p:");
}

static void value(struct world *world, struct call *call)
{
    char text[70];
    memset(text, 'x', sizeof(text));
    if (world_chance(world, 5))
        call_bytes(call, text, 60 + world_random(world, 10)); /* 65 are too many for a list */
    else if (world_chance(world, 90))
        call_format(call, "%" PRIu64, world_random(world, 5000));
    else
        call_text(call, world_junk(world));
}

/* ---- Lua that the probe runs ---- */

static const char *const snippets[] = {
    "return {1, 2, nil, 4}",
    "return {err='a b'}",
    "return {err='ab'}",
    "return {ok='x\\ny'}",
    "return {err='a\\nb\\r\\n'}",
    "return {3.99, -3.99, 1e300, -1e300, 0/0, 2^53, -2^63}",
    "return {true, false, 'x'}",
    "return false",
    "return nil",
    "return tostring",
    "return {{{}}, {{1}, 'a\\0b'}}",
    "return {err=5}",
    "x = 1",
    "return y",
    "string.foo = 1",
    "redis.call = 1",
    "redis.foo = 1",
    "return redis.register_function('a', tostring)",
    "error('abc')",
    "error({err='MY error'})",
    "error({err='plain'})",
    "error(nil)",
    "error(5)",
    "error(true)",
    "local x = nil + 1",
    "local t = {} t.x.y = 1",
    "local t = {} t.x()",
    "return redis.call()",
    "return redis.pcall()",
    "return redis.call({})",
    "return redis.pcall('HSET', 'k', 'f', true)",
    "return redis.call('HGET', 'a')",
    "return redis.call('FOO', 'a')",
    "return redis.pcall('FUNCTION', 'LIST')",
    "return redis.pcall('FCALL', 'probe_read', 0, 'return 1')",
    "return redis.call('HSET', KEYS and 'x' or 'probe', 'f', 1.5, 'g', 1e20, 'h', 2^53, 'i', 0.1)",
    "local k = ... return redis.call('HSET', k[1], 'f', 1.5, 'g', 1e20, 'h', 2^53, 'i', 0.1)",
    "local k = ... return redis.call('HGETALL', k[1])",
    "local k = ... return redis.call('HMGET', k[1], 'f', 'none', 'g')",
    "local k = ... return redis.pcall('HGET', k[1], 'f')",
    "local k = ... return redis.call('HGET', k[1], 'f')",
    "local k = ... local r = redis.call('HGET', k[1], 'none') return {type(r), r == false}",
    "local k = ... return redis.call('HSET', k[1], 'only')",
    "local k = ... return redis.call('HSET', k[1], 'f', 'v', 'only')",
    "local k = ... return redis.call('HDEL', k[1], 'f', 'f', 'g', 'h')",
    "local k = ... redis.call('HSET', k[1], 'kept', '1') error('late')",
    "local k = ... return {redis.call('PEXPIRETIME', k[1]), redis.call('DEL', k[1])}",
    "local k = ... return redis.call('PEXPIREAT', k[1], 1e12)",
    "local k = ... return redis.call('PEXPIREAT', k[1], '2000000000000')",
    "local k = ... return redis.call('XADD', k[1], '*', 'a', 1)",
    "local k = ... return redis.call('XRANGE', k[1], '-', '+', 'COUNT', 0)",
    "local k = ... return redis.call('XRANGE', k[1], '-', '+', 'COUNT', 3)",
    "local k = ... return redis.call('HSCAN', k[1], 0)",
    "return redis.call('TIME')",
    "return redis.call('PUBLISH', 'channel', 'message\\0 of a function')",
    "return redis.status_reply('FINE')",
    "return redis.error_reply('FINE')",
    "return redis.error_reply('-CODE text')",
    "return redis.error_reply('-CODE')",
    "return redis.error_reply({})",
    "return {redis.error_reply('nested'), redis.status_reply('nested')}",
    "return #{unpack({}, 1, 7000)}",
    "local a = {} for i = 1, 3000 do a[i] = i end return {unpack(a, 1, 20)}",
    "return select('#', unpack({}, 1, 9000))",
    "local s = 0 for k, v in pairs({a=1, b=2, c=3}) do s = s * 2 + v end return s",
    "return {tonumber('0x10'), tonumber('1e3'), tostring(1/3), tostring(2^53)}",
    "return string.format('%.0f %d %q', 2^53, 3, 'a\"b')",
    "return {pcall(redis.call, 'FOO')}",
    "local ok, e = pcall(redis.call, 'HGET') return {ok, type(e), e.err}",
    "local ok, e = pcall(error, 'text') return e",
    "return math.floor(-3.5)",
    "syntax error",
};

static void probe(struct world *world, struct call *call)
{
    const char *snippet = PICK(world, snippets);
    call_text(call, "FCALL");
    call_text(call, world_chance(world, 25)  ? "probe_read"
                    : world_chance(world, 5) ? "Probe_Write"
                                             : "probe_write");
    call_text(call, "1");
    if (strstr(snippet, "GETALL") != NULL || strstr(snippet, "HSCAN") != NULL)
        call_text(call, "probe"); /* a hash that stays small */
    else
        world_key(world, call);
    call_text(call, snippet);
}

/* ---- libraries ---- */

static const char *const libraries[] = {
    "x",
    "#!lua name=u",
    "#!lua\n",
    "#!lua nam=u\n",
    "#!foo name=u\n",
    "#!lua name=u name=k\n",
    "#!lua name=u-\n",
    "#!lua name=\n",
    "#!lua name=u\n",
    "#!lua name=u\nx",
    "#!lua name=u\nx = 4",
    "#!lua name=u\nredis.call('TIME')",
    "#!lua name=u\nreturn tostring(1)",
    "#!lua name=u\nlocal x = nil + 1",
    "#!lua name=u\nlocal function f() end redis.register_function('x-y', f)",
    "#!lua name=u\nlocal function f() end redis.register_function('', f)",
    "#!lua name=u\nlocal function f() end redis.register_function(4, f)",
    "#!lua name=u\nlocal function f() end redis.register_function({}, f)",
    "#!lua name=u\nlocal function f() end for i = 1, 2 do redis.register_function('x', f) end",
    "#!lua name=u\nlocal function f() end redis.register_function('probe_READ', f)",
    "#!lua name=u\nredis.register_function('x', 4)",
    "#!lua name=u\nredis.register_function('x')",
    "#!lua name=u\nredis.register_function()",
    "#!lua name=u\nredis.register_function('x', 1, 2)",
    "#!lua name=u\nredis.register_function{}",
    "#!lua name=u\nredis.register_function{1}",
    "#!lua name=u\nredis.register_function{[true] = 1}",
    "#!lua name=u\nredis.register_function{function_name = 'a'}",
    "#!lua name=u\nredis.register_function{function_name = {}}",
    "#!lua name=u\nredis.register_function{callback = 4}",
    "#!lua name=u\nlocal function f() end redis.register_function{callback = f}",
    "#!lua name=u\nredis.register_function{flags = 4}",
    "#!lua name=u\nredis.register_function{flags = {'x'}}",
    "#!lua name=u\nredis.register_function{foo = 4}",
    "#!lua name=u\nlocal function f() return 1 end redis.register_function('u_one', f)",
    "#!LUA name=u\nlocal function f() return 2 end redis.register_function('u_two', f)",
    "#!lua name=U\nlocal function f() return 3 end redis.register_function('u_three', f)",
};

static void library(struct world *world, struct call *call)
{
    unsigned which = pick(world, 100);
    static const char *const names[] = {"tollgate", "TOLLGATE", "u", "probe", "none"};
    call_text(call, world_chance(world, 50) ? "FUNCTION" : "function");
    if (which < 70) {
        call_text(call, "LOAD");
        if (world_chance(world, 60))
            call_text(call, world_chance(world, 95) ? "replace" : "again");
        unsigned of = pick(world, 10);
        call_text(call, of == 0   ? redis_library_text()
                        : of == 1 ? probe_library
                                  : PICK(world, libraries));
    } else if (which < 90) {
        call_text(call, "LIST");
        if (world_chance(world, 70))
            call_text(call, "LIBRARYNAME");
        if (world_chance(world, 80))
            call_text(call, PICK(world, names));
        if (world_chance(world, 50))
            call_text(call, "WITHCODE");
    } else if (which < 95) {
        call_text(call, "DELETE");
        call_text(call, world_chance(world, 10) ? PICK(world, names) : "u");
    } else if (which < 97) {
        call_text(call, "FLUSH");
        if (world_chance(world, 50))
            call_text(call, world_chance(world, 50) ? "SYNC" : "MAYBE");
    } else if (which < 99) {
        call_text(call, "FOO");
    }
}

/* What a test of the functions needs is loaded again soon. */
static void reload(struct world *world, struct call *call)
{
    call_text(call, "FUNCTION");
    call_text(call, "LOAD");
    call_text(call, "REPLACE");
    call_text(call, world_chance(world, 70) ? redis_library_text() : probe_library);
}

/* ---- commands ---- */

static void write_hash(struct world *world, struct call *call)
{
    bool adds = world_chance(world, 15);
    unsigned pairs = adds ? 1 : 1 + pick(world, 3);
    call_text(call, adds ? "HINCRBY" : world_chance(world, 95) ? "HSET" : "hset");
    world_key(world, call);
    if (!adds && strstr(call->words[1], "grants") != NULL && world_chance(world, 95)) {
        world_pool(world, call);
        return;
    }
    for (unsigned i = 0; i < pairs; i++) {
        field(world, call);
        value(world, call);
    }
    if (world_chance(world, 5))
        call_text(call, "odd");
}

/* A field that a function reads of this key. */
static void poisonable(struct world *world, const char *key, char *out, size_t size)
{
    static const char *const account[] = {
        "balance",   "revoked_until", "used",      "revision",       "rate",      "max_bytes",
        "max_conns", "holds",         "conflicts", "revoked_before", "limits_at", "status_at",
        "opened",    "operations",    "ended",     "m:202912",       "t:0",       "t:1"};
    static const char *const others[] = {"until", "records", "number"}; /* of a lease */
    unsigned number = pick(world, 19);
    if (strstr(key, "grants") != NULL)
        snprintf(out, size, "%s%032x", number < 6 ? "p:" : "", 16 + number % 3);
    else if (strstr(key, ":link:") != NULL)
        snprintf(out, size, number < 8 ? "bytes" : "p:/f%u.mp3", number);
    else if (strstr(key, ":usage:") != NULL)
        snprintf(out, size, number == 0 ? "b:" : "%c:/f%u.mp3", "br"[number / 8 % 2], number % 8);
    else if (strstr(key, "account") == NULL)
        snprintf(out, size, "%s", PICK(world, others));
    else if (world_chance(world, 20))
        snprintf(out, size, "holds");
    else if (number == 18)
        snprintf(out, size, "%c:%032x", world_chance(world, 50) ? 'w' : 'l', 16 + pick(world, 3));
    else
        snprintf(out, size, "%s", account[number]);
}

/* Puts a malformed value where a function reads it, or takes one away again. */
static void poison(struct world *world, struct call *call)
{
    unsigned most = sizeof(world->poisoned) / sizeof(world->poisoned[0]);
    bool heals = world->poisoned_count > pick(world, most);
    call_text(call, heals ? "HDEL" : "HSET");
    if (heals) {
        call_text(call, world->poisoned[--world->poisoned_count].key);
        call_text(call, world->poisoned[world->poisoned_count].field);
        return;
    }
    unsigned which = world->poisoned_count++;
    world_key(world, call);
    snprintf(world->poisoned[which].key, sizeof(world->poisoned[which].key), "%s", call->words[1]);
    poisonable(world, call->words[1], world->poisoned[which].field,
               sizeof(world->poisoned[which].field));
    call_text(call, world->poisoned[which].field);
    if (strcmp(world->poisoned[which].field, "holds") == 0)
        call_text(call, "x 99999999999999999999 1;");
    else if (strstr(call->words[1], ":usage:") != NULL && world_chance(world, 60))
        call_text(call, "9007199254740991");
    else
        call_text(call, world_junk(world));
}

/* Takes fields away, or whole keys. */
static void heal(struct world *world, struct call *call)
{
    call_text(call, "HDEL");
    world_key(world, call);
    bool of_grants = strstr(call->words[1], "grants") != NULL;
    if (world_chance(world, of_grants ? 60 : 20))
        call_replace(call, 0, "DEL");
    else
        for (unsigned i = 0, count = 1 + pick(world, 20); i < count; i++)
            field(world, call);
}

static void read_hash(struct world *world, struct call *call)
{
    unsigned which = pick(world, 4);
    call_text(call, which == 0 ? "HGET" : which == 1 ? "HMGET" : which == 2 ? "HGETALL" : "HSCAN");
    world_key(world, call);
    if (which < 2)
        field(world, call);
    for (unsigned i = 0; which == 1 && i < pick(world, 6); i++)
        field(world, call);
    if (which >= 2)
        call->unordered = call->words[1];
    if (which == 3) {
        call_text(call, world_chance(world, 90) ? "0" : world_junk(world));
        if (world_chance(world, 50)) {
            call_text(call, world_chance(world, 90) ? "COUNT" : "CUONT");
            value(world, call);
        }
    }
}

static void expire(struct world *world, struct call *call)
{
    static const char *const options[] = {"NX", "xx", "GT", "LT", "ZZ"};
    bool reads = world_chance(world, 40);
    call_text(call, reads ? "PEXPIRETIME" : "PEXPIREAT");
    world_key(world, call);
    if (reads)
        return;
    if (world_chance(world, 95))
        call_format(call, "%" PRIu64, world->now_us / 1000 + world_random(world, 5000000) - 500000);
    else
        call_text(call, world_junk(world));
    for (unsigned i = 0; i < 2; i++)
        if (world_chance(world, 50))
            call_text(call, PICK(world, options));
}

static void add_notice(struct world *world, struct call *call)
{
    static const char *const most[] = {"0", "1", "10", "50", "100", "300", "-1", "x"};
    static const char *const kinds[] = {"refused", "used_up", "ended"};
    char long_text[3000];
    call_text(call, "XADD");
    call_format(call, "tg:notices:i%u", pick(world, 2));
    if (world_chance(world, 90)) {
        call_text(call, "MAXLEN");
        call_text(call, "~");
        call_text(call, world_chance(world, 90) ? "300" : PICK(world, most));
    }
    if (world_chance(world, 90))
        call_text(call, "*");
    else if (world_chance(world, 50))
        call_format(call, "%" PRIu64 "-%u", world->now_us / 1000, pick(world, 5));
    else
        call_text(call, world_chance(world, 50) ? "0-0" : world_junk(world));
    call_text(call, "type");
    call_text(call, PICK(world, kinds));
    call_text(call, world_chance(world, 90) ? "account" : "of");
    call_format(call, "a%u", pick(world, 100));
    if (world_chance(world, 70)) {
        call_text(call, "file");
        memset(long_text, 'x', sizeof(long_text));
        call_bytes(call, long_text, world_random(world, world_chance(world, 5) ? 3000 : 100));
    }
    call_text(call, "bytes");
    value(world, call);
    call_text(call, "time_ms");
    call_format(call, "%" PRIu64, world_random(world, UINT64_MAX) >> pick(world, 64));
    if (world_chance(world, 2))
        call_text(call, "odd");
}

/*
 * Fills a node of a stream but for a few bytes, one more each time, and sees where it ends: MAXLEN ~
 * removes it whole. A byte counted otherwise than Redis does is so found.
 */
static void sweep(struct world *world, struct call *call)
{
    char text[500];
    unsigned step = world->swept % 12, length = 400 + world->swept / 12 % 80;
    world->swept++;
    memset(text, 'x', sizeof(text));
    call_text(call, step == 0 ? "DEL" : step == 11 ? "XRANGE" : "XADD");
    call_text(call, "tg:notices:sweep");
    if (step == 0)
        return;
    if (step == 11) {
        call_text(call, "-");
        call_text(call, "+");
        return;
    }
    if (step == 10) {
        call_text(call, "MAXLEN");
        call_text(call, "~");
        call_text(call, "1");
    }
    call_text(call, "*");
    call_text(call, "f");
    call_bytes(call, text, step < 8 ? sizeof(text) : step == 8 ? length : 1);
}

static void read_notices(struct world *world, struct call *call)
{
    static const char *const ends[] = {
        "-",    "+", "(-", "0-0", "(0-0", "5-5-5", "(18446744073709551615", "18446744073709551616",
        "01-1", ""};
    call_text(call, "XRANGE");
    if (world_chance(world, 80))
        call_format(call, "tg:notices:i%u", pick(world, 2));
    else
        world_key(world, call);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t ms = world->now_us / 1000 - world_random(world, 100000);
        if (world_chance(world, 30))
            call_text(call, i == 0 ? "-" : "+");
        else if (world_chance(world, 20))
            call_text(call, PICK(world, ends));
        else
            call_format(call, world_chance(world, 50) ? "(%" PRIu64 "-%u" : "%" PRIu64 "-%u", ms,
                        pick(world, 2));
    }
    if (world_chance(world, 70)) {
        call_text(call, world_chance(world, 95) ? "COUNT" : "CUONT");
        if (world_chance(world, 10))
            call_text(call, "0");
        else
            value(world, call);
    }
}

static void wrong(struct world *world, struct call *call)
{
    static const char *const names[] = {
        "HGET", "HMGET",  "HSET",        "HDEL",      "HGETALL", "HSCAN", "TIME", "PUBLISH",
        "XADD", "XRANGE", "PEXPIRETIME", "PEXPIREAT", "DEL",     "FCALL", "HFOO", "no\nsuch"};
    unsigned count = pick(world, 4);
    call_text(call, PICK(world, names));
    for (unsigned i = 0; i < count; i++)
        call_text(call, world_junk(world));
    if (count > 0 &&
        (strcmp(call->words[0], "HGETALL") == 0 || strcmp(call->words[0], "HSCAN") == 0))
        call->unordered = call->words[1];
    if (count == 2 && call->lengths[1] == 0)
        call_replace(call, 1, "x"); /* the pattern * does not hear the channel "" */
}

void world_command(struct world *world, struct call *call)
{
    unsigned which = pick(world, 100);
    if (which < 4)
        write_hash(world, call);
    else if (which < 20)
        poison(world, call);
    else if (which < 28)
        heal(world, call);
    else if (which < 40)
        read_hash(world, call);
    else if (which < 46)
        expire(world, call);
    else if (which < 53)
        add_notice(world, call);
    else if (which < 66)
        sweep(world, call);
    else if (which < 70)
        read_notices(world, call);
    else if (which < 80)
        probe(world, call);
    else if (which < 86)
        library(world, call);
    else if (which < 90)
        reload(world, call);
    else if (which < 93)
        wrong(world, call);
    else if (which < 96) {
        call_text(call, "TIME");
    } else if (which < 98) {
        call_text(call, "PUBLISH");
        call_text(call, "tg:revocations");
        value(world, call);
    } else {
        call_text(call, "FCALL");
        call_text(call, world_chance(world, 90) ? "tollgate_version" : "tollgate_none");
        call_text(call, world_chance(world, 70) ? "0" : world_junk(world));
    }
}
