/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal at start: reads and verifies every segment, compares accounts' sequences and
 * downloads' sums, cuts a torn tail off, refuses damage and names its place. journal_open calls it
 * once, before any thread runs, and journal_verify for a journal that is only looked at. It never
 * mends a damaged record.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/ledger/checkpoint_index.h"
#include "storage/ledger/journal.h"
#include "storage/ledger/walk_internal.h"

#define TAIL_LOOKS_MAX 100 /* at what a writer appends meanwhile */

struct scan {
    struct journal *journal;
    const struct journal_pass *pass;
    const struct checkpoint *from;     /* the begin; NULL: the first segment */
    struct checkpoint_index index;     /* of that, where its accounts are asleep */
    struct ledger_verification *watch; /* of the pass */
    struct journal_reader reader;
    struct sums sums;
    uint32_t first; /* segment that is there */
    bool is_behind; /* the reader stands behind the record that is verified */
    char *error;
    size_t error_size;
};

static int damaged(struct scan *scan, const char *what)
{
    uint64_t place = scan->reader.index - (scan->is_behind ? 1u : 0u);
    snprintf(scan->error, scan->error_size,
             "journal segment %08u.seg is damaged at byte %" PRIu64 ": %s; %s",
             scan->reader.segment, place * scan->reader.size, what,
             scan->watch != NULL
                 ? "take another copy of the state directory; no node starts on this one"
                 : "restore the state directory from a backup, or move it away and set another "
                   "`node`, which loses the bill that this node had not posted to Redis");
    return -EBADMSG;
}

/* A newer version has written `what`: it is not for this one to judge, and nothing was changed. */
static int refuse_newer(struct scan *scan, const char *what)
{
    snprintf(
        scan->error, scan->error_size, "%s was written by a newer Tollgate; %s", what,
        scan->watch != NULL
            ? "look at it with that one"
            : "start that one on this state directory again; to go back to this version, let a "
              "node of the newer one take this directory over (tollgate node retire), and "
              "start this one with an empty directory under another `node`");
    return -EPROTONOSUPPORT;
}

/* The segment is sound, and another instance has written it. */
static int refuse_another(struct scan *scan)
{
    snprintf(scan->error, scan->error_size,
             "journal segment %08u.seg was written by another instance than the one in the file "
             "`instance` beside the journal, so the two are of different state directories; put "
             "the file back that belongs to this journal, or restore both from one copy",
             scan->reader.segment);
    return -EBADMSG;
}

static int verify_usage(struct scan *scan, const struct journal_record *record)
{
    int result = sums_add(&scan->sums, record);
    if (result == -EBADMSG)
        return damaged(scan, record->download == 0 ? "a download without a number"
                                                   : "a download's parts do not add up");
    if (record->download > scan->journal->found_download)
        scan->journal->found_download = record->download;
    return result;
}

/* Whether the records before the first segment that is read are not known: they have left the journal. */
static bool is_partial(const struct scan *scan)
{
    return scan->first > 1 && scan->from == NULL;
}

/* Notes the record in the names. 0; -EBADMSG: the sequence has a hole; or another negative errno. */
static int note(struct scan *scan, const struct journal_entry *entry)
{
    const struct journal_record *record = &entry->record;
    struct ledger_account *account = entry->account;
    int result = checkpoint_index_wake(&scan->index, account, false);
    uint64_t before = atomic_load(&account->sequence);
    if (result != 0)
        return result == -EBADMSG ? -EIO : result;
    if (record->sequence != before + 1 && !(before == 0 && is_partial(scan)))
        return -EBADMSG;
    atomic_fetch_add(&account->handed, record->bytes_delta);
    names_note(account, scan->reader.segment, record->sequence, record->bytes_delta);
    if (record->operation_number > atomic_load(&account->operations))
        atomic_store(&account->operations, record->operation_number);
    return 0;
}

