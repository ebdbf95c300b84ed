/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The name that was meant by a misspelt one. Called where a command, an option, a value or a key of
 * the configuration is not known. Pure.
 */
#ifndef TOLLGATE_SERVER_BASE_NEAREST_H
#define TOLLGATE_SERVER_BASE_NEAREST_H

#include <stddef.h>

/* The name among `count` that is nearest to `word` (by edit distance), or NULL where none is near.
 */
const char *nearest_name(const char *word, const char *const *names, size_t count);

#endif
