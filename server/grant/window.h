/*
 * Windows: what one link delivers of one path on this node, from the first request until it has
 * been idle for a while. A window holds the grant (its funds and validity) that its responses
 * spend, the quotas of its link and its account, and the ledger's download that they are metered
 * into. Shared by all workers; it asks Redis nothing itself (admission.c does).
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

#define WINDOW_KEY_SIZE LEDGER_LINK_BYTES /* SHA-256 of what names the link */
#define WINDOW_IDLE_MS                                                                             \
    2000 /* without a response for so long, a window's funds go back and it ends */

#define WINDOW_UNCONFIRMED UINT64_MAX /* of heard_epoch */

struct windows;

/* A quota in the table: of a link, or of an account where `link` is NULL. */
struct window_quota {
    struct quota quota;
    /* Of the table; shard's lock. */
    struct window_quota *next;
    struct ledger_account *account; /* holds */
    bool of_link;
    unsigned char link[WINDOW_KEY_SIZE];
    unsigned references;
    struct window *spare; /* those of its windows that may have spare funds of this kind */
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
    unsigned char link[WINDOW_KEY_SIZE];
    struct ledger_account *account;                  /* holds */
    struct ledger_file *file;                        /* holds */
    struct window_use *use;                          /* holds; window's lock */
    struct window_quota *link_quota, *account_quota; /* hold */
    atomic_ullong paced_us;         /* a bucket's paid_us, of its paced responses */
    uint64_t size;                  /* of the file */
    char *jti;                      /* owns; NULL: none, or nobody is told */
    atomic_bool completed, used_up; /* and the shop was told */
    unsigned owner;                 /* worker index */
    atomic_uint references;         /* responses and deliveries */
    atomic_ullong idle_since_ms;    /* monotonic; since references fell to 0 */
    atomic_ullong valid_until_ms;   /* monotonic; of the last grant, 0: none yet */
    /*
     * What had been heard of revocations when the grant was confirmed. Where more was heard since,
     * or may have been, whoever begins or sends asks first; what is under way waits for the answer,
     * and for Redis until valid_until_ms. WINDOW_UNCONFIRMED: it is to be asked for in any case.
     */
    atomic_ullong heard_epoch, heard_messages;
    pthread_mutex_t lock;
    struct funds spare;         /* reserved, and of no response; window's lock */
    atomic_bool account_bounds; /* as of the last grant: bytes are of the account's fund */
    atomic_uint paying;         /* responses under way that took funds of it */
    /* Its places in the lists of its quotas, of each fund; shard's lock, but for a look. */
    struct window *spare_next[LEDGER_FUNDS], *spare_previous[LEDGER_FUNDS];
    atomic_bool spare_listed[LEDGER_FUNDS];
    /* The use of a link with terms, as of the last grant: when Redis opened it; 0: no terms. */
    atomic_ullong opened_ms;
    atomic_ullong use_until_ms; /* monotonic; that window's end */
    atomic_llong iat;           /* the grant is for tokens that are no older */
    bool asking;                /* a worker's question is under way; shard's lock */
    uint64_t waiters;           /* workers to wake when it is answered; shard's lock */
    /*
     * The last grant's bytes plus 1; 0: none yet. Only the worker that holds the right to ask
     * (window_ask) reads or writes it.
     */
    uint64_t slice;
};

/* `capacity` windows at once; at the bound window_open answers -EMFILE. */
int windows_create(struct windows **out, struct ledger *ledger, uint64_t capacity);
void windows_destroy(struct windows **windows);
struct ledger *windows_ledger(const struct windows *windows);

/* What a window is opened for; all borrowed. */
struct window_key {
    const unsigned char *link;
    struct ledger_account *account;
    struct ledger_file *file;
    uint64_t size;   /* of the file */
    const char *jti; /* to be kept for notices; NULL: none */
    unsigned owner;
};
/*
 * Finds or opens the window of a link and a file; *out is referenced for the caller. *created tells
 * the owner to put it in its list. 0, -EMFILE, -ENOSPC, -EIO (see ledger_download_open), -ENOMEM.
 */
