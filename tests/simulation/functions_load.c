/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiles libraries of functions, once for each text, and makes the globals that they see. A
 * library sees nothing but redis.register_function while it is loaded, and all else while a
 * function runs; it can never write a global.
 */
#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/base/check.h"
#include "tests/simulation/functions.h"
#include "tests/simulation/functions_internal.h"
#include "tests/simulation/store_table.h"

#define LIBRARIES_MAX 256 /* texts that a process compiles; one more is a programmer's error */
#define FUNCTIONS_MAX 32  /* of a library */

struct functions_function {
    char *name; /* owned */
    int reference;
    bool read_only;
};

struct functions_library {
    char *name, *text; /* owned */
    size_t length, count;
    struct functions_function functions[FUNCTIONS_MAX];
};

static struct functions_library *libraries[LIBRARIES_MAX];
static size_t libraries_count;
static struct functions_library *loading; /* what redis.register_function registers into */
static lua_State *state;
static int handler; /* reference of functions_explain */
static int globals; /* reference of the metatable of what libraries see as globals */

/* ---- what libraries see ---- */

static int refuse_write(lua_State *lua)
{
    return luaL_error(lua, "Attempt to modify a readonly table");
}

static int refuse_read(lua_State *lua)
{
    const char *name = lua_isstring(lua, 2) != 0 ? lua_tostring(lua, 2) : luaL_typename(lua, 2);
    return luaL_error(lua, "Script attempted to access nonexistent global variable '%s'", name);
}

/* Replaces the table on top by an empty one that reads from it and refuses to be written. */
static void protect(lua_State *lua)
{
    lua_newtable(lua);
    lua_newtable(lua);
    lua_pushvalue(lua, -3);
    lua_setfield(lua, -2, "__index");
    lua_pushcfunction(lua, refuse_write);
    lua_setfield(lua, -2, "__newindex");
    lua_setmetatable(lua, -2);
    lua_remove(lua, -2);
}

/* Has the table on top refuse to be read where it has no value. */
static void seal(lua_State *lua)
{
    lua_newtable(lua);
    lua_pushcfunction(lua, refuse_read);
    lua_setfield(lua, -2, "__index");
    lua_setmetatable(lua, -2);
}

static int register_function(lua_State *lua);

static int status_reply(lua_State *lua)
{
    if (lua_gettop(lua) != 1 || lua_type(lua, 1) != LUA_TSTRING)
        lua_pushliteral(lua, "ERR wrong number or type of arguments");
    bool good = lua_gettop(lua) == 1;
    lua_newtable(lua);
    lua_pushvalue(lua, -2);
    lua_setfield(lua, -2, good ? "ok" : "err");
    return 1;
}

static int error_reply(lua_State *lua)
{
    bool good = lua_gettop(lua) == 1 && lua_type(lua, 1) == LUA_TSTRING;
    const char *text = good ? lua_tostring(lua, 1) : "wrong number or type of arguments";
    lua_newtable(lua);
    if (text[0] == '-')
        lua_pushfstring(lua, strchr(text, ' ') == NULL ? "ERR %s" : "%s", text + 1);
    else
        lua_pushfstring(lua, "ERR %s", text);
    lua_setfield(lua, -2, "err");
    return 1;
}

/* Redis's pcall answers the text of an error that is a table {err = text}. */
static int protected_call(lua_State *lua)
{
    luaL_checkany(lua, 1);
    if (lua_pcall(lua, lua_gettop(lua) - 1, LUA_MULTRET, 0) == 0) {
        lua_pushboolean(lua, 1);
    } else {
        if (lua_istable(lua, -1)) {
            lua_getfield(lua, -1, "err");
            if (lua_isstring(lua, -1) != 0)
                lua_replace(lua, -2);
        }
        lua_pushboolean(lua, 0);
    }
    lua_insert(lua, 1);
    return lua_gettop(lua);
}

/* Pushes the globals of a function that runs. Of Redis's, these are the ones that never differ
 * between processes and that a library of ours may use. */
