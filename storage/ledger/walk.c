/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens a lane for reading alone, and shows its records one by one. See walk.h.
 */
#include "storage/ledger/walk_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "storage/ledger/lane.h"
#include "storage/ledger/post.h"
#include "storage/ledger/segment.h"

#define ACCOUNTS_HINT 65536 /* of a segment */
#define FILES_HINT    4096

_Static_assert(sizeof(((struct ledger_walk *)NULL)->lane) == LANE_NAME_SIZE, "as lane.h");
_Static_assert(sizeof(((struct ledger_walk *)NULL)->instance) == LEDGER_HEX_SIZE, "likewise");

struct walker {
    struct ledger_walk *walk; /* borrows */
    struct journal_reader reader;
    struct names names;
    const char *state_dir;
    char *error;
    size_t error_size;
};

/* ---- a record ---- */

static const char *text_of(const struct journal_reader *reader, uint32_t id)
{
    return id < reader->ids_count ? reader->ids[id]->text : NULL;
}

void walk_show(const struct journal_reader *reader, const struct journal_entry *entry,
               struct ledger_walk_record *out)
{
    const struct journal_record *record = &entry->record;
    bool has_file = record->type == JOURNAL_USAGE || record->type == JOURNAL_RESPONSE;
    *out = (struct ledger_walk_record){
        .record = record,
        .format = reader->format,
        .segment = reader->segment,
        .position = (uint64_t)(reader->index - 1) * reader->size,
        .chain = reader->chain,
    };
    /* The reader has made sure that such a record's ids are of names of its kind. */
    if (has_file || record->type == JOURNAL_MONEY) {
        out->account = text_of(reader, record->account);
        out->tag = names_account(reader->ids[record->account])->tag;
    }
    if (record->type == JOURNAL_MONEY) {
        out->operation = post_operation_name(record->operation);
        out->plan = post_plan_name(record->operation, record->plan);
    }
    if (has_file)
        out->file = text_of(reader, record->file);
    for (size_t i = 0; has_file && i < JOURNAL_RESPONSES; i++)
        if (record->response[i].key != 0)
            out->keys[i] = text_of(reader, record->response[i].key - 1);
}

/* ---- the journal ---- */

static int say(const struct walker *walker, int result, const char *what, const char *cure)
{
    if (walker->error[0] == '\0')
        snprintf(walker->error, walker->error_size,
                 "%s/%s: segment %08" PRIu32 ".seg cannot be read beyond byte %" PRIu64 ": %s; %s",
                 walker->state_dir, walker->walk->lane, walker->reader.segment,
                 (uint64_t)walker->reader.index * walker->reader.size, what, cure);
    return result;
}

static int refuse(const struct walker *walker, int result)
{
    const char *ask = "ask `tollgate ledger verify` about this directory, and take another copy";
    if (result == -EBADMSG)
        return say(walker, result, "a record is not what was written", ask);
    if (result == -EPROTO)
        return say(walker, -EBADMSG,
                   "a record does not belong there, or is of a newer version of tollgate", ask);
    return say(walker, result == -ENOENT ? -EIO : result, strerrordesc_np(-result),
               segment_cure(-result));
}

static int take(struct walker *walker, const struct journal_entry *entry)
{
    struct ledger_walk *walk = walker->walk;
    struct ledger_walk_record shown;
    walk_show(&walker->reader, entry, &shown);
    walk->records++;
    walk->segment = shown.segment;
    walk->position = shown.position + walker->reader.size;
    walk->chain = shown.chain;
    return walk->take(walk->context, &shown);
}

/* The next record; where a process writes the segment, its last bytes may have been seen in part, and
 * are read again once. */
static int next(struct walker *walker, bool may_move, struct journal_entry *entry)
{
    int result = reader_next(&walker->reader, entry);
    if (may_move && result != 1) {
        walker->reader.buffer_count = 0;
        result = reader_next(&walker->reader, entry);
    }
    return result;
}

