/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When checkpoints are made, and how each is verified. See checkpoints.h.
 */
#include "storage/ledger/checkpoints.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/ledger/checkpoint_index.h"
#include "storage/ledger/segment.h"

#define RECORDS_DUE   (UINT64_C(1) << 20) /* where the options say nothing: 256 MiB of the journal */
#define SEGMENTS_DUE  4 /* or as many as are in so many segments, if that is less */
#define RECORDS_TIMES 4 /* what is taken into one checkpoint, in times of what makes it due */
#define DAY_MS        UINT64_C(86400000)
#define HELD_MS       DAY_MS /* behind the journal's replay, one of which parts may be in Redis */
#define LOOK_MS       1000   /* whether there is something to do */
#define RETRY_MS      600000 /* behind one that could not be made */
#define NAMES_HINT    1024   /* one account and its files at a time */

struct checkpoints {
    struct ledger *ledger;         /* borrows */
    struct checkpoint_place place; /* of the lane */
    const _Atomic bool *stop;      /* borrows */
    _Atomic uint32_t segment;      /* of the newest that was verified; 0: none */
    _Atomic uint32_t
        before;        /* of the one before it, if that is sound; 0: it is not, or there is none */
    bool knows_before; /* whether it was looked for */
    uint64_t body_bytes; /* its length */
    uint64_t made_ms;    /* monotonic; when it was made, or this process began */
    uint32_t unverified; /* one that was made; 0: none */
    int said;            /* the errno that was told last */
};

/* ---- verifying ---- */

struct verifying {
    struct ledger *ledger; /* borrows */
    uint32_t segment;
    /* The checkpoint before: what it has of accounts that are asleep stands still. */
    struct checkpoint_index before;
    struct checkpoint_place_of_account at; /* behind `met` */
    const uint8_t *met;                    /* the account that comes next there; NULL: none */
    uint32_t met_length;
    uint64_t entries, bytes, responses;
    char *error;
    size_t error_size;
};

static int refuse(struct verifying *verifying, const struct checkpoint_account *account,
                  const char *what, uint64_t has, uint64_t should)
{
    snprintf(verifying->error, verifying->error_size,
             "the checkpoint of segment %" PRIu32 " has %" PRIu64
             " %s of account %.200s, which has %" PRIu64 " in the journal",
             verifying->segment, has, what, account != NULL ? account->name->text : "(all)",
             should);
    return -EBADMSG;
}

static int lacks(struct verifying *verifying, const char *text, size_t length)
{
    snprintf(verifying->error, verifying->error_size,
             "the checkpoint of segment %" PRIu32
             " lacks account %.*s, which the one before it has",
             verifying->segment, (int)length, text);
    return -EBADMSG;
}

/* Moves on in the checkpoint before. 0 or a negative errno. */
static int meet_next(struct verifying *verifying)
{
    int result = checkpoint_index_next(&verifying->before, &verifying->at, &verifying->met,
                                       &verifying->met_length);
    if (result != 1)
        verifying->met = NULL;
    return result < 0 ? result : 0;
}

/* What the checkpoint before has of the account: nothing, where it does not have it. 0; -EBADMSG, with a sentence:
 * the new one lacks an account that stands there before this one; or another negative errno. */
static int look_before(struct verifying *verifying, const struct checkpoint_account *account,
                       struct names_records *out)
{
    const struct ledger_name *name = account->name;
    size_t length;
    *out = (struct names_records){0};
    const char *text =
        verifying->met == NULL
            ? NULL
            : checkpoint_account_text(verifying->met, verifying->met_length, &length);
    if (text == NULL)
        return 0;
    uint64_t hash = checkpoint_hash(text, length), own = checkpoint_hash(name->text, name->length);
    bool is_same = length == name->length && memcmp(text, name->text, length) == 0;
    if (!is_same && hash < own)
        return lacks(verifying, text, length);
    if (!is_same)
        return 0;
    checkpoint_account_records(verifying->met, out);
    return meet_next(verifying);
}

/* Compares an account with what the ledger counted, where it still knows what that was then; one that is asleep
 * with the checkpoint before. */
static int verify_count(struct verifying *verifying, const struct checkpoint_account *account)
{
    struct names_records before;
    int result = look_before(verifying, account, &before);
    if (result != 0)
        return result;
    uint64_t sequence = before.sequence, bytes = before.bytes;
    struct ledger_account *live =
        names_find(&verifying->ledger->names, account->name->text, account->name->length);
    bool is_awake = live != NULL && names_is_awake(live);
    bool knows = !is_awake || names_noted(live, verifying->segment, &sequence, &bytes);
    if (live != NULL)
        names_drop(&live->name);
    if (knows && account->sequence != sequence)
        return refuse(verifying, account, "records", account->sequence, sequence);
    if (knows && account->bytes != bytes)
        return refuse(verifying, account, "bytes", account->bytes, bytes);
    return 0;
}

