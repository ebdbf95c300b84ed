/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls functions: the values of Lua and the answers of Redis are made of each other, an error gets
 * its place as Redis tells it, and redis.call and redis.pcall run commands of the store.
 * functions_load.c compiles them.
 */
#include "tests/simulation/functions.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "server/base/check.h"
#include "tests/simulation/functions_internal.h"
#include "tests/simulation/store_internal.h"

/* A Lua function has no more than this many arguments (LUAI_MAXCSTACK). */
#define WORDS_MAX 8000

/* The call under way: a function cannot call a function, so there is one at most. */
static struct {
    struct store *store; /* borrowed; NULL: none */
    const struct functions_function *function;
    const char *words[WORDS_MAX];
    size_t lengths[WORDS_MAX];
} running;

/* ---- errors ---- */

int functions_explain(lua_State *lua)
{
    lua_Debug place;
    bool known = lua_getstack(lua, 1, &place) != 0 && lua_getinfo(lua, "Sl", &place) != 0;
    if (known && strcmp(place.what, "C") == 0) /* error(), redis.call() */
        known = lua_getstack(lua, 2, &place) != 0 && lua_getinfo(lua, "Sl", &place) != 0;
    if (!lua_istable(lua, 1)) {
        const char *text = lua_isstring(lua, 1) != 0 ? lua_tostring(lua, 1)
                           : lua_isboolean(lua, 1)   ? lua_toboolean(lua, 1) ? "true" : "false"
                           : lua_isnoneornil(lua, 1) ? "nil"
                                                     : lua_typename(lua, lua_type(lua, 1));
        lua_newtable(lua);
        lua_pushfstring(lua, "ERR %s", text);
        lua_setfield(lua, -2, "err");
    }
    if (known) {
        lua_pushstring(lua, place.source);
        lua_setfield(lua, -2, "source");
        lua_pushinteger(lua, place.currentline);
        lua_setfield(lua, -2, "line");
    }
    return 1;
}

int functions_raise(lua_State *lua, const char *text)
{
    lua_newtable(lua);
    lua_pushstring(lua, text);
    lua_setfield(lua, -2, "err");
    return lua_error(lua);
}

/* The error on top of the stack, as Redis answers it. */
static void answer_raised(lua_State *lua, struct answer *out)
{
    int error = lua_gettop(lua);
    check(lua_istable(lua, error));
    lua_getfield(lua, error, "err");
    lua_getfield(lua, error, "source");
    lua_getfield(lua, error, "line");
    const char *text = lua_tostring(lua, error + 1);
    const char *source = lua_tostring(lua, error + 2), *line = lua_tostring(lua, error + 3);
    if (text == NULL)
        answer_error(out, "ERR the store: an error without `err` ends Redis 7.0");
    else if (source != NULL && line != NULL)
        answer_error(out, "%s script: %s, on %s:%s.", text, functions_name(running.function),
                     source, line);
    else
        answer_error(out, "%s", text);
}

/* ---- from Lua ---- */

static long long truncated(double number)
{
    /* What x86-64 makes of a number that is out of bounds, and so Redis. */
    return number >= -0x1p63 && number < 0x1p63 ? (long long)number : LLONG_MIN;
}

/* Whether the table on top of the stack has this field as a string; pushes it where it has. */
static bool has_text(lua_State *lua, const char *name)
{
    lua_pushstring(lua, name);
    lua_rawget(lua, -2);
    if (lua_type(lua, -1) == LUA_TSTRING)
        return true;
    lua_pop(lua, 1);
    return false;
}

static bool has_table(lua_State *lua, const char *name)
{
    lua_pushstring(lua, name);
    lua_rawget(lua, -2);
    bool has = lua_istable(lua, -1);
    lua_pop(lua, 1);
    return has;
}

static void answer_value(lua_State *lua, struct answer *out);

static void answer_table(lua_State *lua, struct answer *out)
{
    if (has_text(lua, "err")) {
        answer_error(out, "%s", lua_tostring(lua, -1));
        lua_pop(lua, 1);
        return;
    }
    if (has_text(lua, "ok")) {
        answer_status_format(out, "%s", lua_tostring(lua, -1));
        lua_pop(lua, 1);
        return;
    }
    /* Those of RESP3, which no function of ours answers. */
    check(!has_table(lua, "map") && !has_table(lua, "set"));
    size_t array = answer_array(out, 0);
    for (int i = 1;; i++) {
        lua_rawgeti(lua, -1, i);
        if (lua_isnil(lua, -1)) {
            answer_array_count(out, array, (size_t)i - 1);
            break;
        }
        answer_value(lua, out);
        lua_pop(lua, 1);
    }
    lua_pop(lua, 1);
}

