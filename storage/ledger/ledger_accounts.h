/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A part of ledger.h, which users include: accounts and money, usage by page, and notices. The
 * admin thread calls all of it but ledger_notify.
 */
#ifndef TOLLGATE_STORAGE_LEDGER_ACCOUNTS_H
#define TOLLGATE_STORAGE_LEDGER_ACCOUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/ledger/ledger_names.h"

/* ---- accounts and money: for the admin thread; they block, bounded by some seconds ---- */

enum ledger_plan { LEDGER_PREPAID, LEDGER_POSTPAID };
enum ledger_status { LEDGER_ACTIVE, LEDGER_STATUS_SUSPENDED };

struct ledger_account_view {
    bool exists;
    enum ledger_plan plan;
    enum ledger_status status;
    int64_t balance;   /* bytes paid for and not delivered yet; may be negative */
    uint64_t reserved; /* by the grants of all nodes */
    uint64_t used;     /* bytes delivered and billed */
    uint64_t revision;
    uint64_t rate, max_bytes; /* limits; 0: none */
    uint32_t max_conns;
    int64_t revoked_before; /* links signed before this second are revoked; 0: none */
};

enum ledger_operation {
    LEDGER_OPEN,
    LEDGER_TOP_UP,
    LEDGER_SUSPEND,
    LEDGER_ACTIVATE,
    LEDGER_ADJUST,
    LEDGER_REVOKE_LINK,
    LEDGER_REVOKE_BEFORE,
    LEDGER_LIMIT
};

struct ledger_request {
    enum ledger_operation operation;
    const char *issuer, *account;
    enum ledger_plan plan; /* of LEDGER_OPEN */
    /*
     * Bytes; OPEN: 0 or more, TOP_UP: 1 or more, ADJUST: any. REVOKE_LINK: when the link is dead
     * anyway, in ms since 1970. REVOKE_BEFORE: seconds since 1970. LIMIT: the rate; 0: none.
     */
    int64_t amount;
    unsigned char link_id[LEDGER_LINK_ID_BYTES]; /* of REVOKE_LINK */
    uint64_t max_bytes;                          /* of LIMIT; 0: none */
    uint32_t max_conns;
    bool allow_negative;     /* of ADJUST: the balance may fall below zero */
    const char *transaction; /* idempotency key, see below; required for OPEN, TOP_UP and ADJUST */
};

/* Whether a transaction has 1 to LEDGER_TRANSACTION_MAX bytes of [A-Za-z0-9._:-]. */
bool ledger_transaction_is_valid(const char *transaction);

/*
 * Journals the operation (durable before this returns 0), posts it, and reads the account back into
 * `view`. It blocks for some seconds at most. A revocation does not look at Redis first, may name
 * an account that is not open, and leaves `view` empty; when it returns 0 it is durable and in
 * Redis, and thus on its way to every node.
 *   0           done, or done before with the same content (`*repeated`)
 *   -EEXIST     OPEN of an account that is open (by another transaction)
 *   -ENOENT     no such account
 *   -ENOTUNIQ   the transaction id was used with another operation or amount: 409
 *   -EDOM       ADJUST would take the balance below zero (`view` has it), which `allow_negative`
 *               would permit. Redis decides it, for all nodes, and holds the bytes until the post
 *   -EINVAL     out of bounds; -EOVERFLOW: the total would pass 2^53 - 1
 *   -ENOTRECOVERABLE  what Redis holds of the account is damaged: nothing was journalled
 *   -EAGAIN     Redis cannot be asked now, is being replayed to, or this node's journal will never
 *               be posted (LEDGER_REFUSED, LEDGER_FAILED): nothing was journalled, try again
 *   -EBUSY      another order is about to open the account, or too many orders are under way:
 *               nothing was journalled, try again
 *   -ECANCELED  journalled and posted, but a later operation counts: the account (`view` has it) is
 *               not as the order wanted it
 *   -ENOSPC, -EIO     the journal cannot be written: nothing was acknowledged
 *   -EUSERS, -EDQUOT  accounts_max of the node or of the issuer is reached: no new account is
 *                     opened, and no revocation taken for one that was never opened
 *   -EINPROGRESS      durable, but not posted within the time: it will be
 */
int ledger_account_change(struct ledger *ledger, const struct ledger_request *request,
                          bool *repeated, struct ledger_account_view *view);
/* Reads the account from Redis. Blocks. 0 (view->exists may be false), -EAGAIN,
 * -ENOTRECOVERABLE (damaged), -EINVAL. */
int ledger_account_show(struct ledger *ledger, const char *issuer, const char *account,
                        struct ledger_account_view *view);

