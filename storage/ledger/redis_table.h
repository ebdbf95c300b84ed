/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers on which a node and the functions in Redis must agree, and the order of keys and
 * arguments in each call. ledger.h makes its enums of them, and the build makes the constants of
 * functions/ (constants.lua.in): so this file holds macros only. What a number means is stored and
 * sent: add one at the end, and never give it to something else.
 */
#ifndef TOLLGATE_STORAGE_LEDGER_REDIS_TABLE_H
#define TOLLGATE_STORAGE_LEDGER_REDIS_TABLE_H

/* How much higher the versions of functions, journal and checkpoints are in a build that tests an
 * upgrade: the CMake option of this name. Nothing else differs there. */
#ifndef TOLLGATE_VERSION_STEP
#define TOLLGATE_VERSION_STEP 0
#endif

/*
 * Moves where a library of the older version would answer otherwise.
 *
 * A library takes the calls of its own version and of the one before, and answers them as that one
 * would: so nodes are upgraded one after another. Arguments are therefore added at the end of their
 * list, and may be missing; what an array answers is added at its end, where a node of the version
 * before does not look. tests/versions holds the functions to it, by calls that the version before
 * has made.
 */
#define LEDGER_FUNCTIONS_FORMAT (20 + TOLLGATE_VERSION_STEP)

/* The oldest version whose data this one can use: from version 21 on, not above the version before.
 * Moves where a stored value is read otherwise than before. */
#define LEDGER_DATA_FORMAT      20

/* 2^53 - 1: what a Lua number holds exactly. */
#define LEDGER_NUMBER_MAX       9007199254740991

/* What an admission answers. */
#define LEDGER_ADMISSIONS(X)                                                                       \
    X(GRANTED, 0)                                                                                  \
    X(UNKNOWN, 1)                                                                                  \
    X(SUSPENDED, 2)                                                                                \
    X(REVOKED, 4)    /* the link itself, or by its age all such links of the account */            \
    X(USED_UP, 5)    /* max_uses */                                                                \
    X(NOT_BEGUN, 7)  /* RESUMING, and no use is open */                                            \
    X(OUTDATED, 9)   /* a later question of this instance, or a later process, was there before */ \
    X(SET_ASIDE, 10) /* never sent: its data in Redis is not as it should be */                    \
    X(FILLING, 11)   /* parts of what a journal has of the account are missing there */

/* What an order is answered: whether it may be journalled. */
#define LEDGER_VERDICTS(X)                                                                         \
    X(TAKEN, 0)        /* it may, with the number that was given to it */                          \
    X(KNOWN, 1)        /* its transaction counts already */                                        \
    X(CONTRADICTED, 2) /* its transaction's id was used with another content */                    \
    X(OPEN, 3)         /* the account is open already */                                           \
    X(NOT_OPEN, 4)     /* the account is not open */                                               \
    X(TOO_LITTLE, 5)   /* the balance would fall below zero */                                     \
    X(TOO_LARGE, 6)    /* the balance would pass 2^53 - 1 */                                       \
    X(BUSY, 7)         /* another order is about to open the account, or too many are under way */ \
    X(FILLING, 8)      /* parts of what a journal has of the account are missing */

/* How far a response is for which a grant is asked. */
#define LEDGER_STAGES(X)                                                                           \
    X(BEGINNING, 0) /* a new response: Redis opens a use where none is open */                     \
    X(RESUMING, 1)  /* a new response after exp: only in a use that is open */                     \
    X(UNDER_WAY, 2) /* more for a response that has begun: it is never cut for its use */

/* What bounds a fund. */
#define LEDGER_BOUNDS(X)                                                                           \
    X(NOTHING, 0)                                                                                  \
    X(BALANCE, 1)       /* of a prepaid account */                                                 \
    X(ACCOUNT_BYTES, 2) /* max_bytes of the account */                                             \
    X(LINK_BYTES, 3)    /* max_bytes of the link */

/* A recall of what nodes hold of an account is published once in so many milliseconds. */
#define LEDGER_RECALL_MS             300

/*
 * What ends in Redis: usage by day and file so many days after its day, by month and file so many
 * months after its month.
 */
#define LEDGER_DAYS_KEPT             70
#define LEDGER_MONTHS_KEPT           13

/*
 * Transactions are kept for at least so many days after they were posted, in a ring of hashes: of each
 * period of so many days one, which ends as a whole. So the ring has a hash more than periods are
 * kept, and none is written for a period before it has ended for the one before.
 */
#define LEDGER_TRANSACTION_DAYS_KEPT 410
#define LEDGER_TRANSACTION_PERIOD    103 /* days */
#define LEDGER_TRANSACTION_KEYS(X)                                                                 \
    X(transactions_0)                                                                              \
    X(transactions_1)                                                                              \
    X(transactions_2)                                                                              \
    X(transactions_3)                                                                              \
    X(transactions_4)

