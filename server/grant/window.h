/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A window is what one link delivers of one path on this node, from the first request until it has
 * been idle for a while. A window holds the grant (its funds and validity) that its responses
 * spend, the quotas of its link and its account, and the ledger's download that they are metered
 * into. Shared by all workers; it asks Redis nothing itself (question.c does).
 *
 * Threads: a request takes the shard's lock to find its window and the window's lock to take its
 * funds, both for some instructions; it spends what it has taken without either. `asking` and
 * `waiters` are under the shard's lock; validity and references are atomics. A window is freed only
 * by the worker that made it (its owner), when it swept and found it idle.
 */
#ifndef TOLLGATE_SERVER_GRANT_WINDOW_H
#define TOLLGATE_SERVER_GRANT_WINDOW_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/grant/funds.h"
#include "server/grant/quota.h"
#include "storage/ledger/ledger.h"

#define WINDOW_IDLE_MS                                                                             \
    2000 /* a window without a response for so long ends, and its funds go back */

#define WINDOW_UNCONFIRMED UINT64_MAX /* of heard_epoch */

struct windows;

/* A quota in the table: of a link, or of an account where `link_id` is NULL. */
struct window_quota {
    struct quota quota;
    /* The next in its bucket of the table, under the shard's lock. */
    struct window_quota *next;
    struct ledger_account *account; /* holds */
    bool of_link;
    unsigned char link_id[LEDGER_LINK_ID_BYTES];
    unsigned references;
    struct window *spare; /* its windows that may have spare funds of this kind */
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
    struct window_quota *link_quota, *account_quota; /* hold */
    atomic_ullong paced_us;         /* a bucket's paid_us, of its paced responses */
    uint64_t size;                  /* of the file */
    char *jti;                      /* owns; NULL: none, or no shop to notify */
    atomic_bool completed, used_up; /* and the shop was notified */
    unsigned owner;                 /* worker index */
    atomic_uint references;         /* responses and deliveries */
    atomic_ullong idle_since_ms;    /* monotonic; since references fell to 0 */
    atomic_ullong valid_until_ms;   /* monotonic; of the last grant, 0: none yet */
    /*
     * What had been heard of revocations when the grant was confirmed (struct ledger_heard). Where
     * more has been heard since, or may have been, a response asks Redis before it begins or sends
     * more; one that is under way waits for the answer, until valid_until_ms where Redis cannot be
     * asked. WINDOW_UNCONFIRMED: the grant must be asked for again in any case.
     */
    atomic_ullong heard_epoch, heard_messages;
    pthread_mutex_t lock;
    struct funds spare;         /* reserved, and taken by no response; window's lock */
    atomic_bool account_bounds; /* as of the last grant: the account's fund is limited */
    atomic_uint paying;         /* responses under way that took funds from it */
    /* Its places in its quotas' lists, by fund; changed under the shard's lock, spare_listed read
     * without. */
    struct window *spare_next[LEDGER_FUNDS], *spare_previous[LEDGER_FUNDS];
    atomic_bool spare_listed[LEDGER_FUNDS];
    /* The use of a link with terms, as of the last grant: when Redis opened it; 0: no terms. */
    atomic_ullong opened_ms;
    atomic_ullong use_until_ms; /* monotonic; that use's end */
    atomic_llong iat;           /* the grant is for tokens that are no older */
    bool asking;                /* a worker's question is under way; shard's lock */
    uint64_t waiters;           /* workers to wake when it is answered; shard's lock */
    /*
     * The last grant's bytes plus 1; 0: none yet. Only the worker that holds the right to ask
     * (window_ask) reads or writes it.
     */
    uint64_t slice;
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
 * Finds or opens the window of a link and a file; *out is a reference for the caller. Where
 * *created is true, the owner must put the window in its list. 0, -EMFILE, -ENOSPC, -EIO (see
 * ledger_download_open), -ENOMEM.
 */
int window_open(struct windows *windows, const struct window_key *key, uint64_t now_ms,
                struct window **out, bool *created);
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

/*
 * Takes from the window's spare funds until the purse has `target` bytes of each fund of the set;
 * with `whole`, all of that or nothing. Returns how many bytes can be spent from the purse,
 * `target` at most.
 */
uint64_t window_take(struct window *window, unsigned set, uint64_t target, bool whole,
                     struct funds *purse);
/* Moves the whole purse back to the spare funds. */
void window_give(struct windows *windows, struct window *window, struct funds *purse);
/*
 * Adds a grant of `bytes` to each spare fund of the set, and at once fills the asking response's
 * purse up to `target`, so that no other response takes those bytes first. `purse` is NULL where no
 * response waits for the grant.
 */
void window_fund(struct windows *windows, struct window *window, unsigned set, uint64_t bytes,
                 struct funds *purse, uint64_t target);
/* Levels the purse and the spare funds (funds_level); bytes that some fund has beyond the least one
 * go to `surplus`. Returns what each fund of the set has left. */
uint64_t window_level(struct window *window, unsigned set, struct funds *purse,
                      struct funds *surplus);

/* The right to ask Redis for this window: true for one caller until window_asked. The workers of
 * the other callers are noted as waiters, to be woken when the question is answered. */
bool window_ask(struct windows *windows, struct window *window, unsigned worker);
/* Ends the asking; returns the set of workers to wake, a bit each. */
uint64_t window_asked(struct windows *windows, struct window *window);

/* Gives funds back to Redis. */
typedef void windows_release(void *context, const struct ledger_account *account,
                             const unsigned char link_id[LEDGER_LINK_ID_BYTES],
                             const struct funds *funds);
#define WINDOWS_RECALL_MAX 4096 /* windows that one call looks at, once it has found some */
/*
 * Releases spare funds of other windows of the account (or of the link, by `fund`) until they sum
 * up to `needed` bytes of that fund, so that an account that is short gets them back before it is
 * refused. Returns the bytes; 0: there are none. The shard's lock is given up after every few
 * windows.
 */
uint64_t windows_recall(struct windows *windows, const struct window *except, enum ledger_fund fund,
                        uint64_t needed, windows_release *release, void *context);

/*
 * Ends the window if it has been idle for `idle_ms`: releases its funds, closes its download and
 * frees it. Returns true where it did. Owner only.
 */
bool window_sweep(struct windows *windows, struct window *window, uint64_t now_ms, uint64_t idle_ms,
                  windows_release *release, void *context);

/* Milliseconds that a window may be idle now: WINDOW_IDLE_MS, or 0 once half of the capacity is
 * open. */
uint64_t windows_idle_ms(const struct windows *windows);

#endif
