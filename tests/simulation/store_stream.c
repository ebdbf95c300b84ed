/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams: XADD and XRANGE. MAXLEN ~ lets Redis remove whole nodes of its own storage only, so the
 * store counts entries and bytes of those nodes as Redis does, and keeps the same entries.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "tests/simulation/store_internal.h"

/* As Redis 7.0 ships. */
#define NODE_ENTRIES_MAX 100
#define NODE_BYTES_MAX   4096
#define TRIM_MAX         (100 * NODE_ENTRIES_MAX) /* entries removed by one XADD */

struct id {
    uint64_t ms, sequence;
};

struct entry {
    struct id id;
    size_t count;     /* of its texts: field, value, field... */
    char *bytes;      /* owned: the texts, each with a NUL */
    size_t *lengths;  /* owned */
    size_t all_bytes; /* of `bytes` */
};

struct node {
    struct id master; /* of its first entry, whose fields the others are held against */
    uint64_t first;   /* number of that entry, counted from the stream's first ever */
    size_t count, bytes;
};

struct store_stream {
    struct entry *entries; /* owned, from `removed - base` on */
    size_t count, room;
    uint64_t removed;   /* how many were ever removed: the number of entries[0] */
    struct node *nodes; /* owned */
    size_t nodes_count, nodes_room;
    struct id last;
};

/* ---- streams ---- */

struct store_stream *stream_create(void)
{
    struct store_stream *stream = store_allocate(sizeof(*stream));
    *stream = (struct store_stream){0};
    return stream;
}

static void free_entries(struct entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(entries[i].bytes);
        free(entries[i].lengths);
    }
}

void stream_destroy(struct store_stream *stream)
{
    if (stream == NULL)
        return;
    free_entries(stream->entries, stream->count);
    free(stream->entries);
    free(stream->nodes);
    free(stream);
}

static void *duplicate(const void *from, size_t size)
{
    void *out = store_allocate(size);
    if (size > 0)
        memcpy(out, from, size);
    return out;
}

struct store_stream *stream_copy(const struct store_stream *from)
{
    struct store_stream *to = duplicate(from, sizeof(*from));
    to->room = from->count;
    to->nodes_room = from->nodes_count;
    to->entries = duplicate(from->entries, from->count * sizeof(*from->entries));
    to->nodes = duplicate(from->nodes, from->nodes_count * sizeof(*from->nodes));
    for (size_t i = 0; i < to->count; i++) {
        struct entry *entry = &to->entries[i];
        entry->bytes = duplicate(entry->bytes, entry->all_bytes);
        entry->lengths = duplicate(entry->lengths, entry->count * sizeof(*entry->lengths));
    }
    return to;
}

void stream_each(const struct store_stream *stream,
                 void (*take)(void *context, const void *bytes, size_t length), void *context)
{
    take(context, &stream->last, sizeof(stream->last));
    for (size_t i = 0; i < stream->count; i++) {
        const struct entry *entry = &stream->entries[i];
        take(context, &entry->id, sizeof(entry->id));
        take(context, entry->lengths, entry->count * sizeof(*entry->lengths));
        take(context, entry->bytes, entry->all_bytes);
    }
}

/* ---- the nodes of Redis ---- */

static size_t with_length_behind(size_t size)
{
    return size + (size <= 127 ? 1 : size < 16383 ? 2 : size < 2097151 ? 3 : 4);
}

static size_t integer_size(long long value)
{
    size_t size = value >= 0 && value <= 127                 ? 1
                  : value >= -4096 && value <= 4095          ? 2
                  : value >= INT16_MIN && value <= INT16_MAX ? 3
                  : value >= -8388608 && value <= 8388607    ? 4
                  : value >= INT32_MIN && value <= INT32_MAX ? 5
                                                             : 9;
    return with_length_behind(size);
}

/* The bytes of a text in a listpack, which keeps integers as such. */
static size_t text_size(const char *text, size_t length)
{
    long long value;
    if (store_integer(text, length, &value))
        return integer_size(value);
    return with_length_behind(length + (length < 64 ? 1 : length < 4096 ? 2 : 5));
}

