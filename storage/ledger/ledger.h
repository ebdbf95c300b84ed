/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger: what is owed. It keeps a journal on disk that no delivered byte escapes, a poster
 * that brings the journal to Redis exactly once, and the accounts there. The server calls it:
 * workers meter into downloads, the admin thread moves money. Nothing else writes the node's
 * journal. The ledger knows nothing of tokens, files' contents or HTTP.
 *
 *   workers --atomics--> downloads --> writer thread --> journal (disk) --> poster thread --> Redis
 *   admin thread ------> money records ---^                                   (Lua functions)
 *
 *   Redis --revocations--> push thread --options.pushed--> workers, which ask for grants again
 *
 * Promises, and what holds them:
 *   never twice      each account has a dense sequence per node; a post carries from..to, and Redis
 *                    refuses it unless its watermark + 1 = from; counters and watermark change
 *                    together
 *   never lost       only the journal is the truth: the poster reads the journal with a cursor. A
 *                    Redis that is new, empty or older answers a lower watermark and is replayed to
 *   never unmetered  a download opens only where the journal has room for its closing record; where
 *                    the journal cannot be written, ledger_state says so and workers stop serving
 */
#ifndef TOLLGATE_STORAGE_LEDGER_H
#define TOLLGATE_STORAGE_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/ledger/ledger_accounts.h"
#include "storage/ledger/ledger_grant.h"
#include "storage/ledger/ledger_lanes.h"
#include "storage/ledger/ledger_names.h"
#include "storage/ledger/ledger_redis.h"
#include "storage/ledger/metrics.h"

/* Of the segment files; `tollgate --version` prints this one, too. */
#define LEDGER_JOURNAL_FORMAT (3 + TOLLGATE_VERSION_STEP)

struct ledger_issuer {
    const char *id;
    uint32_t accounts_max;
};

enum ledger_event { LEDGER_EVENT_INFO, LEDGER_EVENT_WARNING, LEDGER_EVENT_ERROR };

struct ledger_options {
    const char *state_dir; /* journal/, instance and lock live below it; created with mode 0700 */
    const char *node;      /* this node's name, [a-z0-9-]{1,32} */
    const char *redis;     /* its address, see ledger_redis_validate */
    const char *redis_user, *redis_password;                   /* NULL: none */
    const char *redis_sentinel_user, *redis_sentinel_password; /* of the Sentinels; NULL: none */
    uint64_t segment_bytes; /* of one journal file, preallocated; multiple of 4096 */
    /* How many records of the journal stand behind a checkpoint before the next one is due, about;
     * 0: 1,048,576, or as many as four segments have, if that is less. Four times as many at most are taken into one. */
    uint64_t checkpoint_records;
    /* How many rows of an account's checkpoint are posted to an emptied Redis in one part; 0: 250, which
     * is the most. What was begun with one number is finished with the same. */
    uint32_t fill_rows;
    /* How long a segment stays in the journal that nobody needs any more, and how many bytes of records may
     * stand behind it until it goes all the same; 0: no such bound. Where both are 0, all stay. */
    uint64_t keep_ms, keep_bytes;
    const char *archive;      /* the directory to which it goes then; NULL or "": none */
    uint64_t archive_keep_ms; /* since its newest record was written; 0: for good */
    bool
        reads_archive; /* segments that are there alone are read as if they were in the journal; none
                                 leaves it */
    /* How often usage is posted, 100 to 60000; 0: at once. Operations are posted at once. */
    uint32_t post_interval_ms;
    uint32_t mark_ms;       /* how often a download that moves is marked, 10 to 1000 */
    uint32_t downloads_max; /* open at once */
    uint32_t accounts_max;  /* bounds new accounts; those in the journal are always known */
    /* How many of these accounts each issuer may have; only ledger_open reads it. An issuer that is
     * not named here may open none. NULL: any issuer, up to accounts_max. */
    const struct ledger_issuer *issuers;
    size_t issuers_count;
    uint32_t lease_ms;          /* of the node's name in Redis */
    uint32_t data_lost_wait_ms; /* how long other nodes are waited for where Redis lost its data */
    uint32_t
        quiet_ms; /* an account that nobody holds leaves memory after so long; 0: after an hour */
    /*
     * Called from the ledger's threads and from threads that call the ledger; `text` is one line
     * without a newline. Events of one kind pass the same pointer as `kind`, so that the callee can
     * bound how often it repeats one of them.
     */
    void (*event)(void *context, enum ledger_event event, const char *kind, const char *text);
    void *event_context;
    /*
     * Called once by ledger_open, in its thread, after the state directory is locked and before the
     * journal is read: the callee may now open its own files there. A negative errno (with a
     * sentence in `error`) ends the opening. May be NULL.
     */
    int (*locked)(void *context, char *error, size_t error_size);
    void *locked_context;
    /*
     * Called from any thread: grants of this account that were asked for before are void; NULL
     * means those of all accounts, since pushes may have been missed. ledger_heard has already
     * changed by then, so a worker can also compare it with the value that it took before its ask.
     */
    void (*pushed)(void *context, const struct ledger_account *account);
    /* Likewise: another node needs what this one holds of the account and does not use. */
    void (*recalled)(void *context, const struct ledger_account *account);
    /* Called from the writer's thread: accounts are awake that were asleep (ledger_account_is_awake). */
    void (*woken)(void *context);
    void *pushed_context;       /* of the three */
    uint64_t balance_low_bytes; /* a prepaid balance that falls below makes a notice; 0: none */
};

