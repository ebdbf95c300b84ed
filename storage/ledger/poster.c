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
#include <xxhash.h>

#include "server/base/clock.h"
#include "storage/ledger/keys.h"
#include "storage/ledger/lease.h"
#include "storage/ledger/post.h"
#include "storage/ledger/segment.h"

#define POSTER_BATCH_RECORDS  16384
#define POSTER_PIPELINE       256
#define POSTER_GRACE_MS       250
#define POSTER_PATIENCE_MS    1000
#define POSTER_OBJECTIONS_MAX 8 /* told in one outage */
#define POSTER_RESYNCS_MAX    3 /* in a row without a post in between; then the link is given up */

struct poster {
    pthread_t thread;
    struct ledger *ledger; /* borrows */
    struct redis_link link;
    int fd;    /* the link's; -1: none; under ledger->lock, for poster_stop */
    bool done; /* under ledger->lock */
    bool connected, warned_append_only;
    uint64_t said[POSTER_OBJECTIONS_MAX]; /* objections told since Redis took posts */
    unsigned said_count;
    struct lease lease;
    struct journal_reader reader;
    bool placed;                         /* the cursor stands in a segment */
    uint32_t safe_segment;               /* Redis confirmed all records before this segment */
    bool current;                        /* Redis has all records up to `target` */
    uint64_t target;                     /* records of the journal at the last resync */
    char run_id[64], replication_id[64]; /* of the Redis that the link is to */
    int64_t said_newer;                  /* the version of the function library that was reported */
    uint64_t backoff_ms, begun_ms;
    unsigned seed, resyncs;
};

/* ---- states and waiting ---- */

/*
 * Whether an objection was not told since Redis last took posts. Numbers, such as the time left, do
 * not make it another one. After POSTER_OBJECTIONS_MAX kinds, only `doctor` and the health answer
 * tell more.
 */
static bool is_news(struct poster *poster, const char *text)
{
    char kind[256];
    size_t length = 0;
    for (; *text != '\0' && length < sizeof(kind); text++) {
        if (*text < '0' || *text > '9')
            kind[length++] = *text;
    }
    uint64_t hash = XXH3_64bits(kind, length);
    for (unsigned i = 0; i < poster->said_count; i++) {
        if (poster->said[i] == hash)
            return false;
    }
    if (poster->said_count == POSTER_OBJECTIONS_MAX)
        return false;
    poster->said[poster->said_count++] = hash;
    return true;
}

/*
 * A link that is merely down leaves the node ready: workers have their own links and their grants.
 */
static void waiting(struct poster *poster, const char *text)
{
    struct ledger *ledger = poster->ledger;
    if (atomic_load(&ledger->poster_state) == LEDGER_CATCHING_UP)
        ledger_set_poster_state(ledger, LEDGER_CATCHING_UP, text);
    /* The embedded Redis may still be starting. */
    if (atomic_load(&ledger->redis_connects) == 0 &&
        clock_monotonic_ms() < poster->begun_ms + POSTER_PATIENCE_MS)
        return;
    if (is_news(poster, text))
        ledger_say(ledger, LEDGER_EVENT_WARNING, "%s; the node keeps trying", text);
}

static void object(struct poster *poster, enum ledger_state state, const char *text)
{
    struct ledger *ledger = poster->ledger;
    bool changes = atomic_load(&ledger->poster_state) != (int)state;
    ledger_set_poster_state(ledger, state, text);
    if (is_news(poster, text) || changes)
        ledger_say(ledger, state == LEDGER_CATCHING_UP ? LEDGER_EVENT_WARNING : LEDGER_EVENT_ERROR,
                   "%s", text);
}

/* Redis may not have every record any more: workers must not ask it for grants. */
static void not_current(struct poster *poster, const char *text)
{
    struct ledger *ledger = poster->ledger;
    poster->current = false;
    pthread_mutex_lock(&ledger->lock);
    ledger->run_id[0] = '\0';
    atomic_fetch_add(&ledger->redis_generation, 1);
    pthread_mutex_unlock(&ledger->lock);
    if (atomic_load(&ledger->poster_state) == LEDGER_READY)
        ledger_set_poster_state(ledger, LEDGER_CATCHING_UP, text);
}

