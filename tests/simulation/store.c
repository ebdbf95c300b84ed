/* SPDX-License-Identifier: Apache-2.0 */
/* The store itself: its keys and their expiry, copies and digests, and the calls of store.h. */
#include "tests/simulation/store.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "server/base/check.h"
#include "tests/simulation/store_internal.h"
#include "tests/simulation/store_recording.h"

/* ---- keys ---- */

int64_t store_now_ms(const struct store *store)
{
    return (int64_t)(store->real_us / 1000);
}

static bool is_over(const struct store *store, const struct store_object *object)
{
    return object->expires_ms >= 0 && store_now_ms(store) > object->expires_ms;
}

static void destroy_object(struct store_object *object)
{
    table_clear(&object->fields);
    stream_destroy(object->stream);
    free(object);
}

static void drop(struct store *store, struct table_entry *entry)
{
    destroy_object(entry->object);
    table_remove(&store->keys, entry);
}

struct store_object *store_find(struct store *store, const char *key, size_t length)
{
    struct table_entry *entry = table_find(&store->keys, key, length);
    if (entry == NULL)
        return NULL;
    if (is_over(store, entry->object)) {
        drop(store, entry);
        return NULL;
    }
    return entry->object;
}

bool store_find_kind(struct store *store, const struct store_words *words, enum store_kind kind,
                     struct store_object **object, struct answer *out)
{
    *object = store_find(store, words->text[1], words->lengths[1]);
    if (*object == NULL || (*object)->kind == kind)
        return true;
    answer_error(out, "WRONGTYPE Operation against a key holding the wrong kind of value");
    return false;
}

static struct store_object *create_object(enum store_kind kind)
{
    struct store_object *object = store_allocate(sizeof(*object));
    *object = (struct store_object){.kind = kind, .expires_ms = -1};
    return object;
}

struct store_object *store_add(struct store *store, const char *key, size_t length,
                               enum store_kind kind)
{
    struct table_entry *entry = table_add(&store->keys, key, length);
    entry->object = create_object(kind);
    if (kind == STORE_STREAM)
        entry->object->stream = stream_create();
    return entry->object;
}

void store_remove(struct store *store, const char *key, size_t length)
{
    struct table_entry *entry = table_find(&store->keys, key, length);
    check(entry != NULL);
    drop(store, entry);
}

/* ---- stores ---- */

int store_create(struct store **out, store_published *published, void *context)
{
    struct store *store = store_allocate(sizeof(*store));
    memset(store, 0, sizeof(*store));
    store->published = published;
    store->context = context;
    store->number = recording_number();
    *out = store;
    return 0;
}

static void clear_keys(struct store *store)
{
    for (struct table_entry *entry = NULL; (entry = table_next(&store->keys, entry)) != NULL;)
        destroy_object(entry->object);
    table_clear(&store->keys);
}

static void empty(struct store *store)
{
    clear_keys(store);
    store->libraries_count = 0;
}

void store_clear(struct store *store)
{
    recording_change(RECORDED_CLEAR, store->number, 0);
    empty(store);
}

void store_destroy(struct store **store)
{
    if (*store == NULL)
        return;
    clear_keys(*store);
    answer_free(&(*store)->answer);
    answer_free(&(*store)->script_answer);
    free(*store);
    *store = NULL;
}

static void copy_object(struct table_entry *to, const struct store_object *from)
{
    to->object = create_object(from->kind);
    to->object->scattered = from->scattered;
    to->object->expires_ms = from->expires_ms;
    if (from->stream != NULL)
        to->object->stream = stream_copy(from->stream);
    for (struct table_entry *entry = NULL; (entry = table_next(&from->fields, entry)) != NULL;) {
        struct table_entry *copy = table_add(&to->object->fields, entry->key, entry->key_length);
        table_set_value(copy, entry->value, entry->value_length);
        copy->number = entry->number; /* which a cursor of HSCAN names */
    }
    to->object->fields.last_number = from->fields.last_number;
}

int store_copy(struct store *to, const struct store *from)
{
    if (to == from)
        return 0;
    recording_change(RECORDED_COPY, to->number, from->number);
    empty(to);
    for (struct table_entry *entry = NULL; (entry = table_next(&from->keys, entry)) != NULL;)
        copy_object(table_add(&to->keys, entry->key, entry->key_length), entry->object);
    memcpy(to->libraries, from->libraries, sizeof(to->libraries));
    to->libraries_count = from->libraries_count;
    return 0;
}