static int verify_account(void *context, const struct checkpoint_account *account)
{
    struct verifying *verifying = context;
    uint64_t bytes = 0, responses = 0;
    if (atomic_load_explicit(verifying->ledger->checkpoints->stop, memory_order_relaxed))
        return -ECANCELED;
    for (uint32_t i = 0; i < account->usages_count; i++) {
        bytes += account->usages[i].bytes;
        responses += account->usages[i].responses;
    }
    verifying->entries += account->sequence;
    verifying->bytes += account->bytes;
    verifying->responses += account->responses;
    if (bytes != account->bytes)
        return refuse(verifying, account, "bytes by day", bytes, account->bytes);
    if (responses != account->responses)
        return refuse(verifying, account, "responses by day", responses, account->responses);
    return verify_count(verifying, account);
}

/* Opens the checkpoint before, if there is one. 0 or a negative errno. */
static int begin_before(struct verifying *verifying, const struct checkpoint_place *place)
{
    uint32_t segment = checkpoints_segment(verifying->ledger);
    if (segment == 0)
        return 0;
    int result = checkpoint_index_open(&verifying->before, place, segment);
    return result == 0 ? meet_next(verifying) : result == -EBADMSG ? -EIO : result;
}

int checkpoint_verify(struct ledger *ledger, uint32_t segment, char *error, size_t error_size)
{
    struct verifying verifying = {.ledger = ledger,
                                  .segment = segment,
                                  .before.fd = -1,
                                  .error = error,
                                  .error_size = error_size};
    const struct checkpoint_place *place = &ledger->checkpoints->place;
    struct checkpoint whole;
    struct names names;
    error[0] = '\0';
    int result = names_init(&names, NAMES_HINT, NAMES_HINT);
    if (result != 0)
        return result;
    memset(&whole, 0, sizeof(whole));
    result = begin_before(&verifying, place);
    if (result == 0)
        result = checkpoint_read(place, segment, &names, verify_account, &verifying, &whole);
    checkpoint_index_close(&verifying.before);
    if (result == 0 && verifying.met != NULL)
        result = refuse(&verifying, NULL, "accounts", whole.head.accounts,
                        whole.head.accounts + 1); /* or more */
    if (result == 0 && verifying.entries != whole.head.entries)
        result = refuse(&verifying, NULL, "records", verifying.entries, whole.head.entries);
    if (result == 0 && verifying.bytes != whole.head.bytes)
        result = refuse(&verifying, NULL, "bytes", verifying.bytes, whole.head.bytes);
    if (result == 0 && verifying.responses != whole.head.responses)
        result = refuse(&verifying, NULL, "responses", verifying.responses, whole.head.responses);
    if (result == 0)
        ledger->checkpoints->body_bytes = whole.head.body_bytes;
    else if (result == -EBADMSG && error[0] == '\0')
        snprintf(error, error_size,
                 "the checkpoint of segment %" PRIu32 " does not read back as it was written",
                 segment);
    checkpoint_clear(&whole);
    names_free(&names);
    return result;
}

/* ---- when ---- */

/* The last segment that is full and on disk: the next one's header, which says so, is there, too. */
static uint32_t last_full(struct ledger *ledger)
{
    uint32_t segments = journal_segments(&ledger->journal);
    uint64_t durable = atomic_load_explicit(&ledger->journal.durable_records, memory_order_acquire);
    while (segments > 0 && journal_base(&ledger->journal, segments) >= durable)
        segments--;
    return segments > 0 ? segments - 1 : 0;
}

/* How many records behind a checkpoint make the next one due. */
static uint64_t records_due(const struct ledger_options *options)
{
    uint64_t segments = options->segment_bytes / JOURNAL_RECORD_BYTES * SEGMENTS_DUE;
    if (options->checkpoint_records > 0)
        return options->checkpoint_records;
    return segments < RECORDS_DUE ? segments : RECORDS_DUE;
}

/* The segment of the checkpoint to be made next; 0: none yet. */
static uint32_t wanted(const struct checkpoints *checkpoints, uint64_t now_ms)
{
    struct journal *journal = &checkpoints->ledger->journal;
    uint32_t from = atomic_load(&checkpoints->segment), last = last_full(checkpoints->ledger);
    if (last <= from)
        return 0;
    uint64_t before = journal_base(journal, from + 1);
    /* As much as the checkpoint itself, which is written again, but no more than is taken into one. */
    uint64_t due = records_due(&checkpoints->ledger->options);
    uint64_t most = due * RECORDS_TIMES;
    uint64_t least = checkpoints->body_bytes / JOURNAL_RECORD_BYTES;
    least = least < due ? due : least > most ? most : least;
    if (journal_base(journal, last + 1) - before < least && now_ms - checkpoints->made_ms < DAY_MS)
        return 0;
    while (last > from + 1 && journal_base(journal, last + 1) - before > most)
        last--;
    return last;
}