/*
 * Locks the state directory, reads every segment (verifying the chain; a torn tail of the last
 * segment is cut off, a damaged record anywhere else refuses), and starts the writer, the poster
 * and the push thread. It does not wait for Redis: ledger_state says when the node may serve. 0, or
 * a negative errno (-EALREADY: another process has the directory locked; -EBADMSG: damaged) and one
 * sentence with the cure in `error`. `options` and its strings may go after the call.
 */
int ledger_open(struct ledger **out, const struct ledger_options *options, char *error,
                size_t error_size);

/*
 * Closes the downloads that are open, makes their last marks durable, posts what it can until
 * `deadline_ms` from now, gives the lease back, unlocks, frees and sets *ledger to NULL. Returns
 * how many records stayed unposted (they are posted at the next start), or a negative errno where
 * the journal could not be written.
 */
int64_t ledger_close(struct ledger **ledger, uint32_t deadline_ms);

/* Whether the node may serve. ledger_state is two relaxed atomic loads, cheap enough
 * for each request. */
enum ledger_state {
    LEDGER_CATCHING_UP, /* since the start, or since Redis changed: not replayed to yet */
    LEDGER_READY,
    LEDGER_FULL,      /* the journal's next segment cannot be made, for whatever reason: no download
                         is opened, open ones go on; the node recovers by itself */
    LEDGER_EXHAUSTED, /* FULL, and no room for marks is left: transfers end now; the node recovers
                         by itself */
    LEDGER_FAILED,    /* write or fdatasync failed: nothing is trusted until a restart */
    LEDGER_REFUSED,   /* another instance has the name, or the directory is older than Redis, or
                         the journal has lost records that were on disk */
};
enum ledger_state ledger_state(const struct ledger *ledger);
/* Writes the sentence behind a state other than READY, with its cure; "" for READY. */
void ledger_state_text(struct ledger *ledger, char *text, size_t size);

/*
 * The time of Redis' wall clock, in ms since 1970, as the poster last heard it, some once a second,
 * and the monotonic clock has carried it on. False, with the time of this node's own wall clock,
 * where Redis was never asked. Any thread; an atomic load and a clock.
 */
bool ledger_redis_time(const struct ledger *ledger, int64_t *now_ms);
/*
 * How many ms this node's wall clock is ahead of Redis'; negative: behind. LEDGER_CLOCK_UNKNOWN
 * where Redis was never asked. Good to a round trip; a clock that is set shows at once, also while
 * Redis is away. Any thread.
 */
int64_t ledger_clock_ahead_ms(const struct ledger *ledger);
#define LEDGER_CLOCK_UNKNOWN INT64_MIN

/* The monotonic time at which Redis was asked for the renewal of the lease that it granted last: then
 * it took a write of this node's, by the function library. 0: never. Any thread. */
uint64_t ledger_renewed_ms(const struct ledger *ledger);
/* The ledger's threads that turn at least each LEDGER_TURN_MS, whatever Redis does; one that does not
 * hangs. */
#define LEDGER_TURN_MS 1000
enum ledger_thread { LEDGER_WRITER, LEDGER_POSTER, LEDGER_PUSH, LEDGER_THREADS };
/* The monotonic time of the thread's last turn. Any thread. */
uint64_t ledger_turned_ms(const struct ledger *ledger, enum ledger_thread thread);

/* Writes why segments stay that should have left the journal, with the cure; "": none does. Any thread. */
void ledger_retention_text(struct ledger *ledger, char *text, size_t size);

/* How many bytes of the journal Redis may not have yet. Any thread; it takes a lock for a moment. */
uint64_t ledger_unposted_bytes(struct ledger *ledger);

