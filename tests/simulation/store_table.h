/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash table of byte strings that keeps the order of insertion: the store's keys, and the fields
 * of each of its hashes. Nothing in it depends on addresses or on a random seed.
 */
#ifndef TOLLGATE_TESTS_SIMULATION_STORE_TABLE_H
#define TOLLGATE_TESTS_SIMULATION_STORE_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct store_object;

/* One key. `value` (owned) is a field's, `object` (owned by the store) a key's. */
struct table_entry {
    char *key; /* owned; ends with a NUL; NULL: removed */
    size_t key_length;
    char *value;
    size_t value_length;
    struct store_object *object;
    uint64_t hash;
    uint64_t number; /* from 1, ascending by insertion, never given twice in a table */
};

/* All zero: empty. */
struct table {
    struct table_entry *entries; /* owned, `used` of `room`; the removed ones are in it until the
                                    table is rebuilt */
    uint32_t *slots;             /* owned, 2 * room: 0, or the entry's index + 1 */
    uint32_t used, live, room;
    uint64_t last_number;
};

/* NULL where absent. */
struct table_entry *table_find(const struct table *table, const char *key, size_t length);
/* Adds a key that is absent; its value and object are NULL. Entries move. */
struct table_entry *table_add(struct table *table, const char *key, size_t length);
void table_set_value(struct table_entry *entry, const char *value, size_t length);
/* Frees the entry's key and value. */
void table_remove(struct table *table, struct table_entry *entry);
/* Frees all keys and values. */
void table_clear(struct table *table);
/* In order of insertion: the entry behind `after`, or the first (NULL); NULL at the end. */
struct table_entry *table_next(const struct table *table, const struct table_entry *after);
/* The first entry whose number is more than this one; NULL: none. */
struct table_entry *table_after(const struct table *table, uint64_t number);
/* The live entries ascending by the bytes of their keys; the caller frees the array. */
struct table_entry **table_sorted(const struct table *table);

/* malloc and realloc that never fail (check). */
void *store_allocate(size_t size);
void *store_resize(void *old, size_t size);
/* A copy that ends with a NUL. */
char *store_text(const char *text, size_t length);

#endif
