/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and closing the ledger, and its statistics. The server's main thread opens and closes it.
 * The work itself is the writer's and the poster's.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "storage/ledger/archive.h"
#include "storage/ledger/birth.h"
#include "storage/ledger/checkpoints.h"
#include "storage/ledger/drains.h"
#include "storage/ledger/ledger_internal.h"
#include "storage/ledger/retention.h"
#include "storage/ledger/segment.h"
#include "storage/ledger/upkeep.h"
#include "storage/ledger/wake.h"
#include "storage/ledger/where.h"

/* ---- where Redis is ---- */

int ledger_redis_address(struct ledger *ledger, struct ledger_redis_address *out, char *error,
                         size_t error_size)
{
    return where_get(ledger->where, out, error, error_size);
}

void ledger_redis_failed(struct ledger *ledger, uint64_t generation)
{
    where_failed(ledger->where, generation);
}

bool ledger_redis_is_in_force(const struct ledger *ledger, uint64_t generation)
{
    return generation == where_generation(ledger->where);
}

bool ledger_redis_is_other(struct ledger *ledger, uint64_t generation, const char *run_id)
{
    return where_is_other(ledger->where, generation, run_id);
}

bool ledger_redis_is_current(struct ledger *ledger, uint64_t generation, const char *run_id)
{
    return where_is_current(ledger->where, generation, run_id);
}

uint64_t ledger_redis_served(const struct ledger *ledger)
{
    return where_served(ledger->where);
}

/* ---- statistics ---- */

static uint64_t records_unposted(struct ledger *ledger)
{
    uint64_t durable = atomic_load(&ledger->journal.durable_records);
    pthread_mutex_lock(&ledger->lock);
    uint64_t unposted = durable > ledger->posted ? durable - ledger->posted : 0;
    pthread_mutex_unlock(&ledger->lock);
    return unposted;
}

uint64_t ledger_unposted_bytes(struct ledger *ledger)
{
    return records_unposted(ledger) * JOURNAL_RECORD_BYTES;
}

void ledger_stats(struct ledger *ledger, struct ledger_stats *out)
{
    memset(out, 0, sizeof(*out));
    out->records_written = atomic_load(&ledger->journal.written);
    out->bytes_written = out->records_written * JOURNAL_RECORD_BYTES;
    out->syncs = atomic_load(&ledger->journal.syncs);
    out->posts = atomic_load(&ledger->posts);
    out->posts_replayed = atomic_load(&ledger->posts_replayed);
    out->records_posted = atomic_load(&ledger->records_posted);
    out->accounts_set_aside = atomic_load(&ledger->accounts_aside);
    out->checkpoint_segment = checkpoints_segment(ledger);
    out->checkpoints = atomic_load(&ledger->checkpoints_made);
    out->accounts_filling = atomic_load(&ledger->accounts_filling);
    out->accounts_filled = atomic_load(&ledger->accounts_filled);
    out->checkpoints_refused = atomic_load(&ledger->checkpoints_refused);
    out->responses_undescribed = atomic_load(&ledger->responses_undescribed);
    out->refused_full = atomic_load(&ledger->refused_full);
    out->redis_connects = atomic_load(&ledger->redis_connects);
    out->redis_up = atomic_load(&ledger->redis_up);
    out->notices_lost = notices_lost(ledger);
    push_stats(ledger, out);
    out->downloads_open = atomic_load(&ledger->downloads);
    retention_stats(ledger, out);
    out->records_unposted = records_unposted(ledger) + drains_unposted(ledger);
    pthread_mutex_lock(&ledger->names.lock);
    out->accounts = ledger->names.accounts;
    pthread_mutex_unlock(&ledger->names.lock);
}

int ledger_settle(struct ledger *ledger, uint32_t timeout_ms)
{
    uint64_t deadline = ledger_monotonic_ms(ledger) + timeout_ms;
    int result = writer_mark(ledger, deadline);
    if (result != 0)
        return result;
    return ledger_wait_posted(ledger, atomic_load(&ledger->journal.durable_records), deadline);
}

/* ---- opening ---- */

struct opening {
    struct ledger *ledger;
    const struct ledger *owner; /* of a drain; NULL: the node's own lane */
    unsigned lane;
    char *error;
    size_t error_size;
};