/*
 * The keys and arguments of each function, in order. The callers in C expand a list over variables
 * of these names, so that none can be left out; Lua has a table of the positions for each list.
 * Another order, or another list, is another LEDGER_FUNCTIONS_FORMAT.
 *
 * X(name) for keys; X(name, type) for arguments, whose type is text, bytes (with NAME_length) or
 * number.
 */

/* tollgate_admit, tollgate_judge */
#define LEDGER_GRANT_KEYS(X)                                                                       \
    X(account)                                                                                     \
    X(grants)                                                                                      \
    X(link)                                                                                        \
    X(link_grants)
#define LEDGER_ADMIT_ARGUMENTS(X)                                                                  \
    X(instance, text)                                                                              \
    X(lease, number) /* in force at the process that asks */                                       \
    X(validity_ms, number)                                                                         \
    X(iat, number)                                                                                 \
    X(need, number)    /* bytes that the asker needs and no `least` has */                         \
    X(count, number)   /* numbers the question, with the lease; 0: no funds of the account */      \
    X(ceiling, number) /* cumulative, as are those below */                                        \
    X(least, number)                                                                               \
    X(want, number)  /* the ceiling that all who wait need */                                      \
    X(spare, number) /* bytes beyond, where there are plenty */
/* They follow where the link has terms. */
#define LEDGER_TERMS_ARGUMENTS(X)                                                                  \
    X(path, bytes)                                                                                 \
    X(size, number)                                                                                \
    X(max_uses, number)                                                                            \
    X(max_bytes, number)                                                                           \
    X(till_ms, number) /* exp and resume */                                                        \
    X(use_period_ms, number)                                                                       \
    X(stage, number)                                                                               \
    X(keep_ms, number)     /* until when the link's state is kept */                               \
    X(link_count, number)  /* 0: no funds of the link */                                           \
    X(link_is_new, number) /* 1: the figures count from what the instance has posted */            \
    X(link_ceiling, number)                                                                        \
    X(link_least, number)                                                                          \
    X(link_want, number)                                                                           \
    X(link_spare, number)

/* tollgate_tell: of one fund, the account's or a link's */
#define LEDGER_TELL_KEYS(X) X(pool)
#define LEDGER_TELL_ARGUMENTS(X)                                                                   \
    X(instance, text)                                                                              \
    X(lease, number)                                                                               \
    X(validity_ms, number)                                                                         \
    X(count, number)                                                                               \
    X(is_new, number)                                                                              \
    X(ceiling, number)                                                                             \
    X(least, number)

/* tollgate_reserved: of one fund */
#define LEDGER_RESERVED_KEYS(X) X(pool)

/* tollgate_post; the keys of its kind follow these, and then those of the links that the arguments
 * name. */
#define LEDGER_POST_KEYS(X)                                                                        \
    X(account)                                                                                     \
    X(grants)
#define LEDGER_POST_USAGE_KEYS(X)                                                                  \
    X(day) /* usage by file */                                                                     \
    X(month)
#define LEDGER_POST_ARGUMENTS(X)                                                                   \
    X(instance, text)                                                                              \
    X(lease, text) /* in force at the process that posts */                                        \
    X(from, text)                                                                                  \
    X(to, text)                                                                                    \
    X(kind, text) /* usage or money */
/* It follows in a post of usage. */
#define LEDGER_POST_USAGE_ARGUMENTS(X) X(date, text) /* yyyymmdd */
/* They follow it, once for each file and use. */
#define LEDGER_FILE_ARGUMENTS(X)                                                                   \
    X(file, bytes)                                                                                 \
    X(bytes, text)                                                                                 \
    X(responses, text)                                                                             \
    X(terms, text) /* empty: none */
/* They follow in a post of money. */
#define LEDGER_MONEY_ARGUMENTS(X)                                                                  \
    X(operation, text)                                                                             \
    X(amount, text)                                                                                \
    X(plan, text)                                                                                  \
    X(time_ms, text)                                                                               \
    X(transaction, text) /* empty: none */                                                         \
    X(max_bytes, text)                                                                             \
    X(max_conns, text)                                                                             \
    X(number, text) /* 0: of a journal that has none */                                            \
    X(by, text)     /* the node that took it, by whose name ties go */

/* tollgate_fill: POST_KEYS and the ring's, a key for each date, and two for each link; and these, the
 * dates, and so many rows of each kind. */
#define LEDGER_FILL_ARGUMENTS(X)                                                                   \
    X(instance, text)                                                                              \
    X(lease, text)    /* in force at the process that posts */                                     \
    X(segment, text)  /* which checkpoint it is */                                                 \
    X(sequence, text) /* the last record that it covers */                                         \
    X(part, text)     /* from 1 */                                                                 \
    X(is_last, text)                                                                               \
    X(wait_ms, text)    /* how long nothing of the account is granted, from the first part on */   \
    X(controls, text)   /* operations among its records that move no money */                      \
    X(number, text)     /* the highest of all operations */                                        \
    X(dates, text)      /* how many follow: yyyymmdd and yyyymm */                                 \
    X(links, text)      /* how many there are among the keys */                                    \
    X(usages, text)     /* how many rows: of usage, */                                             \
    X(uses, text)       /* of uses of links, */                                                    \
    X(operations, text) /* and of operations */