/* Whether the entry has the fields of the node's first one, which Redis then does not repeat. */
static bool same_fields(const struct entry *a, const struct entry *b)
{
    const char *left = a->bytes, *right = b->bytes;
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (i % 2 == 0 &&
            (a->lengths[i] != b->lengths[i] || memcmp(left, right, a->lengths[i]) != 0))
            return false;
        left += a->lengths[i] + 1;
        right += b->lengths[i] + 1;
    }
    return true;
}

static size_t entry_size(const struct entry *entry, const struct node *node, bool same)
{
    size_t fields = entry->count / 2, parts = fields + 3 + (same ? 0 : fields + 1);
    size_t size = integer_size(same ? 2 : 0) +
                  integer_size((long long)(entry->id.ms - node->master.ms)) +
                  integer_size((long long)(entry->id.sequence - node->master.sequence)) +
                  (same ? 0 : integer_size((long long)fields)) + integer_size((long long)parts);
    const char *text = entry->bytes;
    for (size_t i = 0; i < entry->count; i++) {
        if (i % 2 == 1 || !same)
            size += text_size(text, entry->lengths[i]);
        text += entry->lengths[i] + 1;
    }
    return size;
}

/* An empty node with the fields of its first entry. */
static size_t node_size(const struct entry *master)
{
    size_t size = 7 + integer_size(1) + integer_size(0) +
                  integer_size((long long)master->count / 2) + integer_size(0);
    const char *text = master->bytes;
    for (size_t i = 0; i < master->count; i++) {
        if (i % 2 == 0)
            size += text_size(text, master->lengths[i]);
        text += master->lengths[i] + 1;
    }
    return size;
}

static void add_to_node(struct store_stream *stream, const struct entry *entry)
{
    struct node *node = stream->nodes_count == 0 ? NULL : &stream->nodes[stream->nodes_count - 1];
    size_t plain = entry->all_bytes - entry->count; /* without the NULs */
    if (node == NULL || node->bytes + plain >= NODE_BYTES_MAX || node->count >= NODE_ENTRIES_MAX) {
        if (stream->nodes_count == stream->nodes_room) {
            stream->nodes_room = 2 * stream->nodes_room + 4;
            stream->nodes =
                store_resize(stream->nodes, stream->nodes_room * sizeof(*stream->nodes));
        }
        node = &stream->nodes[stream->nodes_count++];
        *node = (struct node){.master = entry->id,
                              .first = stream->removed + stream->count,
                              .bytes = node_size(entry)};
    }
    const struct entry *master =
        node->count == 0 ? entry : &stream->entries[node->first - stream->removed];
    node->bytes += entry_size(entry, node, same_fields(entry, master));
    node->count++;
}

static void trim(struct store_stream *stream, uint64_t most)
{
    size_t nodes = 0, entries = 0;
    while (nodes < stream->nodes_count && stream->count - entries > most &&
           entries + stream->nodes[nodes].count <= TRIM_MAX &&
           stream->count - entries - stream->nodes[nodes].count >= most)
        entries += stream->nodes[nodes++].count;
    if (nodes == 0)
        return;
    free_entries(stream->entries, entries);
    stream->count -= entries;
    stream->nodes_count -= nodes;
    stream->removed += entries;
    memmove(stream->entries, stream->entries + entries, stream->count * sizeof(*stream->entries));
    memmove(stream->nodes, stream->nodes + nodes, stream->nodes_count * sizeof(*stream->nodes));
}

/* ---- ids ---- */

static bool parse_number(const char *text, uint64_t *out)
{
    long long value;
    char *end;
    if (store_integer(text, strlen(text), &value)) {
        *out = (uint64_t)value;
        return value >= 0;
    }
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *text != '\0' && *end == '\0';
}