static void push_running(lua_State *lua)
{
    static const char *const names[] = {"assert",   "error",  "ipairs", "loadstring", "next",
                                        "pairs",    "pcall",  "select", "type",       "tonumber",
                                        "tostring", "unpack", "xpcall", "rawequal"};
    static const char *const tables[] = {"string", "table", "math"};
    static const luaL_Reg redis[] = {{"call", functions_redis_call},
                                     {"pcall", functions_redis_pcall},
                                     {"status_reply", status_reply},
                                     {"error_reply", error_reply},
                                     {NULL, NULL}};
    lua_newtable(lua);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        lua_getglobal(lua, names[i]);
        lua_setfield(lua, -2, names[i]);
    }
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        lua_getglobal(lua, tables[i]);
        protect(lua);
        lua_setfield(lua, -2, tables[i]);
    }
    lua_pushcfunction(lua, protected_call);
    lua_setfield(lua, -2, "pcall");
    lua_newtable(lua);
    luaL_register(lua, NULL, redis);
    protect(lua);
    lua_setfield(lua, -2, "redis");
    seal(lua);
}

/* Pushes the globals of a library that is loaded. */
static void push_loading(lua_State *lua)
{
    lua_newtable(lua);
    lua_newtable(lua);
    lua_pushcfunction(lua, register_function);
    lua_setfield(lua, -2, "register_function");
    seal(lua);
    protect(lua);
    lua_setfield(lua, -2, "redis");
    seal(lua);
}

static void open_library(lua_State *lua, lua_CFunction open, const char *name)
{
    lua_pushcfunction(lua, open);
    lua_pushstring(lua, name);
    lua_call(lua, 1, 0);
}

lua_State *functions_state(void)
{
    if (state != NULL)
        return state;
    state = luaL_newstate();
    check(state != NULL);
    open_library(state, luaopen_base, "");
    open_library(state, luaopen_table, LUA_TABLIBNAME);
    open_library(state, luaopen_string, LUA_STRLIBNAME);
    open_library(state, luaopen_math, LUA_MATHLIBNAME);
    lua_settop(state, 0);
    lua_pushcfunction(state, functions_explain);
    handler = luaL_ref(state, LUA_REGISTRYINDEX);
    push_running(state);
    lua_setfield(state, LUA_REGISTRYINDEX, "running");
    push_loading(state);
    lua_setfield(state, LUA_REGISTRYINDEX, "loading");
    lua_getfield(state, LUA_REGISTRYINDEX, "running");
    protect(state);
    (void)lua_getmetatable(state, -1);
    globals = luaL_ref(state, LUA_REGISTRYINDEX);
    lua_replace(state, LUA_GLOBALSINDEX);
    return state;
}

/* Which of the two sets of globals libraries see. */
static void see(lua_State *lua, const char *which)
{
    lua_rawgeti(lua, LUA_REGISTRYINDEX, globals);
    lua_getfield(lua, LUA_REGISTRYINDEX, which);
    lua_setfield(lua, -2, "__index");
    lua_pop(lua, 1);
}

/* ---- redis.register_function ---- */

static bool is_name(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((text[i] < 'a' || text[i] > 'z') && (text[i] < 'A' || text[i] > 'Z') &&
            (text[i] < '0' || text[i] > '9') && text[i] != '_')
            return false;
    return length > 0;
}

/* The flags on top of the stack: NULL, or the error. */
static const char *read_flags(lua_State *lua, bool *read_only)
{
    static const char *const names[] = {"no-writes", "allow-oom", "allow-stale", "no-cluster",
                                        "allow-cross-slot-keys"};
    if (!lua_istable(lua, -1))
        return "ERR flags argument to redis.register_function must be a table representing "
               "function flags";
    for (int i = 1;; i++) {
        size_t which = 0;
        lua_rawgeti(lua, -1, i);
        if (lua_isnil(lua, -1))
            break;
        const char *flag = lua_type(lua, -1) == LUA_TSTRING ? lua_tostring(lua, -1) : "";
        while (which < 5 && strcmp(flag, names[which]) != 0)
            which++;
        lua_pop(lua, 1);
        if (which == 5)
            return "ERR unknown flag given";
        /* The others say where Redis itself would refuse; the store refuses nowhere. */
        *read_only = *read_only || which == 0;
    }
    lua_pop(lua, 1);
    return NULL;
}

