/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cursor over the journal that resolves names. The scan at start and the poster each have one; it
 * never reads past its limit, behind which the writer may be at work.
 */
#ifndef TOLLGATE_LEDGER_READER_H
#define TOLLGATE_LEDGER_READER_H

#include "storage/ledger/names.h"
#include "storage/ledger/outside.h"

#define READER_BUFFER_RECORDS 2048u

struct journal_entry {
    struct journal_record record;
    struct ledger_account *account; /* borrows: valid until the reader enters another segment */
    struct ledger_file *file;
};

struct journal_reader {
    const struct ledger_disk *disk; /* borrows */
    struct names *names;            /* borrows */
    int directory;                  /* borrows */
    int fd;
    uint32_t format;                   /* of the segment */
    size_t size;                       /* of its records, in bytes */
    uint32_t segment, index, capacity; /* the cursor's place, in records */
    uint64_t count;                    /* records before the cursor in the whole journal */
    uint64_t limit;                    /* `count` never passes it */
    uint64_t chain;
    bool chain_known;         /* the cursor came from the segment before: `chain` is its last */
    struct ledger_name **ids; /* owns, each with a reference */
    uint32_t ids_count, ids_room;
    char partial[LEDGER_FILE_MAX];
    uint32_t partial_parts; /* of the name being put together */
    uint8_t *buffer;        /* owns */
    uint32_t buffer_first, buffer_count;
};

/* Borrows `disk`, `names` and `directory`; reader_enter must follow. 0 or -ENOMEM. */
int reader_init(struct journal_reader *reader, const struct ledger_disk *disk, struct names *names,
                int directory);
void reader_free(struct journal_reader *reader);
/* How many records of this size a file has room for. */
uint32_t reader_capacity(uint64_t bytes, size_t record_bytes);
/*
 * Goes to the start of a segment; `count` is the number of records before it. `follows` says that
 * the cursor has read the segment before to its end, so that the chain must go on. 0 or a negative
 * errno, with the cursor where it was.
 */
int reader_enter(struct journal_reader *reader, uint32_t segment, uint64_t count, bool follows);
/*
 * Reads the next record. 1 with a record; 0 at the end of the segment's used part or at the limit;
 * -EBADMSG: not what was written (torn or damaged); -EPROTO: as written, but not of this format or
 * out of place; another negative errno: it cannot be read.
 */
int reader_next(struct journal_reader *reader, struct journal_entry *out);
/* Whether a newer version has written to the journal, whose last segment is `last`; that one may have been
 * made ahead. A newer segment's first record is sound and names the format; it has JOURNAL_RECORD_BYTES there,
 * too. 1, 0 or a negative errno. */
int reader_meets_newer(struct journal_reader *reader, uint32_t last);
/*
 * Judges the `count` places in `bytes`, which stand behind the reader's last good record, whose chain value is
 * `chain`, in the last segment. A write that a crash cut was never confirmed by fdatasync, may have reached the
 * disk in any order of sectors, and is cut off. It is damage where a later record says that this place was on
 * disk when it was written, or where this sector holds something other than what was written (a sector that
 * never arrived is zero).
 */
bool reader_shows_damage(const struct journal_reader *reader, const uint8_t *bytes, uint32_t count,
                         uint64_t chain);

#endif
