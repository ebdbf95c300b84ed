/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a checkpoint: reads the segments behind the one before, adds up their records by account in
 * memory, and merges these with the accounts of the checkpoint before, which stream past in the same
 * order. Called by checkpoints.c.
 */
#include "storage/ledger/checkpoint_make.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_HINT 65536 /* accounts and files in the segments, for the size of a table */

/* The accounts of the segments: open addressing by their names, doubled at half. */
struct parts {
    struct checkpoint_account *slots; /* own; name NULL: free */
    size_t count, room;
};

struct making {
    const struct checkpoint_place *place;
    const _Atomic bool *stop; /* borrows */
    struct names names;       /* of the segments and of what is merged */
    struct parts parts;
    struct checkpoint_account *order; /* the parts, in the file's order: parts.slots sorted */
    uint64_t time_ms;
    struct checkpoint_reader before; /* where there is one */
    bool has_before;
    struct checkpoint_writer writer;
    struct checkpoint_bytes bytes; /* owns */
    struct checkpoint out;
};

/* ---- reading the segments ---- */

static struct checkpoint_account *slot_of(struct checkpoint_account *slots, size_t room,
                                          const struct ledger_name *name)
{
    size_t at = (size_t)((uintptr_t)name * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (room - 1);
    while (slots[at].name != NULL && slots[at].name != name)
        at = (at + 1) & (room - 1);
    return &slots[at];
}

static int keep_room(struct parts *parts)
{
    if (parts->count * 2 < parts->room)
        return 0;
    size_t room = parts->room == 0 ? 1024 : parts->room * 2;
    struct checkpoint_account *slots = calloc(room, sizeof(struct checkpoint_account));
    if (slots == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < parts->room; i++)
        if (parts->slots[i].name != NULL)
            *slot_of(slots, room, parts->slots[i].name) = parts->slots[i];
    free(parts->slots);
    parts->slots = slots;
    parts->room = room;
    return 0;
}

static int take_entry(void *context, const struct journal_entry *entry, uint32_t segment)
{
    struct making *making = context;
    if (atomic_load_explicit(making->stop, memory_order_relaxed))
        return -ECANCELED;
    int result = keep_room(&making->parts);
    if (result != 0)
        return result;
    struct checkpoint_account *account =
        slot_of(making->parts.slots, making->parts.room, &entry->account->name);
    making->parts.count += account->name == NULL;
    if (entry->record.time_ms > making->time_ms)
        making->time_ms = entry->record.time_ms;
    return checkpoint_account_add(account, entry, segment);
}

/* Reads the segments behind `base`, which is what the checkpoint before has beside its accounts. */
static int read_segments(struct making *making, const struct checkpoint *base, uint32_t segment,
                         char *error, size_t error_size)
{
    struct journal journal;
    const struct journal_pass pass = {.checkpoints = -1,
                                      .from = base,
                                      .to = segment,
                                      .end = &making->out,
                                      .each = take_entry,
                                      .context = making};
    journal_init(&journal, making->place->disk, &making->names, making->place->journal,
                 making->place->instance);
    int result = journal_scan(&journal, &pass, error, error_size);
    journal_end(&journal);
    return result;
}

/* ---- merging ---- */

static int compare_texts(const char *one, size_t one_length, const char *other, size_t other_length)
{
    uint64_t first = checkpoint_hash(one, one_length),
             second = checkpoint_hash(other, other_length);
    if (first != second)
        return first < second ? -1 : 1;
    int order = memcmp(one, other, one_length < other_length ? one_length : other_length);
    if (order != 0)
        return order;
    return one_length < other_length ? -1 : one_length > other_length;
}

static int compare_parts(const void *first, const void *second)
{
    const struct checkpoint_account *one = first, *other = second;
    return compare_texts(one->name->text, one->name->length, other->name->text,
                         other->name->length);
}

static int write_account(struct making *making, struct checkpoint_account *account)
{
    checkpoint_account_settle(account, making->time_ms);
    making->bytes.length = 0;
    int result = checkpoint_account_encode(account, &making->bytes);
    if (result == 0)
        result =
            checkpoint_write(&making->writer, making->bytes.data, (uint32_t)making->bytes.length);
    return result;
}

/* Writes an account that both have. */
static int write_joined(struct making *making, const uint8_t *bytes, uint32_t length,
                        struct checkpoint_account *part)
{
    struct checkpoint_account account = {0};
    int result = checkpoint_account_decode(bytes, length, &making->names, &account);
    if (result == 0 && account.sequence != part->first - 1)
        result = -EBADMSG;
    if (result == 0)
        result = checkpoint_account_join(&account, part);
    if (result == 0)
        result = write_account(making, &account);
    checkpoint_account_clear(&account);
    return result;
}

/* Writes the parts that stand before the text; all of them where it is NULL. */
static int write_parts(struct making *making, size_t *at, const char *text, size_t length)
{
    int result = 0;
    for (; result == 0 && *at < making->parts.count; (*at)++) {
        struct checkpoint_account *part = &making->order[*at];
        if (text != NULL && compare_texts(part->name->text, part->name->length, text, length) >= 0)
            break;
        if (part->first != 1)
            return -EBADMSG;
        result = write_account(making, part);
    }
    return result;
}

static int merge(struct making *making)
{
    const uint8_t *bytes;
    uint32_t length;
    size_t at = 0, text_length;
    int result = 0;
    while (making->has_before && !atomic_load_explicit(making->stop, memory_order_relaxed) &&
           (result = checkpoint_next(&making->before, &bytes, &length)) == 1) {
        const char *text = checkpoint_account_text(bytes, length, &text_length);
        if (text == NULL)
            return -EBADMSG;
        result = write_parts(making, &at, text, text_length);
        if (result != 0)
            return result;
        struct checkpoint_account *part = at < making->parts.count ? &making->order[at] : NULL;
        if (part != NULL &&
            compare_texts(part->name->text, part->name->length, text, text_length) == 0) {
            at++;
            result = write_joined(making, bytes, length, part);
        } else {
            result = checkpoint_write(&making->writer, bytes, length);
        }
        if (result != 0)
            return result;
    }
    if (atomic_load_explicit(making->stop, memory_order_relaxed))
        return -ECANCELED;
    return result == 0 ? write_parts(making, &at, NULL, 0) : result;
}

/* Puts the parts into the file's order, and tells how many bytes they can have there. */
static int sort_parts(struct making *making, uint64_t *length)
{
    struct parts *parts = &making->parts;
    size_t at = 0;
    *length = 0;
    making->order = calloc(parts->count + 1, sizeof(struct checkpoint_account));
    if (making->order == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < parts->room; i++)
        if (parts->slots[i].name != NULL)
            making->order[at++] = parts->slots[i];
    free(parts->slots);
    parts->slots = NULL;
    parts->room = 0;
    qsort(making->order, parts->count, sizeof(struct checkpoint_account), compare_parts);
    for (size_t i = 0; i < parts->count; i++) {
        making->bytes.length = 0;
        checkpoint_account_settle(&making->order[i], making->time_ms);
        int result = checkpoint_account_encode(&making->order[i], &making->bytes);
        if (result != 0)
            return result;
        *length += making->bytes.length;
        making->out.head.bytes += making->order[i].bytes;
        making->out.head.responses += making->order[i].responses;
    }
    return 0;
}

static int write_all(struct making *making, const struct checkpoint *base, uint32_t segment)
{
    const struct checkpoint_place *place = making->place;
    struct checkpoint_head *head = &making->out.head;
    uint64_t length;
    int result = sort_parts(making, &length);
    if (result != 0)
        return result;
    head->bytes += base->head.bytes;
    head->responses += base->head.responses;
    head->time_ms = making->time_ms;
    length += base->head.body_bytes + head->segment * sizeof(uint64_t) +
              head->downloads * CHECKPOINT_SUM_BYTES;
    if (making->has_before)
        result = checkpoint_open(&making->before, place->disk, place->checkpoints,
                                 (uint32_t)base->head.segment);
    if (result == 0)
        result =
            checkpoint_create(&making->writer, place->disk, place->checkpoints, segment, length);
    if (result == 0)
        result = merge(making);
    return result == 0 ? checkpoint_finish(&making->writer, &making->out) : result;
}

static void clear_making(struct making *making)
{
    for (size_t i = 0; making->order != NULL && i < making->parts.count; i++)
        checkpoint_account_clear(&making->order[i]);
    for (size_t i = 0; i < making->parts.room; i++)
        if (making->parts.slots[i].name != NULL)
            checkpoint_account_clear(&making->parts.slots[i]);
    free(making->order);
    free(making->parts.slots);
    free(making->bytes.data);
    checkpoint_reader_close(&making->before);
    checkpoint_writer_close(&making->writer);
    checkpoint_clear(&making->out);
    names_free(&making->names);
}

int checkpoint_make(const struct checkpoint_place *place, uint32_t base, uint32_t segment,
                    const _Atomic bool *stop, char *error, size_t error_size)
{
    struct making making = {.place = place, .stop = stop, .before.fd = -1, .writer.fd = -1};
    struct checkpoint before = {0};
    error[0] = '\0';
    int result = names_init(&making.names, NAMES_HINT, NAMES_HINT);
    if (result != 0)
        return result;
    making.has_before = base > 0;
    if (making.has_before)
        result = checkpoint_read(place, base, &making.names, NULL, NULL, &before);
    making.time_ms = before.head.time_ms;
    if (result == 0)
        result =
            read_segments(&making, making.has_before ? &before : NULL, segment, error, error_size);
    if (result == 0)
        result = write_all(&making, &before, segment);
    if (result == -EBADMSG && error[0] == '\0')
        snprintf(error, error_size,
                 "the checkpoint of segment %u does not fit the journal behind it", base);
    checkpoint_clear(&before);
    clear_making(&making);
    return result;
}
