/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of hashes. Redis keeps a small hash as one list, in order of insertion, and HSCAN
 * then answers it whole; a hash that has been larger is scattered, and HSCAN goes in steps. A
 * scattered hash answers in an order that differs from one Redis to the next: here it is still that
 * of insertion.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/simulation/store_internal.h"

/* hash-max-listpack-entries and -value as Redis 7.0 ships. */
#define LIST_FIELDS_MAX 512
#define LIST_BYTES_MAX  64

static void answer_value(const struct store_object *object, const struct store_words *words,
                         int index, struct answer *out)
{
    const struct table_entry *entry =
        object == NULL ? NULL
                       : table_find(&object->fields, words->text[index], words->lengths[index]);
    if (entry == NULL)
        answer_nil(out);
    else
        answer_text(out, entry->value, entry->value_length);
}

void hash_hget(struct store *store, const struct store_words *words, struct answer *out)
{
    struct store_object *object;
    if (store_find_kind(store, words, STORE_HASH, &object, out))
        answer_value(object, words, 2, out);
}

void hash_hmget(struct store *store, const struct store_words *words, struct answer *out)
{
    struct store_object *object;
    if (!store_find_kind(store, words, STORE_HASH, &object, out))
        return;
    (void)answer_array(out, (size_t)words->count - 2);
    for (int i = 2; i < words->count; i++)
        answer_value(object, words, i, out);
}

static void answer_pair(const struct table_entry *entry, struct answer *out)
{
    answer_text(out, entry->key, entry->key_length);
    answer_text(out, entry->value, entry->value_length);
}

static void answer_all(const struct store_object *object, struct answer *out)
{
    (void)answer_array(out, object == NULL ? 0 : 2 * (size_t)object->fields.live);
    if (object == NULL)
        return;
    for (struct table_entry *entry = NULL; (entry = table_next(&object->fields, entry)) != NULL;)
        answer_pair(entry, out);
}

void hash_hgetall(struct store *store, const struct store_words *words, struct answer *out)
{
    struct store_object *object;
    if (store_find_kind(store, words, STORE_HASH, &object, out))
        answer_all(object, out);
}

void hash_hset(struct store *store, const struct store_words *words, struct answer *out)
{
    struct store_object *object;
    long long added = 0;
    if (words->count % 2 != 0) {
        store_wrong_number(out, "hset");
        return;
    }
    if (!store_find_kind(store, words, STORE_HASH, &object, out))
        return;
    if (object == NULL)
        object = store_add(store, words->text[1], words->lengths[1], STORE_HASH);
    for (int i = 2; i < words->count; i++)
        object->scattered = object->scattered || words->lengths[i] > LIST_BYTES_MAX;
    for (int i = 2; i < words->count; i += 2) {
        struct table_entry *entry = table_find(&object->fields, words->text[i], words->lengths[i]);
        if (entry == NULL) {
            entry = table_add(&object->fields, words->text[i], words->lengths[i]);
            added++;
        }
        table_set_value(entry, words->text[i + 1], words->lengths[i + 1]);
        object->scattered = object->scattered || object->fields.live > LIST_FIELDS_MAX;
    }
    answer_integer(out, added);
}

void hash_hincrby(struct store *store, const struct store_words *words, struct answer *out)
{
    struct store_object *object;
    long long added, value = 0;
    if (!store_integer(words->text[3], words->lengths[3], &added)) {
        answer_error(out, "ERR value is not an integer or out of range");
        return;
    }
    if (!store_find_kind(store, words, STORE_HASH, &object, out))
        return;
    struct table_entry *entry =
        object == NULL ? NULL : table_find(&object->fields, words->text[2], words->lengths[2]);
    if (entry != NULL && !store_integer(entry->value, entry->value_length, &value)) {
        answer_error(out, "ERR hash value is not an integer");
        return;
    }
    if (__builtin_add_overflow(value, added, &value)) {
        answer_error(out, "ERR increment or decrement would overflow");
        return;
    }
    if (object == NULL)
        object = store_add(store, words->text[1], words->lengths[1], STORE_HASH);
    if (entry == NULL)
        entry = table_add(&object->fields, words->text[2], words->lengths[2]);
    char text[24];
    int length = snprintf(text, sizeof(text), "%lld", value);
    table_set_value(entry, text, (size_t)length);
    object->scattered = object->scattered || words->lengths[2] > LIST_BYTES_MAX ||
                        object->fields.live > LIST_FIELDS_MAX;
    answer_integer(out, value);
}

