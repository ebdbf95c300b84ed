/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts and files, interned: one object per name, found by a hash table, reference counted; and
 * the count of accounts, for each issuer and for the node. Used by the public look-ups, the
 * journal's reader and writer, the poster and the push thread. It never writes the journal.
 */
#ifndef TOLLGATE_LEDGER_NAMES_H
#define TOLLGATE_LEDGER_NAMES_H

#include <pthread.h>
#include <stdatomic.h>
#include <xxhash.h>

#include "storage/ledger/journal_format.h"

/* What accounts and files share. */
struct ledger_name {
    struct ledger_name *next; /* in its bucket */
    struct names *names;      /* borrows */
    _Atomic uint32_t references;
    enum journal_kind kind;
    uint32_t length;
    /* Of the writer: the last segment that has a NAME record of it, and its id there. */
    uint32_t segment, id;
    char *text; /* behind the account or file: "issuer/account" or the path, NUL-terminated */
};

#define NAMES_ISSUER_BUCKETS 256

struct post;

/* An issuer whose accounts are known. All but its id is under names->lock. It is freed only with
 * the table: there are few issuers, each from the configuration or the journal. */
struct names_issuer {
    struct names_issuer *next; /* in its bucket */
    uint32_t accounts;         /* that have a place */
    uint32_t accounts_max;     /* 0: not configured */
    bool warned;
    char id[LEDGER_ISSUER_MAX + 1];
};

/*
 * Whether an account is set aside. The poster moves it, but for two steps of somebody who has an
 * account rebuilt (aside.h): to EMPTYING from any, and from there to EMPTIED.
 */
enum account_aside {
    ASIDE_NOT,
    ASIDE_DAMAGED,   /* what Redis holds of it is not as it should be: nothing of it is posted */
    ASIDE_EMPTYING,  /* its keys are being deleted: nothing of it is posted */
    ASIDE_EMPTIED,   /* its watermark may have gone back, and is asked for next */
    ASIDE_REPLAYING, /* its records are being posted again */
};

struct ledger_account {
    struct names_issuer *issuer; /* borrows */
    char tag[LEDGER_TAG_MAX];
    const char *account;       /* within name.text */
    _Atomic uint64_t sequence; /* of its last record in the journal; set by the writer */
    /* The next account with records, and the one before; under names->lock, but for reading forwards. */
    _Atomic(struct ledger_account *) recorded_next;
    struct ledger_account *recorded_previous;
    /* The highest number of its operations in the journal, or given to this node. */
    _Atomic uint64_t operations;
    bool placed; /* counted among its issuer's accounts; under names->lock */
    /*
     * Whether its records up to here were counted: `sequence`, `operations`, `bytes` and `handed` mean
     * nothing until then. An account of a table with a checkpoint beneath is asleep until names_wake.
     */
    _Atomic bool is_awake;
    /* Somebody waits for that; the setter of `wakes` puts it on the stack ledger->waking. */
    _Atomic bool wakes;
    bool was_swept; /* of the poster: a sweep has woken it, and it may leave at once */
    /* The segment of the last record, and the sequence and the bytes before that segment; under
     * names->lock. */
    uint32_t tail_segment;
    uint64_t tail_before, tail_bytes_before;
    struct ledger_account *wakes_next;
    _Atomic uint64_t bytes; /* of its records in the journal; set with `sequence` */
    /* Of the poster: the sequence that Redis last confirmed, which others may read, and the highest
     * that it may have been sent. */
    _Atomic uint64_t watermark;
    uint64_t sent;
    uint64_t resync; /* of the poster: the last resync that asked for the watermark */
    /* Of the poster (poster_quiet.c): since when it has been quiet, and its sequence by then. */
    uint64_t quiet_ms, quiet_sequence;
    /* Of the poster (pending.h): posts that wait, the last of which takes more records unless it is
     * `run` no longer; when they are due; where the first of their records stands. */
    struct post *posts, *posts_last, *run;
    struct ledger_account *wait_next, *wait_previous;
    bool waits, is_near;
    uint64_t due_ms, wait_record, due_to; /* due_to: records up to this sequence are due at once */
    uint64_t wait_time_ms;                /* since 1970: of that record */
    uint32_t wait_segment;
    /* Why nothing of it is granted (aside.h), and the sequence up to which it is being posted again.
     * `was_aside`, of the poster, stays until it is posted. */
    _Atomic(enum account_aside) aside;
    uint64_t replay_to;
    bool was_aside;
    /* Somebody waits for its posts; the setter of `asked` puts it on the stack ledger->asked. */
    _Atomic bool asked;
    struct ledger_account *asked_next;
    /* The highest revision heard; see push_take_revision. */
    _Atomic uint64_t heard;
    _Atomic uint64_t messages; /* revocations heard of the account, whatever their revision */
    _Atomic uint64_t recalls;  /* see ledger_recalls */
    _Atomic uint64_t recalled_until_ms; /* see ledger_is_recalled */
    /* See ledger_account_handed; the scan begins it. */
    atomic_ullong handed;
    struct ledger_name name;
};