/* Fills in the counters. Any thread; it takes locks for a moment, so not for each request. */
void ledger_stats(struct ledger *ledger, struct ledger_stats *out);

/* ---- downloads: usage ---- */

/*
 * What one window (a link and a path, on this node) received, as one cumulative counter. Any thread
 * may add; the writer marks a download that moves each mark_ms. A mark is one journal record
 * with the cumulative bytes and the difference to the mark before.
 */
struct ledger_download;

/*
 * Reserves room for the closing record and the names that it needs. 0, -ENOSPC (the journal is
 * full, or no memory: answer 503), -EMFILE (downloads_max), -EIO (the journal failed). Holds its
 * own references to both names. Any thread; for an account that is asleep it waits for the disk, so a worker
 * asks ledger_account_is_awake before.
 */
int ledger_download_open(struct ledger *ledger, struct ledger_account *account,
                         struct ledger_file *file, struct ledger_download **out);
/* Tells the link and the file's size, before another thread has the download. */
void ledger_download_tell(struct ledger_download *download,
                          const unsigned char link_id[LEDGER_LINK_ID_BYTES], uint64_t size);
/* Tells the hash of the file's content, once it is known; the first one counts. Any thread, as the
 * next one, which says whether it was told. */
#define LEDGER_CONTENT_BYTES 16
void ledger_download_content(struct ledger_download *download,
                             const unsigned char hash[LEDGER_CONTENT_BYTES]);
bool ledger_download_has_content(const struct ledger_download *download);
/*
 * A response begins to deliver, and ends. While one is under way, the download is marked each
 * mark_ms; once none is, at the writer's next turn. The hot path's metering calls, as the next one:
 * they take no lock and make no system call.
 */
void ledger_download_begin(struct ledger_download *download);
/* What the journal says of a response that has ended. */
struct ledger_response {
    uint64_t started_ms;      /* since 1970 */
    uint64_t first, length;   /* its first byte of the file, and how many were acknowledged */
    unsigned char client[16]; /* IPv4 as ::ffff:a.b.c.d */
    uint8_t client_bits;      /* how many of these are told; 0: none */
    uint8_t tls;              /* 12, 13; 0: none */
    bool proxied;             /* a proxy spoke for the client */
    struct ledger_key *key;   /* borrows; NULL: unknown */
};
/* `response` is NULL where it goes on with another begin. */
void ledger_download_end(struct ledger_download *download, const struct ledger_response *response);
/* Adds acknowledged body bytes, and responses of which the journal tells no more than that there
 * were so many. */
void ledger_download_add(struct ledger_download *download, uint64_t bytes, uint32_t responses);
/* The number that names the download in the journal, and in words (ledger_download_write) in logs. */
uint64_t ledger_download_id(const struct ledger_download *download);
/*
 * Tells which use of a link (see ledger_terms) the download delivers: later marks carry it
 * to Redis. `opened_ms` and `till_ms` are the grant's; the link's state may go at
 * `keep_ms`. Any thread.
 */
void ledger_download_use(struct ledger_download *download,
                         const unsigned char link_id[LEDGER_LINK_ID_BYTES], uint64_t opened_ms,
                         uint64_t till_ms, uint64_t keep_ms);
/* Makes the use count although nothing was acknowledged. */
void ledger_download_take(struct ledger_download *download);
/* Bytes acknowledged so far. */
uint64_t ledger_download_bytes(const struct ledger_download *download);
/* Has the writer mark what is left, give the room back and free the download. Sets
 * *download to NULL. */
void ledger_download_close(struct ledger_download **download);

/* Has what the journal holds of the account posted now, before its interval ends, for example where
 * it nears a limit. Any thread; it does not wait. */
void ledger_post_soon(struct ledger *ledger, struct ledger_account *account);

/*
 * Accounts that are set aside are named once in the log, and tried again at each new connection to
 * Redis and with ledger_release. What is journalled of them stays, and the others go on; beyond
 * LEDGER_ASIDE_MAX of them the Redis is taken not to be ours. ledger_each_set_aside calls `each` with
 * at most `most` of them, in the order of their first records. Any thread.
 */
#define LEDGER_ASIDE_MAX 1000
void ledger_release(struct ledger *ledger);
void ledger_each_set_aside(struct ledger *ledger, unsigned most,
                           void (*each)(void *context, const struct ledger_account *account),
                           void *context);

/* Waits until all that was added before the call is durable and posted to Redis. 0, or -ETIMEDOUT.
 * It blocks, so no worker may call it. */
int ledger_settle(struct ledger *ledger, uint32_t timeout_ms);

#endif
