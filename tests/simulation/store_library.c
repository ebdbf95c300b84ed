/* SPDX-License-Identifier: Apache-2.0 */
/* FUNCTION LOAD, LIST, DELETE, FLUSH and FCALL: which libraries a store has loaded. */
#include <string.h>
#include <strings.h>

#include "server/base/check.h"
#include "tests/simulation/functions.h"
#include "tests/simulation/store_internal.h"

static void forget(struct store *store, size_t index)
{
    store->libraries_count--;
    memmove(&store->libraries[index], &store->libraries[index + 1],
            (store->libraries_count - index) * sizeof(store->libraries[0]));
}

/* The index of the library of this name, or their count. Redis compares names of libraries by
 * their bytes, and names of functions in any case of letters. */
static size_t find_library(const struct store *store, const char *name, size_t length)
{
    size_t at = 0;
    for (; at < store->libraries_count; at++) {
        const char *known = functions_library_name(store->libraries[at]);
        if (strlen(known) == length && memcmp(known, name, length) == 0)
            break;
    }
    return at;
}

static const struct functions_function *find_function(const struct store *store, const char *name,
                                                      size_t length)
{
    for (size_t i = 0; i < store->libraries_count; i++) {
        for (size_t k = 0; k < functions_count(store->libraries[i]); k++) {
            const struct functions_function *function = functions_at(store->libraries[i], k);
            if (strlen(functions_name(function)) == length &&
                strncasecmp(functions_name(function), name, length) == 0)
                return function;
        }
    }
    return NULL;
}

void library_load(struct store *store, const struct store_words *words, struct answer *out)
{
    char error[512], name[256];
    bool replaces = false;
    int code = words->count - 1;
    for (int i = 2; i < code; i++) {
        if (!store_is(words, i, "replace")) {
            answer_error(out, "ERR Unknown option given: %.*s", (int)words->lengths[i],
                         words->text[i]);
            return;
        }
        replaces = true;
    }
    if (!functions_read_name(words->text[code], words->lengths[code], name, sizeof(name), error,
                             sizeof(error))) {
        answer_error(out, "%s", error);
        return;
    }
    size_t old = find_library(store, name, strlen(name));
    if (old < store->libraries_count && !replaces) {
        answer_error(out, "ERR Library '%s' already exists", name);
        return;
    }
    const struct functions_library *library =
        functions_load(words->text[code], words->lengths[code], error, sizeof(error));
    if (library == NULL) {
        answer_error(out, "%s", error);
        return;
    }
    const struct functions_library *before =
        old < store->libraries_count ? store->libraries[old] : NULL;
    if (before != NULL)
        forget(store, old);
    for (size_t i = 0; i < functions_count(library); i++) {
        const char *function = functions_name(functions_at(library, i));
        if (find_function(store, function, strlen(function)) == NULL)
            continue;
        answer_error(out, "ERR Function %s already exists", function);
        if (before != NULL)
            store->libraries[store->libraries_count++] = before;
        return;
    }
    check(store->libraries_count < STORE_LIBRARIES_MAX);
    store->libraries[store->libraries_count++] = library;
    answer_literal(out, functions_library_name(library));
}

static void answer_function(const struct functions_function *function, struct answer *out)
{
    (void)answer_array(out, 6);
    answer_literal(out, "name");
    answer_literal(out, functions_name(function));
    answer_literal(out, "description");
    answer_nil(out);
    answer_literal(out, "flags");
    (void)answer_array(out, functions_is_read_only(function) ? 1 : 0);
    if (functions_is_read_only(function))
        answer_status(out, "no-writes");
}

static void answer_library(const struct functions_library *library, bool with_code,
                           struct answer *out)
{
    (void)answer_array(out, with_code ? 8 : 6);
    answer_literal(out, "library_name");
    answer_literal(out, functions_library_name(library));
    answer_literal(out, "engine");
    answer_literal(out, "LUA");
    answer_literal(out, "functions");
    (void)answer_array(out, functions_count(library));
    for (size_t i = 0; i < functions_count(library); i++)
        answer_function(functions_at(library, i), out);
    if (with_code) {
        size_t length;
        const char *text = functions_library_text(library, &length);
        answer_literal(out, "library_code");
        answer_text(out, text, length);
    }
}

/* The functions are listed by registration; Redis lists them in an order of its own. */
void library_list(struct store *store, const struct store_words *words, struct answer *out)
{
    bool with_code = false;
    int pattern = 0;
    for (int i = 2; i < words->count; i++) {
        if (!with_code && store_is(words, i, "withcode")) {
            with_code = true;
        } else if (pattern == 0 && store_is(words, i, "libraryname")) {
            if (i + 1 == words->count) {
                answer_error(out, "ERR library name argument was not given");
                return;
            }
            pattern = ++i;
        } else {
            answer_error(out, "ERR Unknown argument %.*s", (int)words->lengths[i], words->text[i]);
            return;
        }
    }
    for (size_t i = 0; pattern != 0 && i < words->lengths[pattern]; i++) {
        if (memchr("*?[\\", words->text[pattern][i], 4) != NULL) {
            answer_error(out, "ERR the store has no patterns of library names");
            return;
        }
    }
    size_t array = answer_array(out, 0), found = 0;
    for (size_t i = 0; i < store->libraries_count; i++) {
        if (pattern != 0 && !store_is(words, pattern, functions_library_name(store->libraries[i])))
            continue;
        answer_library(store->libraries[i], with_code, out);
        found++;
    }
    answer_array_count(out, array, found);
}

void library_delete(struct store *store, const struct store_words *words, struct answer *out)
{
    size_t at = find_library(store, words->text[2], words->lengths[2]);
    if (at == store->libraries_count) {
        answer_error(out, "ERR Library not found");
        return;
    }
    forget(store, at);
    answer_status(out, "OK");
}

void library_flush(struct store *store, const struct store_words *words, struct answer *out)
{
    if (words->count > 3 ||
        (words->count == 3 && !store_is(words, 2, "sync") && !store_is(words, 2, "async"))) {
        answer_error(out, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
        return;
    }
    store->libraries_count = 0;
    answer_status(out, "OK");
}

void library_fcall(struct store *store, const struct store_words *words, struct answer *out)
{
    const struct functions_function *function =
        find_function(store, words->text[1], words->lengths[1]);
    long long keys;
    if (function == NULL)
        answer_error(out, "ERR Function not found");
    else if (!store_integer(words->text[2], words->lengths[2], &keys))
        answer_error(out, "ERR Bad number of keys provided");
    else if (keys > words->count - 3)
        answer_error(out, "ERR Number of keys can't be greater than number of args");
    else if (keys < 0)
        answer_error(out, "ERR Number of keys can't be negative");
    else
        functions_call(function, store, words, (int)keys, out);
}