static int refuse(struct opening *opening, int result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int refuse(struct opening *opening, int result, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(opening->error, opening->error_size, format, arguments);
    va_end(arguments);
    return result;
}

static int validate_options(struct opening *opening, const struct ledger_options *options)
{
    uint64_t needed = (uint64_t)options->downloads_max * JOURNAL_DOWNLOAD_ROOM_MAX +
                      JOURNAL_END_ROOM + JOURNAL_SLACK;
    size_t node = strlen(options->node);
    if (node < 1 || node > LEDGER_NODE_MAX ||
        strspn(options->node, "abcdefghijklmnopqrstuvwxyz0123456789-") != node)
        return refuse(opening, -EINVAL,
                      "node name \"%.64s\": 1 to %d of a-z, 0-9 and - are allowed", options->node,
                      LEDGER_NODE_MAX);
    if (options->mark_ms < 10 || options->mark_ms > 1000)
        return refuse(opening, -EINVAL, "mark_ms %" PRIu32 ": 10 to 1000 is allowed",
                      options->mark_ms);
    if (options->post_interval_ms != 0 &&
        (options->post_interval_ms < 100 || options->post_interval_ms > 60000))
        return refuse(opening, -EINVAL,
                      "post_interval_ms %" PRIu32 ": 0, or 100 to 60000 is allowed",
                      options->post_interval_ms);
    if (options->downloads_max == 0 || options->accounts_max == 0 || options->lease_ms < 100)
        return refuse(opening, -EINVAL,
                      "downloads_max and accounts_max must be 1 or more, lease_ms 100 or more");
    if (options->segment_bytes % 4096 != 0 || options->segment_bytes > (uint64_t)1 << 38)
        return refuse(opening, -EINVAL,
                      "segment_bytes must be a multiple of 4096 and at most 2^38");
    /* All reservations must fit into one empty segment, because they move into the next one at a
     * change of segment. */
    if (options->segment_bytes / JOURNAL_RECORD_BYTES < needed)
        return refuse(opening, -EINVAL,
                      "journal_segment_bytes %" PRIu64 " is too small for windows_max %" PRIu32
                      ", since the last records of all downloads must fit: set it to %" PRIu64
                      " or more, or windows_max lower",
                      options->segment_bytes, options->downloads_max,
                      (needed * JOURNAL_RECORD_BYTES + 4095) / 4096 * 4096);
    return 0;
}

static int copy_options(struct ledger *ledger, const struct ledger_options *options)
{
    const char *const from[] = {options->state_dir,
                                options->node,
                                options->redis,
                                options->redis_user,
                                options->redis_password,
                                options->redis_sentinel_user,
                                options->redis_sentinel_password,
                                options->archive};
    const char **const to[] = {&ledger->options.state_dir,
                               &ledger->options.node,
                               &ledger->options.redis,
                               &ledger->options.redis_user,
                               &ledger->options.redis_password,
                               &ledger->options.redis_sentinel_user,
                               &ledger->options.redis_sentinel_password,
                               &ledger->options.archive};
    ledger->options = *options;
    for (size_t i = 0; i < sizeof(to) / sizeof(to[0]); i++)
        *to[i] = NULL;
    for (size_t i = 0; i < sizeof(to) / sizeof(to[0]); i++)
        if (from[i] != NULL && (*to[i] = strdup(from[i])) == NULL)
            return -ENOMEM;
    return 0;
}

static int make_names(struct ledger *ledger)
{
    struct ledger_options *options = &ledger->options;
    int result = names_init(&ledger->names, options->accounts_max, options->downloads_max);
    for (size_t i = 0; i < options->issuers_count && result == 0; i++)
        result = names_bound_issuer(&ledger->names, options->issuers[i].id,
                                    options->issuers[i].accounts_max);
    /* They are the caller's, and may be gone after ledger_open; a drain, which admits nobody, takes
     * these options without them. */
    options->issuers = NULL;
    options->issuers_count = 0;
    return result;
}

/* Without it a killed process' funds are free after twice their validity, and not at once. */
static void open_holdings(struct ledger *ledger)
{
    int result = holdings_open(&ledger->holdings, ledger->lane.directory);
    if (result != 0)
        ledger_say(
            ledger, LEDGER_EVENT_WARNING,
            "%s/%s/pools cannot be used: %s; if this node is killed, other nodes wait for what "
            "it holds of accounts' funds; make room, and start it again",
            ledger->options.state_dir, ledger->lane.name, strerrordesc_np(-result));
}

/* Has the segments in the archive read as if they were in the journal. */
static int open_archived(struct opening *opening)
{
    struct ledger *ledger = opening->ledger;
    const struct lane *lane = &ledger->lane;
    ledger->archived = calloc(1, sizeof(*ledger->archived));
    if (ledger->archived == NULL)
        return -ENOMEM;
    int result = archive_disk_open(ledger->archived, ledger->outside.disk, lane->journal,
                                   lane->instance, ledger->options.archive);
    if (result != 0)
        return refuse(opening, result, "the archive %s cannot be read: %s; name another directory",
                      ledger->options.archive, strerrordesc_np(-result));
    ledger->outside.disk = &ledger->archived->table;
    return 0;
}

/* Locks the lane and reads its journal. */
static int open_lane(struct opening *opening)
{
    struct ledger *ledger = opening->ledger;
    const struct ledger_options *options = &ledger->options;
    struct lane *lane = &ledger->lane;
    uint8_t epoch[JOURNAL_ID_BYTES];
    if (getrandom(epoch, sizeof(epoch), 0) != (ssize_t)sizeof(epoch))
        return refuse(opening, -EIO, "no random numbers from the kernel");
    int result =
        lane_lock(lane, options->state_dir, opening->lane, opening->error, opening->error_size);
    if (result == 0 && options->locked != NULL)
        result = options->locked(options->locked_context, opening->error, opening->error_size);
    if (result == 0)
        result = lane_enter(lane, options->state_dir, opening->error, opening->error_size);
    if (result == 0 && options->reads_archive)
        result = open_archived(opening);
    if (result == 0)
        result = make_names(ledger);
    if (result != 0)
        return result;
    lane_to_hex(lane->instance, ledger->instance);
    memcpy(ledger->named, opening->owner == NULL ? ledger->instance : opening->owner->named,
           sizeof(ledger->named));
    if (ledger->outside.place != NULL)
        ledger->place = *ledger->outside.place;
    else
        lane_place(lane, &ledger->place);
    open_holdings(ledger);
    int journal = lane->journal;
    lane->journal = -1;
    result = journal_open(&ledger->journal, &ledger->outside, &ledger->names, journal,
                          lane->checkpoints, options->segment_bytes, lane->instance, epoch,
                          opening->error, opening->error_size);
    if (result != 0 && opening->error[0] == '\0')
        refuse(opening, result, "the journal in %s/%s/journal cannot be read or written: %s; %s",
               options->state_dir, lane->name, strerrordesc_np(-result), segment_cure(-result));
    return result;
}

static drains_open open_drain;

static int open_all(struct opening *opening)
{
    struct ledger *ledger = opening->ledger;
    int result = open_lane(opening);
    if (result == 0 && !ledger->stepped)
        result = where_watch(ledger->where);
    if (result == 0) {
        download_count_from(ledger, ledger->journal.found_download);
        atomic_store(&ledger->lease_least, ledger->journal.found_lease);
        for (int thread = 0; thread < LEDGER_THREADS; thread++)
            ledger_turn(ledger, (enum ledger_thread)thread);
        result = upkeep_start(ledger); /* before anybody wakes an account */
    }
    if (result == 0)
        result = wakes_create(ledger);
    if (result == 0)
        result = writer_start(ledger);
    if (result == 0)
        result = birth_create(&ledger->birth, ledger, opening->owner == NULL);
    if (result == 0)
        result = poster_start(ledger);
    if (opening->owner != NULL || result != 0)
        return result;
    result = push_start(ledger);
    if (result == 0 && !ledger->stepped)
        result = drains_start(ledger, open_drain, ledger_close);
    if (result != 0) {
        push_stop(ledger);
        poster_stop(ledger, 0);
        return result;
    }
    ledger_warn_of_accounts(ledger);
    return 0;
}

static void ledger_free(struct ledger *ledger)
{
    notices_destroy(&ledger->notices);
    birth_destroy(&ledger->birth);
    where_destroy(&ledger->where);
    wakes_destroy(ledger);
    journal_close(&ledger->journal);
    if (ledger->archived != NULL)
        archive_disk_close(ledger->archived);
    free(ledger->archived);
    names_free(&ledger->names);
    holdings_close(&ledger->holdings);
    lane_close(&ledger->lane);
    const char *const strings[] = {ledger->options.state_dir,
                                   ledger->options.node,
                                   ledger->options.redis,
                                   ledger->options.redis_user,
                                   ledger->options.redis_password,
                                   ledger->options.redis_sentinel_user,
                                   ledger->options.redis_sentinel_password,
                                   ledger->options.archive};
    for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
        if (strings[i] != NULL)
            explicit_bzero((void *)(uintptr_t)strings[i], strlen(strings[i]));
        free((void *)(uintptr_t)strings[i]);
    }
    pthread_mutex_destroy(&ledger->lock);
    pthread_mutex_destroy(&ledger->open_lock);
    pthread_mutex_destroy(&ledger->change_lock);
    pthread_mutex_destroy(&ledger->writer.lock);
    pthread_cond_destroy(&ledger->writer.wake);
    pthread_cond_destroy(&ledger->writer.done);
    close(ledger->wake_fd);
    pthread_cond_destroy(&ledger->posted_moved);
    free(ledger);
}