static void become_current(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    poster->current = true;
    pthread_mutex_lock(&ledger->lock);
    snprintf(ledger->run_id, sizeof(ledger->run_id), "%s", poster->run_id);
    pthread_mutex_unlock(&ledger->lock);
    ledger_set_poster_state(ledger, LEDGER_READY, "");
    ledger_say(ledger, LEDGER_EVENT_INFO, "every record of the journal is in Redis");
}

static void publish_posted(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    pthread_mutex_lock(&ledger->lock);
    ledger->posted = poster->reader.count;
    pthread_cond_broadcast(&ledger->posted_moved);
    pthread_mutex_unlock(&ledger->lock);
    if (!poster->current && poster->reader.count >= poster->target)
        become_current(poster);
}

/* Sleeps `milliseconds` at most. New records wake it if `for_records`, the end of the
 * ledger always does. */
static void rest(struct poster *poster, uint64_t milliseconds, bool for_records)
{
    struct ledger *ledger = poster->ledger;
    struct timespec until = ledger_deadline(clock_monotonic_ms() + milliseconds);
    int result = 0;
    pthread_mutex_lock(&ledger->lock);
    while (result == 0 && !ledger->given_up && !(for_records && ledger->stopping) &&
           !(for_records && (notices_are_waiting(ledger) ||
                             atomic_load(&ledger->journal.durable_records) > poster->reader.count)))
        result = pthread_cond_timedwait(&ledger->durable_moved, &ledger->lock, &until);
    pthread_mutex_unlock(&ledger->lock);
}

static bool at_end(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    bool all_posted =
        poster->current && poster->reader.count >= atomic_load(&ledger->journal.durable_records);
    bool refused = atomic_load(&ledger->poster_state) >= LEDGER_FAILED;
    pthread_mutex_lock(&ledger->lock);
    bool end = ledger->given_up || (ledger->stopping && (all_posted || refused));
    pthread_mutex_unlock(&ledger->lock);
    return end;
}

/* ---- the lease ---- */

static int take_lease(struct poster *poster)
{
    char text[LEDGER_TEXT_MAX];
    switch (lease_renew(&poster->lease, &poster->link, poster->ledger, text)) {
    case LEASE_HELD:
        return 0;
    case LEASE_NEW:
        return -ESTALE;
    case LEASE_WAIT:
        not_current(poster, text);
        object(poster, LEDGER_CATCHING_UP, text);
        return -EBUSY;
    case LEASE_REFUSED:
        not_current(poster, text);
        object(poster, LEDGER_REFUSED, text);
        return -EPERM;
    case LEASE_LINK:
        break;
    }
    return -EAGAIN;
}

/* Where the lease ran out, a copy of this directory may have held it, which only Redis knows. 0;
 * -EAGAIN: give the link up; otherwise as take_lease. */
static int renew_lease(struct poster *poster)
{
    int result = take_lease(poster);
    if (result == 0)
        return 0;
    snprintf(poster->link.error, sizeof(poster->link.error),
             "the node no longer holds the lease of its name");
    return result == -ESTALE ? -EAGAIN : result;
}

/* Renews the lease when due, inside loops that may outlast it: a million accounts to ask for, a
 * batch of posts to a slow Redis. */
static int keep_lease(struct poster *poster)
{
    return lease_is_due(&poster->lease) ? renew_lease(poster) : 0;
}

/* ---- watermarks and the cursor ---- */

static void refuse_older(struct poster *poster, const struct ledger_account *account,
                         uint64_t watermark)
{
    char text[LEDGER_TEXT_MAX];
    snprintf(
        text, sizeof(text),
        "the state directory is older than Redis: of account %.100s Redis has %" PRIu64
        " records and the journal %" PRIu64
        " (restored or cloned?); bring the newest directory back, or start with an empty one under "
        "another node name",
        account->tag, watermark, account->sent);
    not_current(poster, "");
    object(poster, LEDGER_REFUSED, text);
}