int window_open(struct windows *windows, const struct window_key *key, uint64_t now_ms,
                struct window **out, bool *created);
void window_hold(struct window *window);
void window_drop(struct window **window, uint64_t now_ms);

/*
 * A use of the window's link, opened with its window and, by window_grant_use, whenever Redis has
 * opened another. The window and each delivery hold one; the last reference closes its download.
 * The first gives 0, or an error of ledger_download_open, or -ENOMEM.
 */
int window_use_open(struct ledger *ledger, struct ledger_account *account, struct ledger_file *file,
                    struct window_use **out);
struct window_use *window_use_hold(struct window *window);
void window_use_drop(struct window_use **use);
/*
 * Bytes of responses under way that have not arrived yet: begun ones add their bodies, each
 * acknowledgement and the end take away. Whoever asks for the whole file forty times at once is not
 * taken for one download.
 */
void window_use_promise(struct window_use *use, uint64_t bytes);
void window_use_promise_end(struct window_use *use, uint64_t bytes);
/* How much has arrived in the use, here and elsewhere. */
uint64_t window_use_arrived(const struct window_use *use);

/* The same of the use that the window delivers now; and that with what is promised. */
uint64_t window_arrived(struct window *window);
uint64_t window_under_way(struct window *window);
/*
 * A grant of a use, asked for at asked_ms; the link's state is kept until keep_ms (since 1970).
 * What has arrived of another use before, and what still arrives of its responses, stays with that
 * one.
 */
void window_grant_use(struct windows *windows, struct window *window,
                      const struct ledger_grant *grant, uint64_t asked_ms, uint64_t keep_ms);

/*
 * Takes of the window's spare funds until the purse has `target` bytes of each fund of the set.
 * `whole`: or nothing. Returns what can be spent of the purse, `target` at most.
 */
uint64_t window_take(struct window *window, unsigned set, uint64_t target, bool whole,
                     struct funds *purse);
/* The purse goes back to the spare funds, and is empty. */
void window_give(struct windows *windows, struct window *window, struct funds *purse);
/*
 * A grant of `bytes` of each fund of the set. What the purse of the worker that asked lacks of
 * `target` is taken out at once, so that no other can have it first; NULL: nobody waits for it.
 */
void window_fund(struct windows *windows, struct window *window, unsigned set, uint64_t bytes,
                 struct funds *purse, uint64_t target);
/*
 * What purse and spare have of each fund of the set; what some have beyond that goes to `surplus`.
 */
uint64_t window_level(struct window *window, unsigned set, struct funds *purse,
                      struct funds *surplus);

/*
 * The right to ask Redis for this window: true for one caller until window_asked; the others are
 * noted as waiters (`worker` is woken when it is answered).
 */
bool window_ask(struct windows *windows, struct window *window, unsigned worker);
/* Ends the asking; returns the set of workers to wake, a bit each. */
uint64_t window_asked(struct windows *windows, struct window *window);

/* Gives funds back to Redis. */
typedef void windows_release(void *context, const struct ledger_account *account,
                             const unsigned char link[WINDOW_KEY_SIZE], const struct funds *funds);
#define WINDOWS_RECALL_MAX 4096 /* windows that one call looks at, once it has found some */
/*
 * Releases spare funds of other windows of the account (or of the link, by `fund`) until `needed`
 * bytes of that fund have come together: what an account that is short can get back before it is
 * refused. Returns the bytes; 0: there are none. No lock is held while more than a few are taken.
 */
uint64_t windows_recall(struct windows *windows, const struct window *except, enum ledger_fund fund,
                        uint64_t needed, windows_release *release, void *context);

/*
 * Ends the window if it has been idle for `idle_ms`: releases its funds, closes its download and
 * frees it. Returns true where it did. Owner only.
 */
bool window_sweep(struct windows *windows, struct window *window, uint64_t now_ms, uint64_t idle_ms,
                  windows_release *release, void *context);

/* How long a window may be idle now: WINDOW_IDLE_MS, and not at all once half of them are open. */
uint64_t windows_idle_ms(const struct windows *windows);

#endif