/* What went wrong is told once, until something else does. */
static uint64_t give_up(struct checkpoints *checkpoints, uint32_t segment, int result,
                        const char *error, uint64_t now_ms)
{
    struct ledger *ledger = checkpoints->ledger;
    const struct ledger_disk *disk = checkpoints->place.disk;
    if (result == -ECANCELED)
        return now_ms;
    if (checkpoints->said != result)
        ledger_say(ledger, LEDGER_EVENT_ERROR,
                   "no checkpoint was made of %s/%s up to segment %" PRIu32
                   ": %s; %s; the node goes "
                   "on, and begins with an earlier one when it is started again",
                   ledger->options.state_dir, ledger->lane.name, segment,
                   error[0] != '\0' ? error : strerrordesc_np(-result),
                   result == -EBADMSG ? "run `tollgate ledger verify`, and report this"
                                      : segment_cure(-result));
    checkpoints->said = result;
    (void)disk->remove(disk->self, checkpoints->place.checkpoints, segment);
    return now_ms + RETRY_MS;
}

/* The first and the last one that is held: one number, as two threads have it. */
static uint64_t held_range(uint32_t first, uint32_t last)
{
    return (uint64_t)first << 32 | last;
}

/* Those that an earlier process has left. */
static void hold_all(const struct checkpoints *checkpoints)
{
    int64_t last = atomic_load(&checkpoints->segment), first = last;
    for (int64_t older = last; older > 0;) {
        older = checkpoint_newest(&checkpoints->place, (uint32_t)older - 1);
        first = older > 0 ? older : first;
    }
    if (last > 0)
        atomic_store(&checkpoints->ledger->checkpoints_held,
                     held_range((uint32_t)first, (uint32_t)last));
    atomic_store(&checkpoints->ledger->checkpoints_held_until_ms, UINT64_MAX);
}

void checkpoints_hold(struct ledger *ledger, uint32_t segment)
{
    bool is_over = checkpoints_held(ledger) == UINT32_MAX;
    uint64_t held = is_over ? 0 : atomic_load(&ledger->checkpoints_held);
    uint32_t first = (uint32_t)(held >> 32), last = (uint32_t)held;
    first = held == 0 || segment < first ? segment : first;
    last = segment > last ? segment : last;
    ledger->has_begun = true;
    atomic_store(&ledger->checkpoints_held, held_range(first, last));
    atomic_store(&ledger->checkpoints_held_until_ms, UINT64_MAX);
}

void checkpoints_release(struct ledger *ledger)
{
    uint64_t now_ms = ledger_monotonic_ms(ledger);
    if (atomic_load(&ledger->checkpoints_held_until_ms) == UINT64_MAX)
        atomic_store(&ledger->checkpoints_held_until_ms,
                     ledger->has_begun ? now_ms + HELD_MS : now_ms);
}

uint32_t checkpoints_held(struct ledger *ledger)
{
    uint64_t held = atomic_load(&ledger->checkpoints_held);
    bool is_over = atomic_load(&ledger->checkpoints_held_until_ms) <= ledger_monotonic_ms(ledger);
    return held == 0 || is_over ? UINT32_MAX : (uint32_t)(held >> 32);
}

static bool is_held(struct ledger *ledger, uint32_t segment)
{
    uint64_t held = atomic_load(&ledger->checkpoints_held);
    return segment >= checkpoints_held(ledger) && segment <= (uint32_t)held;
}

/* Keeps the newest one, the one before it, and those of which parts may be in Redis. */
static void remove_older(struct checkpoints *checkpoints)
{
    const struct checkpoint_place *place = &checkpoints->place;
    int64_t newest = checkpoint_newest(place, atomic_load(&checkpoints->segment));
    int64_t old = newest > 0 ? checkpoint_newest(place, (uint32_t)newest - 1) : 0;
    while (old > 0 && (old = checkpoint_newest(place, (uint32_t)old - 1)) > 0)
        if (!is_held(checkpoints->ledger, (uint32_t)old))
            (void)place->disk->remove(place->disk->self, place->checkpoints, (uint32_t)old);
}

/* Those that the start did not take: unfinished, damaged, or of segments that the journal has lost, which
 * it will have again with other records. */