/* Usage of a date and file; of a month alone, whose days and files have ended, without a file. */
#define LEDGER_ROW_ARGUMENTS(X)                                                                    \
    X(date, text) /* its place among the dates */                                                  \
    X(file, bytes)                                                                                 \
    X(bytes, text)                                                                                 \
    X(responses, text)
#define LEDGER_USE_ARGUMENTS(X)                                                                    \
    X(file, bytes)                                                                                 \
    X(bytes, text)                                                                                 \
    X(terms, text) /* as in a post of usage */
/* It follows what a post of money has. */
#define LEDGER_FILL_MONEY_ARGUMENTS(X) X(link, text) /* its place among the keys; 0: none */

/* tollgate_name */
#define LEDGER_NAME_KEYS(X)            X(name)
#define LEDGER_NAME_ARGUMENTS(X)       X(directory, text) X(instance, text)

/* tollgate_lease and tollgate_lease_release */
#define LEDGER_LEASE_KEYS(X)           X(key)
#define LEDGER_LEASE_ARGUMENTS(X)                                                                  \
    X(number, text)   /* that this process holds; 0: none yet */                                   \
    X(least, text)    /* a lease that is taken gets a number above it */                           \
    X(duration, text) /* ms */                                                                     \
    X(records, text)                                                                               \
    X(boot, text) /* who asks: the machine's boot, and its lock's device and inode */              \
    X(device, text)                                                                                \
    X(inode, text)                                                                                 \
    X(met, text)   /* the end of a lease that another has, as was seen last; 0: none */            \
    X(over, text)  /* the end of a lease that nobody renewed for as long as it lasts; 0: none */   \
    X(begun, text) /* when the asking process began, in ms of its boot */                          \
    X(unposted,                                                                                    \
      text)        /* records of its journal that Redis lacks; a node before version 19 tells   \
                         neither this nor the next one */  \
    X(aside, text) /* accounts that it has set aside */
#define LEDGER_LEASE_RELEASE_ARGUMENTS(X)                                                          \
    X(number, text)                                                                                \
    X(records, text)                                                                               \
    X(unposted, text)                                                                              \
    X(aside, text)

/* tollgate_birth */
#define LEDGER_BIRTH_KEYS(X) X(birth)
#define LEDGER_BIRTH_ARGUMENTS(X)                                                                  \
    X(proposed, text) /* the birth id of a Redis that has none */                                  \
    X(lists, text)    /* 1: the nodes that are known are answered, too */                          \
    X(instance, text) /* of the node that has its lease and says the rest; empty: says nothing */  \
    X(name, text)                                                                                  \
    X(directory, text)                                                                             \
    X(replayed, text) /* the birth id to which it has replayed; - : to none */                     \
    X(run, text)      /* likewise Redis' run id */                                                 \
    X(known, text)    /* the birth id that the node met last; - : none */                          \
    X(own, text)      /* the node's instance, also where it has no lease */                        \
    X(seen, text)     /* when it last said something here, by Redis' clock; 0: not yet */          \
    X(version, text)  /* of the functions that it calls; a node before version 20 does not tell */

/* So many nodes are known at most, and one without a lease is known for so long. */
#define LEDGER_NODES_MAX     1000
#define LEDGER_NODES_KEPT_MS 2592000000

/* tollgate_order */
#define LEDGER_ORDER_KEYS(X)                                                                       \
    X(account)                                                                                     \
    LEDGER_TRANSACTION_KEYS(X)
#define LEDGER_ORDER_ARGUMENTS(X)                                                                  \
    X(operation, text)                                                                             \
    X(amount, text)                                                                                \
    X(plan, text)                                                                                  \
    X(transaction, text)    /* empty: none */                                                      \
    X(least, text)          /* above all numbers in the node's own journal */                      \
    X(allow_negative, text) /* 1: the balance may fall below zero */                               \
    X(lasts, text)          /* ms, of what is kept until the post */

/* tollgate_transaction, of the ring */
#define LEDGER_TRANSACTION_ARGUMENTS(X) X(transaction, text)

/* tollgate_usage */
#define LEDGER_USAGE_KEYS(X)                                                                       \
    X(account)                                                                                     \
    X(entries) /* the usage by file of the day or month */
#define LEDGER_USAGE_ARGUMENTS(X)                                                                  \
    X(date, text) /* yyyymmdd or yyyymm */                                                         \
    X(cursor, text)                                                                                \
    X(step, text) /* how many fields to look at */

/* How many names a list has. */
#define LEDGER_COUNT(list)     sizeof((const char[]){list(LEDGER_ONE)})
#define LEDGER_ONE(...)        0,
/* A list of arguments or of keys as words of an array, from variables of its names. */
#define LEDGER_WORD(name, ...) name,
#define LEDGER_KEY_WORD(name)  name,

#endif
