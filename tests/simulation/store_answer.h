/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a command answers, as a flat list of items, from which a reply for hiredis or values for Lua
 * are made. Most texts in it are borrowed from the store, so it is read before the store's next
 * command.
 */
#ifndef TOLLGATE_TESTS_SIMULATION_STORE_ANSWER_H
#define TOLLGATE_TESTS_SIMULATION_STORE_ANSWER_H

#include <stddef.h>
#include <stdint.h>

enum answer_kind {
    ANSWER_TEXT,
    ANSWER_STATUS,
    ANSWER_ERROR,
    ANSWER_NIL, /* also Redis's null array */
    ANSWER_INTEGER,
    ANSWER_ARRAY /* `number` elements follow */
};

struct answer_item {
    enum answer_kind kind;
    const char *text; /* borrowed; NULL: in the answer's own texts, from `number` on */
    size_t length;
    long long number;
};

/* All zero: empty. */
struct answer {
    struct answer_item *items; /* owned */
    size_t count, room;
    char *texts; /* owned */
    size_t texts_length, texts_room;
};

void answer_clear(struct answer *answer); /* keeps the memory */
void answer_free(struct answer *answer);

void answer_text(struct answer *answer, const char *text, size_t length); /* borrowed */
void answer_literal(struct answer *answer, const char *text);             /* borrowed */
void answer_status(struct answer *answer, const char *text);              /* borrowed */
void answer_nil(struct answer *answer);
void answer_integer(struct answer *answer, long long number);
/* `count` elements follow. Returns the item's index, for answer_array_count(). */
size_t answer_array(struct answer *answer, size_t count);
void answer_array_count(struct answer *answer, size_t index, size_t count);
/* A text that is formatted and kept. */
void answer_format(struct answer *answer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same for an error or a status, in which line ends become spaces, as in Redis. */
void answer_error(struct answer *answer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void answer_status_format(struct answer *answer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The text of an item of this answer. */
const char *answer_text_of(const struct answer *answer, const struct answer_item *item);

/* The whole answer as hiredis would build it; the caller frees it with freeReplyObject(). */
struct redisReply *answer_reply(const struct answer *answer);

#endif