/* Errors that waiting does not mend: the disk does not give back what was written to it. */
static bool is_damage(int result)
{
    return result == -EBADMSG || result == -EPROTO || result == -EIO || result == -ENOENT;
}

static void say_unread(struct poster *poster, uint32_t segment, int result)
{
    snprintf(poster->link.error, sizeof(poster->link.error), "journal segment %08u.seg: %s; %s",
             segment, strerrordesc_np(-result), segment_cure(-result));
}

/* Lowers `segment` to the one where replay must begin for this account. */
static void needs_from(struct ledger_account *account, uint32_t *segment)
{
    /* Most accounts lack nothing and need no lock. What is journalled from now on stands in
     * a later segment. */
    if (account->watermark >= atomic_load_explicit(&account->sequence, memory_order_acquire))
        return;
    pthread_mutex_lock(&account->name.names->lock);
    uint32_t from = account->watermark >= account->tail_before ? account->tail_segment : 1;
    pthread_mutex_unlock(&account->name.names->lock);
    if (from < *segment)
        *segment = from;
}

static int ask_watermarks(struct poster *poster, struct ledger_account *const *accounts,
                          size_t count, bool *lost)
{
    char key[LEDGER_KEY_MAX], field[LEDGER_HEX_SIZE + 2];
    snprintf(field, sizeof(field), "w:%s", poster->ledger->instance);
    for (size_t i = 0; i < count; i++) {
        struct redis_arguments arguments;
        arguments.count = 0;
        ledger_key(key, accounts[i], "account");
        redis_add(&arguments, "HGET");
        redis_add(&arguments, key);
        redis_add(&arguments, field);
        if (redis_send(&poster->link, &arguments) != 0)
            return -EAGAIN;
    }
    int result = 0;
    for (size_t i = 0; i < count; i++) {
        redisReply *reply = redis_next(&poster->link);
        if (reply == NULL)
            return -EAGAIN;
        uint64_t watermark = 0;
        if (reply->type == REDIS_REPLY_STRING) {
            watermark = strtoull(reply->str, NULL, 10);
        } else if (reply->type != REDIS_REPLY_NIL) {
            snprintf(poster->link.error, sizeof(poster->link.error), "Redis refuses HGET: %.200s",
                     reply->type == REDIS_REPLY_ERROR ? reply->str : "not a string");
            result = -EAGAIN;
        }
        freeReplyObject(reply);
        if (result == 0 && watermark > accounts[i]->sent) {
            refuse_older(poster, accounts[i], watermark);
            result = -EPERM;
        }
        *lost = *lost || watermark < accounts[i]->watermark;
        if (result == 0)
            accounts[i]->watermark = watermark;
    }
    return result;
}

/*
 * Asks Redis for every account's watermark and sets the cursor so that all records that Redis
 * lacks lie ahead of it. 0; -EAGAIN: the link or the journal failed; -EPERM: refused, and the
 * event was told.
 */
static int resync(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    bool lost = false;
    int result = 0;
    poster->target = atomic_load(&ledger->journal.durable_records);
    uint32_t missing = journal_segments(&ledger->journal);
    struct ledger_account *next = names_recorded(&ledger->names);
    while (next != NULL && result == 0) {
        struct ledger_account *accounts[POSTER_PIPELINE];
        size_t count = 0;
        for (; next != NULL && count < POSTER_PIPELINE; next = names_recorded_next(next))
            accounts[count++] = next;
        result = ask_watermarks(poster, accounts, count, &lost);
        for (size_t i = 0; i < count && result == 0; i++)
            needs_from(accounts[i], &missing);
        if (result == 0)
            result = keep_lease(poster);
    }
    if (lost) {
        /*
         * Also where the link failed meanwhile, for some lower watermarks were already taken over.
         */
        poster->placed = false;
        not_current(poster, "Redis has lost its newest data; the journal is being replayed to it");
    }
    if (result != 0)
        return result;
    uint32_t segment = poster->placed ? poster->safe_segment : missing;
    result = reader_enter(&poster->reader, segment, journal_base(&ledger->journal, segment), false);
    if (result != 0) {
        say_unread(poster, segment, result);
        return -EAGAIN;
    }
    poster->placed = true;
    poster->safe_segment = segment;
    publish_posted(poster);
    return 0;
}

