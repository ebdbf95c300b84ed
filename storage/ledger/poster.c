/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The poster thread: reads the part of the journal that is durable and brings it to Redis exactly
 * once. Normal posting, recovery at start and replay to a Redis that went back in time are one
 * loop: the cursor stands somewhere, and it skips what an account's watermark covers. It never
 * writes the journal.
 *
 *   connect --> facts, functions, lease --> resync: all watermarks, cursor --> batches --> READY
 *      ^                                          ^                               |
 *      |                                          '------ a post refused ---------|
 *      '------------------------------ link lost ---------------------------------'
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "server/base/clock.h"
#include "storage/ledger/lease.h"
#include "storage/ledger/post.h"
#include "storage/ledger/poster_internal.h"

/* ---- the link ---- */

static void disconnect(struct poster *poster)
{
    if (!poster->connected)
        return;
    pthread_mutex_lock(&poster->ledger->lock);
    poster->fd = -1;
    pthread_mutex_unlock(&poster->ledger->lock);
    redis_close(&poster->link);
    poster->connected = false;
    atomic_store(&poster->ledger->redis_up, false);
}

/* Judges the server before anything else is asked of it. */
static int judge_facts(struct poster *poster, const struct redis_facts *facts)
{
    char text[LEDGER_TEXT_MAX];
    struct redis_link *link = &poster->link;
    if (facts->loading || facts->replica) {
        snprintf(link->error, sizeof(link->error), "Redis at %.160s %s",
                 poster->ledger->options.redis,
                 facts->loading ? "is loading its data"
                                : "is a replica; give the address of its master in `redis`");
        return -EAGAIN;
    }
    if (!facts->noeviction) {
        snprintf(
            text, sizeof(text),
            "Redis at %.160s may evict accounts and bills, because its maxmemory-policy is %s; run "
            "redis-cli CONFIG SET maxmemory-policy noeviction, and put it into redis.conf",
            poster->ledger->options.redis, facts->policy);
        poster_not_current(poster, text);
        poster_object(poster, LEDGER_CATCHING_UP, text);
        return -EPERM;
    }
    if (!facts->append_only && !poster->warned_append_only)
        ledger_say(poster->ledger, LEDGER_EVENT_WARNING, "Redis at %.160s %s",
                   poster->ledger->options.redis, LEDGER_REDIS_FORGETS);
    poster->warned_append_only = poster->warned_append_only || !facts->append_only;
    if (strcmp(poster->run_id, facts->run_id) != 0 ||
        strcmp(poster->replication_id, facts->replication_id) != 0)
        poster_not_current(poster, "Redis has changed; the journal is being replayed to it");
    memcpy(poster->run_id, facts->run_id, sizeof(poster->run_id));
    memcpy(poster->replication_id, facts->replication_id, sizeof(poster->replication_id));
    return 0;
}

static int prepare(struct poster *poster)
{
    struct redis_facts facts;
    int64_t newer;
    int result = redis_facts(&poster->link, &facts);
    if (result == 0)
        result = judge_facts(poster, &facts);
    if (result == 0)
        result = redis_load_functions(&poster->link, &newer);
    if (result != 0)
        return result;
    if (newer != 0 && newer != poster->said_newer)
        ledger_say(poster->ledger, LEDGER_EVENT_WARNING,
                   "Redis holds version %" PRId64
                   " of the function library, this program brings %d; kept",
                   newer, LEDGER_FUNCTIONS_FORMAT);
    poster->said_newer = newer;
    result = poster_take_lease(poster);
    if (result != 0 && result != -ESTALE)
        return result;
    result = redis_introduced(&poster->link);
    return result == 0 ? poster_resync(poster) : result;
}

static int connect_link(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    if (redis_open(&poster->link, ledger->where, &ledger->options) != 0)
        return -EAGAIN;
    poster->connected = true;
    pthread_mutex_lock(&ledger->lock);
    poster->fd = poster->link.context->fd;
    bool given_up = ledger->given_up;
    pthread_mutex_unlock(&ledger->lock);
    int result = given_up ? -EAGAIN : prepare(poster);
    if (result != 0) {
        redis_failed(&poster->link, false);
        disconnect(poster);
        return result;
    }
    atomic_store(&ledger->redis_up, true);
    atomic_fetch_add_explicit(&ledger->redis_connects, 1, memory_order_relaxed);
    return 0;
}

static void back_off(struct poster *poster)
{
    /* Half of the delay is fixed and half random, so that many nodes do not come back at once. */
    uint64_t jitter = (uint64_t)rand_r(&poster->seed) % (poster->backoff_ms / 2 + 1);
    uint64_t delay = poster->backoff_ms / 2 + jitter;
    poster->backoff_ms = poster->backoff_ms * 2 > LEDGER_REDIS_BACKOFF_MOST_MS
                             ? LEDGER_REDIS_BACKOFF_MOST_MS
                             : poster->backoff_ms * 2;
    poster_rest(poster, delay, false);
}

/* ---- the thread ---- */

static int resync_again(struct poster *poster)
{
    if (++poster->resyncs > POSTER_RESYNCS_MAX) {
        poster->resyncs = 0;
        snprintf(poster->link.error, sizeof(poster->link.error),
                 "the watermarks that Redis answered with are not those that it stores");
        return -EAGAIN;
    }
    return poster_resync(poster);
}

static void works_again(struct poster *poster)
{
    if (poster->said_count > 0)
        ledger_say(poster->ledger, LEDGER_EVENT_INFO, "Redis takes posts again");
    poster->said_count = 0;
    poster->backoff_ms = LEDGER_REDIS_BACKOFF_LEAST_MS;
}

