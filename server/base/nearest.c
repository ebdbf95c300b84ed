/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the name that a misspelt one was meant to be. It is called where a command, an option, a
 * value, a member or a key of the configuration is not known. It has no side effects.
 */
#include "server/base/nearest.h"

#include <string.h>

/* The optimal string alignment distance: a swapped pair of letters counts as one slip, not two. */
static size_t edit_distance(const char *a, const char *b)
{
    enum { WORD_MAX = 48 };
    size_t rows[3][WORD_MAX + 1];
    size_t a_length = strlen(a), b_length = strlen(b);
    if (a_length > WORD_MAX || b_length > WORD_MAX)
        return WORD_MAX;
    for (size_t j = 0; j <= b_length; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t least = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            least = last[j] + 1 < least ? last[j] + 1 : least;
            least = now[j - 1] + 1 < least ? now[j - 1] + 1 : least;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < least)
                least = before[j - 2] + 1;
            now[j] = least;
        }
    }
    return rows[a_length % 3][b_length];
}

const char *nearest_name(const char *word, const char *const *names, size_t count)
{
    const char *nearest = NULL;
    /* A third of the word plus one letter may be wrong, three letters at most: more is a guess. */
    size_t least = strlen(word) / 3 + 2;
    least = least > 4 ? 4 : least;
    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(word, names[i]);
        if (distance < least) {
            least = distance;
            nearest = names[i];
        }
    }
    return nearest;
}