/* ---- posting ---- */

/* Reads the next records into the batch. 0, also where nothing was new, or a negative errno where
 * the journal cannot be read. */
static int read_batch(struct poster *poster, struct post_batch *batch)
{
    struct journal_reader *reader = &poster->reader;
    struct journal_entry entry;
    reader->limit =
        atomic_load_explicit(&poster->ledger->journal.durable_records, memory_order_acquire);
    for (int i = 0; i < POSTER_BATCH_RECORDS && reader->count < reader->limit; i++) {
        int result = reader_next(reader, &entry);
        if (result == 0) /* not at the limit: the segment ends here, and another follows */
            result = reader_enter(reader, reader->segment + 1, reader->count, true);
        else if (result == 1)
            result = entry.account == NULL || entry.record.sequence <= entry.account->watermark
                         ? 0
                         : post_add(batch, &entry, reader->epoch);
        if (result != 0)
            return result;
    }
    return 0;
}

/* Tells once that a balance is low: with the post that brought it below the mark. */
static void notice_low(struct ledger *ledger, const struct post *post, int64_t balance)
{
    int64_t low = (int64_t)ledger->options.balance_low_bytes, sum = 0;
    for (size_t i = 0; i < post->files_count; i++)
        sum += (int64_t)post->files[i].bytes;
    if (balance >= low || balance + sum < low)
        return;
    const struct ledger_notice notice = {.kind = LEDGER_BALANCE_LOW,
                                         .account = post->account->account,
                                         .file = "",
                                         .jti = "",
                                         .bytes = balance > 0 ? (uint64_t)balance : 0,
                                         .time_ms = ledger_time_ms()};
    ledger_notify(ledger, post->account, &notice);
}

enum posting { POSTING_DONE, POSTING_DIFFERS, POSTING_LOST };

static enum posting take_reply(struct poster *poster, struct post *post)
{
    redisReply *reply = redis_next(&poster->link);
    enum posting result = POSTING_LOST;
    if (reply == NULL)
        return POSTING_LOST;
    bool shaped = reply->type == REDIS_REPLY_ARRAY && reply->elements == 4;
    for (size_t i = 0; shaped && i < 4; i++)
        shaped = reply->element[i]->type == REDIS_REPLY_INTEGER;
    if (!shaped)
        snprintf(poster->link.error, sizeof(poster->link.error), "Redis refuses a post: %.200s",
                 reply->type == REDIS_REPLY_ERROR ? reply->str
                                                  : "its reply has an unexpected form");
    else
        result =
            reply->element[0]->integer == 0 && reply->element[1]->integer == (long long)post->to
                ? POSTING_DONE
                : POSTING_DIFFERS;
    if (result == POSTING_DONE && reply->element[3]->integer == 1)
        notice_low(poster->ledger, post, reply->element[2]->integer);
    freeReplyObject(reply);
    if (result == POSTING_DONE) {
        post->account->watermark = post->to;
        atomic_fetch_add_explicit(&poster->ledger->posts, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&poster->ledger->records_posted, post->to - post->from + 1,
                                  memory_order_relaxed);
    }
    return result;
}

static enum posting send_posts(struct poster *poster, struct post *const *posts, size_t count)
{
    enum posting worst = POSTING_DONE;
    for (size_t i = 0; i < count; i++) {
        struct ledger_account *account = posts[i]->account;
        if (posts[i]->to <= account->sent)
            atomic_fetch_add_explicit(&poster->ledger->posts_replayed, 1, memory_order_relaxed);
        else
            account->sent = posts[i]->to;
        if (post_send(posts[i], poster->ledger, &poster->link) != 0)
            return POSTING_LOST;
    }
    for (size_t i = 0; i < count; i++) {
        enum posting one = take_reply(poster, posts[i]);
        if (one > worst)
            worst = one;
        if (poster->link.context->err != 0)
            return POSTING_LOST;
    }
    return worst;
}

