/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of store_table.h: entries in an array by insertion, and open addressing over their
 * indexes. A removed entry stays in the array, so that its slot still leads to those behind it,
 * until a full array is rebuilt.
 */
#include "tests/simulation/store_table.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "server/base/check.h"

#define ROOM_LEAST 8

void *store_allocate(size_t size)
{
    void *out = malloc(size == 0 ? 1 : size);
    check(out != NULL);
    return out;
}

void *store_resize(void *old, size_t size)
{
    void *out = realloc(old, size == 0 ? 1 : size);
    check(out != NULL);
    return out;
}

char *store_text(const char *text, size_t length)
{
    char *out = store_allocate(length + 1);
    if (length > 0)
        memcpy(out, text, length);
    out[length] = '\0';
    return out;
}

struct table_entry *table_find(const struct table *table, const char *key, size_t length)
{
    if (table->live == 0)
        return NULL;
    uint64_t hash = XXH3_64bits(key, length);
    uint32_t mask = 2 * table->room - 1;
    for (uint32_t at = (uint32_t)hash & mask; table->slots[at] != 0; at = (at + 1) & mask) {
        struct table_entry *entry = &table->entries[table->slots[at] - 1];
        if (entry->hash == hash && entry->key != NULL && entry->key_length == length &&
            memcmp(entry->key, key, length) == 0)
            return entry;
    }
    return NULL;
}

static void place(struct table *table, uint32_t index)
{
    uint32_t mask = 2 * table->room - 1, at = (uint32_t)table->entries[index].hash & mask;
    while (table->slots[at] != 0)
        at = (at + 1) & mask;
    table->slots[at] = index + 1;
}

/* Drops removed entries, and doubles the room where most are live. */
static void rebuild(struct table *table)
{
    uint32_t room = table->room == 0                ? ROOM_LEAST
                    : table->live > table->room / 2 ? 2 * table->room
                                                    : table->room;
    struct table_entry *entries = store_allocate(room * sizeof(*entries));
    uint32_t live = 0;
    for (uint32_t i = 0; i < table->used; i++)
        if (table->entries[i].key != NULL)
            entries[live++] = table->entries[i];
    free(table->entries);
    free(table->slots);
    table->entries = entries;
    table->slots = store_allocate(2 * room * sizeof(*table->slots));
    memset(table->slots, 0, 2 * room * sizeof(*table->slots));
    table->room = room;
    table->used = live;
    for (uint32_t i = 0; i < live; i++)
        place(table, i);
}

struct table_entry *table_add(struct table *table, const char *key, size_t length)
{
    if (table->used == table->room)
        rebuild(table);
    struct table_entry *entry = &table->entries[table->used];
    *entry = (struct table_entry){.key = store_text(key, length),
                                  .key_length = length,
                                  .hash = XXH3_64bits(key, length),
                                  .number = ++table->last_number};
    place(table, table->used++);
    table->live++;
    return entry;
}

void table_set_value(struct table_entry *entry, const char *value, size_t length)
{
    /* `value` may be the entry's own. */
    char *copy = store_text(value, length);
    free(entry->value);
    entry->value = copy;
    entry->value_length = length;
}

void table_remove(struct table *table, struct table_entry *entry)
{
    check(entry->key != NULL);
    free(entry->key);
    free(entry->value);
    entry->key = entry->value = NULL;
    table->live--;
}

void table_clear(struct table *table)
{
    for (uint32_t i = 0; i < table->used; i++) {
        free(table->entries[i].key);
        free(table->entries[i].value);
    }
    free(table->entries);
    free(table->slots);
    *table = (struct table){0};
}

struct table_entry *table_next(const struct table *table, const struct table_entry *after)
{
    uint32_t at = after == NULL ? 0 : (uint32_t)(after - table->entries) + 1;
    while (at < table->used && table->entries[at].key == NULL)
        at++;
    return at < table->used ? &table->entries[at] : NULL;
}

struct table_entry *table_after(const struct table *table, uint64_t number)
{
    uint32_t low = 0, high = table->used;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (table->entries[middle].number <= number)
            low = middle + 1;
        else
            high = middle;
    }
    while (low < table->used && table->entries[low].key == NULL)
        low++;
    return low < table->used ? &table->entries[low] : NULL;
}

static int compare(const void *a, const void *b)
{
    const struct table_entry *left = *(struct table_entry *const *)a;
    const struct table_entry *right = *(struct table_entry *const *)b;
    size_t both = left->key_length < right->key_length ? left->key_length : right->key_length;
    int order = memcmp(left->key, right->key, both);
    return order != 0
               ? order
               : (left->key_length > right->key_length) - (left->key_length < right->key_length);
}

struct table_entry **table_sorted(const struct table *table)
{
    struct table_entry **out = store_allocate(table->live * sizeof(struct table_entry *));
    size_t count = 0;
    for (struct table_entry *entry = NULL; (entry = table_next(table, entry)) != NULL;)
        out[count++] = entry;
    qsort(out, count, sizeof(struct table_entry *), compare);
    return out;
}
