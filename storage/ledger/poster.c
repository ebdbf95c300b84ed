/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The poster: reads the part of the journal that is durable and brings it to Redis exactly once.
 * Normal posting, recovery at start and replay to a Redis that went back in time are one loop: the
 * cursor stands somewhere, and it skips what an account's watermark covers. It never writes the
 * journal.
 *
 * Its thread waits and calls poster_step, which never waits; the states are drawn in
 * poster_internal.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "storage/ledger/aside.h"
#include "storage/ledger/birth.h"
#include "storage/ledger/conversation.h"
#include "storage/ledger/poster_internal.h"
#include "storage/ledger/where.h"

/* ---- losing the connection ---- */

static void back_off(struct poster *poster, uint64_t now_ms)
{
    /* Half of the delay is fixed and half random, so that many nodes do not come back at once. */
    uint64_t jitter = (uint64_t)rand_r(&poster->seed) % (poster->backoff_ms / 2 + 1);
    poster->next_ms = now_ms + poster->backoff_ms / 2 + jitter;
    poster->backoff_ms = poster->backoff_ms * 2 > LEDGER_REDIS_BACKOFF_MOST_MS
                             ? LEDGER_REDIS_BACKOFF_MOST_MS
                             : poster->backoff_ms * 2;
}

static void disconnect(struct poster *poster)
{
    poster->redis->close(poster->redis->self); /* before the batch, of which replies may be due */
    poster_forget_posts(poster);
    atomic_store(&poster->ledger->redis_up, false);
}

/* Gives the connection up; `result` says why, as poster_internal.h lists. */
static void give_up(struct poster *poster, int result)
{
    uint64_t now_ms = ledger_monotonic_ms(poster->ledger);
    bool is_left = poster->generation != where_generation(poster->ledger->where);
    if (result == -EAGAIN && !is_left)
        poster_waiting(poster, poster->error);
    where_failed(poster->ledger->where, poster->generation);
    disconnect(poster);
    poster_enter(poster, POSTER_DOWN, NULL);
    poster->next_ms = now_ms;
    if (result == -EBUSY)
        poster->next_ms += lease_wait_ms(&poster->lease, poster->ledger);
    else if (!is_left)
        back_off(poster, now_ms);
}

/* ---- from state to state ---- */

#define WAITS    1  /* nothing can be done before next_ms */
#define ACTS_MAX 64 /* of a step */

static int connect_again(struct poster *poster)
{
    uint64_t generation = where_generation(poster->ledger->where);
    if (ledger_monotonic_ms(poster->ledger) < poster->next_ms && generation == poster->generation)
        return WAITS;
    if (generation != poster->generation)
        poster_not_current(poster, "Redis has changed; the journal is being replayed to it");
    poster->generation = generation;
    poster->proof.has_made = false;
    poster_enter(poster, POSTER_CONNECTING, NULL);
    if (poster->redis->open(poster->redis->self) == 0)
        return 0;
    snprintf(poster->error, sizeof(poster->error), "%s", poster->redis->error(poster->redis->self));
    return -EAGAIN;
}

static int await_connection(struct poster *poster)
{
    if (poster->redis->is_ready(poster->redis->self))
        return poster_learn(poster);
    poster->next_ms = UINT64_MAX; /* the connection has its own deadline */
    return WAITS;
}

static int follow_lease(struct poster *poster)
{
    int result = poster_judge_lease(poster);
    if (result != 0)
        return result;
    switch (poster->purpose) {
    case LEASE_TO_BEGIN:
        if (poster_needs_proof(poster) && poster->proof.found_mark == 0 &&
            !poster->proof.has_made) {
            poster->proof.has_made = true;
            return poster_ask_lease(poster, LEASE_TO_BEGIN);
        }
        poster->redis->introduced(poster->redis->self);
        aside_try_again(poster, true);
        return poster_resync(poster);
    case LEASE_TO_RESYNC:
        return poster_resync_on(poster);
    case LEASE_TO_FILL:
        return poster_fill_on(poster);
    case LEASE_TO_POST:
        return poster_post_on(poster);
    case LEASE_TO_REST:
        /* The keys of an account were deleted: nothing is proven any more. */
        if (poster_needs_proof(poster) && poster->proof.found_mark != poster->proof.resync_mark) {
            poster_forget_posts(poster);
            return poster_resync(poster);
        }
        poster_tell_proof(poster);
        break;
    }
    poster_enter(poster, POSTER_RESTING, NULL);
    return 0;
}

