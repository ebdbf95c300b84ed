/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the ledger's parts share: the ledger itself, the writer, the poster. Only this folder's
 * sources and tests include it.
 *
 *   locks, in the order in which they nest; none but change_lock is held over disk or network:
 *     change_lock -> any of the others
 *     that of wake.c, which is held over the disk, too -> names.lock
 *     writer.lock, ledger.lock, open_lock, journal.lock, names.lock, and those of where.c and
 *     notices.c -> (nothing)
 */
#ifndef TOLLGATE_LEDGER_INTERNAL_H
#define TOLLGATE_LEDGER_INTERNAL_H

#include "storage/ledger/holdings.h"
#include "storage/ledger/journal.h"
#include "storage/ledger/lane.h"
#include "storage/ledger/reader.h"
#include "storage/ledger/redis_table.h"

#define LEDGER_TEXT_MAX 512

/* What Redis answers an order. */
enum ledger_verdict {
#define X(name, number) LEDGER_VERDICT_##name = (number),
    LEDGER_VERDICTS(X)
#undef X
};

enum content_state { CONTENT_UNKNOWN, CONTENT_CLAIMED, CONTENT_KNOWN };
enum download_flag { DOWNLOAD_QUEUED = 1, DOWNLOAD_CLOSING = 2 };

struct archive_disk;
struct birth;
struct checkpoints;
struct drains;
struct push;
struct retention;
struct upkeep;
struct wakes;
struct notices;
struct where;

/*
 * Responses of a download that have ended and are to be described with its next mark: one in the
 * USAGE record, the others in a RESPONSE record before it. A worker claims a place, fills it and
 * says that it is ready; the writer empties it. Where none is free, the response is counted as not
 * described. With one place left the download is marked at the writer's next turn.
 */
#define DOWNLOAD_PLACES (1 + JOURNAL_RESPONSES)

struct download_place {
    struct journal_response response;
    struct ledger_key *key; /* a reference; NULL: unknown */
};

struct ledger_download {
    struct ledger_download *next;   /* on `dirty`: owned by the setter of QUEUED, then the writer */
    struct ledger *ledger;          /* borrows */
    struct ledger_account *account; /* a reference */
    struct ledger_file *file;       /* a reference */
    uint64_t id;
    uint32_t room; /* records reserved */
    _Atomic unsigned flags;
    _Atomic uint64_t bytes, responses;
    uint8_t link_id[LEDGER_LINK_ID_BYTES];        /* written once, before opened_ms leaves 0 */
    _Atomic uint64_t opened_ms, till_ms, keep_ms; /* its use; opened_ms 0: no terms */
    _Atomic bool taken;
    bool marked_taken;                       /* of the writer */
    uint64_t marked_bytes, marked_responses; /* of the writer: as last journalled */
    /* Of the writer: its place among writer.waiting, and when it is to be marked. */
    struct ledger_download *wait_next, *wait_previous;
    bool waits;
    uint64_t due_ms;
    _Atomic uint32_t under_way;      /* responses */
    _Atomic uint32_t claimed, ready; /* places, a bit each */
    struct download_place places[DOWNLOAD_PLACES];
    _Atomic uint32_t undescribed; /* responses that ended since the last mark without a place */
    uint64_t size;                /* of the file; it and link_id are set before others have it */
    _Atomic int content_state;    /* enum content_state */
    uint8_t content[JOURNAL_HASH_BYTES];
    struct ledger_download *open_next, *open_previous; /* under ledger->open_lock */
};

/* A money operation on its way through the writer; lives on its caller's stack. */
struct money {
    struct money *next;
    struct ledger_account *account;
    struct journal_record record;
    int result;
    bool done;
};

/* What one turn of the writer has to finish once everything is on disk. */
struct ledger_turn {
    struct ledger_download *finished;
    struct money *money; /* oldest first */
    bool marks_all;      /* somebody waits for a mark of all that moved */
};