struct ledger_file {
    struct ledger_name name;
};

struct ledger_key {
    struct ledger_name name;
};

/* The table. A thread holds the lock for one bucket or for the few issuers, never for all names:
 * workers look accounts and files up under it. */
struct names {
    pthread_mutex_t lock;
    struct ledger_name **buckets; /* owns */
    size_t buckets_count;
    /* Random for each table, so that nobody can choose names that share a bucket. */
    unsigned char secret[XXH3_SECRET_SIZE_MIN];
    /*
     * The list of accounts with records. One leaves it by the poster alone, which so reads it without a lock;
     * whoever else reads it has `walk` meanwhile.
     */
    _Atomic(struct ledger_account *) recorded_first;
    struct ledger_account *recorded_last;               /* under `lock` */
    pthread_mutex_t walk;                               /* `lock` nests in it */
    _Atomic uint64_t left;                              /* how many have left */
    struct names_issuer *issuers[NAMES_ISSUER_BUCKETS]; /* own */
    uint32_t accounts_max, others_max; /* others_max: of an issuer without a bound of its own */
    uint32_t accounts;                 /* that have a place */
    uint32_t counted; /* those within their issuers' bounds; accounts_max bounds them */
    bool warned;
    /*
     * The last segment of the checkpoint beneath, which has the accounts that are not here: none of them
     * has a record behind that segment. 0: there is none, and all accounts with records are here. Under
     * `lock`; moved by the poster.
     */
    uint32_t base;
};

/* 0, -ENOMEM, or -EIO (no random numbers). `accounts_max` bounds new accounts alone. */
int names_init(struct names *names, uint32_t accounts_max, uint32_t files_hint);
void names_free(struct names *names);
/*
 * Sets how many accounts an issuer may have. From the first call on, an issuer that was not named
 * may have none; until then each may have accounts_max. 0 or -ENOMEM. Call it before other threads
 * have the table.
 */
int names_bound_issuer(struct names *names, const char *issuer, uint32_t accounts_max);

/* Finds or makes the name; `text` is as the journal has it. Takes a reference. 0, -ENOMEM, -EINVAL
 * (not a name). */
int names_get(struct names *names, enum journal_kind kind, const char *text, size_t length,
              struct ledger_name **out);
/* Finds an account by its name, as the journal has it; NULL where the table has none. Takes a reference. */
struct ledger_account *names_find(struct names *names, const char *text, size_t length);
/* Finds an account by its tag; NULL where the table has none. Takes a reference. */
struct ledger_account *names_find_tag(struct names *names, const char *tag, size_t length);
void names_hold(struct ledger_name *name);
/* Of the poster: the same for an account of the list, to which nobody may have a reference. */
static inline void names_hold_recorded(struct ledger_account *account)
{
    atomic_fetch_add_explicit(&account->name.references, 1, memory_order_relaxed);
}
/* Gives a reference back. The last one frees the name, unless it is an account that has records. */
void names_drop(struct ledger_name *name);
/* The account behind a name, which must be one of kind JOURNAL_ACCOUNT (asserted). */
struct ledger_account *names_account(struct ledger_name *name);
/*
 * Notes that the account's record of this sequence, which bills so many bytes, stands in this segment.
 * The first record gives the account a place, beyond the bounds if need be. One thread at a time calls
 * it: the scan, then the writer.
 */
