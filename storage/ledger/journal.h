/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal as its writer sees it: append, make durable, rotate; and the room in it. ledger_open
 * and the writer thread write; workers only reserve room, which never waits for the disk; the
 * poster asks where segments begin.
 *
 *   free      records left in the current segment
 *   reserved  records promised to open downloads and to the process's own end
 *
 * Always: free >= reserved, or a next segment stands ready, into which all reservations fit.
 */
#ifndef TOLLGATE_LEDGER_JOURNAL_H
#define TOLLGATE_LEDGER_JOURNAL_H

#include "storage/ledger/names.h"
#include "storage/ledger/outside.h"
#include "storage/ledger/reader.h"
#include "storage/ledger/verify.h"

/* A download's two names and its closing record. What else a mark may tell (the key's name, ended
 * responses) is written only where there is other room. */
#define JOURNAL_DOWNLOAD_ROOM_MAX                                                                  \
    ((LEDGER_ISSUER_MAX + 1 + LEDGER_ACCOUNT_MAX + JOURNAL_NAME_PART - 1) / JOURNAL_NAME_PART +    \
     (LEDGER_FILE_MAX + JOURNAL_NAME_PART - 1) / JOURNAL_NAME_PART + 1)
#define JOURNAL_END_ROOM       8u  /* STOP, and the START of some processes after this one */
#define JOURNAL_SLACK          28u /* records of a segment beyond what is promised, at least */
#define JOURNAL_BUFFER_RECORDS 1024u

struct journal {
    const struct ledger_clock *clock; /* borrows */
    const struct ledger_disk *disk;   /* borrows */
    int directory;                    /* owns */
    uint64_t segment_bytes;
    uint8_t instance[JOURNAL_ID_BYTES], epoch[JOURNAL_ID_BYTES];
    struct names *names; /* borrows */

    /* Of the writer. */
    int fd;               /* owns */
    uint32_t segment;     /* number of the current one */
    uint32_t flushed;     /* its records that pwrite has taken; the buffer holds the next ones */
    uint32_t durable;     /* its records that fdatasync has confirmed */
    uint32_t names_count; /* ids given in it */
    bool is_old;          /* of an older format: nothing more is written into it */
    uint64_t lease;       /* the number of this process' lease; 0: none was noted yet */
    uint32_t end_room;    /* of what is reserved: for the process' own end */
    bool vouches;         /* entries count as vouched for, since their process has a lease */
    uint64_t vouched;     /* of the entries: the last one that counts so */
    uint64_t chain;
    uint8_t *buffer; /* owns */
    uint32_t buffered;
    bool failed;
    const char *failed_call;
    int failed_error; /* errno */

    /* Under lock. */
    pthread_mutex_t lock;
    uint32_t used, capacity;
    uint64_t reserved;
    int next_fd; /* owns; -1: none */
    uint32_t next_capacity;
    uint64_t *bases; /* owns: records before segment i + 1 */
    uint32_t bases_count, bases_room;

    uint64_t records;                 /* in the whole journal */
    _Atomic uint64_t durable_records; /* those on disk: how far readers may go */
    uint64_t entries;                 /* records of usage and money only */
    _Atomic uint64_t durable_entries; /* those on disk, which survive a loss of power */
    /* Those on disk of which Redis may be told, as journal_note_lease says. */
    _Atomic uint64_t durable_vouched;
    uint64_t found_lease;     /* the highest number of a lease that it found */
    uint64_t found_download;  /* the highest number of a download that it found */
    uint32_t from_checkpoint; /* the last segment that it did not read; 0: it read all */
    _Atomic uint32_t first;   /* segment that is there: those before it have left the journal */
    _Atomic uint64_t written, syncs; /* records and fdatasyncs since the start, for statistics */
};

/*
 * Reads the whole journal, or what stands behind its newest checkpoint, and leaves it ready to append:
 * a torn tail cut off, a first segment made, a START record written. Takes over `directory`;
 * `checkpoints`, `names` and the tables of `outside` are borrowed.
 * 0; -EBADMSG with a sentence where the journal is damaged; what the system says (-ENOSPC, -EMFILE,
 * ...) without one.
 */
int journal_open(struct journal *journal, const struct ledger_outside *outside, struct names *names,
                 int directory, int checkpoints, uint64_t segment_bytes,
                 const uint8_t instance[JOURNAL_ID_BYTES], const uint8_t epoch[JOURNAL_ID_BYTES],
                 char *error, size_t error_size);
/* Closes and frees; writes nothing, so the caller has synced before. */
void journal_close(struct journal *journal);

/* Prepares a journal for a pass that writes nothing, and ends it. */
void journal_init(struct journal *journal, const struct ledger_disk *disk, struct names *names,
                  int directory, const uint8_t instance[JOURNAL_ID_BYTES]);
void journal_end(struct journal *journal);

/* Reads and verifies a whole journal as journal_open does, leaves it as it is, and says in `watch` what it
 * holds. Takes over `directory`. As journal_open. */