void store_set_time(struct store *store, uint64_t real_us)
{
    store->real_us = real_us;
}

struct redisReply *store_call(struct store *store, int count, const char *const words[],
                              const size_t lengths[])
{
    check(count > 0);
    size_t *measured = NULL;
    if (lengths == NULL) {
        measured = store_allocate((size_t)count * sizeof(*measured));
        for (int i = 0; i < count; i++)
            measured[i] = strlen(words[i]);
        lengths = measured;
    }
    const struct store_words call = {.count = count, .text = words, .lengths = lengths};
    (void)store_execute(store, &call, NULL, &store->answer);
    struct redisReply *reply = answer_reply(&store->answer);
    recording_call(store->number, store->real_us, &call, reply);
    free(measured);
    return reply;
}

/* ---- what the simulator reads beside the commands ---- */

static const struct store_object *see(const struct store *store, const char *key)
{
    const struct table_entry *entry = table_find(&store->keys, key, strlen(key));
    return entry == NULL || is_over(store, entry->object) ? NULL : entry->object;
}

const char *store_field(struct store *store, const char *key, const char *field, size_t *length)
{
    const struct store_object *object = see(store, key);
    const struct table_entry *entry =
        object == NULL ? NULL : table_find(&object->fields, field, strlen(field));
    if (entry == NULL)
        return NULL;
    if (length != NULL)
        *length = entry->value_length;
    return entry->value;
}

void store_each_key(struct store *store, store_key_visit *visit, void *context)
{
    struct table_entry **sorted = table_sorted(&store->keys);
    for (uint32_t i = 0, count = store->keys.live; i < count; i++) {
        const struct store_object *object = sorted[i]->object;
        if (!is_over(store, object))
            visit(context, sorted[i]->key, sorted[i]->key_length, object->kind, object->expires_ms);
    }
    free(sorted);
}

static void each_field(const struct store_object *object, store_field_visit *visit, void *context)
{
    struct table_entry **sorted = table_sorted(&object->fields);
    for (uint32_t i = 0, count = object->fields.live; i < count; i++)
        visit(context, sorted[i]->key, sorted[i]->key_length, sorted[i]->value,
              sorted[i]->value_length);
    free(sorted);
}

void store_each_field(struct store *store, const char *key, store_field_visit *visit, void *context)
{
    const struct store_object *object = see(store, key);
    if (object != NULL && object->kind == STORE_HASH)
        each_field(object, visit, context);
}

/* ---- the digest ---- */

struct digest {
    const struct store *store;
    XXH3_state_t *state;
};

static void digest_bytes(void *context, const void *bytes, size_t length)
{
    const struct digest *digest = context;
    XXH3_64bits_update(digest->state, bytes, length);
}

static void digest_text(void *context, const char *text, size_t length)
{
    uint64_t told = length; /* so that no two lists of texts are the same bytes */
    digest_bytes(context, &told, sizeof(told));
    digest_bytes(context, text, length);
}

static void digest_field(void *context, const char *field, size_t field_length, const char *value,
                         size_t value_length)
{
    digest_text(context, field, field_length);
    digest_text(context, value, value_length);
}

static void digest_key(void *context, const char *key, size_t length, enum store_kind kind,
                       int64_t expires_ms)
{
    const struct digest *digest = context;
    const struct store_object *object = table_find(&digest->store->keys, key, length)->object;
    const uint64_t facts[] = {(uint64_t)kind, (uint64_t)expires_ms, object->fields.live};
    digest_text(context, key, length);
    digest_bytes(context, facts, sizeof(facts));
    if (kind == STORE_STREAM)
        stream_each(object->stream, digest_bytes, context);
    else
        each_field(object, digest_field, context);
}

uint64_t store_digest(struct store *store)
{
    struct digest digest = {.store = store, .state = XXH3_createState()};
    check(digest.state != NULL);
    XXH3_64bits_reset(digest.state);
    store_each_key(store, digest_key, &digest);
    uint64_t result = XXH3_64bits_digest(digest.state);
    XXH3_freeState(digest.state);
    return result;
}
