/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A window is what one link delivers of one path on this node, from the first request until it has
 * been idle for a while: the ledger's download that its responses are metered into, and the use that
 * it delivers. What the windows of one account, and those of one link, have in common stands in a
 * group: its quota, the pool that their responses are paid from, and what Redis last said of it.
 * Shared by all workers; nothing here asks Redis (question.c does).
 *
 * Threads: a request takes the shard's lock to find its window, for some instructions, and begins
 * and pays by atomics. `asking`, `waiters` and `wanted` are under the shard's lock. A window or group
 * is freed only by the worker that made it (its owner), when it swept and found it idle.
 */
#ifndef TOLLGATE_SERVER_GRANT_WINDOW_H
#define TOLLGATE_SERVER_GRANT_WINDOW_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/grant/pool.h"
#include "server/grant/quota.h"
#include "storage/ledger/ledger.h"

#define WINDOW_IDLE_MS 2000 /* a window without a response for so long ends */

struct windows;

/*
 * What Redis last confirmed of an account, or of a link, and what had been heard of revocations by
 * then (struct ledger_heard). Where more has been heard since, or may have been, a response asks Redis
 * before it begins or sends more; one that is under way waits for the answer, until valid_until_ms
 * where Redis cannot be asked.
 */
struct cover {
    atomic_ullong valid_until_ms; /* monotonic; 0: nothing was confirmed yet */
    atomic_ullong heard_epoch, heard_messages;
};

/* The right to ask Redis for something: one worker has it at a time. Under the shard's lock. */
struct asking {
    bool is_under_way;
    uint64_t waiters; /* workers to wake at its end */
};

/* What the windows of an account have in common, or those of a link (`of_link`). Fields without another
 * word are under the shard's lock. */
struct window_group {
    struct quota quota;
    struct pool pool;
    struct cover cover; /* of an account; that of a link is its window's */
    /* Of an account, as last confirmed. */
    atomic_ullong revoked_before;    /* tokens that are older are revoked; seconds since 1970 */
    atomic_ullong revoked_until_ms;  /* monotonic: until then each link must be confirmed itself */
    uint64_t recalls_told;           /* ledger_recalls when the pool was told last */
    uint64_t losses_asked;           /* ledger_losses likewise */
    uint64_t losses_told;            /* and when it was told last with an answer */
    int holding;                     /* of ledger_holding_note; -1: none */
    struct window_group *next;       /* in its bucket of the table */
    struct window_group *owned_next; /* in its owner's list; owner only */
    struct ledger_account *account;  /* holds */
    bool of_link;
    unsigned char link_id[LEDGER_LINK_ID_BYTES];
    unsigned owner;       /* worker index */
    unsigned references;  /* windows */
    struct asking asking; /* for the pool, and for the account's cover */
    bool yields;          /* what waited asks before the pool is told again, which it does, too */
    uint64_t wanted;      /* bytes that waiters need */
    uint64_t round;       /* counts the questions, so that a waiter is counted once in each */
};

struct window_use {
    struct ledger_download *download; /* owns */
    atomic_uint references;
    atomic_ullong promised;         /* see window_use_promise */
    atomic_llong arrived_elsewhere; /* beyond what the download counts */
};

struct window {
    struct window *next;       /* in its bucket; shard's lock */
    struct window *owned_next; /* in its owner's list; owner only */
    unsigned char link_id[LEDGER_LINK_ID_BYTES];
    struct ledger_account *account;                  /* holds */
    struct ledger_file *file;                        /* holds */
    struct window_use *use;                          /* holds; window's lock */
    struct window_group *link_group, *account_group; /* hold */
    atomic_ullong paced_us;         /* a bucket's paid_us, of its paced responses */
    uint64_t size;                  /* of the file */
    char *jti;                      /* owns; NULL: none, or no shop to notify */
    atomic_bool completed, used_up; /* and the shop was notified */
    unsigned owner;                 /* worker index */
    atomic_uint references;         /* responses and deliveries */
    atomic_ullong idle_since_ms;    /* monotonic; since references fell to 0 */
    struct cover cover;             /* of the link and, with terms, of its use */
    pthread_mutex_t lock;           /* of `use` */
    /* The use of a link with terms, as of the last grant: when Redis opened it; 0: no terms. */
    atomic_ullong opened_ms;
    atomic_ullong use_until_ms; /* monotonic; that use's end */
    struct asking asking;
};

/* Makes a table of up to `capacity` windows; at the bound window_open returns -EMFILE. It borrows
 * the ledger. 0 or -ENOMEM. */
int windows_create(struct windows **out, struct ledger *ledger, uint64_t capacity);
void windows_destroy(struct windows **windows);
struct ledger *windows_ledger(const struct windows *windows);

/* What a window is opened for; all borrowed. */
struct window_key {
    const unsigned char *link_id;
    struct ledger_account *account;
    struct ledger_file *file;
    uint64_t size;   /* of the file */
    const char *jti; /* kept for the shop's notices; NULL: none */
    unsigned owner;
};
/*
 * Finds or opens the window of a link and a file; *out is a reference for the caller. `made` gets the
 * window and the groups that were made for it (else NULL): their owner must put them in its lists. 0,
 * -EMFILE, -ENOSPC, -EIO (see ledger_download_open), -ENOMEM.
 */
