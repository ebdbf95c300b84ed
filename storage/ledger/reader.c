/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads records in order, verifies each one's chain, puts names together and resolves ids. Called
 * by the scan and the poster. It repairs nothing: what to do with a bad record is its caller's
 * decision.
 */
#include "storage/ledger/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"

int reader_init(struct journal_reader *reader, const struct ledger_disk *disk, struct names *names,
                int directory)
{
    memset(reader, 0, sizeof(*reader));
    reader->disk = disk;
    reader->names = names;
    reader->directory = directory;
    reader->fd = -1;
    reader->limit = UINT64_MAX;
    reader->size = JOURNAL_RECORD_BYTES;
    reader->buffer = malloc((size_t)READER_BUFFER_RECORDS * JOURNAL_RECORD_BYTES);
    return reader->buffer == NULL ? -ENOMEM : 0;
}

static void drop_ids(struct journal_reader *reader)
{
    for (uint32_t i = 0; i < reader->ids_count; i++)
        names_drop(reader->ids[i]);
    reader->ids_count = 0;
    reader->partial_parts = 0;
}

void reader_free(struct journal_reader *reader)
{
    drop_ids(reader);
    free(reader->ids);
    free(reader->buffer);
    if (reader->fd >= 0)
        reader->disk->close(reader->disk->self, reader->fd);
    memset(reader, 0, sizeof(*reader));
    reader->fd = -1;
}

uint32_t reader_capacity(uint64_t bytes, size_t record_bytes)
{
    uint64_t count = bytes / record_bytes;
    return count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;
}

int reader_enter(struct journal_reader *reader, uint32_t segment, uint64_t count, bool follows)
{
    uint64_t bytes;
    uint8_t header[JOURNAL_HEADER_BYTES] = {0};
    const struct ledger_disk *disk = reader->disk;
    int fd = disk->open(disk->self, reader->directory, segment, false, &bytes);
    if (fd < 0)
        return fd;
    int result = bytes < sizeof(header) ? 0 : disk->read(disk->self, fd, 0, header, sizeof(header));
    if (result != 0) {
        disk->close(disk->self, fd);
        return result;
    }
    drop_ids(reader);
    if (reader->fd >= 0)
        reader->disk->close(reader->disk->self, reader->fd);
    reader->fd = fd;
    reader->segment = segment;
    reader->format = journal_format_of(header);
    reader->size = journal_record_bytes(reader->format);
    reader->capacity = reader_capacity(bytes, reader->size);
    reader->index = 0;
    reader->count = count;
    reader->chain_known = follows;
    reader->buffer_count = 0;
    return 0;
}

static int fill(struct journal_reader *reader)
{
    uint32_t count = reader->capacity - reader->index;
    if (count > READER_BUFFER_RECORDS)
        count = READER_BUFFER_RECORDS;
    if (count > reader->limit - reader->count)
        count = (uint32_t)(reader->limit - reader->count);
    reader->buffer_first = reader->index;
    reader->buffer_count = 0;
    int result =
        reader->disk->read(reader->disk->self, reader->fd, (uint64_t)reader->index * reader->size,
                           reader->buffer, count * reader->size);
    if (result == 0)
        reader->buffer_count = count;
    return result;
}

static int take_segment(const struct journal_reader *reader, const struct journal_record *record)
{
    return reader->index == 0 && record->number == reader->segment ? 0 : -EPROTO;
}

static int take_name(struct journal_reader *reader, const struct journal_record *record)
{
    if (record->id != reader->ids_count || record->part != reader->partial_parts)
        return -EPROTO;
    memcpy(reader->partial + journal_part_at(reader->format, record->part), record->text,
           journal_part_length(reader->format, record->total, record->part));
    if (++reader->partial_parts < journal_name_parts(reader->format, record->total))
        return 0;
    reader->partial_parts = 0;
    if (reader->ids_count == reader->ids_room) {
        uint32_t room = reader->ids_room == 0 ? 256 : reader->ids_room * 2;
        struct ledger_name **ids = realloc(reader->ids, room * sizeof(struct ledger_name *));
        if (ids == NULL)
            return -ENOMEM;
        reader->ids = ids;
        reader->ids_room = room;
    }
    int result = names_get(reader->names, record->kind, reader->partial, record->total,
                           &reader->ids[reader->ids_count]);
    if (result == 0)
        reader->ids_count++;
    return result == -EINVAL ? -EPROTO : result;
}

static struct ledger_name *resolve(struct journal_reader *reader, uint32_t id,
                                   enum journal_kind kind)
{
    if (id >= reader->ids_count || reader->ids[id]->kind != kind)
        return NULL;
    return reader->ids[id];
}