/* Whether something stands where the reader found no record. */
static bool is_torn(const struct walker *walker)
{
    const struct journal_reader *reader = &walker->reader;
    uint8_t bytes[JOURNAL_RECORD_BYTES];
    return reader->index < reader->capacity &&
           reader->disk->read(reader->disk->self, reader->fd,
                              (uint64_t)reader->index * reader->size, bytes, reader->size) == 0 &&
           !journal_is_zero(bytes, reader->size);
}

/* Reads a segment. 0, what the callback returned, or a negative errno with the sentence. */
static int walk_segment(struct walker *walker, uint32_t number, bool follows)
{
    struct ledger_walk *walk = walker->walk;
    struct journal_entry entry;
    bool is_last = number == walk->segments;
    int result = reader_enter(&walker->reader, number, walker->reader.count, follows);
    if (result != 0) {
        walker->reader.segment = number;
        walker->reader.index = 0;
        return refuse(walker, result);
    }
    while ((result = next(walker, is_last && walk->is_written, &entry)) == 1)
        if ((result = take(walker, &entry)) != 0)
            return result;
    if (is_last && result == -EBADMSG) {
        walk->is_torn = !walk->is_written && is_torn(walker);
        return 0;
    }
    return result == 0 ? 0 : refuse(walker, result);
}

static int walk_segments(struct walker *walker)
{
    struct ledger_walk *walk = walker->walk;
    uint32_t count, first = walk->first == 0 ? 1 : walk->first;
    const struct ledger_disk *disk = walker->reader.disk;
    int result = disk->list(disk->self, walker->reader.directory, &count, &walk->segments);
    if (result != 0)
        return refuse(walker, result);
    if (first > walk->segments && walk->first != 0) {
        snprintf(walker->error, walker->error_size,
                 "%s/%s has no segment %" PRIu32 "; its last one is %" PRIu32, walker->state_dir,
                 walk->lane, first, walk->segments);
        return -ERANGE;
    }
    uint32_t last = walk->last == 0 || walk->last > walk->segments ? walk->segments : walk->last;
    for (uint32_t number = first; result == 0 && number <= last; number++) {
        if (walk->progress != NULL)
            walk->progress(walk->context, number, walk->segments);
        result = walk_segment(walker, number, number > first);
    }
    return result;
}

int ledger_walk(const char *state_dir, unsigned lane, struct ledger_walk *walk, char *error,
                size_t error_size)
{
    uint8_t instance[JOURNAL_ID_BYTES];
    struct walker walker = {
        .walk = walk, .state_dir = state_dir, .error = error, .error_size = error_size};
    int directory = -1;
    *walk = (struct ledger_walk){.take = walk->take,
                                 .progress = walk->progress,
                                 .context = walk->context,
                                 .first = walk->first,
                                 .last = walk->last};
    error[0] = '\0';
    lane_name(lane, walk->lane);
    walk->is_written = lane_is_locked(state_dir, lane);
    int result = lane_look(state_dir, lane, instance, &directory);
    if (result == -ENOENT)
        return result;
    if (result != 0) {
        snprintf(error, error_size, "%s/%s cannot be read: %s; %s", state_dir, walk->lane,
                 strerrordesc_np(-result),
                 result == -EACCES ? "run this as the user that runs the node, or as root"
                                   : "ask `tollgate ledger verify` about this directory");
        return result;
    }
    lane_to_hex(instance, walk->instance);
    result = names_init(&walker.names, ACCOUNTS_HINT, FILES_HINT);
    if (result == 0) {
        result = reader_init(&walker.reader, &ledger_system_disk, &walker.names, directory);
        result = result == 0 ? walk_segments(&walker) : refuse(&walker, result);
        reader_free(&walker.reader);
        names_free(&walker.names);
    } else {
        (void)refuse(&walker, result);
    }
    close(directory);
    return result;
}
