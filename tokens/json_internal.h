/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict JSON for texts that strangers send: no duplicate member, no deep nesting, no
 * trailing bytes, no NUL. The JWS header, the claims and the key sets are all read through
 * here and nowhere else.
 */
#ifndef TOLLGATE_TOKENS_JSON_INTERNAL_H
#define TOLLGATE_TOKENS_JSON_INTERNAL_H

#include <jansson.h>
#include <stddef.h>

/* Objects and arrays within each other; a claims set with an array in it is 2. */
#define TOKEN_JSON_DEPTH_MAX 8

/* Parses an object, owned by the caller; NULL where the text is not one or breaks a rule. */
json_t *token_json_parse(const char *text, size_t length);

/* The string of member `name`, borrowed from the object; NULL where it is absent or not a string.
 * It holds no NUL, since the parser refuses them. */
const char *token_json_string(const json_t *object, const char *name, size_t *length);

/* Overwrites the string of member `name`, if there is one, before an object that holds
 * keys is dropped. */
void token_json_wipe(const json_t *object, const char *name);

#endif