/* "ms" or "ms-sequence"; `sequence` is that of the former. Unless `strict`, also "-" and "+". */
static bool parse_id(const char *text, size_t length, bool strict, uint64_t sequence,
                     struct id *out)
{
    char copy[128];
    if (length >= sizeof(copy))
        return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    if (!strict && (strcmp(copy, "-") == 0 || strcmp(copy, "+") == 0)) {
        *out = copy[0] == '-' ? (struct id){0, 0} : (struct id){UINT64_MAX, UINT64_MAX};
        return true;
    }
    char *dash = strchr(copy, '-');
    if (dash != NULL)
        *dash = '\0';
    out->sequence = sequence;
    return parse_number(copy, &out->ms) && (dash == NULL || parse_number(dash + 1, &out->sequence));
}

static bool is_less(struct id a, struct id b)
{
    return a.ms < b.ms || (a.ms == b.ms && a.sequence < b.sequence);
}

static bool increment(struct id *id)
{
    if (++id->sequence != 0)
        return true;
    return ++id->ms != 0;
}

static bool decrement(struct id *id)
{
    if (id->sequence-- != 0)
        return true;
    return id->ms-- != 0;
}

static void answer_id(struct id id, struct answer *out)
{
    answer_format(out, "%llu-%llu", (unsigned long long)id.ms, (unsigned long long)id.sequence);
}

/* ---- XADD ---- */

struct addition {
    bool trims, given; /* given: with an id */
    long long most;
    struct id id;
    int fields; /* index of the first field */
};

/* False where it has answered an error. */
static bool addition_maxlen(const struct store_words *words, int at, struct addition *addition,
                            struct answer *out)
{
    if (at + 2 >= words->count || !store_is(words, at + 1, "~")) {
        answer_error(out, "ERR the store has only XADD MAXLEN ~");
        return false;
    }
    if (!store_integer(words->text[at + 2], words->lengths[at + 2], &addition->most)) {
        answer_error(out, "ERR value is not an integer or out of range");
        return false;
    }
    if (addition->most < 0) {
        answer_error(out, "ERR The MAXLEN argument must be >= 0.");
        return false;
    }
    addition->trims = true;
    return true;
}

static bool parse_addition(const struct store_words *words, struct addition *addition,
                           struct answer *out)
{
    int at = 2;
    *addition = (struct addition){0};
    if (store_is(words, at, "maxlen")) {
        if (!addition_maxlen(words, at, addition, out))
            return false;
        at += 3;
    }
    if (at < words->count && (store_is(words, at, "maxlen") || store_is(words, at, "minid") ||
                              store_is(words, at, "limit") || store_is(words, at, "nomkstream"))) {
        answer_error(out, "ERR the store has only XADD MAXLEN ~");
        return false;
    }
    addition->given = at < words->count && !store_is(words, at, "*");
    if (addition->given && !parse_id(words->text[at], words->lengths[at], true, 0, &addition->id)) {
        answer_error(out, "ERR Invalid stream ID specified as stream command argument");
        return false;
    }
    addition->fields = at + 1;
    if (words->count - addition->fields < 2 || (words->count - addition->fields) % 2 != 0) {
        store_wrong_number(out, "xadd");
        return false;
    }
    if (addition->given && addition->id.ms == 0 && addition->id.sequence == 0) {
        answer_error(out, "ERR The ID specified in XADD must be greater than 0-0");
        return false;
    }
    return true;
}

/* False where it has answered an error. */
static bool number(struct store_stream *stream, const struct addition *addition, uint64_t now_ms,
                   struct id *id, struct answer *out)
{
    *id = stream->last;
    if (stream->last.ms == UINT64_MAX && stream->last.sequence == UINT64_MAX) {
        answer_error(out, "ERR The stream has exhausted the last possible ID, unable to add more "
                          "items");
        return false;
    }
    if (!addition->given) {
        if (now_ms > stream->last.ms)
            *id = (struct id){now_ms, 0};
        else
            (void)increment(id);
        return true;
    }
    *id = addition->id;
    if (is_less(stream->last, *id))
        return true;
    answer_error(out, "ERR The ID specified in XADD is equal or smaller than the target stream "
                      "top item");
    return false;
}

