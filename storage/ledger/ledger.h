/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger: what is owed. It keeps a journal on disk that no delivered byte escapes, a poster
 * that brings the journal to Redis exactly once, and the accounts there. The server calls it:
 * workers meter into downloads, the admin thread moves money. Nothing else writes the node's
 * journal. The ledger knows nothing of tokens, files' contents or HTTP.
 *
 *   workers --atomics--> downloads --> writer thread --> journal (disk) --> poster thread --> Redis
 *   admin thread ------> money records ---^                                   (Lua functions)
 *
 *   Redis --revocations--> push thread --options.pushed--> workers, which ask for grants again
 *
 * Promises, and what holds them:
 *   never twice      each account has a dense sequence per node; a post carries from..to, and Redis
 *                    refuses it unless its watermark + 1 = from; counters and watermark change
 *                    together
 *   never lost       only the journal is the truth: the poster reads the journal with a cursor. A
 *                    Redis that is new, empty or older answers a lower watermark and is replayed to
 *   never unmetered  a download opens only where the journal has room for its closing record; where
 *                    the journal cannot be written, ledger_state says so and workers stop serving
 */
#ifndef TOLLGATE_STORAGE_LEDGER_H
#define TOLLGATE_STORAGE_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/ledger/metrics.h"
#include "storage/ledger/redis_table.h"

#define LEDGER_JOURNAL_FORMAT  2 /* of the segment files; `tollgate --version` prints both */

#define LEDGER_ISSUER_MAX      32
#define LEDGER_ACCOUNT_MAX     128
#define LEDGER_FILE_MAX        1024
#define LEDGER_NODE_MAX        32
#define LEDGER_TRANSACTION_MAX 64
#define LEDGER_AMOUNT_MAX                                                                          \
    ((int64_t)LEDGER_NUMBER_MAX + 1) /* exclusive: what a Lua number holds exactly */
#define LEDGER_TAG_MAX    (LEDGER_ISSUER_MAX + 1 + 3 * LEDGER_ACCOUNT_MAX + 1)
#define LEDGER_LINK_BYTES 32 /* what names a link: a SHA-256 */
#define LEDGER_LINK_HEX   (2 * LEDGER_LINK_BYTES)
#define LEDGER_KEY_MAX    (LEDGER_TAG_MAX + 24 + LEDGER_LINK_HEX)
#define LEDGER_USES_MAX   1000 /* of a link and path */

struct ledger;
struct ledger_account;

struct ledger_issuer {
    const char *id;
    uint32_t accounts_max;
};

enum ledger_event { LEDGER_EVENT_INFO, LEDGER_EVENT_WARNING, LEDGER_EVENT_ERROR };

struct ledger_options {
    const char *state_dir; /* journal/, instance and lock live below it; created with mode 0700 */
    const char *node;      /* this node's name, [a-z0-9-]{1,32} */
    const char *redis;     /* its address, see ledger_redis_validate */
    const char *redis_user, *redis_password; /* NULL: none */
    uint64_t segment_bytes; /* of one journal file, preallocated; multiple of 4096 */
    uint32_t mark_ms;       /* how often a download that moved is marked, 10 to 1000 */
    uint32_t downloads_max; /* open at once */
    uint32_t accounts_max;  /* bounds new accounts; those in the journal are always loaded */
    /* How many of these accounts each issuer may have; only ledger_open reads it. An issuer that is
     * not named here may open none. NULL: any issuer, up to accounts_max. */
    const struct ledger_issuer *issuers;
    size_t issuers_count;
    uint32_t lease_ms; /* of the node's name in Redis */
    /*
     * Called from the ledger's threads and from threads that call the ledger; `text` is one line
     * without a newline. Events of one kind pass the same pointer as `kind`, so that the callee can
     * bound how often it repeats one of them.
     */
    void (*event)(void *context, enum ledger_event event, const char *kind, const char *text);
    void *event_context;
    /*
     * Called once by ledger_open, in its thread, after the state directory is locked and before the
     * journal is read: the callee may now open its own files there. A negative errno (with a
     * sentence in `error`) ends the opening. May be NULL.
     */
    int (*locked)(void *context, char *error, size_t error_size);
    void *locked_context;
    /*
     * Called from the push thread: grants of this account that were asked for before are void; NULL
     * means those of all accounts, since pushes may have been missed. ledger_heard has already
     * changed by then, so a worker can also compare it with the value that it took before its ask.
     */
    void (*pushed)(void *context, const struct ledger_account *account);
    void *pushed_context;
    uint64_t balance_low_bytes; /* a prepaid balance that falls below makes a notice; 0: none */
};