static int turn(struct poster *poster)
{
    struct post_batch batch = {0};
    if (lease_is_due(&poster->lease)) {
        int result = poster_take_lease(poster);
        if (result == -ESTALE) /* held, and Redis does not know it: it may have lost more */
            result = resync_again(poster);
        if (result != 0)
            return result;
    }
    int result = poster_read_batch(poster, &batch);
    if (result != 0 && !poster_is_damage(result)) {
        /* No memory or no descriptors: the next connection begins where all records
         * before are posted. */
        post_batch_clear(&batch);
        poster_say_unread(poster, poster->reader.segment, result);
        return -EAGAIN;
    }
    if (result != 0) {
        post_batch_clear(&batch);
        char text[LEDGER_TEXT_MAX];
        snprintf(
            text, sizeof(text),
            "journal segment %08u.seg cannot be read at record %u: %s; check the disk and restart",
            poster->reader.segment, poster->reader.index, strerrordesc_np(-result));
        poster_not_current(poster, text);
        poster_object(poster, LEDGER_FAILED, text);
        return -EIO;
    }
    bool news = batch.count > 0;
    enum posting posted = poster_post_batch(poster, &batch);
    post_batch_clear(&batch);
    switch (posted) {
    case POSTING_DONE:
        poster->safe_segment = poster->reader.segment;
        works_again(poster);
        if (news)
            poster->resyncs = 0;
        poster_publish(poster);
        return notices_post(poster->ledger, &poster->link);
    case POSTING_DIFFERS:
        return resync_again(poster);
    case POSTING_LOST:
        break;
    }
    return -EAGAIN;
}

static void *poster_main(void *argument)
{
    struct poster *poster = argument;
    struct ledger *ledger = poster->ledger;
    while (!poster_at_end(poster)) {
        int result = poster->connected ? turn(poster) : connect_link(poster);
        if (result == -EAGAIN)
            poster_waiting(poster, poster->link.error);
        if (result != 0) {
            if (poster->connected)
                redis_failed(&poster->link, true);
            disconnect(poster);
            if (result == -EBUSY)
                poster_rest(poster, lease_wait_ms(&poster->lease), false);
            else if (!poster->link.another)
                back_off(poster);
            continue;
        }
        if (poster->reader.count >= atomic_load(&ledger->journal.durable_records))
            poster_rest(poster, lease_left_ms(&poster->lease), true);
    }
    if (poster->connected)
        lease_release(&poster->lease, &poster->link, ledger);
    disconnect(poster);
    pthread_mutex_lock(&ledger->lock);
    poster->done = true;
    pthread_cond_broadcast(&ledger->posted_moved);
    pthread_mutex_unlock(&ledger->lock);
    return NULL;
}

int poster_start(struct ledger *ledger)
{
    struct poster *poster = calloc(1, sizeof(*poster));
    if (poster == NULL)
        return -ENOMEM;
    poster->ledger = ledger;
    poster->fd = -1;
    poster->backoff_ms = LEDGER_REDIS_BACKOFF_LEAST_MS;
    poster->begun_ms = clock_monotonic_ms();
    poster->seed = (unsigned)clock_real_ms();
    int result = reader_init(&poster->reader, ledger->outside.disk, &ledger->names,
                             ledger->journal.directory);
    struct ledger_account *account = names_recorded(&ledger->names);
    for (; account != NULL; account = names_recorded_next(account))
        account->sent = atomic_load(&account->sequence);
    if (result == 0)
        result = ledger_thread_start(&poster->thread, poster_main, poster);
    if (result != 0) {
        reader_free(&poster->reader);
        free(poster);
        return result;
    }
    ledger->poster = poster;
    return 0;
}

static uint64_t count_unposted(struct ledger *ledger)
{
    uint64_t unposted = 0;
    struct ledger_account *account = names_recorded(&ledger->names);
    for (; account != NULL; account = names_recorded_next(account)) {
        uint64_t sequence = atomic_load(&account->sequence);
        if (sequence > account->watermark)
            unposted += sequence - account->watermark;
    }
    return unposted;
}

uint64_t poster_stop(struct ledger *ledger, uint64_t deadline_ms)
{
    struct poster *poster = ledger->poster;
    if (poster == NULL)
        return count_unposted(ledger);
    struct timespec until = ledger_deadline(deadline_ms);
    int result = 0;
    pthread_mutex_lock(&ledger->lock);
    ledger->stopping = true;
    pthread_cond_signal(&ledger->durable_moved);
    while (!poster->done && result == 0)
        result = pthread_cond_timedwait(&ledger->posted_moved, &ledger->lock, &until);
    if (!poster->done) {
        ledger->given_up = true;
        pthread_cond_signal(&ledger->durable_moved);
        /* Time to give the lease back; a link that does not answer is cut. */
        until = ledger_deadline(clock_monotonic_ms() + POSTER_GRACE_MS);
        for (result = 0; !poster->done && result == 0;)
            result = pthread_cond_timedwait(&ledger->posted_moved, &ledger->lock, &until);
        if (!poster->done && poster->fd >= 0)
            shutdown(poster->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&ledger->lock);
    pthread_join(poster->thread, NULL);
    reader_free(&poster->reader);
    free(poster);
    ledger->poster = NULL;
    return count_unposted(ledger);
}

int ledger_wait_posted(struct ledger *ledger, uint64_t records, uint64_t deadline_ms)
{
    struct timespec until = ledger_deadline(deadline_ms);
    int result = 0;
    pthread_mutex_lock(&ledger->lock);
    while (ledger->posted < records && result == 0)
        result = pthread_cond_timedwait(&ledger->posted_moved, &ledger->lock, &until);
    bool posted = ledger->posted >= records;
    pthread_mutex_unlock(&ledger->lock);
    return posted ? 0 : -ETIMEDOUT;
}
