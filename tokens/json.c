/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads JSON objects from untrusted bytes under the library's rules and hands out their strings.
 * Called by the JWS, claims and key set parsers; it never prints and never repairs.
 */
#include <openssl/crypto.h>
#include <stdbool.h>
#include <string.h>

#include "tokens/json_internal.h"

/*
 * Whether brackets, counted outside of strings, nest no deeper than allowed, and no NUL is in the
 * text. Jansson itself recurses up to 2048 levels, which is more stack and more work than a claims
 * set is worth.
 */
static bool is_shallow(const char *text, size_t length)
{
    size_t depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < length; i++) {
        char byte = text[i];
        if (byte == '\0')
            return false;
        if (in_string) {
            if (byte == '\\')
                i++;
            else if (byte == '"')
                in_string = false;
        } else if (byte == '"') {
            in_string = true;
        } else if (byte == '{' || byte == '[') {
            if (++depth > TOKEN_JSON_DEPTH_MAX)
                return false;
        } else if ((byte == '}' || byte == ']') && depth > 0) {
            depth--;
        }
    }
    return true;
}

json_t *token_json_parse(const char *text, size_t length)
{
    json_error_t error;
    json_t *value;

    if (!is_shallow(text, length))
        return NULL;
    /* RFC 7515 section 4 and RFC 7519 section 4 leave duplicate names to the parser; this one
     * refuses them. */
    value = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    if (value != NULL && !json_is_object(value)) {
        json_decref(value);
        return NULL;
    }
    return value;
}

const char *token_json_string(const json_t *object, const char *name, size_t *length)
{
    const json_t *value = json_object_get(object, name);

    if (!json_is_string(value))
        return NULL;
    *length = json_string_length(value);
    return json_string_value(value);
}

void token_json_wipe(const json_t *object, const char *name)
{
    size_t length = 0;
    const char *text = token_json_string(object, name, &length);
    char *writable = NULL;

    if (text == NULL)
        return;
    /*
     * The value is about to be freed, so overwriting what its owner sees as constant does no harm.
     */
    memcpy(&writable, &text, sizeof(writable));
    OPENSSL_cleanse(writable, length);
}