static bool keys_are_named(struct journal_reader *reader, const struct journal_record *record,
                           size_t responses)
{
    for (size_t i = 0; i < responses; i++) {
        uint32_t key = record->response[i].key;
        if (key != 0 && resolve(reader, key - 1, JOURNAL_KEY) == NULL)
            return false;
    }
    return true;
}

static int take(struct journal_reader *reader, struct journal_entry *out)
{
    const struct journal_record *record = &out->record;
    /* The parts of a name follow each other, unless a process died between them: then
     * a START follows. */
    if (record->type == JOURNAL_START)
        reader->partial_parts = 0;
    if (reader->partial_parts > 0 && record->type != JOURNAL_NAME)
        return -EPROTO;
    if (reader->index == 0 && record->type != JOURNAL_SEGMENT)
        return -EPROTO;
    struct ledger_name *account, *file;
    switch (record->type) {
    case JOURNAL_SEGMENT:
        return take_segment(reader, record);
    case JOURNAL_START:
        return 0;
    case JOURNAL_NAME:
        return take_name(reader, record);
    case JOURNAL_USAGE:
        account = resolve(reader, record->account, JOURNAL_ACCOUNT);
        file = resolve(reader, record->file, JOURNAL_FILE);
        if (account == NULL || file == NULL || !keys_are_named(reader, record, 1))
            return -EPROTO;
        out->account = names_account(account);
        out->file = (struct ledger_file *)file;
        return 0;
    case JOURNAL_MONEY:
        account = resolve(reader, record->account, JOURNAL_ACCOUNT);
        if (account == NULL)
            return -EPROTO;
        out->account = names_account(account);
        return 0;
    case JOURNAL_RESPONSE:
        return resolve(reader, record->account, JOURNAL_ACCOUNT) != NULL &&
                       resolve(reader, record->file, JOURNAL_FILE) != NULL &&
                       keys_are_named(reader, record, JOURNAL_RESPONSES)
                   ? 0
                   : -EPROTO;
    case JOURNAL_STOP:
        return 0;
    case JOURNAL_NOTHING:
        break;
    }
    return -EPROTO;
}

static bool is_newer(const struct journal_reader *reader)
{
    uint8_t bytes[JOURNAL_RECORD_BYTES];
    struct journal_record record;
    return reader->format > LEDGER_JOURNAL_FORMAT &&
           reader->disk->read(reader->disk->self, reader->fd, 0, bytes, sizeof(bytes)) == 0 &&
           journal_decode(bytes, reader->format, &record) &&
           journal_chained(bytes, sizeof(bytes), record.previous);
}

int reader_meets_newer(struct journal_reader *reader, uint32_t last)
{
    for (uint32_t number = last; number > 0 && number + 1 >= last; number--) {
        int result = reader_enter(reader, number, 0, false);
        if (result != 0)
            return result;
        if (is_newer(reader))
            return 1;
    }
    return 0;
}

int reader_next(struct journal_reader *reader, struct journal_entry *out)
{
    check(reader->count <= reader->limit);
    if (reader->index >= reader->capacity || reader->count == reader->limit)
        return 0;
    if (reader->index - reader->buffer_first >= reader->buffer_count) {
        int result = fill(reader);
        if (result != 0)
            return result;
    }
    const uint8_t *bytes =
        reader->buffer + (size_t)(reader->index - reader->buffer_first) * reader->size;
    if (journal_is_zero(bytes, reader->size))
        return 0;
    if (reader->format == 0 || reader->format > LEDGER_JOURNAL_FORMAT)
        return -EPROTO;
    memset(out, 0, sizeof(*out));
    bool decoded = journal_decode(bytes, reader->format, &out->record);
    uint64_t previous = reader->index > 0 ? reader->chain : out->record.previous;
    if (!journal_chained(bytes, reader->size, previous))
        return -EBADMSG;
    if (!decoded || (reader->index == 0 && reader->chain_known && previous != reader->chain))
        return -EPROTO;
    int result = take(reader, out);
    if (result != 0)
        return result;
    reader->chain = journal_chain(bytes);
    reader->index++;
    reader->count++;
    return 1;
}

bool reader_shows_damage(const struct journal_reader *reader, const uint8_t *bytes, uint32_t count,
                         uint64_t chain)
{
    size_t size = reader->size;
    bool bad_is_zero = journal_is_zero(bytes, size);
    for (uint32_t i = 1; i < count; i++) {
        const uint8_t *at = bytes + i * size, *before = at - size;
        struct journal_record record;
        if (journal_is_zero(at, size) || !journal_decode(at, reader->format, &record))
            continue;
        uint64_t computed = i == 1 ? journal_chain_of(before, size, chain) : journal_chain(before);
        if (!journal_chained(at, size, journal_chain(before)) &&
            !journal_chained(at, size, computed))
            continue;
        if (record.durable > reader->index || !bad_is_zero)
            return true;
    }
    return false;
}