int journal_verify(const struct ledger_disk *disk, struct names *names, int directory,
                   const uint8_t instance[JOURNAL_ID_BYTES], struct ledger_verification *watch,
                   char *error, size_t error_size);

/* Counts a record that is sound, behind which the reader stands. */
void verification_count(struct ledger_verification *watch, const struct journal_reader *reader,
                        const struct journal_record *record);

/* Promises room for so many records, or gives it back. 0 or -ENOSPC. Any thread. */
int journal_reserve(struct journal *journal, uint32_t records);
void journal_unreserve(struct journal *journal, uint32_t records);
/* How many records may still be written without touching a reservation. Any thread, as the two
 * below: how many records stand before a segment, and how many segments there are, those that have left the
 * journal as well. */
uint64_t journal_spare(struct journal *journal);
uint64_t journal_base(struct journal *journal, uint32_t segment);
uint32_t journal_segments(struct journal *journal);

/* Only the writer calls the functions below. */

/*
 * Whether a next segment should be made now: from an eighth of this one on, so that where none can
 * be made, most of a segment is left for the marks of open downloads; or where reservations leave
 * little. `was` is the last answer: the wish ends at twice the room at which it begins.
 */
bool journal_wants_next(struct journal *journal, bool was);
/* Makes the next segment. 0, or a negative errno of opening, allocating or memory; the caller may
 * try again. */
int journal_allocate_next(struct journal *journal);
/*
 * What a mark says of responses that ended: where in its records, `responses` (NULL: it needs no
 * second one) or the mark itself, each of them is described, and the name of the key that signed
 * its link (NULL: unknown).
 */
struct journal_extra {
    struct journal_record *responses;
    struct journal_response *places[1 + JOURNAL_RESPONSES];
    struct ledger_name *keys[1 + JOURNAL_RESPONSES];
    size_t count;
    uint32_t dropped; /* that found no room */
};
/*
 * Appends a USAGE or MONEY record and the names that it needs in this segment, changing to the next
 * segment where this one lacks the room. `own` is how many reserved records this may consume (0:
 * none); its caller gives them back before the next record. 0, -ENOSPC with nothing written, -EIO.
 */
int journal_append(struct journal *journal, struct ledger_account *account,
                   struct ledger_file *file, struct journal_record *record, uint32_t own);
/* The same for a mark, with what it says of responses where there is room for it beside what is
 * reserved; otherwise with as much of it as the mark itself has a place for. */
int journal_append_usage(struct journal *journal, struct ledger_account *account,
                         struct ledger_file *file, struct journal_record *record, uint32_t own,
                         struct journal_extra *extra);
/* Drops what needs a record beside the mark: counts it in `dropped` and in the mark. */
void journal_drop_extra(struct journal_record *mark, struct journal_extra *extra);
/* Appends START or STOP, for which JOURNAL_END_ROOM is kept. */
int journal_append_end(struct journal *journal, enum journal_type type);
/*
 * Notes in the journal, by another START record, that this process has the lease of this number.
 * Until then no entry of this process is vouched for: it may have journalled revocations while Redis
 * was out of reach, and must not make up with them for records that its journal has lost. 0, -ENOSPC
 * or -EIO, and then it may be called again.
 */
int journal_note_lease(struct journal *journal, uint64_t lease);
/* Writes what is buffered, waits until it is on disk, and lets readers at it. 0, or -EIO
 * from then on. */
int journal_sync(struct journal *journal);

/* Takes `records` where they fit beside what is reserved for others than `own`. 0; -EAGAIN: not
 * here, but a next segment is ready; -ENOSPC. */
int journal_take_room(struct journal *journal, uint32_t records, uint32_t own);
/* Keep room to note where one more segment begins (0 or -ENOMEM), and note it. */
int journal_keep_base(struct journal *journal);
void journal_add_base(struct journal *journal, uint64_t base);

struct checkpoint;

/* How the scan reads a journal. All is borrowed. */
struct journal_pass {
    int checkpoints; /* the directory of checkpoints, of which the newest that can be used is the begin;
                        -1: none is */
    /* What the segments up to the one that it names come to, which are not read; NULL: nothing. */
    const struct checkpoint *from;
    uint32_t to; /* the last segment to read, which another one follows; 0: all of them */
    struct checkpoint
        *end; /* where `to` is not 0: what the segments come to, but for the accounts */
    /* NULL: each record is noted in the names. Else it is given here, with the segment in which it
     * stands. 0, -EBADMSG where its account's sequence has a hole, or another negative errno. */
    int (*each)(void *context, const struct journal_entry *entry, uint32_t segment);
    void *context;
    struct ledger_verification *watch;
};

/* The scan (scan.c): reads everything, fills the names, cuts a torn tail off and fills the writer's
 * position. With a watch it fills that instead; with that or with `to` it changes no file. */
int journal_scan(struct journal *journal, const struct journal_pass *pass, char *error,
                 size_t error_size);

#endif
