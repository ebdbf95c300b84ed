/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Appending to the journal: names on first use in a segment, grouped writes, rotation. The writer
 * calls it, and ledger_open before the writer starts; what other threads may ask stands in
 * journal_room.c. It never decides what to record.
 */
#include "storage/ledger/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/check.h"

static int fail(struct journal *journal, const char *call, int result)
{
    journal->failed = true;
    journal->failed_call = call;
    journal->failed_error = -result;
    return -EIO;
}

/* ---- the next segment ---- */

int journal_allocate_next(struct journal *journal)
{
    if (journal->failed)
        return -EIO;
    int result = journal_keep_base(journal);
    if (result != 0)
        return result;
    const struct ledger_disk *disk = journal->disk;
    int fd =
        disk->create(disk->self, journal->directory, journal->segment + 1, journal->segment_bytes);
    if (fd < 0)
        return fd;
    pthread_mutex_lock(&journal->lock);
    journal->next_fd = fd;
    journal->next_capacity = (uint32_t)(journal->segment_bytes / JOURNAL_RECORD_BYTES);
    pthread_mutex_unlock(&journal->lock);
    return 0;
}

/* ---- writing ---- */

static int flush(struct journal *journal)
{
    if (journal->failed)
        return -EIO;
    if (journal->buffered == 0)
        return 0;
    const struct ledger_disk *disk = journal->disk;
    int result =
        disk->write(disk->self, journal->fd, (uint64_t)journal->flushed * JOURNAL_RECORD_BYTES,
                    journal->buffer, (size_t)journal->buffered * JOURNAL_RECORD_BYTES);
    if (result != 0)
        return fail(journal, "write", result);
    journal->flushed += journal->buffered;
    journal->buffered = 0;
    return 0;
}

int journal_sync(struct journal *journal)
{
    if (journal->durable == journal->flushed + journal->buffered && !journal->failed)
        return 0;
    int result = flush(journal);
    if (result != 0)
        return result;
    result = journal->disk->sync(journal->disk->self, journal->fd);
    if (result != 0)
        return fail(journal, "fdatasync", result);
    journal->durable = journal->flushed;
    atomic_fetch_add_explicit(&journal->syncs, 1, memory_order_relaxed);
    if (journal->vouches)
        journal->vouched = journal->entries;
    /* Whoever sees the records also sees how many entries there are. */
    atomic_store_explicit(&journal->durable_vouched, journal->vouched, memory_order_release);
    atomic_store_explicit(&journal->durable_entries, journal->entries, memory_order_release);
    atomic_store_explicit(&journal->durable_records, journal->records, memory_order_release);
    return 0;
}

/* Appends one record to the buffer; the caller has taken the room. */
static int put(struct journal *journal, struct journal_record *record)
{
    if (journal->buffered == JOURNAL_BUFFER_RECORDS) {
        int result = flush(journal);
        if (result != 0)
            return result;
    }
    record->durable = journal->durable;
    if (record->time_ms == 0)
        record->time_ms = journal->clock->real_ms(journal->clock->self);
    uint8_t *at = journal->buffer + (size_t)journal->buffered * JOURNAL_RECORD_BYTES;
    journal->chain = journal_encode(record, journal->chain, at);
    journal->buffered++;
    journal->records++;
    journal->entries += record->type == JOURNAL_USAGE || record->type == JOURNAL_MONEY;
    atomic_fetch_add_explicit(&journal->written, 1, memory_order_relaxed);
    return 0;
}

/* Changes to the next segment. The one before must be on disk in full before the next one's header
 * vouches for its chain. */
static int rotate(struct journal *journal)
{
    int result = journal->fd >= 0 ? journal_sync(journal) : 0;
    if (result != 0)
        return result;
    journal_add_base(journal, journal->records);
    if (journal->fd >= 0)
        journal->disk->close(journal->disk->self, journal->fd);
    pthread_mutex_lock(&journal->lock);
    journal->fd = journal->next_fd;
    journal->capacity = journal->next_capacity;
    journal->next_fd = -1;
    journal->used = 1; /* the header */
    pthread_mutex_unlock(&journal->lock);
    journal->segment++;
    journal->flushed = 0;
    journal->durable = 0;
    journal->names_count = 0;
    journal->is_old = false;
    struct journal_record header = {.type = JOURNAL_SEGMENT,
                                    .format = LEDGER_JOURNAL_FORMAT,
                                    .number = journal->segment,
                                    .previous = journal->chain,
                                    .lease = journal->lease};
    memcpy(header.instance, journal->instance, JOURNAL_ID_BYTES);
    memcpy(header.epoch, journal->epoch, JOURNAL_ID_BYTES);
    return put(journal, &header);
}

