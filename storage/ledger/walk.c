/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a lane's journal record by record from outside, and shows the records; see walk.h. evidence.c and
 * evidence_list.c use the cursor (walk_internal.h). It judges a torn end as the scan does.
 */
#include "storage/ledger/walk_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/ledger/lane.h"
#include "storage/ledger/post.h"

#define FILES_HINT     4096
#define TAIL_LOOKS_MAX 100 /* at what a writer appends meanwhile */

_Static_assert(sizeof(((struct ledger_walk *)NULL)->lane) == LANE_NAME_SIZE, "as lane.h");
_Static_assert(sizeof(((struct ledger_walk *)NULL)->instance) == LEDGER_HEX_SIZE, "likewise");

/* ---- what is wrong ---- */

static const char *cure(int error)
{
    switch (error) {
    case EBADMSG:
        return "its file `instance` is damaged, or its directory `journal` is missing: take "
               "another copy";
    case EACCES:
    case EPERM:
        return "run this as the user that runs the node, or as root";
    case ENOMEM:
        return "there is not enough memory";
    default:
        return "see what the kernel's log says of the disk, and take another copy";
    }
}

/* Puts the error into words, where that was not done nearer to it. */
static int unreadable(struct journal_walk *walk, int result)
{
    char name[LANE_NAME_SIZE];
    lane_name(walk->lane, name);
    if (walk->error[0] == '\0')
        snprintf(walk->error, walk->error_size,
                 "%s/%s cannot be read beyond segment %" PRIu32 ": %s; %s", walk->state_dir, name,
                 walk->reader.segment, strerrordesc_np(-result), cure(-result));
    return result == -ENOENT ? -EIO : result;
}

static int damaged(struct journal_walk *walk)
{
    char name[LANE_NAME_SIZE];
    lane_name(walk->lane, name);
    snprintf(
        walk->error, walk->error_size,
        "%s/%s/journal/%08" PRIu32 ".seg is damaged at byte %" PRIu64
        "; nothing behind that place is told: take another copy of the state directory, and see "
        "`tollgate ledger verify`",
        walk->state_dir, name, walk->reader.segment,
        (uint64_t)walk->reader.index * walk->reader.size);
    return -EBADMSG;
}

/* ---- the cursor ---- */

/* Enters the segment; `follows` as reader_enter says. */
static int enter(struct journal_walk *walk, uint32_t segment, bool follows)
{
    int result = reader_enter(&walk->reader, segment, walk->reader.count, follows);
    if (result == 0 && walk->watch != NULL && walk->watch->progress != NULL)
        walk->watch->progress(walk->watch->context, segment, walk->last);
    return result;
}

/* The last segment with a record: the one behind it may have been made ahead. */
static int find_last(struct journal_walk *walk)
{
    struct journal_entry entry;
    struct ledger_disk_list list;
    const struct ledger_disk *disk = &walk->disk.table;
    int result = disk->list(disk->self, walk->directory, &list);
    walk->first = list.first;
    walk->last = list.last;
    if (result == 0 && reader_meets_newer(&walk->reader, walk->last) == 1) {
        snprintf(
            walk->error, walk->error_size,
            "the newest segment of the journal in %s was written by a newer Tollgate; look at it "
            "with that one",
            walk->state_dir);
        return -EPROTONOSUPPORT;
    }
    if (result == 0 && walk->last > 0)
        result = reader_enter(&walk->reader, walk->last, 0, false);
    if (result != 0 || walk->last == 0)
        return result;
    result = reader_next(&walk->reader, &entry);
    /* What is there and is not a header, damage perhaps, is met again by walk_next. */
    if (result == 0 && --walk->last < walk->first)
        walk->last = 0;
    walk->reader.count = 0;
    return 0;
}

int walk_open(struct journal_walk *walk, const char *state_dir, unsigned lane,
              const struct ledger_evidence_watch *watch, char *error, size_t error_size)
{
    *walk = (struct journal_walk){.state_dir = state_dir,
                                  .watch = watch,
                                  .lane = lane,
                                  .error = error,
                                  .error_size = error_size};
    error[0] = '\0';
    walk->is_written = lane_is_locked(state_dir, lane);
    int result = lane_look(state_dir, lane, walk->instance, &walk->directory);
    if (result != 0)
        return result == -ENOENT ? result : unreadable(walk, result);
    result = names_init(&walk->names, FILES_HINT, FILES_HINT);
    if (result != 0) {
        close(walk->directory);
        return unreadable(walk, result);
    }
    result = archive_disk_open(&walk->disk, &ledger_system_disk, walk->directory, walk->instance,
                               watch != NULL ? watch->archive : NULL);
    if (result != 0)
        snprintf(error, error_size,
                 "the archive %s cannot be read: %s; name another one by --archive", watch->archive,
                 strerrordesc_np(-result));
    else
        result = reader_init(&walk->reader, &walk->disk.table, &walk->names, walk->directory);
    if (result == 0)
        result = find_last(walk);
    if (result == 0)
        return 0;
    result = unreadable(walk, result);
    walk_close(walk);
    return result;
}

void walk_close(struct journal_walk *walk)
{
    reader_free(&walk->reader);
    names_free(&walk->names);
    archive_disk_close(&walk->disk);
    close(walk->directory);
}

/* What has left the journal may be in an archive that nobody has named. */
static int gone(struct journal_walk *walk, uint32_t segment)
{
    char name[LANE_NAME_SIZE], file[ARCHIVE_NAME_SIZE];
    bool is_named = walk->disk.archive >= 0;
    lane_name(walk->lane, name);
    archive_name(walk->disk.instance, segment, file);
    snprintf(walk->error, walk->error_size,
             "segment %" PRIu32 " has left the journal of %s/%s, which begins with segment %" PRIu32
             "; %s %s",
             segment, walk->state_dir, name, walk->first,
             is_named ? "the archive does not have it either: bring back its file"
                      : "name by --archive the directory that has",
             file);
    return -ENODATA;
}