static void remove_newer(const struct checkpoints *checkpoints)
{
    const struct checkpoint_place *place = &checkpoints->place;
    int64_t newest;
    while ((newest = checkpoint_newest(place, UINT32_MAX)) > atomic_load(&checkpoints->segment))
        if (place->disk->remove(place->disk->self, place->checkpoints, (uint32_t)newest) != 0)
            return;
}

static uint64_t verify_next(struct checkpoints *checkpoints, uint64_t now_ms)
{
    struct ledger *ledger = checkpoints->ledger;
    char error[LEDGER_TEXT_MAX];
    uint32_t segment = checkpoints->unverified;
    checkpoints->unverified = 0;
    int result = checkpoint_verify(ledger, segment, error, sizeof(error));
    if (result == -EBADMSG)
        atomic_fetch_add(&ledger->checkpoints_refused, 1);
    if (result != 0)
        return give_up(checkpoints, segment, result, error, now_ms);
    atomic_fetch_add(&ledger->checkpoints_made, 1);
    checkpoints->before = atomic_exchange(&checkpoints->segment, segment);
    checkpoints->knows_before = true;
    checkpoints->made_ms = now_ms;
    checkpoints->said = 0;
    remove_older(checkpoints);
    return now_ms;
}

uint64_t checkpoints_step(struct ledger *ledger)
{
    struct checkpoints *checkpoints = ledger->checkpoints;
    const struct ledger_disk *disk = checkpoints->place.disk;
    char error[LEDGER_TEXT_MAX];
    uint64_t now_ms = ledger_monotonic_ms(ledger);
    if (checkpoints->unverified != 0)
        return verify_next(checkpoints, now_ms);
    uint32_t segment = wanted(checkpoints, now_ms);
    if (segment == 0)
        return now_ms + LOOK_MS;
    /* One of that number that an earlier process left is not known to be good. */
    int result = disk->remove(disk->self, checkpoints->place.checkpoints, segment);
    if (result == 0 || result == -ENOENT)
        result = checkpoint_make(&checkpoints->place, atomic_load(&checkpoints->segment), segment,
                                 checkpoints->stop, error, sizeof(error));
    else
        error[0] = '\0';
    if (result != 0)
        return give_up(checkpoints, segment, result, error, now_ms);
    checkpoints->unverified = segment;
    return now_ms;
}

struct checkpoint_place checkpoints_place(const struct ledger *ledger)
{
    return (struct checkpoint_place){.disk = ledger->outside.disk,
                                     .journal = ledger->journal.directory,
                                     .checkpoints = ledger->lane.checkpoints,
                                     .instance = ledger->journal.instance};
}

uint32_t checkpoints_segment(const struct ledger *ledger)
{
    return ledger->checkpoints != NULL ? atomic_load(&ledger->checkpoints->segment) : 0;
}

uint32_t checkpoints_spare(struct ledger *ledger)
{
    struct checkpoints *checkpoints = ledger->checkpoints;
    const struct checkpoint_place *place = &checkpoints->place;
    uint32_t newest = atomic_load(&checkpoints->segment);
    struct checkpoint found = {0};
    if (checkpoints->knows_before || newest == 0)
        return checkpoints->before;
    int64_t before = checkpoint_newest(place, newest - 1);
    if (before > 0 &&
        checkpoint_read(place, (uint32_t)before, &ledger->names, NULL, NULL, &found) == 0)
        checkpoints->before = (uint32_t)before;
    checkpoint_clear(&found);
    checkpoints->knows_before = true;
    return checkpoints->before;
}

uint32_t checkpoints_covered(const struct ledger *ledger)
{
    return ledger->checkpoints != NULL ? atomic_load(&ledger->checkpoints->before) : 0;
}

/* ---- beginning and end ---- */

int checkpoints_create(struct ledger *ledger, const _Atomic bool *stop)
{
    struct checkpoints *checkpoints = calloc(1, sizeof(*checkpoints));
    if (checkpoints == NULL)
        return -ENOMEM;
    checkpoints->ledger = ledger;
    checkpoints->stop = stop;
    checkpoints->place = (struct checkpoint_place){.disk = ledger->outside.disk,
                                                   .journal = ledger->journal.directory,
                                                   .checkpoints = ledger->lane.checkpoints,
                                                   .instance = ledger->lane.instance};
    checkpoints->made_ms = ledger_monotonic_ms(ledger);
    atomic_store(&checkpoints->segment, ledger->journal.from_checkpoint);
    hold_all(checkpoints);
    remove_newer(checkpoints);
    ledger->checkpoints = checkpoints;
    return 0;
}

void checkpoints_destroy(struct ledger *ledger)
{
    free(ledger->checkpoints);
    ledger->checkpoints = NULL;
}