struct windows_made {
    struct window *window;
    struct window_group *groups[2];
};
int window_open(struct windows *windows, const struct window_key *key, uint64_t now_ms,
                struct window **out, struct windows_made *made);
/* Whether the key's window is open: its link was delivered, or asked for, within the last moments. */
bool windows_have(struct windows *windows, const struct window_key *key);
void window_hold(struct window *window);
void window_drop(struct window **window, uint64_t now_ms);

/*
 * A use of the window's link is opened with the window and, by window_grant_use, whenever Redis has
 * opened another. The window and each delivery hold a reference; the last one closes its download.
 * window_use_open returns 0, an error of ledger_download_open, or -ENOMEM.
 */
int window_use_open(struct ledger *ledger, struct ledger_account *account, struct ledger_file *file,
                    struct window_use **out);
struct window_use *window_use_hold(struct window *window);
void window_use_drop(struct window_use **use);
/*
 * Counts the bytes of responses under way that have not arrived yet: a response adds its body when
 * it begins; acknowledgements and its end take them away. Without this count a client that asks for
 * the whole file forty times at once would pass for one download.
 */
void window_use_promise(struct window_use *use, uint64_t bytes);
void window_use_promise_end(struct window_use *use, uint64_t bytes);
/* How many bytes have arrived in the use, on this node and on others. */
uint64_t window_use_arrived(const struct window_use *use);

/* The same for the use that the window delivers now; window_under_way adds the promised bytes. */
uint64_t window_arrived(struct window *window);
uint64_t window_under_way(struct window *window);
/* Takes over the grant of a use, asked for at asked_ms; the link's state is kept until keep_ms
 * (since 1970). Bytes of an earlier use that have arrived, or still arrive, stay with that use. */
void window_grant_use(struct windows *windows, struct window *window,
                      const struct ledger_grant *grant, uint64_t asked_ms, uint64_t keep_ms);

/* ---- the right to ask ---- */

/* What a question is about. */
enum window_subject {
    SUBJECT_WINDOW = 1,  /* whether its link may be delivered */
    SUBJECT_ACCOUNT = 2, /* and its account; with the account's funds */
    SUBJECT_LINK = 4,    /* with the link's funds */
};
/* A question about a window, as it was asked: its figures are told to Redis. */
struct window_question {
    struct window *window; /* borrows */
    unsigned subjects;     /* set of enum window_subject */
    uint64_t asked_ms;
    struct ledger_told funds, link_funds; /* count 0: not a subject */
};
/* What a response that asks needs. */
struct window_need {
    uint64_t bytes; /* that it has not claimed */
    uint64_t spare; /* asked for beyond, so that the next ones need not ask */
};
/*
 * Takes the right to ask for all `subjects`, and fills in the question; the window is always one. False
 * where another question about one of them is under way: the worker is noted and woken at its end, and
 * what it needs is part of that fund's next question, once for each `*round`.
 */
bool window_ask(struct windows *windows, struct window *window, unsigned subjects, unsigned worker,
                const struct window_need *need, uint64_t *round, uint64_t now_ms,
                struct window_question *out);
/* The same of an inquiry, which takes nothing: only the window is asked for, and the figures of its
 * pools are told as they are. */
bool window_inquire(struct windows *windows, struct window *window, unsigned worker,
                    const struct window_need *need, bool of_link, uint64_t now_ms,
                    struct window_question *out);
/* Ends the asking; returns the set of workers to wake, a bit each. */
uint64_t window_asked(struct windows *windows, const struct window_question *question);
/* Lends the pool of the window's account a ceiling (pool_lend). */
bool window_lend(struct windows *windows, struct window *window, uint64_t bytes);
/* Takes the figures of an answer; those of an answer that another question has overtaken do not count. */
void window_take(struct windows *windows, const struct window_question *question,
                 const struct ledger_grant *grant, uint64_t validity_ms);

/* ---- what a group holds while nobody asks ---- */

/*
 * Whether the group's pool must be told again, and takes the right to ask for it. `*told` is what to
 * tell: with a recall, or once no window has the group, what is idle is given back.
 */
bool group_tell(struct windows *windows, struct window_group *group, uint64_t validity_ms, bool all,
                uint64_t now_ms, struct ledger_told *told);
/* Ends the telling, with its answer (NULL: there is none). Returns the workers to wake. */
uint64_t group_told(struct windows *windows, struct window_group *group, uint64_t number,
                    const struct ledger_credit *credit, uint64_t valid_until_ms);
/* Whether Redis knows what the group holds, and was told so since it lost data for this time. */
bool group_has_told(struct windows *windows, struct window_group *group, uint64_t losses);
/* Frees the group where no window has it and it has nothing to remember. True where it did. Owner
 * only. */
bool group_sweep(struct windows *windows, struct window_group *group, uint64_t now_ms);

/* Ends the window if it has been idle for `idle_ms`: closes its download and frees it. Returns true
 * where it did. Owner only. */
bool window_sweep(struct windows *windows, struct window *window, uint64_t now_ms,
                  uint64_t idle_ms);

/* Milliseconds that a window may be idle now: WINDOW_IDLE_MS, or 0 once half of the capacity is
 * open. */
uint64_t windows_idle_ms(const struct windows *windows);

#endif
