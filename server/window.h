/*
 * Windows: what one link delivers of one path on this node, from the first request until it has
 * been idle for a while. A window holds the grant (its funds and validity) that its responses
 * spend, and the ledger's download that they are metered into. Shared by all workers; it asks Redis
 * nothing itself (admission.c does).
 *
 * Threads: funds, validity and references are atomics, so a request in a valid window takes one
 * short lock to find it and none to spend. `asking` and `waiters` are under the shard's lock. A
 * window is freed only by the worker that made it (its owner), when it swept and found it idle.
 */
#ifndef TOLLGATE_SERVER_WINDOW_H
#define TOLLGATE_SERVER_WINDOW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "storage/ledger/ledger.h"

#define WINDOW_KEY_SIZE 32 /* SHA-256 of what names the link */
#define WINDOW_IDLE_MS                                                                             \
    2000 /* without a response for so long, a window's funds go back and it ends */

struct windows;

struct window {
    struct window *next;       /* in its bucket; shard's lock */
    struct window *owned_next; /* in its owner's list; owner only */
    unsigned char link[WINDOW_KEY_SIZE];
    struct ledger_account *account;   /* holds */
    struct ledger_file *file;         /* holds */
    struct ledger_download *download; /* owns */
    unsigned owner;                   /* worker index */
    atomic_uint references;           /* responses and deliveries */
    atomic_ullong idle_since_ms;      /* monotonic; since references fell to 0 */
    atomic_ullong valid_until_ms;     /* monotonic; 0: no grant yet */
    atomic_llong funds; /* bytes granted and not handed to the kernel; of a prepaid account */
    atomic_bool prepaid;
    bool asking;      /* a worker's question is under way; shard's lock */
    uint64_t waiters; /* workers to wake when it is answered; shard's lock */
    uint64_t
        slice; /* the last grant's bytes plus 1, 0: none yet; of whoever has the right to ask */
};

/* `capacity` windows at once; at the bound window_open answers -EMFILE. */
int windows_create(struct windows **out, struct ledger *ledger, uint64_t capacity);
void windows_destroy(struct windows **windows);

/*
 * Finds or opens the window of a link and a file; *out is referenced for the caller. *created tells
 * the owner to put it in its list. 0, -EMFILE, -ENOSPC, -EIO (see ledger_download_open), -ENOMEM.
 */
int window_open(struct windows *windows, const unsigned char link[WINDOW_KEY_SIZE],
                struct ledger_account *account, struct ledger_file *file, unsigned owner,
                struct window **out, bool *created);
void window_hold(struct window *window);
void window_drop(struct window **window, uint64_t now_ms);

/* Takes up to `want` bytes of the window's funds; a postpaid window gives all that is asked. */
uint64_t window_take(struct window *window, uint64_t want);
void window_give(struct window *window, uint64_t bytes);

/*
 * The right to ask Redis for this window: true for one caller until window_asked; the others are
 * noted as waiters (`worker` is woken when it is answered).
 */
bool window_ask(struct windows *windows, struct window *window, unsigned worker);
/* Ends the asking; returns the set of workers to wake, a bit each. */
uint64_t window_asked(struct windows *windows, struct window *window);

/*
 * Takes the funds of all idle windows of the account, `except` one: what an account that is short
 * can get back before it is refused. Returns the bytes, to be given back to Redis.
 */
uint64_t windows_recall(struct windows *windows, const struct ledger_account *account,
                        const struct window *except);

/*
 * Ends the window if it is idle: removes it, closes its download and frees it. Returns true where
 * it did; *funds is what is to be given back to Redis and *account (held, the caller drops it)
 * whose it is. Owner only.
 */
bool window_sweep(struct windows *windows, struct window *window, uint64_t now_ms, uint64_t *funds,
                  struct ledger_account **account);

uint64_t windows_count(const struct windows *windows);

#endif