static enum posting post_batch(struct poster *poster, const struct post_batch *batch)
{
    enum posting result = POSTING_DONE;
    /*
     * Redis learns how many records are on disk before it gets any of them. Otherwise a node that
     * is killed before it renews its lease has posted more records than Redis was told of, and an
     * older copy of its state directory would not be refused.
     */
    if (batch->count > 0 && !lease_has_told(&poster->lease, poster->ledger) &&
        renew_lease(poster) != 0)
        return POSTING_LOST;
    for (size_t i = 0; i < batch->count && result == POSTING_DONE; i += POSTER_PIPELINE) {
        if (keep_lease(poster) != 0)
            return POSTING_LOST;
        size_t count = batch->count - i < POSTER_PIPELINE ? batch->count - i : POSTER_PIPELINE;
        result = send_posts(poster, batch->posts + i, count);
    }
    return result;
}

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

/* Checks the server before anything else is asked of it. */
static int check_facts(struct poster *poster, const struct redis_facts *facts)
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
        not_current(poster, text);
        object(poster, LEDGER_CATCHING_UP, text);
        return -EPERM;
    }
    if (!facts->append_only && !poster->warned_append_only)
        ledger_say(poster->ledger, LEDGER_EVENT_WARNING, "Redis at %.160s %s",
                   poster->ledger->options.redis, LEDGER_REDIS_FORGETS);
    poster->warned_append_only = poster->warned_append_only || !facts->append_only;
    if (strcmp(poster->run_id, facts->run_id) != 0 ||
        strcmp(poster->replication_id, facts->replication_id) != 0)
        not_current(poster, "Redis has changed; the journal is being replayed to it");
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
        result = check_facts(poster, &facts);
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
    result = take_lease(poster);
    if (result != 0 && result != -ESTALE)
        return result;
    result = redis_introduced(&poster->link);
    return result == 0 ? resync(poster) : result;
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
    rest(poster, delay, false);
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
    return resync(poster);
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
        int result = take_lease(poster);
        if (result == -ESTALE) /* held, and Redis does not know it: it may have lost more */
            result = resync_again(poster);
        if (result != 0)
            return result;
    }
    int result = read_batch(poster, &batch);
    if (result != 0 && !is_damage(result)) {
        /* No memory or no descriptors: the next connection begins where all records
         * before are posted. */
        post_batch_clear(&batch);
        say_unread(poster, poster->reader.segment, result);
        return -EAGAIN;
    }
    if (result != 0) {
        post_batch_clear(&batch);
        char text[LEDGER_TEXT_MAX];
        snprintf(
            text, sizeof(text),
            "journal segment %08u.seg cannot be read at record %u: %s; check the disk and restart",
            poster->reader.segment, poster->reader.index, strerrordesc_np(-result));
        not_current(poster, text);
        object(poster, LEDGER_FAILED, text);
        return -EIO;
    }
    bool news = batch.count > 0;
    enum posting posted = post_batch(poster, &batch);
    post_batch_clear(&batch);
    switch (posted) {
    case POSTING_DONE:
        poster->safe_segment = poster->reader.segment;
        works_again(poster);
        if (news)
            poster->resyncs = 0;
        publish_posted(poster);
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
    while (!at_end(poster)) {
        int result = poster->connected ? turn(poster) : connect_link(poster);
        if (result == -EAGAIN)
            waiting(poster, poster->link.error);
        if (result != 0) {
            if (poster->connected)
                redis_failed(&poster->link, true);
            disconnect(poster);
            if (result == -EBUSY)
                rest(poster, lease_wait_ms(&poster->lease), false);
            else if (!poster->link.another)
                back_off(poster);
            continue;
        }
        if (poster->reader.count >= atomic_load(&ledger->journal.durable_records))
            rest(poster, lease_left_ms(&poster->lease), true);
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
    poster->seed = (unsigned)ledger_time_ms();
    int result = reader_init(&poster->reader, &ledger->names, ledger->journal.directory);
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