static int verify_record(struct scan *scan, const struct journal_entry *entry)
{
    const struct journal_record *record = &entry->record;
    if (record->type == JOURNAL_START) {
        /* A process with a lease vouches for all entries before and after. Those of before had none. */
        scan->journal->vouches =
            record->lease > 0 || scan->reader.format <= JOURNAL_OLD_FORMAT_LAST;
    }
    if (record->type == JOURNAL_START && record->lease == 0) /* another process */
        sums_clear(&scan->sums);
    if ((record->type == JOURNAL_SEGMENT || record->type == JOURNAL_START) &&
        memcmp(record->instance, scan->journal->instance, JOURNAL_ID_BYTES) != 0)
        return refuse_another(scan);
    if (record->lease > scan->journal->found_lease)
        scan->journal->found_lease = record->lease;
    if (entry->account != NULL)
        scan->journal->entries++;
    if (scan->journal->vouches)
        scan->journal->vouched = scan->journal->entries;
    if (entry->account == NULL)
        return 0;
    int result = record->type == JOURNAL_USAGE ? verify_usage(scan, record) : 0;
    if (result != 0)
        return result;
    result = scan->pass->each != NULL
                 ? scan->pass->each(scan->pass->context, entry, scan->reader.segment)
                 : note(scan, entry);
    return result == -EBADMSG ? damaged(scan, "an account's sequence has a hole") : result;
}

/* Zeros what is not zero of the `count` records in `bytes`, which stand behind the reader's place;
 * the last one first. */
static int zero_tail(const struct journal_reader *reader, int fd, uint8_t *bytes, uint32_t count)
{
    int result = 0;
    for (uint32_t i = count; result == 0 && i-- > 0;) {
        uint8_t *at = bytes + i * reader->size;
        if (journal_is_zero(at, reader->size))
            continue;
        memset(at, 0, reader->size);
        result = reader->disk->write(
            reader->disk->self, fd, (uint64_t)(reader->index + i) * reader->size, at, reader->size);
    }
    return result;
}

/* Reads the `count` places behind the last good record into `bytes`, and refuses damage. */
static int read_tail(struct scan *scan, int fd, uint8_t *bytes, uint32_t count)
{
    struct journal_reader *reader = &scan->reader;
    const struct ledger_disk *disk = scan->journal->disk;
    int result = bytes == NULL ? -ENOMEM : fd < 0 ? fd : 0;
    if (result == 0)
        result = disk->read(disk->self, fd, (uint64_t)reader->index * reader->size, bytes,
                            count * reader->size);
    if (result == 0 && reader_shows_damage(reader, bytes, count, reader->chain))
        result = damaged(scan, "later records are intact");
    return result;
}

static int cut_tail(struct scan *scan)
{
    struct journal_reader *reader = &scan->reader;
    uint32_t count = reader->capacity - reader->index;
    uint64_t bytes_whole;
    uint8_t *bytes = malloc(count * reader->size + 1);
    const struct ledger_disk *disk = scan->journal->disk;
    int fd = disk->open(disk->self, reader->directory, reader->segment, true, &bytes_whole);
    int result = read_tail(scan, fd, bytes, count);
    if (result == 0)
        result = zero_tail(reader, fd, bytes, count);
    /* Records that a killed process left in the page cache must be durable before
     * anything is posted. */
    if (result == 0)
        result = disk->sync(disk->self, fd);
    free(bytes);
    if (result == 0)
        scan->journal->fd = fd;
    else if (fd >= 0)
        disk->close(disk->self, fd);
    return result;
}

/* Finds the lowest and the highest segment number, and refuses where one between them is missing. A last file
 * without records was made ahead; remove_unused removes it. */
static int last_segment(struct scan *scan, uint32_t *last)
{
    const struct ledger_disk *disk = scan->journal->disk;
    struct ledger_disk_list list;
    int result = disk->list(disk->self, scan->journal->directory, &list);
    *last = list.last;
    scan->first = list.count > 0 ? list.first : 1;
    atomic_store(&scan->journal->first, scan->first);
    if (result != 0 || list.count == list.last - scan->first + 1)
        return result;
    snprintf(scan->error, scan->error_size,
             "the journal lacks a segment before %08u.seg; restore the state directory from a copy",
             *last);
    return -EBADMSG;
}

