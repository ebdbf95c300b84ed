/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The poster's parts among themselves, and its tests; nobody else includes this. poster.c has the
 * steps, poster_connect.c what a new connection asks, poster_proof.c what Redis says it has,
 * poster_resync.c the watermarks and the cursor, poster_sweep.c those of accounts that are asleep,
 * poster_tell.c what a killed process held,
 * poster_fill.c the checkpoints of accounts of which Redis has nothing,
 * poster_post.c the batches, and poster_state.c what the rest of the ledger sees. One thread calls
 * them.
 *
 *   DOWN --> CONNECTING --> LEARNING --> (LOADING) --> LEASING --> RESYNCING --> RESTING <--> POSTING
 *     ^                                                   ^           ^             |            |
 *     |                                                   |           '--- a post refused, or the
 *     |                                                   |                lease was lost and taken
 *     |                                                   '--- due, inside the three states behind it
 *     '------- lost, refused, or damaged: from any state          RESTING --> ENDING --> ENDED
 *                                                                 RESTING <--> SWEEPING
 *
 * A state sends its commands together and stays until all of them are answered: `take` gets each
 * reply as it comes, and poster_step goes on from the state after the last one.
 */
#ifndef TOLLGATE_STORAGE_LEDGER_POSTER_INTERNAL_H
#define TOLLGATE_STORAGE_LEDGER_POSTER_INTERNAL_H

#include "storage/ledger/lease.h"
#include "storage/ledger/pending.h"
#include "storage/ledger/redis_talk.h"

#define POSTER_BATCH_RECORDS  16384
#define POSTER_PIPELINE       256
#define POSTER_GRACE_MS       250 /* to give the lease back after the deadline of ledger_close */
#define POSTER_PATIENCE_MS    1000
#define POSTER_OBJECTIONS_MAX 8 /* told in one outage */
#define POSTER_RESYNCS_MAX    3 /* in a row without a post in between; then the poster reconnects */

enum poster_state {
    POSTER_DOWN,       /* no connection; the next try is at next_ms */
    POSTER_CONNECTING, /* the connection is being made */
    POSTER_LEARNING,   /* INFO, and the function library's version and text, were asked for */
    POSTER_ASKING,     /* an older library is there: the nodes that call it were asked for */
    POSTER_LOADING,    /* the function library was sent */
    POSTER_LEASING,    /* the lease was asked for; `purpose` says what follows */
    POSTER_RESYNCING,  /* a page of watermarks was asked for */
    POSTER_SWEEPING,   /* likewise, of accounts that the checkpoint has */
    POSTER_RESTING,    /* nothing is due before next_ms, unless there are new records or notices */
    POSTER_FILLING,    /* parts of checkpoints were sent; more follow before all are answered */
    POSTER_POSTING,    /* a pipeline of the batch was sent */
    POSTER_TELLING,    /* Redis was told that what a killed process held is held no more */
    POSTER_ENDING,     /* the lease is being given back */
    POSTER_ENDED,
};

enum lease_purpose {
    LEASE_TO_BEGIN, /* after connecting: the watermarks are asked for in any case */
    LEASE_TO_REST,  /* it was due between two batches; if it was lost meanwhile, resync */
    LEASE_TO_RESYNC, /* it was due within the watermarks or the batch: a copy of this directory may */
    LEASE_TO_FILL,   /* have held it if it was lost meanwhile, so the poster reconnects */
    LEASE_TO_POST,
};

/* What Redis says it has of the journal (poster_proof.c), in records, and the marks under which it does. */
struct poster_proof {
    bool has_asked, has_made;           /* for a mark; one was made behind this connection */
    uint64_t found_mark, found;         /* as last answered; 0: none */
    uint64_t resync_mark, resync_found; /* the same at the begin of the last resync */
    uint64_t
        mark; /* under which all accounts were asked for, or proven; 0: they are being asked for */
};

struct poster;
/* Takes reply `index` of those that the state asked for. 0, or a negative errno as of poster_step. */
typedef int poster_take(struct poster *poster, size_t index, const redisReply *reply);

struct poster {
    pthread_t thread;
    struct ledger *ledger;             /* borrows */
    struct conversation *conversation; /* owns; NULL: another Redis was given */
    const struct ledger_redis *redis;  /* borrows */
    enum poster_state state;
    int result; /* the gravest of the takes */
    poster_take *take;
    size_t asked, answered; /* commands of the state, and their replies */
    uint64_t next_ms;
    char error[400]; /* why the connection is given up, for -EAGAIN */
    uint64_t backoff_ms, begun_ms;
    unsigned seed, resyncs;
    uint64_t said[POSTER_OBJECTIONS_MAX]; /* objections told since Redis took posts */
    unsigned said_count;
    bool warned_append_only;
    bool released; /* the reply to the lease's return has come */

