/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes segments from the journal's begin to the archive, one at a time, and removes them. See retention.h. All that it
 * knows stands on the disks: it begins with the first segment that is there, and looks what the archive has of it.
 */
#include "storage/ledger/retention.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/ledger/archive.h"
#include "storage/ledger/aside.h"
#include "storage/ledger/checkpoints.h"
#include "storage/ledger/segment.h"

#define LOOK_MS        1000    /* whether a segment is due */
#define RETRY_MS       10000   /* behind a step that failed */
#define SAY_MS         3600000 /* until the same failure is told again */
#define PRUNE_MS       3600000 /* whether files of the archive have ended */
#define CLOCK_OFF_MS   60000   /* from Redis' clock: then no age is believed */
#define OVERDUE_LOOKED 4096    /* segments, while they cannot leave */

enum retention_state {
    RETENTION_RESTS,
    RETENTION_LOOKS,    /* whether the archive has the segment already */
    RETENTION_PACKS,    /* it is being written there, under another name */
    RETENTION_VERIFIES, /* what was written is read back */
    RETENTION_KEEPS,    /* the file gets its name */
    RETENTION_REMOVES,  /* it leaves the journal */
};

struct retention {
    struct ledger *ledger;    /* borrows */
    const _Atomic bool *stop; /* borrows */
    const char *directory;    /* of the archive; borrows; NULL: none */
    int archive;              /* owns; -1: not open */
    enum retention_state state;
    struct archive_segment segment; /* that is being taken */
    uint64_t packed_bytes, prune_ms, said_ms;
    int said; /* the errno that was told last */
    _Atomic uint64_t archived, archived_bytes, removed, ended, failures, overdue;
    char text[LEDGER_TEXT_MAX]; /* under ledger->lock */
};

/* ---- which segment is due ---- */

static bool clock_is_sound(const struct ledger *ledger)
{
    int64_t ahead_ms = ledger_clock_ahead_ms(ledger);
    return ahead_ms != LEDGER_CLOCK_UNKNOWN && ahead_ms <= CLOCK_OFF_MS &&
           ahead_ms >= -CLOCK_OFF_MS;
}

/* The begin of the segment behind this one says how the one before ended. 0 or a negative errno. */
static int read_next_header(const struct ledger *ledger, uint32_t number,
                            struct journal_record *header)
{
    const struct ledger_disk *disk = ledger->outside.disk;
    uint8_t bytes[JOURNAL_RECORD_BYTES];
    uint64_t size = 0;
    int fd = disk->open(disk->self, ledger->journal.directory, number + 1, false, &size);
    if (fd < 0)
        return fd;
    int result =
        size < sizeof(bytes) ? -EBADMSG : disk->read(disk->self, fd, 0, bytes, sizeof(bytes));
    disk->close(disk->self, fd);
    *header = (struct journal_record){0};
    if (result == 0 && !journal_decode(bytes, journal_format_of(bytes), header))
        result = -EBADMSG;
    return result;
}

/* Whether the segment is older than it has to be kept, or too much stands behind it. */
static bool is_past(struct ledger *ledger, uint32_t number, const struct journal_record *next)
{
    const struct ledger_options *options = &ledger->options;
    uint64_t behind = (atomic_load(&ledger->journal.durable_records) -
                       journal_base(&ledger->journal, number + 1)) *
                      JOURNAL_RECORD_BYTES;
    if (options->keep_bytes > 0 && behind >= options->keep_bytes)
        return true;
    return options->keep_ms > 0 && clock_is_sound(ledger) &&
           next->time_ms + options->keep_ms <= ledger_real_ms(ledger);
}

/* Whether nobody needs the segment any more: neither a start nor the poster, which may have begun to fill Redis
 * from an older checkpoint, and then needs what stands behind that. */
static bool is_spare(struct ledger *ledger, uint32_t number)
{
    if (number > checkpoints_spare(ledger) || number > checkpoints_held(ledger) ||
        atomic_load(&ledger->poster_state) != LEDGER_READY)
        return false;
    pthread_mutex_lock(&ledger->lock);
    uint64_t posted = ledger->posted;
    pthread_mutex_unlock(&ledger->lock);
    return journal_base(&ledger->journal, number + 1) <= posted && !aside_needs(ledger, number);
}

static bool is_due(struct ledger *ledger, uint32_t number, struct journal_record *next)
{
    return is_spare(ledger, number) && read_next_header(ledger, number, next) == 0 &&
           is_past(ledger, number, next);
}

/* How many segments should have left the journal. */
static uint64_t count_overdue(struct ledger *ledger)
{
    struct journal_record next;
    uint32_t first = atomic_load(&ledger->journal.first), number = first;
    while (number - first < OVERDUE_LOOKED && is_due(ledger, number, &next))
        number++;
    return number - first;
}