/*
 * Locks the state directory, reads every segment (verifying the chain; a torn tail of the last
 * segment is cut off, a damaged record anywhere else refuses), and starts the writer, the poster
 * and the push thread. It does not wait for Redis: ledger_state says when the node may serve. 0, or
 * a negative errno (-EALREADY: another process has the directory locked; -EBADMSG: damaged) and one
 * sentence with the cure in `error`. `options` and its strings may go after the call.
 */
int ledger_open(struct ledger **out, const struct ledger_options *options, char *error,
                size_t error_size);

/*
 * Closes the downloads that are open, makes their last marks durable, posts what it can until
 * `deadline_ms` from now, gives the lease back, unlocks, frees and sets *ledger to NULL. Returns
 * how many records stayed unposted (they are posted at the next start), or a negative errno where
 * the journal could not be written.
 */
int64_t ledger_close(struct ledger **ledger, uint32_t deadline_ms);

/* Whether the node may serve. ledger_state is two relaxed atomic loads, cheap enough
 * for each request. */
enum ledger_state {
    LEDGER_CATCHING_UP, /* since the start, or since Redis changed: not replayed to yet */
    LEDGER_READY,
    LEDGER_FULL,      /* the journal's next segment cannot be made, for whatever reason: no download
                         is opened, open ones go on; the node recovers by itself */
    LEDGER_EXHAUSTED, /* FULL, and no room for marks is left: transfers end now; the node recovers
                         by itself */
    LEDGER_FAILED,    /* write or fdatasync failed: nothing is trusted until a restart */
    LEDGER_REFUSED,   /* another instance has the name, or the directory is older than Redis, or
                         the journal has lost records that were on disk */
};
enum ledger_state ledger_state(const struct ledger *ledger);
/* Writes the sentence behind a state other than READY, with its cure; "" for READY. */
void ledger_state_text(struct ledger *ledger, char *text, size_t size);

/*
 * True where the poster has replayed the journal to the Redis with this run_id (40 hexadecimal
 * digits, from INFO server). A worker's own connection must not ask for grants before: an empty
 * Redis would deny accounts that exist.
 */
bool ledger_redis_is_current(struct ledger *ledger, const char *run_id);
/* True where the poster has replayed to another Redis than this one: the ledger no longer uses this
 * one, so its answers and messages do not count. */
bool ledger_redis_is_other(struct ledger *ledger, const char *run_id);

/*
 * A number from 1 that grows whenever the ledger's Redis is, or may be, another than
 * before: a connection then asks the two functions above again. One atomic load, cheap
 * enough for each request.
 */
uint64_t ledger_redis_generation(const struct ledger *ledger);

/*
 * How long a connection to Redis may take, in milliseconds. All of them keep to these bounds:
 * the workers', the poster's, push's and the admin calls'. One that takes longer is closed
 * and made again.
 */
#define LEDGER_REDIS_RESOLVE_MS       5000 /* to resolve its name, on a thread of its own */
#define LEDGER_REDIS_CONNECT_MS       1000 /* to be accepted */
#define LEDGER_REDIS_INTRODUCE_MS     2000 /* for an answer to AUTH, INFO, SUBSCRIBE, first calls */
#define LEDGER_REDIS_SILENCE_MS       5000 /* later: no byte arrives while an answer is due */
/*
 * The pause between two attempts to connect: it begins at the least and doubles up to the most,
 * with a random part. With this most, poster and then workers are back within two seconds of Redis.
 */
#define LEDGER_REDIS_BACKOFF_LEAST_MS 50
#define LEDGER_REDIS_BACKOFF_MOST_MS  500
#define LEDGER_REDIS_BEAT_MS          1000 /* a worker's idle connection asks if Redis lives */

