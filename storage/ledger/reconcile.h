/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Comparing what the journals of some state directories hold of each account with what Redis holds, and
 * with what access logs say, to the byte; as `tollgate ledger reconcile` does. It changes nothing
 * anywhere. Nodes may run meanwhile.
 *
 *   ledger_reconcile_add          each state directory
 *   ledger_reconcile_redis        before the journals: what Redis has, they have already
 *   ledger_reconcile_logged       each line of the logs, with `before`: what they have already
 *   ledger_reconcile_journals
 *   ledger_reconcile_logged       each line that came meanwhile
 *   ledger_reconcile_each         the figures
 */
#ifndef TOLLGATE_LEDGER_RECONCILE_H
#define TOLLGATE_LEDGER_RECONCILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/ledger/ledger.h"

struct ledger_reconcile;

int ledger_reconcile_create(struct ledger_reconcile **out); /* 0 or -ENOMEM */
void ledger_reconcile_destroy(struct ledger_reconcile **reconcile);

/*
 * Adds the lanes of a state directory. Returns how many it has, 0 for a directory without journals; or
 * -EEXIST (a directory with the same lane was added: one of the two is a copy), -EALREADY (the journals
 * or Redis were read), -E2BIG (more than LEDGER_RECONCILE_LANES_MAX), or another negative errno; then
 * one sentence stands in `error`.
 */
#define LEDGER_RECONCILE_LANES_MAX 1000u
int ledger_reconcile_add(struct ledger_reconcile *reconcile, const char *state_dir, char *error,
                         size_t error_size);
/* Names the directory in which the segments are that have left these journals; borrowed. NULL: none. Where it lacks
 * the first ones, a lane begins at its newest checkpoint, by which each figure is the same to the byte; but the
 * responses that have left are described nowhere. */
void ledger_reconcile_archive(struct ledger_reconcile *reconcile, const char *archive);

/* Called now and then while something is read. */
typedef void ledger_reconcile_progress(void *context, const char *what, uint64_t done,
                                       uint64_t all);

/*
 * Reads the bills of all accounts from Redis; of `options` it reads what ledger_redis_probe does.
 * Blocks. 0; -EINVAL, -EAGAIN or -EPROTO with a sentence: the address, the cause and the cure; -ENOMEM.
 */
int ledger_reconcile_redis(struct ledger_reconcile *reconcile, const struct ledger_options *options,
                           ledger_reconcile_progress *progress, void *context, char *error,
                           size_t error_size);
/* Reads and verifies the journals. 0; -EBADMSG: one is damaged; or another negative errno; with a
 * sentence. */
int ledger_reconcile_journals(struct ledger_reconcile *reconcile,
                              ledger_reconcile_progress *progress, void *context, char *error,
                              size_t error_size);
/* Whether a process writes one of the journals. */
bool ledger_reconcile_is_written(const struct ledger_reconcile *reconcile);

/* A line of an access log: what was acknowledged of a response. `account` need not be a C string. 0,
 * -EINVAL (no account has such a name), -ENOMEM. */
int ledger_reconcile_logged(struct ledger_reconcile *reconcile, const char *issuer,
                            const char *account, size_t account_length, uint64_t acknowledged,
                            bool before);
/* Whether the account is known by its name: from Redis, a journal or a log. */
bool ledger_reconcile_knows(struct ledger_reconcile *reconcile, const char *issuer,
                            const char *account, size_t account_length);
/* Whether each account has as many bytes in the logs as the journals demand. */
bool ledger_reconcile_logs_suffice(const struct ledger_reconcile *reconcile);

/* The figures of an account, or of all. All bytes are body bytes that clients acknowledged. */
struct ledger_figures {
    uint64_t posted, unposted;  /* in the journals, up to Redis' watermarks and beyond */
    uint64_t unposted_records;  /* with orders */
    uint64_t unposted_since_ms; /* of the first of these records, since 1970; 0: none */
    uint64_t responses;         /* that ended */

    int64_t used;    /* in Redis: the account's figure, */
    int64_t months;  /* the sum of its months, */
    int64_t given;   /* and what it has from these journals, */
    int64_t foreign; /* and from journals that were not added */

    uint64_t logged_least; /* the responses that ended, as far as the journals describe them */
    uint64_t logged_most;  /* and what those may have had that they do not describe */
    uint64_t logged;       /* what the logs say */
};

/* Where Redis or a log differs from the journals. The sign is that of "more than the journals". */
struct ledger_differences {
    int64_t used, months, given;
    uint64_t lacking; /* records that Redis has taken, and these journals do not hold */
    uint64_t
        left; /* records that Redis lacks, beside earlier ones that it has, and that have left these
                         journals: nobody posts them, and how many bytes they hold is known of all that left alone */
    int64_t logged;
    const char *damage; /* what of it in Redis is damaged; "": nothing */
};

struct ledger_reconciled {
    const char *account; /* "issuer/account", percent-encoded */
    bool agrees;
    struct ledger_figures figures;
    struct ledger_differences differences;
};

/* Calls `each` with each account, in the order of their tags; `with_logs`: logs were given, so that they
 * are compared, too. 0 or -ENOMEM. */
int ledger_reconcile_each(struct ledger_reconcile *reconcile, bool with_logs,
                          void (*each)(void *context, const struct ledger_reconciled *account),
                          void *context);

/* An instance of which Redis has records, and whose journal was not added. */
struct ledger_foreign {
    char instance[33];
    char node[LEDGER_NODE_MAX + 1]; /* "": Redis does not know it any more */
    uint64_t accounts;
    int64_t bytes;
};
/* Of index 0, 1, ...; NULL: no more. At most LEDGER_FOREIGN_MAX; beyond that they are not listed. */
#define LEDGER_FOREIGN_MAX 1000u
const struct ledger_foreign *ledger_reconcile_foreign(const struct ledger_reconcile *reconcile,
                                                      size_t index);

#endif