/* A start needs a checkpoint of the segments that have left the journal. */
static int refuse_without(struct scan *scan)
{
    snprintf(scan->error, scan->error_size,
             "the journal begins with segment %08u.seg, and no checkpoint of the segments before "
             "it can be "
             "used; restore the directory `checkpoints` beside the journal from a copy, or put all "
             "earlier "
             "segments back from the archive (`zstd -d`)",
             scan->first);
    return -EBADMSG;
}

/* Whether intact records stand behind a header that is none, so that the size of theirs is unknown,
 * too. */
static bool hides_records(struct journal_reader *reader, const uint8_t *bytes, size_t length,
                          uint64_t chain)
{
    static const uint32_t formats[] = {LEDGER_JOURNAL_FORMAT, JOURNAL_OLD_FORMAT_LAST};
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        reader->format = formats[i];
        reader->size = journal_record_bytes(formats[i]);
        if (length >= reader->size &&
            reader_shows_damage(reader, bytes, reader_capacity(length, reader->size), chain))
            return true;
    }
    return false;
}

/* Removes the last segment if it holds no header, but not where the journal is only looked at: 1 then, 0
 * where it is in use, or a negative errno. */
static int remove_unused(struct scan *scan, uint32_t number)
{
    struct journal_reader *reader = &scan->reader;
    const struct ledger_disk *disk = scan->journal->disk;
    struct journal_record record;
    int result = reader_enter(reader, number, 0, false);
    if (result != 0)
        return result;
    if (reader->format == 0 || reader->format > LEDGER_JOURNAL_FORMAT)
        return damaged(scan, "a segment of a format that does not exist");
    /*
     * A header lies within one sector, so it is there in full or not at all. Records behind a
     * missing header were never confirmed unless they say so, which reader_shows_damage finds; a file that
     * was cut short while it was made has none.
     */
    size_t length = reader->capacity * reader->size;
    uint8_t *bytes = malloc(length + 1);
    result = bytes == NULL ? -ENOMEM : disk->read(disk->self, reader->fd, 0, bytes, length);
    memset(&record, 0, sizeof(record));
    bool used = length > 0 && result == 0 && journal_decode(bytes, reader->format, &record) &&
                journal_chained(bytes, reader->size, record.previous);
    if (result == 0 && !used && hides_records(reader, bytes, length, record.previous))
        result = damaged(scan, "later records are intact");
    free(bytes);
    if (result != 0 || used)
        return result;
    if (scan->watch != NULL)
        return 1;
    result = disk->remove(disk->self, scan->journal->directory, number);
    return result == 0 ? 1 : result;
}

static int take_record(struct scan *scan, const struct journal_entry *entry)
{
    scan->is_behind = true;
    int result = verify_record(scan, entry);
    scan->is_behind = false;
    if (result != 0 || scan->watch == NULL)
        return result;
    verification_count(scan->watch, &scan->reader, &entry->record);
    if (scan->watch->take == NULL)
        return 0;
    struct ledger_walk_record shown;
    walk_show(&scan->reader, entry, &shown);
    return scan->watch->take(scan->watch->context, &shown);
}

/* Whether a record stands now where the reader, which said `result`, found none: its writer's bytes may
 * be seen in part, and the later ones before the earlier ones. */
static bool has_moved(struct scan *scan, int result, struct journal_entry *entry)
{
    struct journal_reader *reader = &scan->reader;
    if (scan->watch == NULL || !scan->watch->is_written || (result != 0 && result != -EBADMSG))
        return false;
    reader->buffer_count = 0;
    return reader_next(reader, entry) == 1;
}