/* ---- what happened ---- */

static uint64_t rest(struct retention *retention, uint64_t until_ms)
{
    if (retention->archive >= 0)
        close(retention->archive);
    retention->archive = -1;
    retention->state = RETENTION_RESTS;
    return until_ms;
}

static void set_text(struct retention *retention, const char *text)
{
    pthread_mutex_lock(&retention->ledger->lock);
    snprintf(retention->text, sizeof(retention->text), "%s", text);
    pthread_mutex_unlock(&retention->ledger->lock);
}

/* The segment stays, and the node serves on. */
static uint64_t fail(struct retention *retention, int result)
{
    struct ledger *ledger = retention->ledger;
    uint64_t now_ms = ledger_monotonic_ms(ledger);
    bool of_archive = retention->state != RETENTION_REMOVES;
    char text[LEDGER_TEXT_MAX];
    if (result == -ECANCELED)
        return rest(retention, now_ms);
    atomic_store(&retention->overdue, count_overdue(ledger));
    atomic_fetch_add(&retention->failures, 1);
    snprintf(
        text, sizeof(text),
        "segment %" PRIu32 " of %s stays in the journal, and those behind it: %s %.200s: %s; %s",
        retention->segment.number, ledger->lane.name,
        of_archive ? "the archive" : "the directory of",
        of_archive ? retention->directory : ledger->lane.name,
        result == -EBADMSG ? "what was written there is not what the journal's chain says"
                           : strerrordesc_np(-result),
        result == -EBADMSG ? "check its disk, and that of the journal with `tollgate ledger verify`"
                           : segment_cure(-result));
    set_text(retention, text);
    if (retention->said != result || now_ms - retention->said_ms >= SAY_MS) {
        ledger_say(ledger, LEDGER_EVENT_ERROR,
                   "%s; the node serves on as long as the journal has room", text);
        retention->said_ms = now_ms;
    }
    retention->said = result;
    return rest(retention, now_ms + RETRY_MS);
}

static void succeed(struct retention *retention)
{
    if (retention->said == 0)
        return;
    retention->said = 0;
    atomic_store(&retention->overdue, 0);
    set_text(retention, "");
    ledger_say(retention->ledger, LEDGER_EVENT_INFO, "segments leave the journal again");
}

/* ---- the steps ---- */