struct writer {
    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    uint64_t asked, taken, served; /* tickets for a mark: last given, last looked at, last served */
    struct money *money;           /* to do; newest first */
    bool wakes, stop;              /* wakes: accounts are to be woken */
    /* Of the writer thread only. */
    struct ledger_download *deferred;               /* without room for its closing; still QUEUED */
    struct ledger_download *waiting, *waiting_last; /* to be marked, the one due first at first */
    bool starved;                                   /* one of these found no room for its mark */
    int allocation_error; /* errno of the last failure to make a segment; 0: it was made */
    uint64_t retry_ms;    /* on the monotonic clock */
    uint64_t told;        /* durable records of which the poster was told */
    uint32_t segment;     /* in which downloads are counted */
};

struct poster;

struct ledger {
    struct ledger_options options; /* its strings are owned copies */
    struct ledger_outside outside; /* borrows its tables */
    char instance[LEDGER_HEX_SIZE];
    struct lane lane;
    char named[LEDGER_HEX_SIZE]; /* the instance beside the node's name; of a drain its owner's */
    struct drains *drains;       /* owns; NULL: this is one, or it is stepped */
    struct birth *birth;         /* owns; of the poster */
    struct checkpoints *checkpoints; /* owns */
    struct retention *retention;     /* owns */
    struct upkeep *upkeep;           /* owns */
    struct archive_disk *archived;   /* owns; NULL: the archive is not read */
    struct holdings *holdings;       /* owns; NULL: what is held is freed by expiry alone */
    struct wakes *wakes;             /* owns */
    struct names names;
    struct journal journal;
    struct writer writer;
    struct poster *poster;
    struct push *push;           /* owns */
    struct where *where;         /* owns */
    struct notices *notices;     /* owns */
    pthread_mutex_t change_lock; /* one ledger_account_change at a time */

    _Atomic(struct ledger_account *) asked;  /* stack of accounts whose posts somebody waits for */
    _Atomic(struct ledger_account *) waking; /* stack of those that are to be woken */
    _Atomic(struct ledger_download *) dirty;
    _Atomic uint64_t download_last; /* number given last */
    _Atomic uint32_t downloads;
    int wake_fd; /* owns: an eventfd that wakes the poster */
    pthread_mutex_t open_lock;
    struct ledger_download *open;

    _Atomic int writer_state, poster_state; /* enum ledger_state; READY: no objection */

    pthread_mutex_t lock;
    pthread_cond_t posted_moved;
    uint64_t posted;            /* so many of the journal's first records are in Redis */
    uint64_t posts_wanted;      /* somebody waits for so many */
    uint64_t unposted_since_ms; /* since 1970: the first record that is not in Redis; 0: all are */
    bool stopping;
    bool stepped;     /* it has no threads: its opener calls the steps; set at its opening */
    uint64_t stop_ms; /* the deadline of ledger_close, where it is stopping */
    char writer_text[LEDGER_TEXT_MAX], poster_text[LEDGER_TEXT_MAX];
    const struct ledger_account *aside_last; /* set aside last; only compared */
    char aside_said[160];                    /* for what Redis said */
    struct ledger_place place;               /* where the lock is held */
    /* Redis' wall clock less this machine's monotonic one; LEDGER_CLOCK_UNKNOWN: not asked yet. */
    _Atomic int64_t redis_beyond_ms;

    /* The number of the lease in force (0: none yet), and what the next one must be above. */
    _Atomic uint64_t lease_number, lease_least;
    /* See ledger_losses, and the birth id that Redis must have: written by the poster; how far each
     * worker is with its ceilings. */
    _Atomic uint64_t losses, birth_id;
    _Atomic uint64_t told[LEDGER_WORKERS_MAX]; /* by the workers: losses + 1; 0: no worker */
    struct ledger_data_loss loss;              /* under lock */
    _Atomic uint64_t responses_undescribed;
    _Atomic uint32_t accounts_aside; /* moved by the poster */
    _Atomic bool redis_up;
    _Atomic bool releases; /* those that are set aside are to be tried again */
    _Atomic bool empties;  /* the keys of an account that is awake may be being deleted */
    _Atomic bool
        distrusts; /* those of one that is asleep were: nothing is proven (poster_proof.c) */
    _Atomic bool unsettled;     /* see ledger_is_settled */
    _Atomic bool birth_doubted; /* what Redis answers may be what one that lost its data says */
    _Atomic uint64_t renewed_ms, turned_ms[LEDGER_THREADS]; /* see ledger.h */
    _Atomic uint64_t checkpoints_made, checkpoints_refused;
    /* See checkpoints_hold: the first one << 32, and the last one; and for how long (monotonic). */
    _Atomic uint64_t checkpoints_held, checkpoints_held_until_ms;
    bool has_begun; /* of the poster: this process has had some kept */
    _Atomic uint64_t accounts_filling, accounts_filled; /* by the poster */
    _Atomic uint64_t posts, posts_replayed, records_posted, refused_full, redis_connects;
};

