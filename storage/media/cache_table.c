/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache's table of paths and its lists. Used by cache.c only; it opens nothing, frees no entry
 * and knows nothing of references.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "storage/media/cache_internal.h"

int cache_table_create(struct cache_table *table, uint32_t entries_max)
{
    size_t slots = 16;
    while (slots < (size_t)entries_max * 2)
        slots *= 2;
    table->slots = calloc(slots, sizeof(*table->slots));
    table->mask = slots - 1;
    table->count = 0;
    return table->slots != NULL ? 0 : -ENOMEM;
}

void cache_table_destroy(struct cache_table *table)
{
    free(table->slots);
    table->slots = NULL;
}

struct cache_entry *cache_table_find(const struct cache_table *table, const char *path,
                                     size_t path_length, uint64_t path_hash)
{
    for (size_t i = path_hash & table->mask; table->slots[i].entry != NULL;
         i = (i + 1) & table->mask) {
        const struct cache_slot *slot = &table->slots[i];
        if (slot->path_hash == path_hash && slot->entry->file.path_length == path_length &&
            memcmp(slot->entry->file.path, path, path_length) == 0)
            return slot->entry;
    }
    return NULL;
}

void cache_table_insert(struct cache_table *table, struct cache_entry *entry)
{
    check(table->count < table->mask);
    size_t i = entry->path_hash & table->mask;
    while (table->slots[i].entry != NULL)
        i = (i + 1) & table->mask;
    table->slots[i] = (struct cache_slot){.path_hash = entry->path_hash, .entry = entry};
    table->count++;
    entry->cached = true;
}

void cache_table_remove(struct cache_table *table, const struct cache_entry *entry)
{
    size_t gap = entry->path_hash & table->mask;
    while (table->slots[gap].entry != entry) {
        check(table->slots[gap].entry != NULL);
        gap = (gap + 1) & table->mask;
    }
    table->slots[gap].entry->cached = false;
    /* No tombstones: entries behind it that could not be found across the gap move up. */
    for (size_t i = (gap + 1) & table->mask; table->slots[i].entry != NULL;
         i = (i + 1) & table->mask) {
        size_t home = table->slots[i].path_hash & table->mask;
        if (((i - home) & table->mask) >= ((i - gap) & table->mask)) {
            table->slots[gap] = table->slots[i];
            gap = i;
        }
    }
    table->slots[gap].entry = NULL;
    table->count--;
}

void cache_list_append(struct cache_list *list, struct cache_entry *entry)
{
    entry->older = list->newest;
    entry->newer = NULL;
    *(list->newest != NULL ? &list->newest->newer : &list->oldest) = entry;
    list->newest = entry;
    list->count++;
}

void cache_list_remove(struct cache_list *list, struct cache_entry *entry)
{
    *(entry->older != NULL ? &entry->older->newer : &list->oldest) = entry->newer;
    *(entry->newer != NULL ? &entry->newer->older : &list->newest) = entry->older;
    entry->older = entry->newer = NULL;
    list->count--;
}