/* One named argument: its key and value are on top of the stack. NULL, or the error. */
static const char *read_named(lua_State *lua, bool *read_only)
{
    if (lua_isstring(lua, -2) == 0)
        return "ERR named argument key given to redis.register_function is not a string";
    /* lua_tostring() of a number would end lua_next(). */
    const char *key = lua_type(lua, -2) == LUA_TSTRING ? lua_tostring(lua, -2) : "";
    if (strcasecmp(key, "function_name") == 0)
        return lua_isstring(lua, -1) != 0 ? NULL
                                          : "ERR function_name argument given to "
                                            "redis.register_function must be a string";
    if (strcasecmp(key, "callback") == 0)
        return lua_isfunction(lua, -1)
                   ? NULL
                   : "ERR callback argument given to redis.register_function must be a function";
    if (strcasecmp(key, "flags") == 0)
        return read_flags(lua, read_only);
    return "ERR unknown argument given to redis.register_function";
}

/* Leaves name and function at 1 and 2 of the stack. NULL, or the error. */
static const char *read_arguments(lua_State *lua, bool *read_only)
{
    int count = lua_gettop(lua);
    const char *error = NULL;
    if (count < 1 || count > 2)
        return "ERR wrong number of arguments to redis.register_function";
    if (count == 2)
        return lua_isstring(lua, 1) == 0
                   ? "ERR first argument to redis.register_function must be a string"
               : !lua_isfunction(lua, 2)
                   ? "ERR second argument to redis.register_function must be a function"
                   : NULL;
    if (!lua_istable(lua, 1))
        return "ERR calling redis.register_function with a single argument is only applicable to "
               "Lua table (representing named arguments).";
    lua_pushnil(lua);
    while (error == NULL && lua_next(lua, 1) != 0) {
        error = read_named(lua, read_only);
        if (error == NULL)
            lua_pop(lua, 1);
    }
    if (error != NULL)
        return error;
    lua_getfield(lua, 1, "function_name");
    lua_getfield(lua, 1, "callback");
    lua_remove(lua, 1);
    if (lua_isnil(lua, 1))
        return "ERR redis.register_function must get a function name argument";
    if (lua_isnil(lua, 2))
        return "ERR redis.register_function must get a callback argument";
    return NULL;
}

static int register_function(lua_State *lua)
{
    bool read_only = false;
    const char *error = loading == NULL ? "ERR redis.register_function can only be called on "
                                          "FUNCTION LOAD command"
                                        : read_arguments(lua, &read_only);
    if (error != NULL)
        return functions_raise(lua, error);
    size_t length;
    const char *name = lua_tolstring(lua, 1, &length);
    if (!is_name(name, length))
        return functions_raise(lua, "ERR Library names can only contain letters, numbers, or "
                                    "underscores(_) and must be at least one character long");
    for (size_t i = 0; i < loading->count; i++)
        if (strcmp(loading->functions[i].name, name) == 0)
            return functions_raise(lua, "ERR Function already exists in the library");
    check(loading->count < FUNCTIONS_MAX);
    struct functions_function *function = &loading->functions[loading->count++];
    function->name = store_text(name, length);
    function->read_only = read_only;
    lua_pushvalue(lua, 2);
    function->reference = luaL_ref(lua, LUA_REGISTRYINDEX);
    return 0;
}

/* ---- FUNCTION LOAD ---- */

struct first_line {
    char *text, *engine, *name; /* owned; the last two borrowed from it */
    const char *code;           /* borrowed: from the line's end on */
};