/* Notes a turn of a thread. */
void ledger_turn(struct ledger *ledger, enum ledger_thread thread);
void ledger_say(struct ledger *ledger, enum ledger_event event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Set one thread's part of the state and its text, which ledger_state_text shows unless
 * it is READY. */
void ledger_set_writer_state(struct ledger *ledger, enum ledger_state state, const char *text);
void ledger_set_poster_state(struct ledger *ledger, enum ledger_state state, const char *text);
struct timespec ledger_deadline(uint64_t monotonic_ms);
static inline uint64_t ledger_monotonic_ms(const struct ledger *ledger)
{
    return ledger->outside.clock->monotonic_ms(ledger->outside.clock->self);
}
static inline uint64_t ledger_real_ms(const struct ledger *ledger)
{
    return ledger->outside.clock->real_ms(ledger->outside.clock->self);
}
/*
 * As ledger_open, with other clocks, another disk and another Redis, and without threads. Its
 * opener calls the steps, and none of the functions that wait for them (writer_money,
 * ledger_settle, the calls of admin threads); ledger_close takes the last steps itself.
 */
int ledger_open_stepped(struct ledger **out, const struct ledger_options *options,
                        const struct ledger_outside *outside, char *error, size_t error_size);
/* Starts a thread with all signals blocked. 0 or a negative errno. */
int ledger_thread_start(pthread_t *thread, void *(*run)(void *), void *argument);

int writer_start(struct ledger *ledger);
/*
 * One turn: journals what moved and what was queued, makes it durable and keeps a segment ahead. It
 * waits for the disk alone. Returns the monotonic time at which it wants to be called again, or
 * sooner where something is queued.
 */
uint64_t writer_step(struct ledger *ledger);
/* Closes every open download, ends the writer thread and writes STOP. 0 or a negative errno. */
int writer_stop(struct ledger *ledger);
/* Queues a money operation, which the caller keeps until writer_money_is_done; then `result` is 0
 * (durable), -ENOSPC or -EIO. */
void writer_queue_money(struct ledger *ledger, struct money *money);
bool writer_money_is_done(struct ledger *ledger, const struct money *money);
/* Both, waiting in between; returns the result. */
int writer_money(struct ledger *ledger, struct money *money);
/* Asks for a mark of all that was added to downloads before the call; returns its ticket. */
uint64_t writer_queue_mark(struct ledger *ledger);
/* Whether what the ticket stands for is durable. */
bool writer_is_marked(struct ledger *ledger, uint64_t ticket);
/* Both, waiting in between. 0 or -ETIMEDOUT. */
int writer_mark(struct ledger *ledger, uint64_t deadline_ms);
/* Has the writer take its next turn now. Any thread. */
void writer_wake(struct ledger *ledger);
/*
 * Puts a download on the stack `dirty`; the caller has just set QUEUED, which was not set before.
 */
void download_push(struct ledger_download *download);
void download_free(struct ledger_download *download);
/* Counts downloads from 1 in the journal's current segment, behind those that it has already. Called
 * by ledger_open, and by the writer at each new segment. */
void download_count_from(struct ledger *ledger, uint64_t found);

/* ---- marks.c: of the writer ---- */

/*
 * Marks a download that was taken from the stack, or has it wait until it is due: a download that
 * moves is due mark_ms after its first byte since the last mark, and at once where it closes, where
 * no response of it is under way, where its places run out, or with `all`.
 */
void marks_take(struct ledger *ledger, struct ledger_download *list, struct ledger_turn *turn);
/* Marks the downloads that have waited until they are due. */
void marks_due(struct ledger *ledger, struct ledger_turn *turn);
/* How often a download that moves is marked, in the writer's state. */
uint32_t marks_interval_ms(const struct ledger *ledger);
/* The interval has become shorter: what waits is due sooner, too, or what comes behind would wait for it. */
void marks_hasten(struct ledger *ledger);

/* Reports each bound on accounts of which nine tenths were reached since the last call. */
void ledger_warn_of_accounts(struct ledger *ledger);

/* Has the poster look at once for new durable records, for notices and for the end. Any thread. */
void ledger_wake_poster(struct ledger *ledger);

int poster_start(struct ledger *ledger);
/* Does what can be done without waiting for Redis, and returns the monotonic time at which it wants
 * to be called again, or sooner where Redis answered or somebody wakes it. 0: it has ended. */
uint64_t poster_step(struct ledger *ledger);
/* Has the poster post until all is posted or the deadline has passed, and then give the lease back
 * and end. */
void poster_end(struct ledger *ledger, uint64_t deadline_ms);
/* The same, and waits until it has ended. Returns how many records stayed unposted. */
uint64_t poster_stop(struct ledger *ledger, uint64_t deadline_ms);
/* How many records of the journal, from the first, are in Redis. */
uint64_t ledger_posted(struct ledger *ledger);
/* Waits until the first `records` of the journal are in Redis; has them posted now, those of all
 * accounts. 0 or -ETIMEDOUT. */
int ledger_wait_posted(struct ledger *ledger, uint64_t records, uint64_t deadline_ms);
/* The same for what the journal has of one account. */
int ledger_wait_account(struct ledger *ledger, struct ledger_account *account,
                        uint64_t deadline_ms);
/* Whether Redis has all that the journal has of the account. Any thread. */
bool ledger_account_is_posted(const struct ledger_account *account);
/* As ledger_settle, for one account. */
int ledger_account_settle(struct ledger *ledger, struct ledger_account *account,
                          uint32_t timeout_ms);

/* As ledger_account_get, for a name that is a C string. Takes a reference. -EINVAL, -ENOMEM. */
int account_get(struct ledger *ledger, const char *issuer, const char *name,
                struct ledger_account **out);
struct redisReply;
/* Takes the reply to a TIME that was sent at `asked_ms` (monotonic). */
void redis_clock_take(struct ledger *ledger, uint64_t asked_ms, const struct redisReply *reply);

struct redis;
/* Opens a connection to the Redis to which the journal was replayed, and tells its run_id: another
 * Redis would deny accounts that exist. 0 or -EAGAIN. */
int account_redis_open(struct ledger *ledger, struct redis *redis, char run_id[static 64]);
int account_redis_open_current(struct ledger *ledger, struct redis *redis);
/* Whether what Redis has answered on this connection counts: it had all data by then, and since the
 * count of losses was `losses`. 0 or -EAGAIN. */
int account_redis_confirm(struct ledger *ledger, struct redis *redis, uint64_t losses);
/* Reads the account from Redis. 0 or -EAGAIN. */
int account_fetch(struct redis *redis, const struct ledger_account *account,
                  struct ledger_account_view *view);

/* Notices. The poster's thread alone asks whether some may be sent now, which is not while those
 * before are unanswered, and has notices_post send them; it waits for no answer. */
int notices_create(struct notices **out);
void notices_destroy(struct notices **notices);
bool notices_are_waiting(const struct ledger *ledger);
void notices_post(struct ledger *ledger, const struct ledger_redis *redis);
uint64_t notices_lost(const struct ledger *ledger);

int push_start(struct ledger *ledger);
/* Does what can be done without waiting, and returns the monotonic time at which it wants to be
 * called again, or sooner where Redis answered. */
uint64_t push_step(struct ledger *ledger);
void push_stop(struct ledger *ledger);
/* An account's revision that Redis told in an answer: where push has not brought it yet, it is heard
 * here, so that who has changed an account and has been answered finds the change at this node. Any
 * thread. */
void push_take_revision(struct ledger *ledger, struct ledger_account *account, uint64_t revision);
void push_stats(const struct ledger *ledger, struct ledger_stats *out);

#endif