/* When the lease is to be renewed, with which Redis is asked for its birth. */
static uint64_t renewal_ms(const struct poster *poster)
{
    uint64_t birth_ms = birth_due_ms(poster->ledger->birth);
    return birth_ms < poster->lease.due_ms ? birth_ms : poster->lease.due_ms;
}

static int rest(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    if (lease_is_due(&poster->lease, ledger) || ledger_monotonic_ms(ledger) >= renewal_ms(poster))
        return poster_ask_lease(poster, LEASE_TO_REST);
    if (!poster->current && poster_posted(poster) >= poster->target && poster_has_to_tell(poster))
        return poster_tell(poster);
    notices_post(ledger, poster->redis);
    if (atomic_load(&ledger->journal.durable_vouched) <
        atomic_load(&ledger->journal.durable_entries)) {
        poster->next_ms = renewal_ms(poster); /* or once the writer has noted the lease */
        return WAITS;
    }
    if (atomic_load(&ledger->releases)) {
        poster_forget_posts(poster);
        aside_try_again(poster, false);
        return poster_resync(poster);
    }
    if (poster_sweep_comes_first(poster))
        return poster_sweep(poster);
    if (poster_fill_waits(poster))
        return poster_fill(poster);
    uint64_t due_ms = poster->pending.due_ms;
    if (poster->turn_due || poster->reader.count < atomic_load(&ledger->journal.durable_records) ||
        due_ms <= ledger_monotonic_ms(ledger) || poster_is_asked(poster))
        return poster_turn(poster);
    uint64_t renewed_ms = renewal_ms(poster), quiet_ms = poster_quiet(poster);
    poster->next_ms = due_ms < renewed_ms ? due_ms : renewed_ms;
    poster->next_ms = quiet_ms < poster->next_ms ? quiet_ms : poster->next_ms;
    return WAITS;
}

static int go_on(struct poster *poster)
{
    switch (poster->state) {
    case POSTER_DOWN:
        return connect_again(poster);
    case POSTER_CONNECTING:
        return await_connection(poster);
    case POSTER_LEARNING:
        return poster_learned(poster);
    case POSTER_ASKING:
        return poster_asked(poster);
    case POSTER_LOADING:
        return poster_ask_lease(poster, LEASE_TO_BEGIN);
    case POSTER_LEASING:
        return follow_lease(poster);
    case POSTER_RESYNCING:
        return poster_resync_on(poster);
    case POSTER_RESTING:
        return rest(poster);
    case POSTER_SWEEPING:
        return poster_sweep_on(poster);
    case POSTER_FILLING:
        return poster_fill_on(poster);
    case POSTER_POSTING:
        return poster_post_on(poster);
    case POSTER_TELLING:
        poster_enter(poster, POSTER_RESTING, NULL);
        poster_publish(poster);
        return 0;
    case POSTER_ENDING:
    case POSTER_ENDED:
        break;
    }
    check(false);
    return WAITS;
}

static int resync_again(struct poster *poster)
{
    poster_forget_posts(poster);
    if (++poster->resyncs > POSTER_RESYNCS_MAX) {
        poster->resyncs = 0;
        snprintf(poster->error, sizeof(poster->error),
                 "the watermarks that Redis answered with are not those that it stores");
        return -EAGAIN;
    }
    /* Redis may have lost all data on this connection, and then a checkpoint brings what it lacked of them. */
    aside_try_again(poster, false);
    return poster_resync(poster);
}

/* Goes on from the state once all of its commands are answered; at once where the connection is
 * lost. */
static int act(struct poster *poster)
{
    const char *error =
        poster->state == POSTER_DOWN ? NULL : poster->redis->error(poster->redis->self);
    int result = poster->result;
    if (poster->state != POSTER_DOWN &&
        poster->generation != where_generation(poster->ledger->where)) {
        snprintf(poster->error, sizeof(poster->error), "another Redis has come into force");
        return -EAGAIN;
    }
    if (error != NULL) {
        snprintf(poster->error, sizeof(poster->error), "%s", error);
        return result != 0 && result != -ESTALE ? result : -EAGAIN;
    }
    if (poster->answered < poster->asked && !poster_fill_has_room(poster)) {
        poster->next_ms = UINT64_MAX;
        return WAITS;
    }
    if (result == 0)
        result = go_on(poster);
    return result == -ESTALE ? resync_again(poster) : result;
}

/* ---- the end ---- */