/* ---- where Redis is: one authority on the address in force, for whoever connects ---- */

/* Validates an address: "unix:/path", "host:port", "[v6]:port", "redis://host",
 * "redis://host:port". 0, or -EINVAL with a sentence that has the cure and no secret. */
int ledger_redis_validate(const char *text, char *error, size_t error_size);

struct ledger_redis_address {
    char host[256];  /* numeric; or the path of a Unix socket */
    int port;        /* 0: a Unix socket */
    uint64_t number; /* grows whenever another address comes into force */
};
/* The address in force. Any thread; it never blocks. 0, or -EAGAIN with a sentence: the name is not
 * resolved yet. */
int ledger_redis_address(struct ledger *ledger, struct ledger_redis_address *out, char *error,
                         size_t error_size);
/*
 * Reports that a connection to the address of this number could not be made or introduced, or was
 * lost (`reached`). The next address of the name comes into force, or the name is resolved again. A
 * report about an address no longer in force changes nothing, so all threads may report the same
 * failure. True where the caller should try another address at once. Any thread.
 */
bool ledger_redis_failed(struct ledger *ledger, uint64_t number, bool reached);

/* Fills in the counters. Any thread; it takes locks for a moment, so not for each request. */
void ledger_stats(struct ledger *ledger, struct ledger_stats *out);

/* ---- before a node runs ---- */

/* What a Redis says of itself. */
struct ledger_redis_report {
    char version[32], policy[32]; /* redis_version and maxmemory-policy */
    bool append_only, loading, replica;
    bool hears_revocations; /* this user may subscribe to tg:revocations */
    char push_error[400];   /* otherwise why not, and the cure */
    int64_t clock_ahead_ms; /* its wall clock against ours; negative: behind */
    enum ledger_name_holder {
        LEDGER_NAME_FREE,
        LEDGER_NAME_OWN,  /* held by the state directory's instance, whether or not its node runs */
        LEDGER_NAME_COPY, /* likewise, but leased although no process here uses the directory */
        LEDGER_NAME_TAKEN,   /* held by another state directory: a node here would never serve */
        LEDGER_NAME_UNKNOWN, /* name_error says why */
    } name;                  /* of the node */
    int64_t name_left_ms;    /* of the name's lease; 0 or less: its node does not run */
    char name_error[480];
};
/*
 * Asks the Redis of `options`; reads only its redis, redis_user, redis_password, node and
 * state_dir. Blocks, some seconds at most, and changes nothing in Redis or the state directory.
 * 0, or a negative errno (-EINVAL, -EAGAIN, -EPROTO) with one sentence: the address, the cause
 * and the cure.
 */
int ledger_redis_probe(const struct ledger_options *options, struct ledger_redis_report *out,
                       char *error, size_t error_size);

/* What the node and the doctor say of a Redis without append_only. */
#define LEDGER_REDIS_FORGETS                                                                       \
    "keeps no append-only file, so that the nodes must post its data again if it restarts; run "   \
    "redis-cli CONFIG SET appendonly yes, and put it into redis.conf"

/* The rights of a node's Redis user, as ACL SETUSER takes them. Each only adds rights, since
 * another program may use the same user. */
#define LEDGER_REDIS_KEYS    "'~tg:*'"
#define LEDGER_REDIS_CHANNEL "'&tg:revocations'"
#define LEDGER_REDIS_COMMANDS                                                                      \
    "+auth +fcall +function +hdel +hget +hgetall +hmget +hscan +hset +info +pexpireat "            \
    "+pexpiretime +ping +publish +subscribe +time +xadd +xrange"

/*
 * Writes into `out` why Redis cannot be used: the cause, and behind "; " the cure where one is
 * known. `command` was answered with the error `said`, as `user` (NULL: the default one); where
 * `command` is NULL, `said` is what hiredis says of the connection. Never repeats what Redis says
 * of AUTH, which may hold the password. Returns whether there is a cure.
 */
bool ledger_redis_explain(const char *command, const char *said, const char *user, char *out,
                          size_t size);