int walk_begin(struct journal_walk *walk, uint32_t segment)
{
    if (segment < walk->first)
        return gone(walk, segment);
    int result = enter(walk, segment, false);
    return result == 0 ? 0 : unreadable(walk, result);
}

/* What stands behind the last good record of the last segment: damage, or what a crash has torn. */
static int judge_tail(struct journal_walk *walk)
{
    const struct journal_reader *reader = &walk->reader;
    uint32_t count = reader->capacity - reader->index;
    uint8_t *bytes = malloc(count * reader->size + 1);
    int result = bytes == NULL ? -ENOMEM
                               : reader->disk->read(reader->disk->self, reader->fd,
                                                    (uint64_t)reader->index * reader->size, bytes,
                                                    count * reader->size);
    bool is_damage = result == 0 && reader_shows_damage(reader, bytes, count, reader->chain);
    free(bytes);
    return is_damage ? -EBADMSG : result;
}

/* The reader said 0 or -EBADMSG in the last segment. Its writer's bytes may be seen in part, and the later ones
 * before the earlier ones, so it is asked again. As walk_next. */
static int end_of_journal(struct journal_walk *walk, int result, struct journal_entry *out)
{
    for (int looks = 0; looks < TAIL_LOOKS_MAX; looks++) {
        int judged = result == 0 ? 0 : judge_tail(walk);
        walk->is_written = walk->is_written || lane_is_locked(walk->state_dir, walk->lane);
        walk->is_torn = !walk->is_written && result == -EBADMSG && judged == 0;
        if (!walk->is_written || (judged == 0 && looks > 0) || (judged != 0 && judged != -EBADMSG))
            return judged == -EBADMSG ? damaged(walk) : judged == 0 ? 0 : unreadable(walk, judged);
        walk->reader.buffer_count = 0;
        result = reader_next(&walk->reader, out);
        if (result == 1)
            return 1;
        if (result != 0 && result != -EBADMSG)
            return result == -EPROTO ? damaged(walk) : unreadable(walk, result);
    }
    return damaged(walk);
}

int walk_next(struct journal_walk *walk, struct journal_entry *out)
{
    for (;;) {
        int result = reader_next(&walk->reader, out);
        bool is_last = walk->reader.segment >= walk->last;
        if (result == 1)
            return 1;
        if (is_last && (result == 0 || result == -EBADMSG))
            return end_of_journal(walk, result, out);
        if (result == -EPROTO || result == -EBADMSG)
            return damaged(walk);
        if (result == 0 && walk->until != 0 && walk->reader.segment >= walk->until)
            return 0;
        if (result == 0)
            result = enter(walk, walk->reader.segment + 1, true);
        if (result != 0)
            return unreadable(walk, result);
    }
}

struct ledger_evidence_place walk_place(const struct journal_walk *walk,
                                        const struct journal_record *record)
{
    const struct journal_reader *reader = &walk->reader;
    return (struct ledger_evidence_place){.segment = reader->segment,
                                          .byte = (uint64_t)(reader->index - 1) * reader->size,
                                          .chain = reader->chain,
                                          .time_ms = record->time_ms};
}

/* ---- what is shown ---- */

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

static int take(struct ledger_walk *walk, const struct journal_walk *cursor,
                const struct journal_entry *entry)
{
    struct ledger_walk_record shown;
    walk_show(&cursor->reader, entry, &shown);
    walk->records++;
    walk->segment = shown.segment;
    walk->position = shown.position + cursor->reader.size;
    walk->chain = shown.chain;
    return walk->take(walk->context, &shown);
}

/* Reads from `first` to `last`. As ledger_walk. */
static int walk_segments(struct ledger_walk *walk, struct journal_walk *cursor)
{
    struct journal_entry entry;
    walk->segments = cursor->last;
    cursor->until = walk->last;
    if (walk->first > cursor->last) {
        snprintf(cursor->error, cursor->error_size,
                 "%s/%s has no segment %" PRIu32 "; its last one is %" PRIu32, cursor->state_dir,
                 walk->lane, walk->first, cursor->last);
        return -ERANGE;
    }
    if (cursor->last == 0)
        return 0;
    walk->begin = cursor->first;
    int result = walk_begin(cursor, walk->first == 0 ? cursor->first : walk->first);
    while (result == 0 && (result = walk_next(cursor, &entry)) == 1)
        result = take(walk, cursor, &entry);
    return result;
}

int ledger_walk(const char *state_dir, unsigned lane, struct ledger_walk *walk, char *error,
                size_t error_size)
{
    struct journal_walk cursor;
    struct ledger_evidence_watch watch = {
        .progress = walk->progress, .context = walk->context, .archive = walk->archive};
    *walk = (struct ledger_walk){.take = walk->take,
                                 .progress = walk->progress,
                                 .context = walk->context,
                                 .archive = walk->archive,
                                 .first = walk->first,
                                 .last = walk->last};
    lane_name(lane, walk->lane);
    int result = walk_open(&cursor, state_dir, lane, &watch, error, error_size);
    if (result == 0) {
        lane_to_hex(cursor.instance, walk->instance);
        result = walk_segments(walk, &cursor);
        walk_close(&cursor);
    }
    walk->is_written = cursor.is_written;
    walk->is_torn = cursor.is_torn;
    return result;
}