static void released(void *context, const redisReply *reply)
{
    struct poster *poster = context;
    (void)reply; /* where Redis does not say, the lease runs out by itself */
    poster->released = true;
}

/* Gives the lease back, behind whatever was sent and is not answered yet. */
static void begin_to_end(struct poster *poster)
{
    const struct ledger_redis *redis = poster->redis;
    bool leases =
        poster->lease.number > 0 && (poster->lease.held || poster->state == POSTER_LEASING);
    poster->released = true;
    poster->state = POSTER_ENDING;
    if (!leases || !redis->is_ready(redis->self))
        return;
    struct lease_command command;
    size_t lengths[sizeof(command.words) / sizeof(command.words[0])];
    lease_release(&poster->lease, poster->ledger, &command);
    for (int i = 0; i < command.count; i++)
        lengths[i] = strlen(command.words[i]);
    poster->released = redis->send(redis->self, command.count, command.words, lengths, released,
                                   NULL, poster) != 0;
}

static void finish(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    disconnect(poster);
    poster->state = POSTER_ENDED;
    pthread_mutex_lock(&ledger->lock);
    pthread_cond_broadcast(&ledger->posted_moved);
    pthread_mutex_unlock(&ledger->lock);
}

/* Moves on to the end where it is time. Returns when that has to be looked at again. */
static uint64_t judge_end(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    uint64_t now_ms = ledger_monotonic_ms(ledger);
    pthread_mutex_lock(&ledger->lock);
    uint64_t stop_ms = ledger->stopping ? ledger->stop_ms : UINT64_MAX;
    pthread_mutex_unlock(&ledger->lock);
    if (stop_ms == UINT64_MAX || poster->state == POSTER_ENDED)
        return UINT64_MAX;
    bool between = poster->state == POSTER_DOWN || poster->state == POSTER_RESTING;
    bool all_posted = poster->current && poster->pending.first == NULL &&
                      poster->reader.count >= atomic_load(&ledger->journal.durable_records);
    bool refused = atomic_load(&ledger->poster_state) >= LEDGER_FAILED;
    if (poster->state != POSTER_ENDING &&
        (now_ms >= stop_ms || (between && (all_posted || refused))))
        begin_to_end(poster);
    if (poster->state == POSTER_ENDING && (poster->released || now_ms >= stop_ms + POSTER_GRACE_MS))
        finish(poster);
    return poster->state == POSTER_ENDING ? stop_ms + POSTER_GRACE_MS : stop_ms;
}

uint64_t poster_step(struct ledger *ledger)
{
    struct poster *poster = ledger->poster;
    birth_look(ledger->birth);
    /* Reading a checkpoint may take long where Redis has all of it: the thread is seen to turn meanwhile. */
    for (unsigned acts = 0; acts < ACTS_MAX; acts++) {
        uint64_t end_ms = judge_end(poster);
        if (poster->state == POSTER_ENDED)
            return 0;
        if (poster->state == POSTER_ENDING)
            return end_ms;
        int result = act(poster);
        if (result == WAITS)
            return poster->next_ms < end_ms ? poster->next_ms : end_ms;
        if (result != 0)
            give_up(poster, result);
    }
    uint64_t now_ms = ledger_monotonic_ms(ledger);
    return now_ms > 0 ? now_ms : 1;
}

/* ---- start and stop ---- */

static void *poster_main(void *argument)
{
    struct poster *poster = argument;
    uint64_t until_ms;
    while ((until_ms = poster_step(poster->ledger)) != 0) {
        uint64_t turn_ms = ledger_monotonic_ms(poster->ledger) + LEDGER_TURN_MS;
        ledger_turn(poster->ledger, LEDGER_POSTER);
        conversation_wait(poster->conversation, until_ms < turn_ms ? until_ms : turn_ms);
    }
    return NULL;
}

static void poster_free(struct poster *poster)
{
    if (poster->redis != NULL && poster->state != POSTER_ENDED && poster->state != POSTER_DOWN)
        disconnect(poster);
    where_unlisten(poster->ledger->where, poster->ledger->wake_fd);
    conversation_destroy(&poster->conversation);
    reader_free(&poster->reader);
    poster->ledger->poster = NULL;
    free(poster);
}

static int make_conversation(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    int result = conversation_create(&poster->conversation, ledger->where, &ledger->options,
                                     ledger->outside.clock, ledger->wake_fd);
    if (result == 0)
        poster->redis = conversation_redis(poster->conversation);
    return result;
}