static uint32_t name_room(const struct journal *journal, const struct ledger_name *name)
{
    return name == NULL || name->segment == journal->segment
               ? 0
               : journal_name_parts(LEDGER_JOURNAL_FORMAT, name->length);
}

static int put_name(struct journal *journal, struct ledger_name *name)
{
    if (name_room(journal, name) == 0)
        return 0;
    uint32_t parts = journal_name_parts(LEDGER_JOURNAL_FORMAT, name->length);
    for (uint32_t part = 0; part < parts; part++) {
        struct journal_record record = {.type = JOURNAL_NAME,
                                        .id = journal->names_count,
                                        .kind = name->kind,
                                        .part = part,
                                        .total = name->length};
        memcpy(record.text, name->text + journal_part_at(LEDGER_JOURNAL_FORMAT, part),
               journal_part_length(LEDGER_JOURNAL_FORMAT, name->length, part));
        int result = put(journal, &record);
        if (result != 0)
            return result;
    }
    name->segment = journal->segment;
    name->id = journal->names_count++;
    return 0;
}

/* ---- usage and money ---- */

void journal_drop_extra(struct journal_record *mark, struct journal_extra *extra)
{
    uint32_t dropped = extra->count > 1 ? (uint32_t)extra->count - 1 : 0;
    extra->responses = NULL;
    extra->count -= dropped;
    extra->dropped += dropped;
    mark->undescribed += dropped;
    extra->keys[0] = NULL; /* its name may need a record, too */
}

/* Records that the responses need beside the mark, a key that they share counted each time. */
static uint32_t extra_room(const struct journal *journal, const struct journal_extra *extra)
{
    uint32_t room = extra->responses != NULL ? 1 : 0;
    for (size_t i = 0; i < extra->count; i++)
        room += name_room(journal, extra->keys[i]);
    return room;
}

/* Takes the room for a record, its names and, where there is enough, what it tells beside. */
static int take_room(struct journal *journal, const struct ledger_name *account,
                     const struct ledger_name *file, struct journal_record *record, uint32_t own,
                     struct journal_extra *extra)
{
    for (;;) {
        uint32_t needed = 1 + name_room(journal, account) + name_room(journal, file);
        uint32_t more = extra_room(journal, extra);
        int result = journal_take_room(journal, needed + more, own);
        if (result == -ENOSPC && more > 0) {
            journal_drop_extra(record, extra);
            continue;
        }
        if (result == -EAGAIN)
            result = rotate(journal);
        else
            return result;
        if (result != 0)
            return result;
    }
}

static int put_responses(struct journal *journal, const struct journal_record *mark,
                         struct journal_extra *extra)
{
    int result = 0;
    for (size_t i = 0; i < extra->count && result == 0; i++) {
        if (extra->keys[i] == NULL)
            continue;
        result = put_name(journal, extra->keys[i]);
        extra->places[i]->key = extra->keys[i]->id + 1;
    }
    if (result != 0 || extra->responses == NULL)
        return result;
    extra->responses->account = mark->account;
    extra->responses->file = mark->file;
    return put(journal, extra->responses);
}

int journal_append_usage(struct journal *journal, struct ledger_account *account,
                         struct ledger_file *file, struct journal_record *record, uint32_t own,
                         struct journal_extra *extra)
{
    if (journal->failed)
        return -EIO;
    check(names_is_awake(account)); /* or its sequence would begin at 1 again */
    struct ledger_name *file_name = file == NULL ? NULL : &file->name;
    int result = take_room(journal, &account->name, file_name, record, own, extra);
    if (result == 0)
        result = put_name(journal, &account->name);
    if (result == 0 && file != NULL)
        result = put_name(journal, file_name);
    if (result != 0)
        return result;
    record->account = account->name.id;
    record->file = file == NULL ? 0 : file_name->id;
    record->sequence = atomic_load_explicit(&account->sequence, memory_order_relaxed) + 1;
    record->lease = journal->lease;
    result = put_responses(journal, record, extra);
    if (result == 0)
        result = put(journal, record);
    if (result == 0)
        names_note(account, journal->segment, record->sequence, record->bytes_delta);
    return result;
}

int journal_append(struct journal *journal, struct ledger_account *account,
                   struct ledger_file *file, struct journal_record *record, uint32_t own)
{
    struct journal_extra none = {0};
    return journal_append_usage(journal, account, file, record, own, &none);
}