/* Whether a process, such as a running node, has the state directory locked. The calling user must
 * be able to read the directory. */
bool ledger_is_running(const char *state_dir);

/* ---- names ---- */

/*
 * An account or a file as the journal knows it: interned and counted by atomic references, so that
 * a worker looks it up once per token or open file and then passes a pointer. Looking up takes none
 * of accounts_max. The look-ups give a reference to the caller; 0, -EINVAL or -ENOMEM.
 */
struct ledger_file;
int ledger_account_get(struct ledger *ledger, const char *issuer, const char *account,
                       size_t account_length, struct ledger_account **out);
void ledger_account_hold(struct ledger_account *account);
void ledger_account_drop(struct ledger_account **account);
const char *ledger_account_issuer(const struct ledger_account *account);
const char *ledger_account_name(const struct ledger_account *account);
/* "issuer/account", the account percent-encoded (all but A-Z a-z 0-9 . _ ~ -): the hash tag
 * of its keys. */
const char *ledger_account_tag(const struct ledger_account *account);
int ledger_file_get(struct ledger *ledger, const char *path, size_t length,
                    struct ledger_file **out);
const char *ledger_file_path(const struct ledger_file *file, size_t *length);
void ledger_file_hold(struct ledger_file *file);
void ledger_file_drop(struct ledger_file **file);

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

/* ---- downloads: usage ---- */

/*
 * What one window (a link and a path, on this node) received, as one cumulative counter. Any thread
 * may add; every mark_ms the writer marks the downloads that moved. A mark is one journal record
 * with the cumulative bytes and the difference to the mark before.
 */
struct ledger_download;

/*
 * Reserves room for the closing record and the names that it needs. 0, -ENOSPC (the journal is
 * full, or no memory: answer 503), -EMFILE (downloads_max), -EIO (the journal failed). Holds its
 * own references to both names. Any thread.
 */
int ledger_download_open(struct ledger *ledger, struct ledger_account *account,
                         struct ledger_file *file, struct ledger_download **out);
/* Adds acknowledged body bytes and finished responses. The hot path's only metering call: it takes
 * no lock and makes no system call. */
void ledger_download_add(struct ledger_download *download, uint64_t bytes, uint32_t responses);
/* The number that, with the epoch, names the download in logs. */
uint64_t ledger_download_id(const struct ledger_download *download);
/*
 * Tells which use of a link (see ledger_terms) the download delivers: later marks carry it
 * to Redis. `opened_ms` and `till_ms` are the grant's; the link's state may go at
 * `keep_ms`. Any thread.
 */
void ledger_download_use(struct ledger_download *download,
                         const unsigned char link[LEDGER_LINK_BYTES], uint64_t opened_ms,
                         uint64_t till_ms, uint64_t keep_ms);
/* Makes the use count although nothing was acknowledged. */
void ledger_download_take(struct ledger_download *download);
/* Bytes acknowledged so far. */
uint64_t ledger_download_bytes(const struct ledger_download *download);
/* Has the writer mark what is left, give the room back and free the download. Sets
 * *download to NULL. */
void ledger_download_close(struct ledger_download **download);

/* Waits until all that was added before the call is durable and posted to Redis. 0, or -ETIMEDOUT.
 * It blocks, so no worker may call it. */
int ledger_settle(struct ledger *ledger, uint32_t timeout_ms);

/* ---- admission: what a worker's own Redis connection says ---- */

/* A command for redisAsyncCommandArgv. Its pointers lead into itself and into its arguments, so it
 * must not be copied. */
