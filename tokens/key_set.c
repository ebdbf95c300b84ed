/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of keys as a JWKS file holds it: parsed whole or not at all, then immutable and shared
 * between threads. The configuration and the command line call it; it never reads the file itself.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "tokens/json_internal.h"
#include "tokens/key_internal.h"

__attribute__((format(printf, 3, 4))) static int complain(char *error, size_t error_size,
                                                          const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    if (error_size > 0)
        (void)vsnprintf(error, error_size, format, arguments);
    va_end(arguments);
    return -EINVAL;
}

const struct key *key_set_find(const struct key_set *set, const char *kid)
{
    for (size_t i = 0; i < set->count; i++) {
        if (strcmp(set->keys[i].kid, kid) == 0)
            return &set->keys[i];
    }
    return NULL;
}

/* Fills the set, which has room for all; set->count says how many are in it, also on failure. */
static int fill(struct key_set *set, const json_t *elements, const json_t *single, size_t count,
                char *error, size_t error_size)
{
    char reason[512] = "";
    struct key key;

    for (size_t i = 0; i < count; i++) {
        const json_t *jwk = single != NULL ? single : json_array_get(elements, i);
        int result = key_parse_jwk(&key, jwk, reason, sizeof(reason));
        if (result == -EINVAL)
            return complain(error, error_size, "key %zu of the set: %s", i + 1, reason);
        if (result != 0) {
            (void)complain(error, error_size, "key %zu of the set: out of memory", i + 1);
            return result;
        }
        if (key_set_find(set, key.kid) != NULL) {
            key_clear(&key);
            return complain(
                error, error_size,
                "key %zu of the set: \"kid\" is that of an earlier key; give each key its "
                "own",
                i + 1);
        }
        set->keys[set->count++] = key;
    }
    return 0;
}

/* Wipes the secret members before the texts go back to the heap. */
static void wipe(const json_t *root)
{
    const json_t *elements = json_object_get(root, "keys");

    token_json_wipe(root, "k");
    token_json_wipe(root, "d");
    for (size_t i = 0; i < json_array_size(elements); i++) {
        token_json_wipe(json_array_get(elements, i), "k");
        token_json_wipe(json_array_get(elements, i), "d");
    }
}

static int parse_root(struct key_set **out, const json_t *root, char *error, size_t error_size)
{
    const json_t *elements = json_object_get(root, "keys");
    const json_t *single = elements == NULL && json_object_get(root, "kty") != NULL ? root : NULL;
    size_t count = single != NULL ? 1 : json_array_size(elements);
    struct key_set *set;
    int result;

    if (single == NULL && !json_is_array(elements))
        return complain(error, error_size,
                        "neither a JWKS (an object with an array \"keys\") nor a single JWK");
    if (count == 0 || count > TOKEN_KEYS_MAX)
        return complain(error, error_size, "\"keys\" must hold 1 to %d keys", TOKEN_KEYS_MAX);
    set = calloc(1, sizeof(*set) + count * sizeof(set->keys[0]));
    if (set == NULL)
        return -ENOMEM;
    result = fill(set, elements, single, count, error, error_size);
    if (result != 0) {
        key_set_destroy(&set);
        return result;
    }
    *out = set;
    return 0;
}

int key_set_parse(struct key_set **out, const char *json, size_t length, char *error,
                  size_t error_size)
{
    json_t *root;
    int result;

    *out = NULL;
    if (error_size > 0)
        error[0] = '\0';
    root = token_json_parse(json, length);
    if (root == NULL)
        return complain(error, error_size,
                        "not a JSON object, or one with duplicate members or deep nesting");
    result = parse_root(out, root, error, error_size);
    wipe(root);
    json_decref(root);
    return result;
}

void key_set_destroy(struct key_set **set)
{
    if (*set == NULL)
        return;
    for (size_t i = 0; i < (*set)->count; i++)
        key_clear(&(*set)->keys[i]);
    free(*set);
    *set = NULL;
}

size_t key_set_count(const struct key_set *set)
{
    return set->count;
}

const char *key_set_kid(const struct key_set *set, size_t index)
{
    check(index < set->count);
    return set->keys[index].kid;
}

enum token_algorithm key_set_algorithm(const struct key_set *set, size_t index)
{
    check(index < set->count);
    return set->keys[index].algorithm;
}

bool key_set_can_sign(const struct key_set *set, size_t index)
{
    check(index < set->count);
    return set->keys[index].can_sign;
}

bool key_set_has_private(const struct key_set *set, size_t index)
{
    check(index < set->count);
    return set->keys[index].has_private;
}

bool key_set_is_guessable(const struct key_set *set, size_t index)
{
    check(index < set->count);
    return set->keys[index].is_guessable;
}

bool key_set_print(const struct key_set *set, size_t index, unsigned char print[KEY_PRINT_SIZE])
{
    check(index < set->count);
    return key_print(&set->keys[index], print);
}