static struct ledger *ledger_new(void)
{
    struct ledger *ledger = calloc(1, sizeof(*ledger));
    if (ledger == NULL)
        return NULL;
    lane_init(&ledger->lane);
    atomic_store(&ledger->redis_beyond_ms, LEDGER_CLOCK_UNKNOWN);
    ledger->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ledger->wake_fd < 0 || notices_create(&ledger->notices) != 0) {
        if (ledger->wake_fd >= 0)
            close(ledger->wake_fd);
        free(ledger);
        return NULL;
    }
    pthread_mutex_init(&ledger->lock, NULL);
    pthread_mutex_init(&ledger->open_lock, NULL);
    pthread_mutex_init(&ledger->change_lock, NULL);
    pthread_mutex_init(&ledger->writer.lock, NULL);
    clock_cond_init(&ledger->writer.wake);
    clock_cond_init(&ledger->writer.done);
    clock_cond_init(&ledger->posted_moved);
    ledger_set_writer_state(ledger, LEDGER_READY, "");
    ledger_set_poster_state(ledger, LEDGER_CATCHING_UP, "Redis has not been reached yet");
    return ledger;
}

static int open_with(struct opening *opening, struct ledger **out,
                     const struct ledger_options *options, const struct ledger_outside *outside,
                     bool stepped)
{
    char *error = opening->error;
    size_t error_size = opening->error_size;
    snprintf(error, error_size, "%s", "");
    int result = validate_options(opening, options);
    if (result != 0)
        return result;
    struct ledger *ledger = opening->ledger = ledger_new();
    if (ledger == NULL)
        return refuse(opening, -ENOMEM, "no memory for the ledger");
    ledger->outside = *outside;
    ledger->stepped = stepped;
    result = copy_options(ledger, options);
    if (result == 0 && (result = where_create(&ledger->where, &ledger->options)) == -EINVAL)
        (void)ledger_redis_validate(options->redis, error, error_size);
    if (result == 0)
        result = open_all(opening);
    if (result == 0) {
        *out = ledger;
        return 0;
    }
    if (error_size > 0 && error[0] == '\0')
        refuse(opening, result, "the ledger cannot start: %s", strerrordesc_np(-result));
    writer_stop(ledger);
    upkeep_stop(ledger);
    ledger_free(ledger);
    return result;
}

