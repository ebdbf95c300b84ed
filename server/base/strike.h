/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the parts of a text that may be tokens, for both logs: only this file decides what they
 * strike out. Any thread may call it once the name is set; it changes no text itself.
 */
#ifndef TOLLGATE_SERVER_BASE_STRIKE_H
#define TOLLGATE_SERVER_BASE_STRIKE_H

#include <stddef.h>

#define STRIKE_TEXT "[token]" /* the logs write it in a token's place */

/* Sets the configured token_attribute; values of the default name are struck in any case. Call it
 * before other threads begin. A name longer than a configuration may have is cut. */
void strike_name_set(const char *name);
/*
 * How many bytes from `at` to strike; 0: none. The bytes from `begin` to `at` tell whether a
 * token's name and "=" come before: then the value is struck, whatever it looks like. Else it is
 * struck where it looks like a JWS.
 */
size_t strike_length(const char *begin, const char *at, const char *end);

#endif
