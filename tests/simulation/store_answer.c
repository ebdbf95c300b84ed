/* SPDX-License-Identifier: Apache-2.0 */
/* The answers of store_answer.h. */
#include "tests/simulation/store_answer.h"

#include <hiredis/hiredis.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "tests/simulation/store_table.h"

void answer_clear(struct answer *answer)
{
    answer->count = answer->texts_length = 0;
}

void answer_free(struct answer *answer)
{
    free(answer->items);
    free(answer->texts);
    *answer = (struct answer){0};
}

static struct answer_item *add(struct answer *answer, enum answer_kind kind)
{
    if (answer->count == answer->room) {
        answer->room = answer->room == 0 ? 64 : 2 * answer->room;
        answer->items = store_resize(answer->items, answer->room * sizeof(*answer->items));
    }
    struct answer_item *item = &answer->items[answer->count++];
    *item = (struct answer_item){.kind = kind};
    return item;
}

void answer_text(struct answer *answer, const char *text, size_t length)
{
    struct answer_item *item = add(answer, ANSWER_TEXT);
    item->text = text;
    item->length = length;
}

void answer_literal(struct answer *answer, const char *text)
{
    answer_text(answer, text, strlen(text));
}

void answer_status(struct answer *answer, const char *text)
{
    struct answer_item *item = add(answer, ANSWER_STATUS);
    item->text = text;
    item->length = strlen(text);
}

void answer_nil(struct answer *answer)
{
    (void)add(answer, ANSWER_NIL);
}

void answer_integer(struct answer *answer, long long number)
{
    add(answer, ANSWER_INTEGER)->number = number;
}

size_t answer_array(struct answer *answer, size_t count)
{
    add(answer, ANSWER_ARRAY)->number = (long long)count;
    return answer->count - 1;
}

void answer_array_count(struct answer *answer, size_t index, size_t count)
{
    check(answer->items[index].kind == ANSWER_ARRAY);
    answer->items[index].number = (long long)count;
}

__attribute__((format(printf, 3, 0))) static struct answer_item *
add_format(struct answer *answer, enum answer_kind kind, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    check(length >= 0);
    size_t needed = answer->texts_length + (size_t)length + 1;
    if (needed > answer->texts_room) {
        answer->texts_room = 2 * needed;
        answer->texts = store_resize(answer->texts, answer->texts_room);
    }
    struct answer_item *item = add(answer, kind);
    item->number = (long long)answer->texts_length;
    item->length = (size_t)length;
    vsnprintf(answer->texts + answer->texts_length, (size_t)length + 1, format, arguments);
    answer->texts_length = needed;
    return item;
}

void answer_format(struct answer *answer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)add_format(answer, ANSWER_TEXT, format, arguments);
    va_end(arguments);
}

static bool is_line_end(char c)
{
    return c == '\r' || c == '\n';
}

static void flatten(char *text)
{
    for (char *at = text; *at != '\0'; at++)
        if (is_line_end(*at))
            *at = ' ';
}

void answer_error(struct answer *answer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    struct answer_item *item = add_format(answer, ANSWER_ERROR, format, arguments);
    va_end(arguments);
    char *text = answer->texts + item->number;
    while (item->length > 0 && is_line_end(text[item->length - 1]))
        text[--item->length] = '\0';
    flatten(text);
}

void answer_status_format(struct answer *answer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    struct answer_item *item = add_format(answer, ANSWER_STATUS, format, arguments);
    va_end(arguments);
    flatten(answer->texts + item->number);
}

const char *answer_text_of(const struct answer *answer, const struct answer_item *item)
{
    return item->text != NULL ? item->text : answer->texts + item->number;
}

static redisReply *reply_of(const struct answer *answer, size_t *at)
{
    static const int types[] = {
        [ANSWER_TEXT] = REDIS_REPLY_STRING,     [ANSWER_STATUS] = REDIS_REPLY_STATUS,
        [ANSWER_ERROR] = REDIS_REPLY_ERROR,     [ANSWER_NIL] = REDIS_REPLY_NIL,
        [ANSWER_INTEGER] = REDIS_REPLY_INTEGER, [ANSWER_ARRAY] = REDIS_REPLY_ARRAY};
    check(*at < answer->count);
    const struct answer_item *item = &answer->items[(*at)++];
    redisReply *reply = store_allocate(sizeof(*reply));
    memset(reply, 0, sizeof(*reply));
    reply->type = types[item->kind];
    if (item->kind == ANSWER_INTEGER) {
        reply->integer = item->number;
    } else if (item->kind == ANSWER_ARRAY && item->number > 0) {
        reply->elements = (size_t)item->number;
        reply->element = store_allocate(reply->elements * sizeof(redisReply *));
        for (size_t i = 0; i < reply->elements; i++)
            reply->element[i] = reply_of(answer, at);
    } else if (item->kind != ANSWER_ARRAY && item->kind != ANSWER_NIL) {
        reply->len = item->length;
        reply->str = store_text(answer_text_of(answer, item), item->length);
    }
    return reply;
}

redisReply *answer_reply(const struct answer *answer)
{
    size_t at = 0;
    redisReply *reply = reply_of(answer, &at);
    check(at == answer->count);
    return reply;
}