#define LEDGER_ARGUMENTS_MAX 24
struct ledger_command {
    int argc;
    const char *argv[LEDGER_ARGUMENTS_MAX];
    size_t lengths[LEDGER_ARGUMENTS_MAX];
    char keys[LEDGER_COUNT(LEDGER_GRANT_KEYS)][LEDGER_KEY_MAX];
    char numbers[11][24];
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

/* What a worker asks a grant for. Everything is borrowed until the command is sent. */
struct ledger_ask {
    const struct ledger_account *account;
    const unsigned char *link; /* LEDGER_LINK_BYTES */
    uint64_t need, want;       /* bytes */
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
                            const unsigned char link[LEDGER_LINK_BYTES],
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
    uint64_t granted;  /* bytes, of this grant */
    unsigned funds;    /* set of LEDGER_FUND_BIT: funds that bound it; 0: no bound */
    uint64_t revision; /* the account's revocation number */
    uint64_t rate;     /* the account's, bytes per second; 0: not limited */
    uint32_t max_conns;
    uint64_t opened_ms, till_ms; /* the use's times, by Redis' clock; 0 without terms */
    uint64_t acknowledged;       /* bytes in that use, as far as they were posted */
    uint64_t left_ms;            /* how long that use is still open */
};
struct redisReply;
/* Decodes the reply to ledger_admit_command. 0, or -EPROTO where it is NULL, an error (whose text
 * is in reply->str) or not of the expected shape. */
int ledger_admit_reply(const struct redisReply *reply, struct ledger_grant *out);

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
    unsigned char link[LEDGER_LINK_BYTES]; /* of REVOKE_LINK */
    uint64_t max_bytes;                    /* of LIMIT; 0: none */
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
 *   -EAGAIN     Redis cannot be asked now, or this node's journal will never be posted
 *               (LEDGER_REFUSED, LEDGER_FAILED): nothing was journalled, try again
 *   -ENOSPC, -EIO     the journal cannot be written: nothing was acknowledged
 *   -EUSERS, -EDQUOT  accounts_max of the node or of the issuer is reached: no new account is
 *                     opened, and no revocation taken for one that was never opened
 *   -EINPROGRESS      durable, but not posted within the time: it will be
 */
int ledger_account_change(struct ledger *ledger, const struct ledger_request *request,
                          bool *repeated, struct ledger_account_view *view);
/* Reads the account from Redis. Blocks. 0 (view->exists may be false), -EAGAIN, -EINVAL. */
int ledger_account_show(struct ledger *ledger, const char *issuer, const char *account,
                        struct ledger_account_view *view);

/* What Redis keeps of a link, and of one path of it. */
struct ledger_link_view {
    bool revoked;   /* the link itself; see also the account's revoked_before */
    uint64_t bytes; /* delivered so far; counted only for a link with terms */
    uint32_t uses;  /* uses of the path, including the open one */
    bool is_open;   /* the last use */
};
/* Reads a link and one path of it from Redis. Blocks. 0, -EAGAIN, -EINVAL. */
int ledger_link_show(struct ledger *ledger, const char *issuer, const char *account,
                     const unsigned char link[LEDGER_LINK_BYTES], const char *path,
                     struct ledger_link_view *view);

struct ledger_usage_row {
    uint32_t day; /* yyyymmdd, UTC */
    const char *file;
    uint64_t bytes, responses;
};
#define LEDGER_USAGE_CURSOR_MAX 48
#define LEDGER_USAGE_DAYS_MAX   400 /* from the first to the last, both counted */
/* A question for a page of usage. Everything is borrowed. */
struct ledger_usage_ask {
    const char *issuer, *account;
    uint32_t day_from, day_to; /* inclusive; at most 400 days */
    uint32_t rows_max;         /* 1 or more: the page ends at about so many */
    const char *cursor;        /* `next` of the page before, for the same days; "": first page */
};
struct ledger_usage_page {
    int (*row)(void *context,
               const struct ledger_usage_row *row); /* non-zero: stop, and return it */
    void *context;
    char next[LEDGER_USAGE_CURSOR_MAX]; /* where the next page begins; "": this was the last one */
};
/*
 * Reads one page of usage, ordered by day and file, each file of a day once. Before the first page
 * it settles the ledger, so that the page includes what was acknowledged before the call. A page
 * ends with the step of some hundred files that fills it, or at 16 MiB of names. Blocks.
 *
 * Between pages only the days are ordered. A file that Redis had when the first page was asked for
 * is in at least one page, with its totals of that moment or later; it is in two only where Redis
 * shrinks the day's table meanwhile: then the higher totals count, never the sum.
 *   -EINVAL   no such days, no such name
 *   -ESTALE   the cursor is for other days, or Redis is another by now: begin again
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
