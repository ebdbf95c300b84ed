/*
 * Accounts and files, interned: one object per name, found by a hash table, reference counted. Used
 * by the public look-ups, the journal's reader and its writer. It never writes the journal.
 */
#ifndef TOLLGATE_LEDGER_NAMES_H
#define TOLLGATE_LEDGER_NAMES_H

#include "journal_format.h"

#include <pthread.h>
#include <stdatomic.h>

/* What accounts and files share; the first member of both. */
struct ledger_name {
    struct ledger_name *next; /* in its bucket */
    struct names *names;      /* borrows */
    _Atomic uint32_t references;
    enum journal_kind kind;
    uint32_t length;
    /* Of the writer: the segment where it last stands, and its id there. */
    uint32_t segment, id;
    char text[]; /* "issuer/account" or the path, NUL-terminated */
};

struct post;

struct ledger_account {
    char issuer[LEDGER_ISSUER_MAX + 1];
    char tag[LEDGER_TAG_MAX];
    const char *account;       /* within name.text */
    _Atomic uint64_t sequence; /* last in the journal; counted by the writer */
    /* The segment of the last record, and the sequence before that segment; under names->lock. */
    uint32_t tail_segment;
    uint64_t tail_before;
    /* Of the poster: what Redis last said, and the highest that it may have been sent. */
    uint64_t watermark, sent;
    struct post *run;
    /* The highest revision that was heard of; of the push thread, read by workers. */
    _Atomic uint64_t heard;
    struct ledger_name name;
};

struct ledger_file {
    struct ledger_name name;
};

struct names {
    pthread_mutex_t lock;
    struct ledger_name **buckets; /* owns */
    size_t buckets_count;
    uint32_t accounts, accounts_max;
};

int names_init(struct names *names, uint32_t accounts_max, uint32_t files_hint);
void names_free(struct names *names);

/* `text` as it stands in the journal. -ENOSPC, -ENOMEM, -EINVAL (not a name). Takes a reference. */
int names_get(struct names *names, enum journal_kind kind, const char *text, size_t length,
              struct ledger_name **out);
/* The same of an account that is known by its tag; NULL where none is. Takes a reference. */
struct ledger_account *names_find_tag(struct names *names, const char *tag, size_t length);
void names_hold(struct ledger_name *name);
/* Frees it with the last reference, but for an account that has records. */
void names_drop(struct ledger_name *name);
struct ledger_account *names_account(struct ledger_name *name);
/* Notes that the account's record of this sequence stands in this segment. */
void names_note(struct ledger_account *account, uint32_t segment, uint64_t sequence);
/* All accounts that have records, as a new array (the caller's to free); *count of them. */
struct ledger_account **names_with_records(struct names *names, size_t *count);

bool names_issuer_valid(const char *issuer);

#endif