    /* Of a new connection. */
    bool library_is_ours;             /* Redis has the function library with our text */
    int64_t library;                  /* the version of the function library there; 0: none */
    int64_t said_newer;               /* the version that was reported */
    int64_t redis_ms;                 /* Redis' clock, once asked for with its nodes */
    char behind[LEDGER_NODE_MAX + 1]; /* a node that runs and is too old for our library; or "" */
    int64_t behind_functions;         /* the version that it calls */
    char run_id[64], replication_id[64]; /* of the Redis that it is to */
    uint64_t generation;                 /* of where.h, to which it belongs */

    struct lease lease;
    enum lease_purpose purpose;
    enum lease_result leased;
    char lease_text[LEDGER_TEXT_MAX];

    /* Where Redis and the journal stand. */
    struct journal_reader reader;
    struct ledger_account *page[POSTER_PIPELINE], *next_account;
    size_t page_count, held_count; /* held_count: of a sweep's page, with a reference each */
    uint32_t missing;      /* the first segment with something that Redis lacks, as far as known */
    uint32_t safe_segment; /* Redis confirmed all records before this segment */
    uint32_t checkpoint;   /* the segment of the one that this resync may post; 0: none */
    uint32_t unreadable;   /* that of one that could not be read; 0: none */
    struct fills *fills;   /* owns; NULL: no account is to be filled */
    struct sweep *sweep;   /* owns; NULL: none waits */
    struct poster_proof proof;
    uint64_t resync;           /* how many there were */
    bool lost;                 /* a watermark went back in this resync */
    bool placed;               /* the cursor stands in a segment */
    bool current;              /* Redis has all records up to `target` */
    bool turn_due;             /* a turn follows a resync, also where nothing is new */
    uint64_t target;           /* records of the journal at the last resync */
    int told[POSTER_PIPELINE]; /* places in ledger->holdings, of TELLING */

    struct ledger_account *quiet_next; /* at which poster_quiet.c looks next; NULL: at the first */
    uint64_t quiet_ms;                 /* when it does */
    struct pending pending;
    struct post_batch batch;
    size_t batch_first, batch_sent; /* its posts from the one to the other are under way */
};

/* ---- poster_state.c ---- */

/* Enters a state whose replies go to `take`. */
void poster_enter(struct poster *poster, enum poster_state state, poster_take *take);
/* Sends a command of the state. 0, or -EAGAIN with the cause in poster->error. */
int poster_send(struct poster *poster, int count, const char *const words[]);
/* For a command that is sent otherwise, after `asked` was raised: takes its reply; and -EAGAIN where
 * it could not be sent. */
void poster_answered(void *context, const redisReply *reply);
int poster_unsent(struct poster *poster);
/* Notes that Redis refused a command. -EAGAIN. */
int poster_refused(struct poster *poster, const char *command, const redisReply *reply);
/*
 * A connection that is merely lost leaves the node ready: workers have their own connections and
 * their grants.
 */
void poster_waiting(struct poster *poster, const char *text);
/* Sets the state that workers see, with its reason, and logs the reason if it is new. */
void poster_object(struct poster *poster, enum ledger_state state, const char *text);
/* Redis may not have every record any more: workers must not ask it for grants. */
void poster_not_current(struct poster *poster, const char *text);
/* Whether a killed process has left something that Redis is to be told. */
bool poster_has_to_tell(const struct poster *poster);
/* Redis takes posts: what it refused before may be told again. */
void poster_works_again(struct poster *poster);
/* Whether somebody waits for what is not due yet. */
bool poster_is_asked(const struct poster *poster);
/* How many records of the journal are in Redis, without a gap. */
uint64_t poster_posted(const struct poster *poster);
/* Tells the waiting callers how many records are in Redis; the node is ready once Redis has all of
 * the last resync, and has been told what it must be. */
void poster_publish(struct poster *poster);
/* Errors that waiting does not mend: the disk does not give back what was written to it. */
bool poster_is_damage(int result);
/* Notes why a segment cannot be read, and the cure. */
void poster_say_unread(struct poster *poster, uint32_t segment, int result);
/* Reads on from the start of a segment; Redis has all records before it. 0, or -EAGAIN with the
 * reason noted. */
int poster_place(struct poster *poster, uint32_t segment);

/*
 * What follows once a state's replies have been taken. Each sends what the next state asks for, and
 * returns 0, or
 *   -ESTALE  watermarks may have moved: they are asked for again
 *   -EBUSY   another process has the lease, perhaps for a moment
 *   -EAGAIN  the connection is given up, for the reason in poster->error
 *   any other negative errno: the same, and the reason was told
 */

