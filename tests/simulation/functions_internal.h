/* SPDX-License-Identifier: Apache-2.0 */
/* What functions.c, which calls functions, and functions_load.c, which compiles them, share. */
#ifndef TOLLGATE_TESTS_SIMULATION_FUNCTIONS_INTERNAL_H
#define TOLLGATE_TESTS_SIMULATION_FUNCTIONS_INTERNAL_H

#include <lua.h>

struct functions_function;

/* The process's Lua state, made by the first call. */
lua_State *functions_state(void);
/* Pushes the handler of errors and the function. */
void functions_push(lua_State *lua, const struct functions_function *function);

/* The handler of errors, which lua_pcall calls where one is raised: makes the table {err, source,
 * line} of it. */
int functions_explain(lua_State *lua);
/* Raises {err = text}. */
int functions_raise(lua_State *lua, const char *text);

/* redis.call and redis.pcall. */
int functions_redis_call(lua_State *lua);
int functions_redis_pcall(lua_State *lua);

#endif
