/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the ledger's functions, the very text that FUNCTION LOAD sends, in Debian's Lua 5.1 as Redis
 * 7.0 runs them in its own: the table `redis`, conversions, errors, read-only globals. Only the
 * store uses it.
 *
 * There is one Lua state for the process, and each text is compiled once for all stores. A
 * library's local variables so outlive FUNCTION LOAD and are shared by all stores; no answer may
 * depend on them (those of the ledger only remember which texts are well-formed numbers and names).
 */
#ifndef TOLLGATE_TESTS_SIMULATION_FUNCTIONS_H
#define TOLLGATE_TESTS_SIMULATION_FUNCTIONS_H

#include <stdbool.h>
#include <stddef.h>

struct answer;
struct functions_function;
struct functions_library;
struct store;
struct store_words;

/* Reads the library's name from its first line. False with the text of Redis's error ("ERR ...")
 * in `error`. */
bool functions_read_name(const char *text, size_t length, char *name, size_t name_size, char *error,
                         size_t error_size);

/*
 * Compiles a library, or finds it compiled. NULL with the text of Redis's error ("ERR ...") in
 * `error`: its first line, the code, or what it registers is invalid. The library stays for the
 * process.
 */
const struct functions_library *functions_load(const char *text, size_t length, char *error,
                                               size_t error_size);

/* Its name, its text, and its functions in order of registration. */
const char *functions_library_name(const struct functions_library *library);
const char *functions_library_text(const struct functions_library *library, size_t *length);
size_t functions_count(const struct functions_library *library);
const struct functions_function *functions_at(const struct functions_library *library,
                                              size_t index);
const char *functions_name(const struct functions_function *function);
/* Whether it has the flag no-writes. */
bool functions_is_read_only(const struct functions_function *function);

/*
 * Calls a function: `keys` of the words from the third on are KEYS, the rest ARGV. Answers into
 * `out` what Redis answers; its texts are borrowed until the next call. A function that raises
 * leaves what it wrote.
 */
void functions_call(const struct functions_function *function, struct store *store,
                    const struct store_words *words, int keys, struct answer *out);

#endif