void names_note(struct ledger_account *account, uint32_t segment, uint64_t sequence,
                uint64_t bytes);
/* What a checkpoint has of an account's records up to its end. */
struct names_records {
    uint64_t sequence, bytes, operation_number, tail_before;
    uint32_t tail_segment;
};
/*
 * Wakes an account, once the checkpoint beneath was looked at: notes what it has of the account's records, NULL
 * where it has none. `is_posted`: Redis has all of them, as far as anybody knows. False, and nothing
 * is changed: it is awake. Any thread.
 */
bool names_wake(struct ledger_account *account, const struct names_records *records,
                bool is_posted);
static inline bool names_is_awake(const struct ledger_account *account)
{
    return atomic_load_explicit(&account->is_awake, memory_order_acquire);
}
/* Has an account of the checkpoint beneath count among its issuer's, asleep. 0, -EINVAL (not an account's
 * name) or -ENOMEM. */
int names_place(struct names *names, const char *text, size_t length);
/* Undoes all calls of names_place; no account may have come since. */
void names_displace(struct names *names);
/* What the account's records up to the end of this segment come to, which the writer has left: their
 * last sequence and their bytes. False where the account has records in a segment behind the next one,
 * too, so that nobody knows any more. Any thread. */
bool names_noted(struct ledger_account *account, uint32_t segment, uint64_t *sequence,
                 uint64_t *bytes);

/*
 * Takes an account out of the table that has records, all of which are in Redis and in the segments up to
 * `covered`, and to which nobody has a reference; and frees it. It counts on among its issuer's, and comes
 * back asleep. False: it is not so, or somebody walks the accounts. The poster alone calls it.
 */
bool names_leave(struct ledger_account *account, uint32_t covered);

/* Walks the accounts that have records, without a copy: accounts that are added meanwhile come at the end. NULL:
 * no more. Other threads than the poster have names->walk meanwhile. */
struct ledger_account *names_recorded(struct names *names);
struct ledger_account *names_recorded_next(struct ledger_account *account);

/* ---- places: how many accounts there may be ---- */

/*
 * An account has a place from its first record on; an account that was only looked up, as any link
 * can cause, has none. The first opening of an account, or a revocation of one that was never
 * opened, takes a place before it is journalled. Accounts from the journal or opened by another
 * node are taken in beyond the bounds, and beyond its issuer's bound such an account takes none of
 * the node's places: so an issuer that has more than its share leaves the others theirs.
 */

/* Takes a place. 0 (also where the account has one), -EUSERS (accounts_max is reached), -EDQUOT
 * (the issuer's bound is reached). */
int names_take_place(struct ledger_account *account);
/* Gives the place back where nothing of the account was journalled. */
void names_give_place_back(struct ledger_account *account);

/* A bound of which nine tenths are reached. */
struct names_warning {
    char issuer[LEDGER_ISSUER_MAX + 1]; /* "": the node's bound */
    uint32_t accounts, accounts_max;
};
/* The next warning that was not told yet; false: none. Places are never given up, so each bound is
 * told of once. */
bool names_warning(struct names *names, struct names_warning *out);

/* Writes the tag of an account whose name need not be a C string. 0, or -EINVAL: no account has it. */
int names_tag_write(const char *issuer, const char *account, size_t account_length,
                    char out[LEDGER_TAG_MAX]);
/* Whether an id has 1 to LEDGER_ISSUER_MAX bytes of a-z, 0-9 and -. */
bool names_issuer_valid(const char *issuer);

#endif
