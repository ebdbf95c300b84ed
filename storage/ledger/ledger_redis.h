/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A part of ledger.h, which users include: which Redis is the ledger's, where it is, how long it may
 * take, what it must grant a node, and what it says of itself.
 */
#ifndef TOLLGATE_STORAGE_LEDGER_REDIS_H
#define TOLLGATE_STORAGE_LEDGER_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/ledger/ledger_names.h"

struct ledger;
struct ledger_options;

/*
 * One authority knows which Redis is in force. It numbers them: the *generation*, from 1, moves when
 * another comes into force, at another address or at the same one. Each connection belongs to the
 * generation in which its address was asked for, and is closed in another.
 */

/*
 * The generation in which grants may be asked for, because the journal has been replayed to its
 * Redis: an empty one would deny accounts that exist. 0: in none. One atomic load, cheap enough for
 * each request.
 */
uint64_t ledger_redis_served(const struct ledger *ledger);
/* Whether this generation is in force; a connection of another is to be closed. One atomic load. */
bool ledger_redis_is_in_force(const struct ledger *ledger, uint64_t generation);
/* True where a connection of this generation, which met the Redis of this run id (40 hexadecimal
 * digits, from INFO server), is to be closed: another generation or another server is in force. */
bool ledger_redis_is_other(struct ledger *ledger, uint64_t generation, const char *run_id);
/* True where grants may be asked of that Redis. */
bool ledger_redis_is_current(struct ledger *ledger, uint64_t generation, const char *run_id);

/* ---- data that Redis has lost ---- */

/*
 * Counts when Redis was seen to have lost its data, and when the nodes had replayed theirs: the data
 * is lost while the count is odd. Then what Redis denies counts for nothing, and no ceiling is to be
 * raised; what it denied while the count was another does not count either. One atomic load.
 */
uint64_t ledger_losses(const struct ledger *ledger);
static inline bool ledger_data_is_lost(const struct ledger *ledger)
{
    return (ledger_losses(ledger) & 1) != 0;
}
/* Whether each node has replayed its journal to the Redis in force, or had the time to: before that, an
 * order's number may be that of another one, which Redis lost and will be told again. One atomic load. */
bool ledger_is_settled(const struct ledger *ledger);
/* Reports that Redis may have lost its data: the poster asks at once. Any thread. */
void ledger_birth_is_doubted(struct ledger *ledger);
/* Reports that Redis was told all ceilings that this worker looks after since the count of losses is
 * `losses`. Before all that ever reported have, the node does not say that it has replayed. */
#define LEDGER_WORKERS_MAX 64
void ledger_ceilings_are_told(struct ledger *ledger, unsigned worker, uint64_t losses);

#define LEDGER_AWAITED_MAX 10
struct ledger_data_loss {
    bool is_lost;
    uint64_t since_ms; /* monotonic; of the last loss; 0: there was none */
    unsigned awaited;  /* other nodes that have not replayed yet */
    char names[LEDGER_AWAITED_MAX][LEDGER_NODE_MAX + 1]; /* of the first of them */
};
/* Any thread. */
void ledger_data_loss(struct ledger *ledger, struct ledger_data_loss *out);

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
    char host[256];      /* numeric; or the path of a Unix socket */
    int port;            /* 0: a Unix socket */
    uint64_t generation; /* in which it was in force */
};
/* The address in force. Any thread; it never blocks. 0, or -EAGAIN with a sentence: it is not known
 * yet, and `generation` is set all the same. */
int ledger_redis_address(struct ledger *ledger, struct ledger_redis_address *out, char *error,
                         size_t error_size);
/*
 * Reports that a connection of this generation could not be made or introduced, was lost, or was
 * refused: the authority looks at once where Redis is. A report of another generation changes
 * nothing, so all threads may report the same failure. Any thread.
 */
void ledger_redis_failed(struct ledger *ledger, uint64_t generation);

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
    int64_t name_left_ms;    /* of its holder's lease; 0 or less: its node does not run */
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
    "+auth +del +fcall +function +hdel +hget +hgetall +hincrby +hmget +hscan +hset +info "         \
    "+pexpireat "                                                                                  \
    "+pexpiretime +ping +publish +scan +subscribe +time +xadd +xrange"

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

#endif
