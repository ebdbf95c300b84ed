/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts connections by address in a hash table with open addressing and linear probing, which
 * never grows. connection_client.c calls it. See address_table.h.
 */
#include "server/grant/address_table.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

#include "server/base/check.h"

#define KEY_BYTES CLIENT_SUBSCRIBER_SIZE

struct slot {
    unsigned char key[KEY_BYTES];
    uint32_t count; /* 0: free */
};

struct address_table {
    pthread_mutex_t mutex;
    uint64_t seed;                 /* random, so that nobody can choose addresses that collide */
    uint32_t most, used, used_max; /* connections of one address; addresses; their bound */
    size_t mask;
    struct slot *slots; /* owns; at most half of them are used, so that a probe ends soon */
};

int address_table_create(struct address_table **out, uint32_t connections_max, uint32_t most)
{
    size_t slots = 16;
    struct address_table *table = calloc(1, sizeof(*table));
    while (slots / 2 < connections_max)
        slots *= 2;
    *out = NULL;
    if (table == NULL || (table->slots = calloc(slots, sizeof(*table->slots))) == NULL) {
        free(table);
        return -ENOMEM;
    }
    if (getrandom(&table->seed, sizeof(table->seed), 0) != (ssize_t)sizeof(table->seed)) {
        free(table->slots);
        free(table);
        return -EIO;
    }
    pthread_mutex_init(&table->mutex, NULL);
    table->mask = slots - 1;
    table->most = most;
    table->used_max = connections_max;
    *out = table;
    return 0;
}

void address_table_destroy(struct address_table **table)
{
    if (*table == NULL)
        return;
    pthread_mutex_destroy(&(*table)->mutex);
    free((*table)->slots);
    free(*table);
    *table = NULL;
}

static size_t home_of(const struct address_table *table, const unsigned char key[KEY_BYTES])
{
    return XXH3_64bits_withSeed(key, KEY_BYTES, table->seed) & table->mask;
}

/* The key's slot, or the free slot where the key belongs. */
static size_t find(const struct address_table *table, const unsigned char key[KEY_BYTES])
{
    size_t index = home_of(table, key);
    while (table->slots[index].count > 0 && memcmp(table->slots[index].key, key, KEY_BYTES) != 0)
        index = (index + 1) & table->mask;
    return index;
}

/* Frees a slot, and moves later entries into the hole where their probe passed it: the hole would
 * hide them. */
static void clear(struct address_table *table, size_t hole)
{
    size_t index = hole;
    table->slots[hole].count = 0;
    for (;;) {
        index = (index + 1) & table->mask;
        if (table->slots[index].count == 0)
            return;
        size_t home = home_of(table, table->slots[index].key);
        if (((index - home) & table->mask) >= ((index - hole) & table->mask)) {
            table->slots[hole] = table->slots[index];
            table->slots[index].count = 0;
            hole = index;
        }
    }
}

bool address_table_enter(struct address_table *table, const struct client_address *address)
{
    unsigned char key[KEY_BYTES];
    client_address_subscriber(address, key);
    pthread_mutex_lock(&table->mutex);
    struct slot *slot = &table->slots[find(table, key)];
    bool room = slot->count > 0 ? slot->count < table->most : table->used < table->used_max;
    if (room && slot->count == 0) {
        memcpy(slot->key, key, KEY_BYTES);
        table->used++;
    }
    if (room)
        slot->count++;
    pthread_mutex_unlock(&table->mutex);
    return room;
}

void address_table_leave(struct address_table *table, const struct client_address *address)
{
    unsigned char key[KEY_BYTES];
    client_address_subscriber(address, key);
    pthread_mutex_lock(&table->mutex);
    size_t index = find(table, key);
    check(table->slots[index].count > 0);
    if (--table->slots[index].count == 0) {
        clear(table, index);
        table->used--;
    }
    pthread_mutex_unlock(&table->mutex);
}