/* Reads on in the segment, to its end or to what is not a record there. */
static int read_records(struct scan *scan, bool is_last)
{
    struct journal_entry entry;
    int result;
    while ((result = reader_next(&scan->reader, &entry)) == 1 ||
           (is_last && has_moved(scan, result, &entry)))
        if ((result = take_record(scan, &entry)) != 0)
            return result;
    if (result == -EPROTO)
        return damaged(scan, "a record that does not belong there, or of a newer version");
    if (result == -EBADMSG && !is_last)
        return damaged(scan, "the chain is broken");
    return result == -EBADMSG ? 0 : result;
}

static int read_segment(struct scan *scan, uint32_t number, bool is_last)
{
    struct journal_reader *reader = &scan->reader;
    struct journal *journal = scan->journal;
    bool follows = number > 1 && !(is_partial(scan) && number == scan->first);
    int result = reader_enter(reader, number, reader->count, follows);
    if (result != 0)
        return result;
    if ((result = journal_keep_base(journal)) != 0)
        return result;
    journal_add_base(journal, reader->count);
    return read_records(scan, is_last);
}

/* What stands behind the last good record of the last segment: damage, or what a crash has torn. Where
 * its writer has moved on meanwhile, it is read on. */
static int look_at_tail(struct scan *scan)
{
    struct journal_reader *reader = &scan->reader;
    struct journal_entry entry;
    int result = 0;
    for (int looks = 0; looks < TAIL_LOOKS_MAX && result == 0; looks++) {
        uint32_t places = reader->capacity - reader->index;
        uint8_t *bytes = malloc(places * reader->size + 1);
        result = read_tail(scan, reader->fd, bytes, places);
        for (uint32_t i = 0; result == 0 && i < places && !scan->watch->is_written; i++)
            scan->watch->torn += !journal_is_zero(bytes + i * reader->size, reader->size);
        free(bytes);
        if (result != -EBADMSG || !has_moved(scan, result, &entry))
            break;
        scan->error[0] = '\0';
        result = take_record(scan, &entry);
        if (result == 0)
            result = read_records(scan, true);
    }
    return result;
}

/* Begins behind what the checkpoint covers. */
static int begin_behind(struct scan *scan, const struct checkpoint *checkpoint)
{
    struct journal *journal = scan->journal;
    const struct checkpoint_head *head = &checkpoint->head;
    int result = 0;
    for (uint64_t i = 0; i < head->segment && result == 0; i++) {
        result = journal_keep_base(journal);
        if (result == 0)
            journal_add_base(journal, checkpoint->bases[i]);
    }
    for (uint64_t i = 0; i < head->downloads && result == 0; i++)
        result = sums_set(&scan->sums, &checkpoint->downloads[i]);
    scan->reader.count = head->records;
    scan->reader.chain = head->chain;
    journal->from_checkpoint = (uint32_t)head->segment;
    journal->entries = head->entries;
    journal->vouched = head->vouched;
    journal->vouches = head->vouches != 0;
    journal->found_lease = head->found_lease;
    journal->found_download = head->found_download;
    return result;
}

/* Reads the segments from the first one to `last`, or those behind what a checkpoint covers. */
static int read_segments(struct scan *scan, uint32_t last, bool ends_there)
{
    const struct checkpoint *from = scan->from;
    uint32_t first = from != NULL ? (uint32_t)from->head.segment + 1 : scan->first;
    int result = from != NULL ? begin_behind(scan, from) : 0;
    scan->sums.since = is_partial(scan) ? scan->first : 0;
    for (uint32_t number = first; number <= last && result == 0; number++) {
        if (scan->watch != NULL && scan->watch->progress != NULL)
            scan->watch->progress(scan->watch->context, number, last);
        result = read_segment(scan, number, number == last && ends_there);
    }
    return result;
}

/* Finds the last segment that is in use, 0 where there is none. */
static int find_last(struct scan *scan, uint32_t *last)
{
    int result = last_segment(scan, last);
    if (result == 0 && reader_meets_newer(&scan->reader, *last) == 1)
        return refuse_newer(scan, "the newest segment of the journal");
    if (result == 0 && *last > 0)
        result = remove_unused(scan, *last);
    if (result == -EBADMSG && scan->watch != NULL && scan->watch->is_written && *last > 0) {
        scan->error[0] = '\0'; /* its writer may have made the header since */
        result = remove_unused(scan, *last);
    }
    *last -= result == 1 ? 1 : 0;
    return result < 0 ? result : 0;
}