int ledger_open(struct ledger **out, const struct ledger_options *options, char *error,
                size_t error_size)
{
    static const struct ledger_outside system = {.clock = &ledger_system_clock,
                                                 .disk = &ledger_system_disk};
    struct opening opening = {.error = error, .error_size = error_size};
    return open_with(&opening, out, options, &system, false);
}

/* It hears nothing and has no downloads. */
static int open_drain(const struct ledger *owner, unsigned lane, struct ledger **out, char *error,
                      size_t error_size)
{
    struct opening opening = {
        .owner = owner, .lane = lane, .error = error, .error_size = error_size};
    struct ledger_options options = owner->options;
    options.locked = NULL;
    options.pushed = NULL;
    options.woken = NULL;
    struct ledger_outside outside = owner->outside;
    if (owner->archived != NULL) /* of the owner's own lane */
        outside.disk = owner->archived->base;
    return open_with(&opening, out, &options, &outside, false);
}

int ledger_open_stepped(struct ledger **out, const struct ledger_options *options,
                        const struct ledger_outside *outside, char *error, size_t error_size)
{
    struct opening opening = {.error = error, .error_size = error_size};
    return open_with(&opening, out, options, outside, true);
}

int64_t ledger_close(struct ledger **pointer, uint32_t deadline_ms)
{
    struct ledger *ledger = *pointer;
    if (ledger == NULL)
        return 0;
    *pointer = NULL;
    uint64_t deadline = ledger_monotonic_ms(ledger) + deadline_ms;
    push_stop(ledger);
    int written = writer_stop(ledger);
    uint64_t unposted = drains_stop(ledger, deadline);
    unposted += poster_stop(ledger, deadline);
    upkeep_stop(ledger); /* the poster asks for the newest checkpoint */
    ledger_free(ledger);
    return written != 0 ? written : (int64_t)unposted;
}
