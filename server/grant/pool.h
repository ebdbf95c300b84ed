/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool is this node's credit in one fund (the credit pool of RFC 8506 5.1.2): of an account with a
 * bound, or of a link with max_bytes. All windows of the account, or of the link, draw from it. Its
 * figures are cumulative for the node's instance, as Redis has them (struct ledger_told):
 *
 *   handed   given to the kernel, less what came back unacknowledged; never above the ceiling
 *   least    handed, and what responses under way still need; a response begins by raising it, never
 *            above the ceiling, so that no other can take its funds
 *   ceiling  what Redis has granted; worth nothing once its validity has passed
 *
 * Any worker begins, pays and returns by atomics. The ceiling is moved only by whoever holds the
 * right to ask for the fund, under the lock of its shard (window_internal.h); a change that meets a
 * response that begins or pays at the same time is seen by one of the two, which gives way.
 */
#ifndef TOLLGATE_SERVER_GRANT_POOL_H
#define TOLLGATE_SERVER_GRANT_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "storage/ledger/ledger.h"

#define POOL_UNBOUNDED UINT64_MAX /* a ceiling: the fund has no bound, and none is lent */

struct pool {
    atomic_ullong *handed; /* borrows: the account's counter, or own_handed */
    atomic_ullong own_handed;
    atomic_ullong least, ceiling;
    atomic_ullong valid_until_ms; /* monotonic; of the ceiling; 0: Redis was never asked */

    /* Under the shard's lock. */
    uint64_t number;   /* of the last question about the fund; 0: none */
    uint64_t asked_ms; /* when it was asked */
    uint64_t posted;   /* as last answered */
    uint64_t told;    /* the highest figure that Redis has of it since: what counts there as held */
    bool is_known;    /* whether Redis has said what was posted before the first question */
    bool is_answered; /* the last question */
    bool is_kept; /* Redis keeps figures: there is a bound, or nodes share a limit of the account */
    /*
     * The ceiling is not one of Redis, which has said that there is no bound: this node has lent it,
     * until Redis is asked again. `lent_from` is what was handed by then, and so much of what was
     * handed since is counted.
     */
    atomic_bool is_lent;
    uint64_t lent_from, lent_counted;
};

/* Begins the pool of an account, which counts in `handed`, or of a link (NULL). */
void pool_init(struct pool *pool, atomic_ullong *handed);

static inline bool pool_is_bounded(const struct pool *pool)
{
    return atomic_load(&pool->ceiling) != POOL_UNBOUNDED;
}
/* Whether the ceiling is worth something at now_ms. */
static inline bool pool_is_valid(const struct pool *pool, uint64_t now_ms)
{
    return now_ms < atomic_load(&pool->valid_until_ms);
}
/* Raises `least` by what a response needs. False, and nothing is changed, where the ceiling is too
 * low. */
bool pool_begin(struct pool *pool, uint64_t need);
/* Undoes pool_begin, as far as `bytes` were not paid. */
void pool_end(struct pool *pool, uint64_t bytes);
/* Pays for up to `want` bytes that a response has begun for: they are handed from now on. Returns how
 * many; 0: the ceiling is reached. */
uint64_t pool_pay(struct pool *pool, uint64_t want);
/* Takes back what was paid and not handed to the kernel; the response still needs it. */
void pool_refund(struct pool *pool, uint64_t bytes);
/* Bytes were handed to the kernel and never acknowledged: neither handed nor needed any more. */
void pool_return(struct pool *pool, uint64_t bytes);
/* Whether the bound that Redis has answered would be passed if `need` more bytes were begun for; `aside`
 * of those under way do not count. Then Redis cannot pay, whatever other nodes give back. */
bool pool_is_short(const struct pool *pool, const struct ledger_credit *credit, uint64_t need,
                   uint64_t aside);
/* Whether a response that needs `need` bytes more than it has begun for finds them, or one under way
 * (0) has something left to pay with. */
bool pool_covers(const struct pool *pool, uint64_t need);

/* ---- under the shard's lock ---- */

/*
 * Numbers a question and says what it tells Redis: with `gives_back` the ceiling is lowered to what is
 * needed first, and a ceiling whose validity is over to what was handed. `need` is asked for beyond
 * `least`, and `spare` beyond that.
 */
struct ledger_told pool_ask(struct pool *pool, uint64_t number, uint64_t need, uint64_t spare,
                            bool gives_back, uint64_t now_ms);
/* What an inquiry tells: the same, and the pool is not changed. */
struct ledger_told pool_inquire(const struct pool *pool, uint64_t number, uint64_t need);
/* Takes the answer to the question of this number, valid until valid_until_ms; ignores it where
 * another question was asked since. */
void pool_take(struct pool *pool, uint64_t number, const struct ledger_credit *credit,
               uint64_t valid_until_ms);
/* The same for a question that only told what the pool holds. */
void pool_told(struct pool *pool, uint64_t number, uint64_t posted, uint64_t valid_until_ms);
/* The fund has got a bound since the pool was last asked for: the node holds no ceiling of it yet. */
void pool_bind(struct pool *pool);
/* Lends a ceiling of `bytes` to a pool without a bound, where none is lent yet. False: it has a bound,
 * or Redis has never said. */
bool pool_lend(struct pool *pool, uint64_t bytes);
/* How many more bytes than at the last call were handed since the ceiling was lent. */
uint64_t pool_count_lent(struct pool *pool);
/* Whether Redis has more as held than the ceiling: it was lowered since Redis was told. */
bool pool_is_lowered(const struct pool *pool);
/* Whether Redis has more as held than anybody needs. */
bool pool_is_idle(const struct pool *pool);
/* Whether Redis may hold something for this node, or lacks bytes that were handed: then it must be
 * told before twice the validity has passed. */
bool pool_holds(const struct pool *pool);

#endif
