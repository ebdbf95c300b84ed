/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The poster's parts among themselves; nobody else includes this. poster.c has the thread and its
 * connection, poster_resync.c the watermarks and the cursor, poster_post.c the batches, and
 * poster_state.c what the rest of the ledger sees of it. All run in the poster's thread.
 */
#ifndef TOLLGATE_STORAGE_LEDGER_POSTER_INTERNAL_H
#define TOLLGATE_STORAGE_LEDGER_POSTER_INTERNAL_H

#include "storage/ledger/lease.h"
#include "storage/ledger/post.h"
#include "storage/ledger/redis.h"

#define POSTER_BATCH_RECORDS  16384
#define POSTER_PIPELINE       256
#define POSTER_GRACE_MS       250
#define POSTER_PATIENCE_MS    1000
#define POSTER_OBJECTIONS_MAX 8 /* told in one outage */
#define POSTER_RESYNCS_MAX    3 /* in a row without a post in between; then the link is given up */

enum posting { POSTING_DONE, POSTING_DIFFERS, POSTING_LOST };

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

/*
 * A link that is merely down leaves the node ready: workers have their own links and their grants.
 */
void poster_waiting(struct poster *poster, const char *text);
/* Sets the state that workers see, with its reason, and logs the reason if it is new. */
void poster_object(struct poster *poster, enum ledger_state state, const char *text);
/* Redis may not have every record any more: workers must not ask it for grants. */
void poster_not_current(struct poster *poster, const char *text);
/* Tells the waiting callers how many records are in Redis. */
void poster_publish(struct poster *poster);
/* Sleeps `milliseconds` at most. New records wake it if `for_records`, the end of the
 * ledger always does. */
void poster_rest(struct poster *poster, uint64_t milliseconds, bool for_records);
/* Whether the thread is to end: all is posted, or the deadline of ledger_close has passed. */
bool poster_at_end(struct poster *poster);
/*
 * Takes or renews the lease of the node's name. 0: held; -ESTALE: held again after it was lost, so
 * watermarks may have moved; -EBUSY: another holds it; -EPERM: refused; -EAGAIN: the link failed.
 */
int poster_take_lease(struct poster *poster);
/* Where the lease ran out, a copy of this directory may have held it, which only Redis knows. 0;
 * -EAGAIN: give the link up; otherwise as poster_take_lease. */
int poster_renew_lease(struct poster *poster);
/* Renews the lease when due, inside loops that may outlast it: a million accounts to ask for, a
 * batch of posts to a slow Redis. */
int poster_keep_lease(struct poster *poster);
/* Errors that waiting does not mend: the disk does not give back what was written to it. */
bool poster_is_damage(int result);
void poster_say_unread(struct poster *poster, uint32_t segment, int result);
/*
 * Asks Redis for every account's watermark and sets the cursor so that all records that Redis
 * lacks lie ahead of it. 0; -EAGAIN: the link or the journal failed; -EPERM: refused, and the
 * event was told.
 */
int poster_resync(struct poster *poster);
/* Reads the next records into the batch. 0, also where nothing was new, or a negative errno where
 * the journal cannot be read. */
int poster_read_batch(struct poster *poster, struct post_batch *batch);
enum posting poster_post_batch(struct poster *poster, const struct post_batch *batch);

#endif
