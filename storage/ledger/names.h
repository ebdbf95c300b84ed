/*
 * Accounts and files, interned: one object per name, found by a hash table, reference counted; and
 * the count of accounts, for each issuer and of the node. Used by the public look-ups, the journal's
 * reader and its writer, the poster. It never writes the journal.
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
    /* Of the writer: the segment where it last stands, and its id there. */
    uint32_t segment, id;
    char *text; /* behind the account or file: "issuer/account" or the path, NUL-terminated */
};

#define NAMES_ISSUER_BUCKETS 256

struct post;

/*
 * An issuer whose accounts are known; under names->lock but for its id. It is never freed before
 * the table: there are few, each from the configuration or the journal.
 */
struct names_issuer {
    struct names_issuer *next; /* in its bucket */
    uint32_t accounts;         /* that have a place */
    uint32_t accounts_max;     /* 0: not configured */
    bool warned;
    char id[LEDGER_ISSUER_MAX + 1];
};

struct ledger_account {
    struct names_issuer *issuer; /* borrows */
    char tag[LEDGER_TAG_MAX];
    const char *account;       /* within name.text */
    _Atomic uint64_t sequence; /* last in the journal; counted by the writer */
    /* The next that has records, in the order of their first; set once, by the writer. */
    _Atomic(struct ledger_account *) recorded_next;
    bool placed; /* counted among its issuer's accounts; under names->lock */
    /* The segment of the last record, and the sequence before that segment; under names->lock. */
    uint32_t tail_segment;
    uint64_t tail_before;
    /* Of the poster: what Redis last said, and the highest that it may have been sent. */
    uint64_t watermark, sent;
    struct post *run;
    /* The highest revision that was heard of; of the push thread, read by workers. */
    _Atomic uint64_t heard;
    _Atomic uint64_t messages; /* of these, whatever revision they told */
    struct ledger_name name;
};

struct ledger_file {
    struct ledger_name name;
};

/*
 * Whoever takes the lock holds it for one bucket, or for the few issuers: never for all names.
 * Workers look accounts and files up under it.
 */
struct names {
    pthread_mutex_t lock;
    struct ledger_name **buckets; /* owns */
    size_t buckets_count;
    /* Random, of this table: who chooses names cannot choose that they share a bucket. */
    unsigned char secret[XXH3_SECRET_SIZE_MIN];
    /* Accounts with records, which are never freed before the table: read without the lock. */
    _Atomic(struct ledger_account *) recorded_first;
    struct ledger_account *recorded_last;               /* of the writer */
    struct names_issuer *issuers[NAMES_ISSUER_BUCKETS]; /* own */
    uint32_t accounts_max, others_max; /* others: issuers that names_bound_issuer was not told of */
    uint32_t accounts;                 /* that have a place */
    uint32_t
        counted; /* of them, those within their issuers' bounds: they alone fill accounts_max */
    bool warned;
};

/* 0, -ENOMEM, or -EIO (no random numbers). `accounts_max` bounds new accounts alone. */
int names_init(struct names *names, uint32_t accounts_max, uint32_t files_hint);
void names_free(struct names *names);
/*
 * What an issuer may have; from the first call on, an issuer that was not named may have none. Until
 * then each may have accounts_max. 0 or -ENOMEM. Called before the table is shared.
 */
int names_bound_issuer(struct names *names, const char *issuer, uint32_t accounts_max);

/* `text` as it stands in the journal. -ENOMEM, -EINVAL (not a name). Takes a reference. */
int names_get(struct names *names, enum journal_kind kind, const char *text, size_t length,
              struct ledger_name **out);
/* The same of an account that is known by its tag; NULL where none is. Takes a reference. */
struct ledger_account *names_find_tag(struct names *names, const char *tag, size_t length);
void names_hold(struct ledger_name *name);
/* Frees it with the last reference, but for an account that has records. */
void names_drop(struct ledger_name *name);
struct ledger_account *names_account(struct ledger_name *name);
/*
 * Notes that the account's record of this sequence stands in this segment. With its first record it
 * has a place, beyond the bounds where need be. Called by one thread at a time: the scan, then the
 * writer.
 */
void names_note(struct ledger_account *account, uint32_t segment, uint64_t sequence);

/*
 * The accounts that have records, one after the other, without a lock and without a copy: those that
 * come meanwhile are met at the end. NULL: no more.
 */
struct ledger_account *names_recorded(struct names *names);
struct ledger_account *names_recorded_next(struct ledger_account *account);

/* ---- places: how many accounts there may be ---- */

/*
 * An account has a place from its first record on; one that was only looked up, as any link can have
 * it looked up, has none. What brings an account into the world (its opening, or a revocation of one
 * that was never opened) claims a place before it is journalled. What the journal holds or another
 * node opened is taken in beyond the bounds, and beyond its issuer's bound it takes no place of the
 * node's: so an issuer that has more than its share leaves the others theirs.
 */

/* 0 (also where it has a place), -EUSERS (accounts_max is reached), -EDQUOT (its issuer's bound is). */
int names_claim(struct ledger_account *account);
/* Gives the place back where nothing was journalled of the account. */
void names_unclaim(struct ledger_account *account);

/* Nine tenths of a bound are reached. */
struct names_warning {
    char issuer[LEDGER_ISSUER_MAX + 1]; /* "": the node's bound */
    uint32_t accounts, accounts_max;
};
/* The next that was not told yet. Accounts do not go: each bound is told of once. */
bool names_warning(struct names *names, struct names_warning *out);

bool names_issuer_valid(const char *issuer);

#endif
