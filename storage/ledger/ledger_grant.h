/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A part of ledger.h, which users include: what a worker asks Redis before it serves, what the
 * answer grants, and what push has heard since.
 */
#ifndef TOLLGATE_STORAGE_LEDGER_GRANT_H
#define TOLLGATE_STORAGE_LEDGER_GRANT_H

#include <stdatomic.h>
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
/* How often revocations began to be heard, after a loss of the push connection or for the first time:
 * those of the time before may have been missed. One atomic load. */
uint64_t ledger_push_epoch(const struct ledger *ledger);
/* What was heard of an account. A worker takes it before it asks for a grant. */
struct ledger_heard {
    uint64_t epoch;    /* of the push connection */
    uint64_t messages; /* a count, since a Redis that lost data tells lower revisions */
    uint64_t revision; /* of the account, the highest that was pushed */
    uint64_t losses;   /* ledger_losses */
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
 * does not know of, the connection changed and one may have been missed, or Redis was found to have
 * lost data: it counts revisions from below since then. What was heard before the ask is known to the
 * Redis that answered, or was lost there and is replayed.
 */
struct ledger_grant;
bool ledger_grant_is_stale(const struct ledger *ledger, const struct ledger_account *account,
                           const struct ledger_grant *grant, const struct ledger_heard *at_ask);

/* How often another node was heard to be short of the account's funds, or of those of one of its links:
 * what this node holds of them and does not need is to be given back. One atomic load. */
uint64_t ledger_recalls(const struct ledger_account *account);
/* Whether the last one was heard within LEDGER_RECALL_MS before now_ms (monotonic). Another node that is
 * short meanwhile publishes none, so what this node comes to hold and does not need goes back, too. */
bool ledger_is_recalled(const struct ledger_account *account, uint64_t now_ms);

/* ---- admission: what a worker's own Redis connection says ---- */

/* A command for redisAsyncCommandArgv. Its pointers lead into itself and into its arguments, so it
 * must not be copied. */
#define LEDGER_ARGUMENTS_MAX 32
struct ledger_command {
    int argc;
    const char *argv[LEDGER_ARGUMENTS_MAX];
    size_t lengths[LEDGER_ARGUMENTS_MAX];
    char keys[LEDGER_COUNT(LEDGER_GRANT_KEYS)][LEDGER_KEY_MAX];
    char numbers[22][24];
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

/*
 * Credit: what a node may hand to clients of one fund, that is, of an account (its balance or its
 * max_bytes) or of a link (its max_bytes). All figures are cumulative for this instance, from the
 * first byte that it ever delivered, so that each question tells all again and nothing is added up in
 * Redis. A question is numbered by the lease and by `count`; Redis ignores one that is not above the
 * last that it has seen.
 */
struct ledger_told {
    uint64_t count;   /* from 1 and growing, for all questions of this process; 0: no funds */
    bool is_new;      /* the figures count from what Redis has as posted, which the answer tells */
    uint64_t ceiling; /* that the node holds: it hands no more to clients */
    uint64_t least;   /* handed, and what responses under way still need */
    uint64_t want;    /* the ceiling that it needs */
    uint64_t spare;   /* bytes beyond, of which it gets a quarter of what is left at most */
};
enum ledger_bounds {
#define X(name, number) LEDGER_BY_##name = (number),
    LEDGER_BOUNDS(X)
#undef X
};
/* What Redis answers of a fund. The figures are 0 where the question told none of the fund. */
struct ledger_credit {
    enum ledger_bounds bounds; /* NOTHING: no bound, and the figures do not count */
    uint64_t posted;           /* by this instance */
    uint64_t ceiling;          /* that the node may use for the question's validity */
    uint64_t bound; /* the ceiling that it could get if others gave back what they hold idle */
};

/* What a worker asks a grant for. Everything is borrowed until the command is sent. */
struct ledger_ask {
    const struct ledger_account *account;
    const unsigned char *link_id; /* LEDGER_LINK_ID_BYTES */
    uint64_t need;                /* bytes that the asker needs, and `least` does not have */
    uint32_t validity_ms;
    int64_t iat;                      /* of the token, seconds; 0: none */
    const struct ledger_terms *terms; /* NULL: the link is not limited */
    struct ledger_told funds;         /* of the account */
    struct ledger_told link_funds;    /* of the link's max_bytes; only with terms */
    bool takes_nothing; /* Redis only says what it would grant: it keeps and begins nothing */
};

/*
 * Builds the command that asks for a grant, valid `validity_ms`. Redis takes the ceilings as they are
 * told, also where it refuses, and raises each towards `want` by what is available; of two funds it
 * raises both, or neither where one does not cover the need. What is not told again for twice the
 * validity is void there.
 */
void ledger_admit_command(struct ledger *ledger, const struct ledger_ask *ask,
                          struct ledger_command *out);
/* Builds the command that tells what the node holds of a fund, and asks for nothing. `link_id` is
 * NULL for the account's. */
void ledger_tell_command(struct ledger *ledger, const struct ledger_account *account,
                         const unsigned char *link_id, const struct ledger_told *told,
                         uint32_t validity_ms, struct ledger_command *out);

/*
 * Builds a command that changes nothing. Redis refuses it wherever it would refuse any admission:
 * as a replica, while it loads, without the replicas, disk or memory that it wants, or without our
 * library; otherwise it answers a number.
 */
void ledger_try_command(struct ledger_command *out);

/*
 * Builds the command that asks whether Redis still has the data that this node knows it to have, and
 * reads its reply: 0; -ESTALE, and the poster looks, where it may have lost them; -EPROTO where the
 * reply says neither. Redis that has just been emptied denies accounts that exist, and does not know
 * what other nodes hold, so what it denies or raises counts only where this is 0 behind it.
 */
struct redisReply;
void ledger_confirm_command(struct ledger_command *out);
int ledger_confirm_reply(struct ledger *ledger, const struct redisReply *reply);

enum ledger_admission {
#define X(name, number) LEDGER_##name = (number),
    LEDGER_ADMISSIONS(X)
#undef X
};
struct ledger_grant {
    enum ledger_admission admission;
    uint64_t revision; /* the account's revocation number; of OUTDATED the lease's */
    uint64_t rate;     /* the account's, bytes per second; 0: not limited */
    uint32_t max_conns;
    uint32_t sharers;         /* nodes among which the two are divided, 1 or more */
    int64_t revoked_before;   /* tokens that are older, or have no iat, are revoked; seconds */
    uint64_t revoked_left_ms; /* so long some link of the account is, or may be, revoked */
    struct ledger_credit funds, link_funds;
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
/* The same of ledger_tell_command: what is posted, and the ceiling. -ESTALE: a later question of this
 * fund was there before. */
int ledger_tell_reply(const struct redisReply *reply, struct ledger_credit *out);

/*
 * The bytes of the account that were handed to clients, less those that came back unacknowledged: at
 * first what the journal holds. The counter lives as long as the account has records or is held; its
 * user counts it, and no other thread than those of its user does.
 */
atomic_ullong *ledger_account_handed(struct ledger_account *account);

/*
 * Notes, beyond the end of a killed process, that this node holds something of the account's funds, or
 * of a link's (`link_id`), so that the next process tells Redis that it holds nothing of it. Returns a
 * place to forget it by; -1: there is none. Any thread.
 */
int ledger_holding_note(struct ledger *ledger, const struct ledger_account *account,
                        const unsigned char *link_id);
void ledger_holding_forget(struct ledger *ledger, int place);

#endif