int journal_append_end(struct journal *journal, enum journal_type type)
{
    if (journal->failed)
        return -EIO;
    struct journal_record record = {.type = type, .lease = journal->lease};
    if (type == JOURNAL_START) {
        memcpy(record.instance, journal->instance, JOURNAL_ID_BYTES);
        memcpy(record.epoch, journal->epoch, JOURNAL_ID_BYTES);
    }
    int result = journal_take_room(journal, 1, journal->end_room);
    if (result == -EAGAIN)
        result = rotate(journal);
    return result == 0 ? put(journal, &record) : result;
}

int journal_note_lease(struct journal *journal, uint64_t lease)
{
    if (journal->failed)
        return -EIO;
    /* The first one of a process has its room among that of the process' end. */
    uint32_t own = journal->lease == 0 ? 1 : 0;
    struct journal_record record = {.type = JOURNAL_START, .lease = lease};
    memcpy(record.instance, journal->instance, JOURNAL_ID_BYTES);
    memcpy(record.epoch, journal->epoch, JOURNAL_ID_BYTES);
    int result;
    while ((result = journal_take_room(journal, 1, own)) == -EAGAIN)
        if ((result = rotate(journal)) != 0)
            return result;
    if (result == 0)
        result = put(journal, &record);
    if (result != 0)
        return result;
    journal_unreserve(journal, own);
    journal->end_room -= own;
    journal->lease = lease;
    journal->vouches = true;
    return 0;
}

/* ---- opening ---- */

/* Makes the next segment now where the last one is of an older format, or lacks room for STOP and
 * START: it is full, or of a smaller size that was configured before. */
static int first_room(struct journal *journal)
{
    if (journal->fd >= 0 && !journal->is_old && journal->used < journal->capacity)
        return 0;
    int result = journal_allocate_next(journal);
    return result == 0 ? rotate(journal) : result;
}

void journal_init(struct journal *journal, const struct ledger_disk *disk, struct names *names,
                  int directory, const uint8_t instance[JOURNAL_ID_BYTES])
{
    memset(journal, 0, sizeof(*journal));
    journal->disk = disk;
    journal->directory = directory;
    journal->names = names;
    journal->fd = journal->next_fd = -1;
    journal->first = 1;
    memcpy(journal->instance, instance, JOURNAL_ID_BYTES);
    pthread_mutex_init(&journal->lock, NULL);
}

void journal_end(struct journal *journal)
{
    free(journal->bases);
    pthread_mutex_destroy(&journal->lock);
}

int journal_verify(const struct ledger_disk *disk, struct names *names, int directory,
                   const uint8_t instance[JOURNAL_ID_BYTES], struct ledger_verification *watch,
                   char *error, size_t error_size)
{
    struct journal journal;
    const struct journal_pass pass = {.checkpoints = -1, .watch = watch};
    journal_init(&journal, disk, names, directory, instance);
    int result = journal_scan(&journal, &pass, error, error_size);
    journal_end(&journal);
    close(directory);
    return result;
}

int journal_open(struct journal *journal, const struct ledger_outside *outside, struct names *names,
                 int directory, int checkpoints, uint64_t segment_bytes,
                 const uint8_t instance[JOURNAL_ID_BYTES], const uint8_t epoch[JOURNAL_ID_BYTES],
                 char *error, size_t error_size)
{
    const struct journal_pass pass = {.checkpoints = checkpoints};
    journal_init(journal, outside->disk, names, directory, instance);
    journal->clock = outside->clock;
    journal->segment_bytes = segment_bytes;
    memcpy(journal->epoch, epoch, JOURNAL_ID_BYTES);
    journal->reserved = journal->end_room = JOURNAL_END_ROOM;
    journal->buffer = malloc((size_t)JOURNAL_BUFFER_RECORDS * JOURNAL_RECORD_BYTES);
    if (journal->buffer == NULL)
        return -ENOMEM;
    int result = journal_scan(journal, &pass, error, error_size);
    if (result != 0)
        return result;
    journal->vouches = false;
    result = first_room(journal);
    if (result == 0)
        result = journal_append_end(journal, JOURNAL_START);
    if (result == 0)
        result = journal_sync(journal);
    return result;
}

void journal_close(struct journal *journal)
{
    if (journal->buffer == NULL)
        return;
    if (journal->fd >= 0)
        journal->disk->close(journal->disk->self, journal->fd);
    if (journal->next_fd >= 0)
        journal->disk->close(journal->disk->self, journal->next_fd);
    free(journal->buffer);
    journal->buffer = NULL;
    close(journal->directory);
    journal_end(journal);
}
