/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regular expressions for the regex: container: POSIX extended ones, compiled to a small program
 * that is matched in one pass. pattern.c reads and compiles, pattern_match.c runs. A match never
 * costs more than (instructions x bytes), whatever the pattern and whatever the URI.
 */
#ifndef TOLLGATE_TOKENS_PATTERN_INTERNAL_H
#define TOLLGATE_TOKENS_PATTERN_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATTERN_LENGTH_MAX  256
#define PATTERN_COST_MAX    256 /* characters once the repeats are written out */
#define PATTERN_REPEAT_MAX  100
#define PATTERN_DEPTH_MAX   8
#define PATTERN_PROGRAM_MAX (4 * PATTERN_COST_MAX + 64)
#define PATTERN_SUBJECT_MAX 2048 /* bytes of the URI that a pattern is matched with */

/* A set of ASCII characters. Other bytes match nothing, since no URI holds them. */
struct pattern_set {
    uint64_t bits[2];
};

enum pattern_code {
    PATTERN_CHARACTER, /* one character of the set */
    PATTERN_SPLIT,     /* go on at `first` and at `second` */
    PATTERN_JUMP,      /* go on at `first` */
    PATTERN_BEGIN,     /* only before the first byte */
    PATTERN_END,       /* only after the last byte */
    PATTERN_MATCH,
};

struct pattern_instruction {
    enum pattern_code code;
    uint16_t first;
    uint16_t second;
    struct pattern_set set;
};

struct pattern {
    size_t count;
    struct pattern_instruction program[];
};

/* Compiles the text; the caller owns *out. Returns 0, -EINVAL (not a sound expression, or one that
 * costs too much) or -ENOMEM. */
int pattern_compile(struct pattern **out, const char *text, size_t length);
void pattern_destroy(struct pattern **pattern);

/* Whether the whole subject matches. `length` must not exceed PATTERN_SUBJECT_MAX. */
bool pattern_matches(const struct pattern *pattern, const char *subject, size_t length);

#endif