/* Reads "#!lua name=NAME". False with Redis's error. */
static bool read_first_line(const char *text, size_t length, struct first_line *out, char *error,
                            size_t size)
{
    *out = (struct first_line){0};
    if (length < 2 || memcmp(text, "#!", 2) != 0) {
        snprintf(error, size, "ERR Missing library metadata");
        return false;
    }
    out->code = memchr(text, '\n', length);
    if (out->code == NULL) {
        snprintf(error, size, "ERR Invalid library metadata");
        return false;
    }
    char *rest = NULL;
    out->text = store_text(text, (size_t)(out->code - text));
    out->engine = strtok_r(out->text, " \t\r", &rest) + 2;
    for (char *word; (word = strtok_r(NULL, " \t\r", &rest)) != NULL;) {
        if (strncasecmp(word, "name=", 5) != 0) {
            snprintf(error, size, "ERR Invalid metadata value given: %.200s", word);
            return false;
        }
        if (out->name != NULL) {
            snprintf(error, size,
                     "ERR Invalid metadata value, name argument was given multiple times");
            return false;
        }
        out->name = word + 5;
    }
    if (out->name == NULL)
        snprintf(error, size, "ERR Library name was not given");
    else if (!is_name(out->name, strlen(out->name)))
        snprintf(error, size,
                 "ERR Library names can only contain letters, numbers, or "
                 "underscores(_) and must be at least one character long");
    else if (strcasecmp(out->engine, "lua") != 0)
        snprintf(error, size, "ERR Engine '%.100s' not found", out->engine);
    else
        return true;
    return false;
}

bool functions_read_name(const char *text, size_t length, char *name, size_t name_size, char *error,
                         size_t error_size)
{
    struct first_line first;
    bool good = read_first_line(text, length, &first, error, error_size);
    if (good)
        snprintf(name, name_size, "%s", first.name);
    free(first.text);
    return good;
}

/* Runs the library's code, which registers its functions. False with Redis's error. */
static bool run_code(const char *code, size_t length, char *error, size_t size)
{
    lua_State *lua = functions_state();
    lua_settop(lua, 0);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, handler);
    if (luaL_loadbuffer(lua, code, length, "@user_function") != 0) {
        snprintf(error, size, "ERR Error compiling function: %s", lua_tostring(lua, -1));
        return false;
    }
    see(lua, "loading");
    int result = lua_pcall(lua, 0, 0, 1);
    see(lua, "running");
    if (result != 0) {
        lua_getfield(lua, -1, "err");
        snprintf(error, size, "ERR Error registering functions: %s", lua_tostring(lua, -1));
        return false;
    }
    if (loading->count == 0)
        snprintf(error, size, "ERR No functions registered");
    return loading->count > 0;
}

static void destroy(struct functions_library *library)
{
    for (size_t i = 0; i < library->count; i++) {
        free(library->functions[i].name);
        luaL_unref(state, LUA_REGISTRYINDEX, library->functions[i].reference);
    }
    free(library->name);
    free(library->text);
    free(library);
}

const struct functions_library *functions_load(const char *text, size_t length, char *error,
                                               size_t error_size)
{
    struct first_line first;
    for (size_t i = 0; i < libraries_count; i++)
        if (libraries[i]->length == length && memcmp(libraries[i]->text, text, length) == 0)
            return libraries[i];
    struct functions_library *library = NULL;
    if (read_first_line(text, length, &first, error, error_size)) {
        library = store_allocate(sizeof(*library));
        memset(library, 0, sizeof(*library));
        library->name = store_text(first.name, strlen(first.name));
        library->text = store_text(text, length);
        library->length = length;
        loading = library;
        if (!run_code(first.code, (size_t)(text + length - first.code), error, error_size)) {
            destroy(library);
            library = NULL;
        }
        loading = NULL;
    }
    free(first.text);
    if (library == NULL)
        return NULL;
    check(libraries_count < LIBRARIES_MAX);
    libraries[libraries_count++] = library;
    return library;
}

/* ---- libraries ---- */

const char *functions_library_name(const struct functions_library *library)
{
    return library->name;
}

const char *functions_library_text(const struct functions_library *library, size_t *length)
{
    *length = library->length;
    return library->text;
}

size_t functions_count(const struct functions_library *library)
{
    return library->count;
}

const struct functions_function *functions_at(const struct functions_library *library, size_t index)
{
    check(index < library->count);
    return &library->functions[index];
}

const char *functions_name(const struct functions_function *function)
{
    return function->name;
}

bool functions_is_read_only(const struct functions_function *function)
{
    return function->read_only;
}

void functions_push(lua_State *lua, const struct functions_function *function)
{
    lua_rawgeti(lua, LUA_REGISTRYINDEX, handler);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, function->reference);
}
