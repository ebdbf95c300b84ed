/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A part of ledger.h, which users include: what a worker asks Redis before it serves, what the
 * answer grants, and what push has heard since.
 */
#ifndef TOLLGATE_STORAGE_LEDGER_GRANT_H
#define TOLLGATE_STORAGE_LEDGER_GRANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/ledger/ledger_names.h"

/* ---- push: revocations, heard while they happen ---- */

/*
 * Redis publishes each change of an account's revision; the push thread hears it, raises the
 * account's revision and calls options.pushed. It sends a PING each quarter of a second; after
 * three quarters without an answer, push is not up. It is up again with a late answer, since
 * the stream brings what was published meanwhile first, or with another connection and a call
 * for all accounts.
 */
#define LEDGER_PUSH_BEAT_MS 250
#define LEDGER_PUSH_LOST_MS 750

/* Whether every revocation up to now has been heard; one relaxed atomic load, for each request. */
bool ledger_push_is_up(const struct ledger *ledger, uint64_t monotonic_ms);
/* What was heard of an account. A worker takes it before it asks for a grant. */
struct ledger_heard {
    uint64_t epoch;    /* of the push connection */
    uint64_t messages; /* a count, since a Redis that lost data tells lower revisions */
    uint64_t revision; /* of the account, the highest that was pushed */
};
struct ledger_heard ledger_heard(const struct ledger *ledger, const struct ledger_account *account);
/* Whether nothing was heard of the account, and nothing missed, between the two moments. */
static inline bool ledger_heard_is_same(const struct ledger_heard *one,
                                        const struct ledger_heard *other)
{
    return one->epoch == other->epoch && one->messages == other->messages;
}
/*
 * Whether a grant may miss a revocation: one was heard after the ask (`at_ask`) that this reply
 * does not know of, or the connection changed and one may have been missed. What was heard before
 * the ask is known to the Redis that answered, or was lost there and is replayed.
 */
struct ledger_grant;
bool ledger_grant_is_stale(const struct ledger *ledger, const struct ledger_account *account,
                           const struct ledger_grant *grant, const struct ledger_heard *at_ask);

/* ---- admission: what a worker's own Redis connection says ---- */

/* A command for redisAsyncCommandArgv. Its pointers lead into itself and into its arguments, so it
 * must not be copied. */
#define LEDGER_ARGUMENTS_MAX 24
struct ledger_command {
    int argc;
    const char *argv[LEDGER_ARGUMENTS_MAX];
    size_t lengths[LEDGER_ARGUMENTS_MAX];
    char keys[LEDGER_COUNT(LEDGER_GRANT_KEYS)][LEDGER_KEY_MAX];
    char numbers[12][24];
};

/*
 * The terms of a limited link, whose state Redis keeps. A use is a download of one path.
 * It stays open for its use period, use_period_ms from its first request, and while less than three
 * times the file has arrived in it. One in which nothing arrived does not count.
 */
enum ledger_stage {
#define X(name, number) LEDGER_##name = (number),
    LEDGER_STAGES(X)
#undef X
};
struct ledger_terms {
    const char *path;
    size_t path_length;
    uint64_t size;      /* of the file, 1 or more */
    uint32_t max_uses;  /* 0: not limited; LEDGER_USES_MAX at most */
    uint64_t max_bytes; /* 0: not limited */
    uint64_t till_ms;   /* exp and resume, since 1970 */
    uint64_t keep_ms;   /* Redis keeps the state at least until then */
    uint64_t use_period_ms;
    enum ledger_stage stage;
};

/*
 * The number of the lease under which this process asks and posts. It grows; 0: none was taken yet,
 * so nothing may be asked. One atomic load.
 */
uint64_t ledger_lease_number(const struct ledger *ledger);
/* Reports that Redis refused this process for a lease with a higher number: the poster takes its
 * lease again. Any thread. */
void ledger_lease_is_outdated(struct ledger *ledger, uint64_t number);

/* What a worker asks a grant for. Everything is borrowed until the command is sent. */
struct ledger_ask {
    const struct ledger_account *account;
    const unsigned char *link_id; /* LEDGER_LINK_ID_BYTES */
    uint64_t need, want;          /* bytes */
    uint32_t validity_ms;
    int64_t iat;                      /* of the token, seconds; 0: none */
    const struct ledger_terms *terms; /* NULL: the link is not limited */
    bool takes_nothing; /* Redis only says what it would grant: it reserves and begins nothing */
};

/*
 * Builds the command that asks for a grant: Redis reserves at least `need` bytes of a prepaid
 * account's balance (and of what max_bytes of account or link leaves), up to `want` (>= need) where
 * a quarter of the rest allows it, valid `validity_ms`. need = 0 only renews. An account without a
 * bound is granted `want`, and nothing is reserved.
 */
void ledger_admit_command(struct ledger *ledger, const struct ledger_ask *ask,
                          struct ledger_command *out);
/* The funds from which a grant's bytes are reserved. */
enum ledger_fund {
#define X(name, index, bit) LEDGER_FUND_##name = (index),
    LEDGER_FUND_TABLE(X)
#undef X
        LEDGER_FUNDS
};
#define LEDGER_FUND_BIT(fund) (1u << (fund))
#define X(name, index, bit)                                                                        \
    _Static_assert(LEDGER_FUND_BIT(LEDGER_FUND_##name) == (bit), "a fund's bit is its index's");
LEDGER_FUND_TABLE(X)
#undef X

/* Builds the command that gives unspent bytes of a link's grants back, `bytes[i]` to fund i. */
void ledger_release_command(struct ledger *ledger, const struct ledger_account *account,
                            const unsigned char link_id[LEDGER_LINK_ID_BYTES],
                            const uint64_t bytes[LEDGER_FUNDS], struct ledger_command *out);

/*
 * Builds a command that changes nothing. Redis refuses it wherever it would refuse any admission:
 * as a replica, while it loads, without the replicas, disk or memory that it wants, or without our
 * library; otherwise it answers a number.
 */
void ledger_try_command(struct ledger_command *out);

enum ledger_admission {
#define X(name, number) LEDGER_##name = (number),
    LEDGER_ADMISSIONS(X)
#undef X
};
struct ledger_grant {
    enum ledger_admission admission;
    uint64_t granted;  /* bytes, of this grant; of OUTDATED the number of the later lease */
    unsigned funds;    /* set of LEDGER_FUND_BIT: funds that bound it; 0: no bound */
    uint64_t revision; /* the account's revocation number */
    uint64_t rate;     /* the account's, bytes per second; 0: not limited */
    uint32_t max_conns;
    uint64_t opened_ms, till_ms; /* the use's times, by Redis' clock; 0 without terms */
    uint64_t acknowledged;       /* bytes in that use, as far as they were posted */
    uint64_t left_ms;            /* how long that use is still open */
};
struct redisReply;
/* Whether Redis says that what it holds of an account is not as it should be: a key of another type
 * (WRONGTYPE), or a field that no function has written (DAMAGED). */
bool ledger_reply_is_damage(const struct redisReply *reply);
/* Decodes the reply to ledger_admit_command. 0, or -EPROTO where it is NULL, an error (whose text
 * is in reply->str) or not of the expected shape. */
int ledger_admit_reply(const struct redisReply *reply, struct ledger_grant *out);

#endif