void hash_hdel(struct store *store, const struct store_words *words, struct answer *out)
{
    struct store_object *object;
    long long removed = 0;
    if (!store_find_kind(store, words, STORE_HASH, &object, out))
        return;
    for (int i = 2; object != NULL && i < words->count; i++) {
        struct table_entry *entry = table_find(&object->fields, words->text[i], words->lengths[i]);
        if (entry == NULL)
            continue;
        table_remove(&object->fields, entry);
        removed++;
        if (object->fields.live == 0) {
            store_remove(store, words->text[1], words->lengths[1]);
            break;
        }
    }
    answer_integer(out, removed);
}

/* ---- HSCAN ---- */

/* As strtoul reads it, without a space before it. */
static bool parse_cursor(const struct store_words *words, unsigned long *cursor)
{
    char text[64], *end;
    size_t length = words->lengths[2] < sizeof(text) ? words->lengths[2] : sizeof(text) - 1;
    memcpy(text, words->text[2], length);
    text[length] = '\0';
    errno = 0;
    *cursor = strtoul(text, &end, 10);
    return isspace((unsigned char)text[0]) == 0 && *end == '\0' && errno != ERANGE;
}

/* False where it has answered an error. */
static bool scan_options(const struct store_words *words, long long *count, struct answer *out)
{
    *count = 10;
    for (int i = 3; i < words->count; i += 2) {
        if (store_is(words, i, "match") && i + 1 < words->count) {
            answer_error(out, "ERR the store has no HSCAN MATCH");
            return false;
        }
        if (!store_count(words, i, count, out))
            return false;
        if (*count < 1) {
            answer_error(out, "ERR syntax error");
            return false;
        }
    }
    return true;
}

/* The cursor is the number of the last field that was answered, so a field that stays is answered
 * once. */
static void scan_step(const struct store_object *object, uint64_t cursor, long long count,
                      struct answer *out)
{
    size_t array = out->count + 1;
    const struct table_entry *entry = table_after(&object->fields, cursor);
    const struct table_entry *last = entry;
    for (long long i = 1; i < count && last != NULL; i++) {
        const struct table_entry *next = table_next(&object->fields, last);
        if (next == NULL)
            break;
        last = next;
    }
    bool more = last != NULL && table_next(&object->fields, last) != NULL;
    answer_format(out, "%llu", more ? (unsigned long long)last->number : 0);
    (void)answer_array(out, 0);
    for (; last != NULL; entry = table_next(&object->fields, entry)) {
        answer_pair(entry, out);
        if (entry == last)
            break;
    }
    answer_array_count(out, array, out->count - array - 1);
}

void hash_hscan(struct store *store, const struct store_words *words, struct answer *out)
{
    struct store_object *object;
    unsigned long cursor;
    long long count;
    if (!parse_cursor(words, &cursor)) {
        answer_error(out, "ERR invalid cursor");
        return;
    }
    if (!store_find_kind(store, words, STORE_HASH, &object, out) ||
        (object != NULL && !scan_options(words, &count, out)))
        return;
    (void)answer_array(out, 2);
    if (object != NULL && object->scattered) {
        scan_step(object, cursor, count, out);
        return;
    }
    answer_literal(out, "0");
    answer_all(object, out);
}