/* What came of a release. */
#define LEDGER_SAID_MAX 240
struct ledger_release {
    bool was_aside;             /* at this node, before the call */
    char key[LEDGER_KEY_MAX];   /* of -EBADMSG: the key in Redis that is damaged; "": see `said` */
    char said[LEDGER_SAID_MAX]; /* of -EBADMSG: what is wrong */
};
/*
 * Reads all that Redis holds of the account and, if it is in order, posts what waits; an account that is
 * not set aside is looked at in the same way. With `rebuilds` the account's keys are deleted
 * first, and each node that hears of it posts the account again from its journal. Blocks some seconds.
 *   0             in order, and all that this node's journal holds of it is posted
 *   -EBADMSG      damaged, or incomplete: nothing of the account is granted or posted
 *   -EINPROGRESS  in order, and being posted
 *   -ENOENT       Redis and the journal know no such account
 *   -EINVAL       not a name
 *   -EAGAIN       Redis cannot be asked now, or is being replayed to
 */
int ledger_account_release(struct ledger *ledger, const char *issuer, const char *account,
                           bool rebuilds, struct ledger_release *out);

/* What Redis keeps of a link, and of one path of it. */
struct ledger_link_view {
    bool revoked;   /* the link itself; see also the account's revoked_before */
    uint64_t bytes; /* delivered so far; counted only for a link with terms */
    uint32_t uses;  /* uses of the path, including the open one */
    bool is_open;   /* the last use */
};
/* Reads a link and one path of it from Redis. Blocks. 0, -EAGAIN, -EINVAL. */
int ledger_link_show(struct ledger *ledger, const char *issuer, const char *account,
                     const unsigned char link_id[LEDGER_LINK_ID_BYTES], const char *path,
                     struct ledger_link_view *view);

struct ledger_usage_row {
    uint32_t date;    /* yyyymmdd or yyyymm, UTC */
    const char *file; /* "": all files together, of a month whose files have ended */
    uint64_t bytes, responses;
};
#define LEDGER_USAGE_CURSOR_MAX 48
#define LEDGER_USAGE_DATES_MAX  400 /* from the first to the last, both counted */
/* A question for a page of usage. Everything is borrowed. */
struct ledger_usage_ask {
    const char *issuer, *account;
    uint32_t from, to;  /* inclusive: both yyyymmdd, or both yyyymm; at most 400 of them */
    uint32_t rows_max;  /* 1 or more: the page ends at about so many */
    const char *cursor; /* `next` of the page before, for the same dates; "": first page */
};
struct ledger_usage_page {
    int (*row)(void *context,
               const struct ledger_usage_row *row); /* non-zero: stop, and return it */
    void *context;
    char next[LEDGER_USAGE_CURSOR_MAX]; /* where the next page begins; "": this was the last one */
};
/*
 * Reads one page of usage, ordered by date and file, each file of a date once. Usage by day is kept for
 * LEDGER_DAYS_KEPT days, by month and file for LEDGER_MONTHS_KEPT months; of an older month there is one row, of
 * all files. Before the first page
 * it settles the ledger, so that the page includes what was acknowledged before the call. A page
 * ends with the step of some hundred files that fills it, or at 16 MiB of names. Blocks.
 *
 * Between pages only the dates are ordered. A file that Redis had when the first page was asked for
 * is in at least one page, with its totals of that moment or later; it is in two only where Redis
 * shrinks the date's table meanwhile: then the higher totals count, never the sum.
 *   -EINVAL   no such dates, no such name
 *   -ENODATA  a day has ended, by Redis' clock: ask for later ones, or by month
 *   -ESTALE   the cursor is for other dates, or Redis is another by now: begin again
 *   -EAGAIN, -ENOMEM
 */
int ledger_usage(struct ledger *ledger, const struct ledger_usage_ask *ask,
                 struct ledger_usage_page *page);

/* ---- notices: what shops are told ---- */

/*
 * Redis keeps the last LEDGER_NOTICES_KEPT of each issuer, in one order. They are hints ("download
 * it again", "top up"): a crash can lose those of the last second, while money and usage are exact.
 */
#define LEDGER_NOTICES_KEPT  10000
#define LEDGER_NOTICE_ID_MAX 40

enum ledger_notice_kind { LEDGER_COMPLETED, LEDGER_BALANCE_LOW, LEDGER_LINK_USED_UP };
struct ledger_notice {
    enum ledger_notice_kind kind;
    const char *account; /* without the issuer */
    const char *file;    /* or "" */
    const char *jti;     /* or "" */
    uint64_t bytes;      /* COMPLETED: delivered; BALANCE_LOW: left, 0 at least */
    uint64_t time_ms;
    const char *id; /* this notice's cursor; only ledger_notices sets it */
};
const char *ledger_notice_kind_name(enum ledger_notice_kind kind);
/* Copies the notice into a queue; at the queue's bound it is dropped and counted as lost. Any
 * thread; it never blocks. */
void ledger_notify(struct ledger *ledger, const struct ledger_account *account,
                   const struct ledger_notice *notice);
/*
 * Calls `each` for the issuer's notices after the cursor ("": from the oldest that is kept),
 * `limit` at most, oldest first, until it returns non-zero. 0, -EINVAL (a malformed cursor, issuer
 * or limit) or -EAGAIN. Blocks.
 */
int ledger_notices(struct ledger *ledger, const char *issuer, const char *after, uint32_t limit,
                   int (*each)(void *context, const struct ledger_notice *notice), void *context);

#endif
