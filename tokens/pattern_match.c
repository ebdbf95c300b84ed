/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a compiled pattern over a subject, following all its alternatives at once. Called by
 * container.c for each request of a regex: token; it never backtracks, allocates or remembers
 * anything.
 */
#include <string.h>

#include "server/base/check.h"
#include "tokens/pattern_internal.h"

/* The instructions that wait for the next character, each once. */
struct front {
    size_t count;
    uint16_t at[PATTERN_PROGRAM_MAX];
};

struct run {
    const struct pattern *pattern;
    size_t length;
    bool matched;                       /* PATTERN_MATCH was reached after the last byte */
    uint16_t seen[PATTERN_PROGRAM_MAX]; /* by instruction: step when last reached, plus one */
};

/* Puts `start` into the front, and every instruction that it leads to without a character. */
static void reach(struct run *run, struct front *front, uint16_t start, size_t offset)
{
    uint16_t stack[PATTERN_PROGRAM_MAX + 1];
    size_t depth = 0;

    stack[depth++] = start;
    while (depth > 0) {
        uint16_t at = stack[--depth];
        const struct pattern_instruction *instruction = &run->pattern->program[at];
        if (run->seen[at] == offset + 1)
            continue;
        run->seen[at] = (uint16_t)(offset + 1);
        switch (instruction->code) {
        case PATTERN_CHARACTER:
            front->at[front->count++] = at;
            break;
        case PATTERN_SPLIT:
            /* Each instruction is expanded once a step, so the stack never holds more than all of
             * them and one. */
            stack[depth++] = instruction->second;
            check(depth < sizeof(stack) / sizeof(stack[0]));
            stack[depth++] = instruction->first;
            break;
        case PATTERN_JUMP:
            stack[depth++] = instruction->first;
            break;
        case PATTERN_BEGIN:
            if (offset == 0)
                stack[depth++] = (uint16_t)(at + 1);
            break;
        case PATTERN_END:
            if (offset == run->length)
                stack[depth++] = (uint16_t)(at + 1);
            break;
        case PATTERN_MATCH:
            run->matched = run->matched || offset == run->length;
            break;
        }
    }
}

static bool has(const struct pattern_set *set, unsigned char byte)
{
    return byte < 128 && ((set->bits[byte / 64] >> (byte % 64)) & 1) != 0;
}

bool pattern_matches(const struct pattern *pattern, const char *subject, size_t length)
{
    struct run run = {.pattern = pattern, .length = length};
    struct front fronts[2];
    struct front *now = &fronts[0];
    struct front *next = &fronts[1];

    check(length <= PATTERN_SUBJECT_MAX);
    now->count = 0;
    reach(&run, now, 0, 0);
    for (size_t i = 0; i < length && now->count > 0; i++) {
        struct front *spare = now;
        next->count = 0;
        for (size_t j = 0; j < now->count; j++) {
            uint16_t at = now->at[j];
            if (has(&pattern->program[at].set, (unsigned char)subject[i]))
                reach(&run, next, (uint16_t)(at + 1), i + 1);
        }
        now = next;
        next = spare;
    }
    return run.matched;
}