static void append(struct store_stream *stream, const struct store_words *words, int fields,
                   struct id id)
{
    struct entry entry = {.id = id, .count = (size_t)(words->count - fields)};
    entry.lengths = duplicate(words->lengths + fields, entry.count * sizeof(*entry.lengths));
    for (size_t i = 0; i < entry.count; i++)
        entry.all_bytes += entry.lengths[i] + 1;
    entry.bytes = store_allocate(entry.all_bytes);
    char *to = entry.bytes;
    for (size_t i = 0; i < entry.count; i++) {
        memcpy(to, words->text[(size_t)fields + i], entry.lengths[i]);
        to[entry.lengths[i]] = '\0';
        to += entry.lengths[i] + 1;
    }
    if (stream->count == stream->room) {
        stream->room = 2 * stream->room + 16;
        stream->entries = store_resize(stream->entries, stream->room * sizeof(*stream->entries));
    }
    add_to_node(stream, &entry);
    stream->entries[stream->count++] = entry;
    stream->last = id;
}

void stream_xadd(struct store *store, const struct store_words *words, struct answer *out)
{
    struct addition addition;
    struct store_object *object;
    struct id id;
    if (!parse_addition(words, &addition, out) ||
        !store_find_kind(store, words, STORE_STREAM, &object, out))
        return;
    if (object == NULL)
        object = store_add(store, words->text[1], words->lengths[1], STORE_STREAM);
    if (!number(object->stream, &addition, (uint64_t)store_now_ms(store), &id, out))
        return;
    append(object->stream, words, addition.fields, id);
    if (addition.trims)
        trim(object->stream, (uint64_t)addition.most);
    answer_id(id, out);
}

/* ---- XRANGE ---- */

/* Both ends are inclusive afterwards. False where it has answered an error. */
static bool parse_ends(const struct store_words *words, struct id ends[2], struct answer *out)
{
    bool exclusive[2];
    for (int i = 0; i < 2; i++) {
        const char *text = words->text[2 + i];
        size_t length = words->lengths[2 + i];
        exclusive[i] = length > 1 && text[0] == '(';
        if (!parse_id(text + exclusive[i], length - exclusive[i], exclusive[i],
                      i == 0 ? 0 : UINT64_MAX, &ends[i])) {
            answer_error(out, "ERR Invalid stream ID specified as stream command argument");
            return false;
        }
        if (exclusive[i] && !(i == 0 ? increment(&ends[i]) : decrement(&ends[i]))) {
            answer_error(out, "ERR invalid %s ID for the interval", i == 0 ? "start" : "end");
            return false;
        }
    }
    return true;
}

static bool range_options(const struct store_words *words, long long *most, struct answer *out)
{
    *most = -1;
    for (int i = 4; i < words->count; i += 2) {
        if (!store_count(words, i, most, out))
            return false;
        *most = *most < 0 ? 0 : *most;
    }
    return true;
}

static void answer_entry(const struct entry *entry, struct answer *out)
{
    const char *text = entry->bytes;
    (void)answer_array(out, 2);
    answer_id(entry->id, out);
    (void)answer_array(out, entry->count);
    for (size_t i = 0; i < entry->count; i++) {
        answer_text(out, text, entry->lengths[i]);
        text += entry->lengths[i] + 1;
    }
}

void stream_xrange(struct store *store, const struct store_words *words, struct answer *out)
{
    struct store_object *object;
    struct id ends[2];
    long long most;
    if (!parse_ends(words, ends, out) || !range_options(words, &most, out) ||
        !store_find_kind(store, words, STORE_STREAM, &object, out))
        return;
    if (most == 0 && object != NULL) {
        answer_nil(out);
        return;
    }
    size_t array = answer_array(out, 0), found = 0, low = 0;
    const struct store_stream *stream = object == NULL ? NULL : object->stream;
    for (size_t high = stream == NULL ? 0 : stream->count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (is_less(stream->entries[middle].id, ends[0]))
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t i = low; stream != NULL && i < stream->count; i++) {
        if (is_less(ends[1], stream->entries[i].id) || (most > 0 && (long long)found == most))
            break;
        answer_entry(&stream->entries[i], out);
        found++;
    }
    answer_array_count(out, array, found);
}
