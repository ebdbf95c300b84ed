/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Journal records gathered into posts; a post is what one function call brings to Redis. Used by
 * the poster. It sends a post, but decides neither when nor what a refusal means.
 */
#ifndef TOLLGATE_LEDGER_POST_H
#define TOLLGATE_LEDGER_POST_H

#include "storage/ledger/ledger_internal.h"
#include "storage/ledger/redis_talk.h"

#define POST_FILES_MAX 256

struct post_file {
    struct ledger_file *file; /* a reference */
    uint64_t bytes, responses;
    /* The use of a link with terms; opened_ms 0: none. */
    uint8_t link_id[LEDGER_LINK_ID_BYTES];
    uint64_t opened_ms;
    uint32_t till_s, keep_s;
    bool taken;
};

/* Sequences from..to of one account: usage of one day, or one money record. */
struct post {
    struct post *next; /* of its account, while it waits */
    struct ledger_account *account;
    uint64_t from, to;
    uint32_t day;                 /* yyyymmdd, UTC */
    struct journal_record *money; /* owns; NULL: usage */
    struct post_file *files;      /* owns */
    size_t files_count, files_room;
};

struct post_batch {
    struct post **posts; /* owns, in the order to be sent */
    size_t count, room;
};

/*
 * Adds a record that Redis does not have yet to its account's last post, or to a new one behind it.
 * `added` becomes 1 where it takes memory: an operation, or another file. 0 or -ENOMEM.
 */
int post_add(const struct journal_entry *entry, size_t *added);
/* Moves the account's posts to the end of the batch, and takes what they had added from `count`.
 * 0, or -ENOMEM with the posts where they were. */
int post_batch_take(struct post_batch *batch, struct ledger_account *account, size_t *count);
/* How much post_add has added to them. */
size_t post_count(const struct ledger_account *account);
/* Drops the account's posts. */
void post_drop(struct ledger_account *account);
void post_batch_clear(struct post_batch *batch);
/* Sends the post; `done` gets its reply. 0, or a negative errno with `done` not called. */
int post_send(const struct post *post, const struct ledger *ledger,
              const struct ledger_redis *redis, ledger_redis_done *done, void *context);

/* "open", "top_up", ...: as the function library and the transactions hash name them. */
const char *post_operation_name(enum ledger_operation operation);
/* "prepaid", "postpaid", or "-" where the operation has no plan. */
const char *post_plan_name(enum ledger_operation operation, enum ledger_plan plan);

#endif