int poster_start(struct ledger *ledger)
{
    struct poster *poster = calloc(1, sizeof(*poster));
    if (poster == NULL)
        return -ENOMEM;
    ledger->poster = poster;
    poster->ledger = ledger;
    poster->redis = ledger->outside.poster;
    pending_clear(&poster->pending);
    poster->generation = where_generation(ledger->where);
    poster->backoff_ms = LEDGER_REDIS_BACKOFF_LEAST_MS;
    poster->begun_ms = poster->next_ms = ledger_monotonic_ms(ledger);
    poster->lease.begun_ms = poster->begun_ms;
    poster->seed = (unsigned)ledger_real_ms(ledger);
    int result = reader_init(&poster->reader, ledger->outside.disk, &ledger->names,
                             ledger->journal.directory);
    struct ledger_account *account = names_recorded(&ledger->names);
    for (; account != NULL; account = names_recorded_next(account))
        account->sent = atomic_load(&account->sequence);
    where_listen(ledger->where, ledger->wake_fd);
    if (result == 0 && !ledger->stepped)
        result = make_conversation(poster);
    if (result == 0 && !ledger->stepped)
        result = ledger_thread_start(&poster->thread, poster_main, poster);
    if (result != 0)
        poster_free(poster);
    return result;
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

void poster_end(struct ledger *ledger, uint64_t deadline_ms)
{
    pthread_mutex_lock(&ledger->lock);
    ledger->stopping = true;
    ledger->stop_ms = deadline_ms;
    pthread_mutex_unlock(&ledger->lock);
    ledger_wake_poster(ledger);
}

uint64_t poster_stop(struct ledger *ledger, uint64_t deadline_ms)
{
    poster_end(ledger, deadline_ms);
    if (!ledger->stepped)
        pthread_join(ledger->poster->thread, NULL);
    poster_free(ledger->poster);
    return count_unposted(ledger);
}

/* ---- for other threads ---- */

uint64_t ledger_posted(struct ledger *ledger)
{
    pthread_mutex_lock(&ledger->lock);
    uint64_t posted = ledger->posted;
    pthread_mutex_unlock(&ledger->lock);
    return posted;
}

int ledger_wait_posted(struct ledger *ledger, uint64_t records, uint64_t deadline_ms)
{
    struct timespec until = ledger_deadline(deadline_ms);
    int result = 0;
    pthread_mutex_lock(&ledger->lock);
    if (ledger->posts_wanted < records)
        ledger->posts_wanted = records;
    if (ledger->posted < records)
        ledger_wake_poster(ledger);
    while (ledger->posted < records && result == 0)
        result = pthread_cond_timedwait(&ledger->posted_moved, &ledger->lock, &until);
    bool posted = ledger->posted >= records;
    pthread_mutex_unlock(&ledger->lock);
    return posted ? 0 : -ETIMEDOUT;
}

void ledger_post_soon(struct ledger *ledger, struct ledger_account *account)
{
    if (atomic_exchange(&account->asked, true))
        return;
    names_hold(&account->name);
    struct ledger_account *top = atomic_load(&ledger->asked);
    do
        account->asked_next = top;
    while (!atomic_compare_exchange_weak(&ledger->asked, &top, account));
    ledger_wake_poster(ledger);
}

bool ledger_account_is_posted(const struct ledger_account *account)
{
    return atomic_load(&account->watermark) >= atomic_load(&account->sequence);
}

int ledger_wait_account(struct ledger *ledger, struct ledger_account *account, uint64_t deadline_ms)
{
    struct timespec until = ledger_deadline(deadline_ms);
    uint64_t sequence = atomic_load(&account->sequence);
    int result = 0;
    if (atomic_load(&account->watermark) >= sequence)
        return 0;
    ledger_post_soon(ledger, account);
    pthread_mutex_lock(&ledger->lock);
    while (atomic_load(&account->watermark) < sequence &&
           atomic_load(&account->aside) != ASIDE_DAMAGED && result == 0)
        result = pthread_cond_timedwait(&ledger->posted_moved, &ledger->lock, &until);
    pthread_mutex_unlock(&ledger->lock);
    return atomic_load(&account->watermark) >= sequence ? 0 : -ETIMEDOUT;
}

int ledger_account_settle(struct ledger *ledger, struct ledger_account *account,
                          uint32_t timeout_ms)
{
    uint64_t deadline_ms = ledger_monotonic_ms(ledger) + timeout_ms;
    int result = writer_mark(ledger, deadline_ms);
    return result != 0 ? result : ledger_wait_account(ledger, account, deadline_ms);
}
