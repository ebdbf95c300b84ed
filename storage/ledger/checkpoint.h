/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a checkpoint holds of one account, and how it stands on disk. A checkpoint says what all
 * records of a journal up to the end of one segment come to, so that neither a start nor an emptied
 * Redis needs those records any more. checkpoint_make.c makes one from the checkpoint before and the
 * segments behind it; checkpoint_file.c writes and reads the file. Nothing here opens a file or knows
 * a thread.
 *
 * Of each account: how far its records go, what they add up to, and
 *
 *   operations  each that may still count or be asked for: all that move money or have a transaction's
 *               id, as one transaction may be in two journals and counts once; of others to suspend and
 *               activate, and of limits, the one with the highest rank; of revocations of a link one
 *               until the link's state ends; of revocations by age the latest
 *   usage       by day and file for 70 days, by month and file for 13 months, by month for ever
 *   uses        of links with terms, until the link's state ends
 *
 * Time is that of the newest record, never a clock: the same journal always makes the same file.
 */
#ifndef TOLLGATE_LEDGER_CHECKPOINT_H
#define TOLLGATE_LEDGER_CHECKPOINT_H

#include "storage/ledger/reader.h"

#define CHECKPOINT_DAYS         70      /* of usage by day and file */
#define CHECKPOINT_MONTHS       13      /* of usage by month and file */
#define CHECKPOINT_LINK_KEPT_MS 3600000 /* behind a link's end, as in functions/uses.lua */

/* An operation as its MONEY record has it; the link of a revocation stands in hex in `transaction`. */
struct checkpoint_operation {
    enum ledger_operation operation;
    enum ledger_plan plan;
    int64_t amount;
    uint64_t time_ms, number, max_bytes;
    uint32_t max_conns;
    char transaction[LEDGER_TRANSACTION_MAX + 1];
    char node[LEDGER_NODE_MAX + 1]; /* "" in a record of an older format */
};

/* Usage of a day (yyyymmdd) and file; of a month (yyyymm00) and file; of a month alone (file NULL). */
struct checkpoint_usage {
    uint32_t day;
    struct ledger_file *file; /* a reference */
    uint64_t bytes, responses;
};

/* One use of a link with terms, as far as this journal has it. */
struct checkpoint_use {
    uint8_t link_id[LEDGER_LINK_ID_BYTES];
    struct ledger_file *file; /* a reference */
    uint64_t opened_ms, bytes;
    uint32_t till_s, keep_s;
    bool taken;
};

struct checkpoint_account {
    struct ledger_name *name;  /* a reference */
    uint64_t first, sequence;  /* of its first and its last record; `first` is not stored */
    uint64_t bytes, responses; /* in all */
    uint64_t operation_number; /* the highest */
    uint64_t controls;         /* operations in all that move no money: Redis counts them, too */
    uint32_t tail_segment;     /* of its last record */
    uint64_t tail_before;      /* its sequence before that segment */
    struct checkpoint_operation *operations; /* own, as the two below */
    struct checkpoint_usage *usages;
    struct checkpoint_use *uses;
    uint32_t operations_count, operations_room, usages_count, usages_room, uses_count, uses_room;
};

/* Frees what the account owns and drops its names. */
void checkpoint_account_clear(struct checkpoint_account *account);
/* Adds a USAGE or MONEY record of the account that stands in this segment. 0, -ENOMEM, or -EBADMSG:
 * its sequence does not follow. */
int checkpoint_account_add(struct checkpoint_account *account, const struct journal_entry *entry,
                           uint32_t segment);
/* Adds what `later` holds, whose records follow those of `account`, and clears it. 0 or -ENOMEM. */
int checkpoint_account_join(struct checkpoint_account *account, struct checkpoint_account *later);
/*
 * Sorts, adds up what is alike, and drops or sums up what has ended by `time_ms`: each account that is
 * written was settled. What is said of it is the same whether it was settled in between or not, as
 * long as time has not gone back.
 */
void checkpoint_account_settle(struct checkpoint_account *account, uint64_t time_ms);

/* Bytes of text that grow. Zero-initialised: empty. */
struct checkpoint_bytes {
    uint8_t *data; /* owns */
    size_t length, room;
};

/* Appends the account. 0 or -ENOMEM. */
int checkpoint_account_encode(const struct checkpoint_account *account,
                              struct checkpoint_bytes *out);
/* The length of an account of which the first CHECKPOINT_PREFIX bytes are given; 0: they are none. */
#define CHECKPOINT_PREFIX            8
#define CHECKPOINT_ACCOUNT_BYTES_MAX (UINT32_C(1) << 30)
uint32_t checkpoint_account_length(const uint8_t prefix[CHECKPOINT_PREFIX]);
/* Reads an account of that length into `out`, which was zero, with its names from `names`. 0,
 * -EBADMSG or -ENOMEM, and then `out` is clear. */
int checkpoint_account_decode(const uint8_t *bytes, uint32_t length, struct names *names,
                              struct checkpoint_account *out);
/* What an encoded account, which checkpoint_account_text knows, has of its records. */
void checkpoint_account_records(const uint8_t *bytes, struct names_records *out);
/* The text of an encoded account's name, not terminated; NULL: it is none. */
const char *checkpoint_account_text(const uint8_t *bytes, uint32_t length, size_t *text_length);
/* By which accounts are ordered in the file; those that are alike, by their text. */
uint64_t checkpoint_hash(const char *text, size_t length);

/* The order of files by their text, as that of strcmp; no file (NULL) comes first. */
int checkpoint_order_files(const struct ledger_file *one, const struct ledger_file *other);

#endif