static int open_archive(struct retention *retention)
{
    if (retention->archive < 0)
        retention->archive = open(retention->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return retention->archive < 0 ? -errno : 0;
}

/* Removes what has ended in the archive. That nobody can do it now is told with the next segment. */
static void prune(struct retention *retention, uint64_t now_ms)
{
    struct ledger *ledger = retention->ledger;
    uint64_t keep_ms = ledger->options.archive_keep_ms, real_ms = ledger_real_ms(ledger);
    uint32_t removed = 0;
    if (!clock_is_sound(ledger))
        return;
    retention->prune_ms = now_ms + PRUNE_MS;
    if (open_archive(retention) == 0)
        (void)archive_prune(retention->archive, ledger->instance,
                            keep_ms > 0 && real_ms > keep_ms ? real_ms - keep_ms : 0, &removed);
    atomic_fetch_add(&retention->ended, removed);
    if (removed > 0)
        ledger_say(ledger, LEDGER_EVENT_INFO,
                   "%" PRIu32
                   " segments have ended in the archive %s, where they are kept for %" PRIu64
                   " days",
                   removed, retention->directory, keep_ms / 86400000);
    (void)rest(retention, now_ms);
}

static uint64_t look_for_due(struct retention *retention, uint64_t now_ms)
{
    struct ledger *ledger = retention->ledger;
    struct journal *journal = &ledger->journal;
    struct journal_record next;
    uint32_t number = atomic_load(&journal->first);
    if (retention->directory != NULL && now_ms >= retention->prune_ms)
        prune(retention, now_ms);
    if (!is_due(ledger, number, &next)) {
        atomic_store(&retention->overdue, 0);
        return rest(retention, now_ms + LOOK_MS);
    }
    retention->segment = (struct archive_segment){.disk = ledger->outside.disk,
                                                  .journal = journal->directory,
                                                  .instance = ledger->instance,
                                                  .number = number,
                                                  .records = journal_base(journal, number + 1) -
                                                             journal_base(journal, number),
                                                  .chain = next.previous,
                                                  .newest_ms = next.time_ms,
                                                  .stop = retention->stop};
    retention->state = retention->directory != NULL ? RETENTION_LOOKS : RETENTION_REMOVES;
    return now_ms;
}

/* An earlier process may have been killed behind the last step. */
static int look_at_archive(struct retention *retention)
{
    int result = open_archive(retention);
    if (result == 0)
        result = archive_verify(retention->archive, &retention->segment, true);
    if (result == -EBADMSG)
        archive_discard(retention->archive, &retention->segment);
    retention->state = result == 0 ? RETENTION_REMOVES : RETENTION_PACKS;
    return result == -EBADMSG || (result == -ENOENT && retention->archive >= 0) ? 0 : result;
}

static int verify_packed(struct retention *retention)
{
    int result = archive_verify(retention->archive, &retention->segment, false);
    if (result == -EBADMSG)
        archive_discard(retention->archive, &retention->segment);
    retention->state = result == 0 ? RETENTION_KEEPS : retention->state;
    return result;
}

static int keep_packed(struct retention *retention)
{
    int result = archive_keep(retention->archive, &retention->segment);
    if (result != 0)
        return result;
    atomic_fetch_add(&retention->archived, 1);
    atomic_fetch_add(&retention->archived_bytes, retention->packed_bytes);
    retention->state = RETENTION_REMOVES;
    return 0;
}

/* The poster looks where the journal begins before it looks for a segment. */
static uint64_t remove_segment(struct retention *retention)
{
    struct ledger *ledger = retention->ledger;
    const struct ledger_disk *disk = ledger->outside.disk;
    struct journal_record next;
    uint32_t number = retention->segment.number;
    /* Redis may have lost something meanwhile. */
    if (!is_due(ledger, number, &next))
        return rest(retention, ledger_monotonic_ms(ledger) + LOOK_MS);
    atomic_store(&ledger->journal.first, number + 1);
    int result = disk->remove(disk->self, ledger->journal.directory, number);
    if (result != 0 && result != -ENOENT) {
        atomic_store(&ledger->journal.first, number);
        return fail(retention, result);
    }
    atomic_fetch_add(&retention->removed, 1);
    ledger_say(ledger, LEDGER_EVENT_INFO, "segment %" PRIu32 " has left the journal of %s%s%s",
               number, ledger->lane.name, retention->directory != NULL ? " for the archive " : "",
               retention->directory != NULL ? retention->directory : "");
    succeed(retention);
    return rest(retention, ledger_monotonic_ms(ledger));
}

uint64_t retention_step(struct ledger *ledger)
{
    struct retention *retention = ledger->retention;
    uint64_t now_ms = ledger_monotonic_ms(ledger);
    int result = 0;
    switch (retention->state) {
    case RETENTION_RESTS:
        return look_for_due(retention, now_ms);
    case RETENTION_LOOKS:
        result = look_at_archive(retention);
        break;
    case RETENTION_PACKS:
        result = archive_pack(retention->archive, &retention->segment, &retention->packed_bytes);
        retention->state = result == 0 ? RETENTION_VERIFIES : retention->state;
        if (result != 0) /* a disk that is full had better have its room back */
            archive_discard(retention->archive, &retention->segment);
        break;
    case RETENTION_VERIFIES:
        result = verify_packed(retention);
        break;
    case RETENTION_KEEPS:
        result = keep_packed(retention);
        break;
    case RETENTION_REMOVES:
        return remove_segment(retention);
    }
    return result == 0 ? now_ms : fail(retention, result);
}

/* ---- for the others ---- */

int retention_create(struct ledger *ledger, const _Atomic bool *stop)
{
    const char *directory = ledger->options.archive;
    struct retention *retention = calloc(1, sizeof(*retention));
    if (retention == NULL)
        return -ENOMEM;
    retention->ledger = ledger;
    retention->stop = stop;
    retention->archive = -1;
    if (directory != NULL && directory[0] != '\0' && !ledger->options.reads_archive)
        retention->directory = directory;
    ledger->retention = retention;
    return 0;
}

void retention_destroy(struct ledger *ledger)
{
    struct retention *retention = ledger->retention;
    if (retention == NULL)
        return;
    (void)rest(retention, 0);
    ledger->retention = NULL;
    free(retention);
}

void retention_stats(struct ledger *ledger, struct ledger_stats *out)
{
    const struct retention *retention = ledger->retention;
    out->segments = journal_segments(&ledger->journal) + 1 - atomic_load(&ledger->journal.first);
    if (retention == NULL)
        return;
    out->segments_archived = atomic_load(&retention->archived);
    out->archived_bytes = atomic_load(&retention->archived_bytes);
    out->segments_removed = atomic_load(&retention->removed);
    out->segments_overdue = atomic_load(&retention->overdue);
    out->archive_ended = atomic_load(&retention->ended);
    out->archive_failures = atomic_load(&retention->failures);
}

void ledger_retention_text(struct ledger *ledger, char *text, size_t size)
{
    pthread_mutex_lock(&ledger->lock);
    snprintf(text, size, "%s", ledger->retention != NULL ? ledger->retention->text : "");
    pthread_mutex_unlock(&ledger->lock);
}