/* ---- poster_connect.c ---- */

int poster_learn(struct poster *poster); /* of CONNECTING */
/* What the lease's reply means. 0: it is held, and the purpose may be followed. */
int poster_judge_lease(struct poster *poster);

/* ---- poster_library.c ---- */

int poster_learned(struct poster *poster); /* of LEARNING */
int poster_asked(struct poster *poster);   /* of ASKING */

/* ---- poster_resync.c ---- */

/* Begins to ask Redis for every account's watermark, by pages. At the end the cursor stands so that
 * all records that Redis lacks lie ahead of it. */
int poster_resync(struct poster *poster);
int poster_resync_on(struct poster *poster); /* of RESYNCING */

/* ---- poster_watermark.c ---- */

/* Takes an account's watermark. 0, -EAGAIN or -EPERM. */
int poster_take_watermark(struct poster *poster, struct ledger_account *account,
                          const redisReply *reply);
/* Lowers poster->missing to the segment where replay must begin for this account: where Redis has nothing of
 * it, its checkpoint is posted first. Where that has left the journal, the account is set aside. 0; -ENOMEM; or
 * -EAGAIN: too many are set aside. */
int poster_needs_from(struct poster *poster, struct ledger_account *account);

/* ---- poster_lease.c ---- */

/* Asks for the lease. 0 or -EAGAIN. */
int poster_ask_lease(struct poster *poster, enum lease_purpose purpose);

/* ---- poster_proof.c ---- */

/* Whether there is a checkpoint, so that this process or the next one does not load all accounts. */
bool poster_needs_proof(const struct poster *poster);
/* Asks for the mark, and then for the count, with the lease. 0 or -EAGAIN. */
int poster_ask_proof(struct poster *poster);
void poster_take_proof(struct poster *poster, bool is_mark, const redisReply *reply);
/* Tells Redis how many records it has, where that is known: just behind a renewal of the lease. */
void poster_tell_proof(struct poster *poster);

/* ---- poster_sweep.c ---- */

/* Begins a sweep behind a resync, unless Redis proves that it has all records of the accounts that are asleep.
 * 0 or -ENOMEM. */
int poster_sweep_begin(struct poster *poster);
static inline bool poster_sweep_waits(const struct poster *poster)
{
    return poster->sweep != NULL;
}
/* Whether it goes on before the accounts that were noted are filled. */
bool poster_sweep_comes_first(const struct poster *poster);
/* Asks for the next page. */
int poster_sweep(struct poster *poster);
int poster_sweep_on(struct poster *poster); /* of SWEEPING */
void poster_sweep_forget(struct poster *poster);

/* ---- poster_quiet.c ---- */

/* Lets accounts leave memory that are quiet. Returns when it wants to be called again, of RESTING. */
uint64_t poster_quiet(struct poster *poster);
/* Lets an account leave that a sweep has woken and that Redis has. The poster has no reference to it, and does
 * not read it behind that. False: it stays. */
bool poster_let_go(struct poster *poster, struct ledger_account *account);

/* ---- poster_tell.c ---- */

/* Tells the next ones, once the journal is posted. */
int poster_tell(struct poster *poster);

/* ---- poster_fill.c ---- */

/* Notes in a resync that Redis has nothing of the account. 0 or -ENOMEM. */
int poster_fill_note(struct poster *poster, struct ledger_account *account);
/* Whether some accounts were noted and are not filled yet. */
static inline bool poster_fill_waits(const struct poster *poster)
{
    return poster->fills != NULL;
}
size_t poster_fill_count(const struct poster *poster);
/* Begins to post the checkpoints of those that were noted. */
int poster_fill(struct poster *poster);
int poster_fill_on(struct poster *poster); /* of FILLING, also while parts are under way */
/* Whether further parts may be sent while others are under way. */
bool poster_fill_has_room(const struct poster *poster);
/* Sets an account aside of which Redis has parts of the checkpoint of this segment, which the node has
 * no longer: nothing there can be used. 0 or -EAGAIN, as aside_set. */
int poster_set_aside_begun(struct poster *poster, struct ledger_account *account,
                           long long segment);
/* Drops what was noted; nothing of it may be under way. */
void poster_fill_forget(struct poster *poster);

/* ---- poster_post.c ---- */

/* Drops the posts under way and those that wait: the journal has them. */
void poster_forget_posts(struct poster *poster);

/* Reads the next records and begins to post them. */
int poster_turn(struct poster *poster);
int poster_post_on(struct poster *poster); /* of POSTING */

#endif