static void place_writer(struct scan *scan, uint32_t last)
{
    struct journal *journal = scan->journal;
    journal->segment = last;
    journal->is_old = scan->reader.format < LEDGER_JOURNAL_FORMAT;
    journal->capacity = scan->reader.capacity;
    journal->used = journal->flushed = journal->durable = scan->reader.index;
    journal->chain = scan->reader.chain;
    journal->records = scan->reader.count;
    journal->names_count = scan->reader.ids_count;
    atomic_store(&journal->durable_records, journal->records);
    atomic_store(&journal->durable_entries, journal->entries);
    atomic_store(&journal->durable_vouched, journal->vouched);
}

static int read_all(struct scan *scan)
{
    struct checkpoint found = {0};
    uint32_t last;
    int result = find_last(scan, &last);
    if (result != 0 || last == 0)
        return result;
    if (scan->watch != NULL) {
        scan->watch->segments = last;
        scan->watch->first = scan->first;
    }
    if (scan->pass->checkpoints >= 0)
        result =
            checkpoint_load(&found, &scan->index, scan->journal, scan->pass->checkpoints, last - 1);
    if (result == -EPROTONOSUPPORT)
        (void)refuse_newer(scan, "the newest checkpoint");
    scan->from = found.head.segment > 0 ? &found : NULL;
    if (result == 0 && scan->watch == NULL && is_partial(scan))
        result = refuse_without(scan);
    if (result == 0)
        result = read_segments(scan, last, true);
    scan->from = NULL;
    checkpoint_clear(&found);
    if (result != 0)
        return result;
    if (scan->watch != NULL)
        return look_at_tail(scan);
    result = cut_tail(scan);
    if (result == 0)
        place_writer(scan, last);
    return result;
}

/* Notes the downloads that are open, and where the pass has come to. */
static int note_end(const struct scan *scan, struct checkpoint *out)
{
    const struct journal *journal = scan->journal;
    out->downloads = calloc(scan->sums.count + 1, sizeof(struct download_sum));
    out->bases = calloc((size_t)journal->bases_count + 1, sizeof(uint64_t));
    if (out->downloads == NULL || out->bases == NULL)
        return -ENOMEM;
    memcpy(out->bases, journal->bases, journal->bases_count * sizeof(uint64_t));
    for (size_t i = 0; i < scan->sums.room; i++)
        if (scan->sums.slots[i].download != 0 && !scan->sums.slots[i].closed)
            out->downloads[out->head.downloads++] = scan->sums.slots[i];
    memcpy(out->head.instance, journal->instance, JOURNAL_ID_BYTES);
    out->head.segment = journal->bases_count;
    out->head.chain = scan->reader.chain;
    out->head.records = scan->reader.count;
    out->head.entries = journal->entries;
    out->head.vouched = journal->vouched;
    out->head.vouches = journal->vouches;
    out->head.found_lease = journal->found_lease;
    out->head.found_download = journal->found_download;
    return 0;
}

int journal_scan(struct journal *journal, const struct journal_pass *pass, char *error,
                 size_t error_size)
{
    struct scan scan = {.journal = journal,
                        .pass = pass,
                        .from = pass->from,
                        .watch = pass->watch,
                        .first = 1,
                        .index.fd = -1,
                        .error = error,
                        .error_size = error_size};
    error[0] = '\0';
    int result = reader_init(&scan.reader, journal->disk, journal->names, journal->directory);
    if (result == 0 && pass->to == 0)
        result = read_all(&scan);
    else if (result == 0)
        result = read_segments(&scan, pass->to, false);
    if (result == 0 && pass->to > 0)
        result = note_end(&scan, pass->end);
    checkpoint_index_close(&scan.index);
    reader_free(&scan.reader);
    sums_free(&scan.sums);
    return result;
}