/* The value on top of the stack. Its texts stay until the stack is cleared, by the next call. */
static void answer_value(lua_State *lua, struct answer *out)
{
    size_t length;
    check(lua_checkstack(lua, 4) != 0);
    switch (lua_type(lua, -1)) {
    case LUA_TSTRING: {
        const char *text = lua_tolstring(lua, -1, &length);
        answer_text(out, text, length);
        break;
    }
    case LUA_TBOOLEAN:
        if (lua_toboolean(lua, -1) != 0)
            answer_integer(out, 1);
        else
            answer_nil(out);
        break;
    case LUA_TNUMBER:
        answer_integer(out, truncated(lua_tonumber(lua, -1)));
        break;
    case LUA_TTABLE:
        answer_table(lua, out);
        break;
    default:
        answer_nil(out);
        break;
    }
}

/* ---- to Lua ---- */

static void push_named(lua_State *lua, const char *name, const char *text, size_t length)
{
    lua_createtable(lua, 0, 1);
    lua_pushlstring(lua, text, length);
    lua_setfield(lua, -2, name);
}

static void push_item(lua_State *lua, const struct answer *answer, size_t *at)
{
    const struct answer_item *item = &answer->items[(*at)++];
    check(lua_checkstack(lua, 4) != 0);
    switch (item->kind) {
    case ANSWER_TEXT:
        lua_pushlstring(lua, answer_text_of(answer, item), item->length);
        break;
    case ANSWER_STATUS:
        push_named(lua, "ok", answer_text_of(answer, item), item->length);
        break;
    case ANSWER_ERROR:
        push_named(lua, "err", answer_text_of(answer, item), item->length);
        break;
    case ANSWER_NIL:
        lua_pushboolean(lua, 0);
        break;
    case ANSWER_INTEGER:
        lua_pushnumber(lua, (lua_Number)item->number);
        break;
    case ANSWER_ARRAY:
        lua_createtable(lua, (int)item->number, 0);
        for (int i = 1; i <= (int)item->number; i++) {
            push_item(lua, answer, at);
            lua_rawseti(lua, -2, i);
        }
        break;
    }
}

/* ---- redis.call ---- */

static int run_command(lua_State *lua, bool raises)
{
    char numbers[16][32];
    size_t numbers_used = 0;
    int count = lua_gettop(lua);
    const char *refusal = NULL;
    check(running.store != NULL && count <= WORDS_MAX);
    if (count == 0)
        refusal = "ERR Please specify at least one argument for this redis lib call";
    for (int i = 0; i < count && refusal == NULL; i++) {
        int type = lua_type(lua, i + 1);
        if (type == LUA_TNUMBER) {
            /* lua_tolstring() would lose digits. */
            check(numbers_used < sizeof(numbers) / sizeof(numbers[0]));
            char *text = numbers[numbers_used++];
            running.lengths[i] =
                (size_t)snprintf(text, sizeof(numbers[0]), "%.17g", lua_tonumber(lua, i + 1));
            running.words[i] = text;
        } else if (type == LUA_TSTRING) {
            running.words[i] = lua_tolstring(lua, i + 1, &running.lengths[i]);
        } else {
            refusal = "ERR Lua redis lib command arguments must be strings or integers";
        }
    }
    bool good = false;
    if (refusal != NULL) {
        push_named(lua, "err", refusal, strlen(refusal));
    } else {
        const struct store_words words = {count, running.words, running.lengths};
        size_t at = 0;
        struct answer *answer = &running.store->script_answer;
        good = store_execute(running.store, &words, running.function, answer);
        push_item(lua, answer, &at);
    }
    return raises && !good ? lua_error(lua) : 1;
}

int functions_redis_call(lua_State *lua)
{
    return run_command(lua, true);
}

int functions_redis_pcall(lua_State *lua)
{
    return run_command(lua, false);
}

static void push_words(lua_State *lua, const struct store_words *words, int from, int to)
{
    lua_createtable(lua, to - from, 0);
    for (int i = from; i < to; i++) {
        lua_pushlstring(lua, words->text[i], words->lengths[i]);
        lua_rawseti(lua, -2, i - from + 1);
    }
}

void functions_call(const struct functions_function *function, struct store *store,
                    const struct store_words *words, int keys, struct answer *out)
{
    lua_State *lua = functions_state();
    check(running.store == NULL && words->count - 3 >= keys);
    running.store = store;
    running.function = function;
    lua_settop(lua, 0); /* the last answer's texts go */
    functions_push(lua, function);
    push_words(lua, words, 3, 3 + keys);
    push_words(lua, words, 3 + keys, words->count);
    int result = lua_pcall(lua, 2, 1, 1);
    check(result == 0 || result == LUA_ERRRUN);
    if (result == 0)
        answer_value(lua, out);
    else
        answer_raised(lua, out);
    running.store = NULL;
}
