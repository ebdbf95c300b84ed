/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arithmetic of a pool. See pool.h. Called by claim.c for responses, and by window_ask.c for
 * questions; it sends nothing and takes no lock.
 */
#include "server/grant/pool.h"

#include "server/base/check.h"

void pool_init(struct pool *pool, atomic_ullong *handed)
{
    pool->handed = handed != NULL ? handed : &pool->own_handed;
    pool->is_known = handed != NULL;
    pool->is_answered = true;
    uint64_t base = atomic_load(pool->handed);
    atomic_store(&pool->least, base);
    atomic_store(&pool->ceiling, base);
    pool->posted = base;
}

bool pool_begin(struct pool *pool, uint64_t need)
{
    unsigned long long least = atomic_load(&pool->least);
    do {
        uint64_t ceiling = atomic_load(&pool->ceiling);
        if (least > ceiling || need > ceiling - least)
            return false;
    } while (!atomic_compare_exchange_weak(&pool->least, &least, least + need));
    if (least + need <= atomic_load(&pool->ceiling))
        return true;
    atomic_fetch_sub(&pool->least, need); /* it was lowered meanwhile */
    return false;
}

void pool_end(struct pool *pool, uint64_t bytes)
{
    if (bytes > 0)
        atomic_fetch_sub(&pool->least, bytes);
}

uint64_t pool_pay(struct pool *pool, uint64_t want)
{
    unsigned long long handed = atomic_load(pool->handed);
    uint64_t bytes;
    do {
        uint64_t ceiling = atomic_load(&pool->ceiling);
        if (handed >= ceiling)
            return 0;
        bytes = want < ceiling - handed ? want : ceiling - handed;
    } while (!atomic_compare_exchange_weak(pool->handed, &handed, handed + bytes));
    if (handed + bytes <= atomic_load(&pool->ceiling))
        return bytes;
    atomic_fetch_sub(pool->handed, bytes); /* it was lowered meanwhile */
    return 0;
}

void pool_refund(struct pool *pool, uint64_t bytes)
{
    if (bytes > 0)
        atomic_fetch_sub(pool->handed, bytes);
}

void pool_return(struct pool *pool, uint64_t bytes)
{
    pool_refund(pool, bytes);
    pool_end(pool, bytes);
}

bool pool_is_short(const struct pool *pool, const struct ledger_credit *credit, uint64_t need,
                   uint64_t aside)
{
    return credit->bounds != LEDGER_BY_NOTHING &&
           atomic_load(&pool->least) + need > credit->bound + aside;
}

bool pool_covers(const struct pool *pool, uint64_t need)
{
    uint64_t ceiling = atomic_load(&pool->ceiling), least = atomic_load(&pool->least);
    if (need > 0)
        return least <= ceiling && need <= ceiling - least;
    return atomic_load(pool->handed) < ceiling;
}

/* ---- questions ---- */

/* What of the ceiling is kept: what responses under way need, or only what was handed. */
static uint64_t kept(const struct pool *pool, bool needs)
{
    uint64_t handed = atomic_load(pool->handed), least = atomic_load(&pool->least);
    return needs && least > handed ? least : handed;
}

/*
 * Lowers the ceiling, before Redis is told. Responses begin and pay by reading the ceiling again
 * after they have raised a figure; here the figure is read again after the ceiling was lowered.
 */
static void lower(struct pool *pool, bool needs)
{
    uint64_t ceiling = atomic_load(&pool->ceiling), target = kept(pool, needs);
    while (target < ceiling) {
        atomic_store(&pool->ceiling, target);
        uint64_t again = kept(pool, needs);
        if (again <= target)
            return;
        target = again;
    }
    atomic_store(&pool->ceiling, ceiling);
}

/* Whether the ceiling is one that Redis has granted. */
static bool has_ceiling(const struct pool *pool)
{
    return pool_is_bounded(pool) && !atomic_load(&pool->is_lent);
}

/* The ceiling that the node holds, as a question tells it. */
static uint64_t held(const struct pool *pool)
{
    return has_ceiling(pool) ? atomic_load(&pool->ceiling) : atomic_load(pool->handed);
}

static struct ledger_told told_of(const struct pool *pool, uint64_t number, uint64_t need,
                                  uint64_t spare)
{
    uint64_t least = atomic_load(&pool->least);
    return (struct ledger_told){.count = number,
                                .is_new = !pool->is_known,
                                .ceiling = held(pool),
                                .least = least,
                                .want = least + need,
                                .spare = spare};
}

struct ledger_told pool_ask(struct pool *pool, uint64_t number, uint64_t need, uint64_t spare,
                            bool gives_back, uint64_t now_ms)
{
    check(number > pool->number);
    bool is_valid = pool_is_valid(pool, now_ms);
    if (has_ceiling(pool) && (gives_back || !is_valid))
        lower(pool, is_valid);
    pool->number = number;
    pool->asked_ms = now_ms;
    pool->is_answered = false;
    struct ledger_told told = told_of(pool, number, need, spare);
    pool->told = told.least > told.ceiling ? told.least : told.ceiling;
    return told;
}

struct ledger_told pool_inquire(const struct pool *pool, uint64_t number, uint64_t need)
{
    return told_of(pool, number, need, 0);
}

/* Takes over how much was posted before the pool was known: nothing was begun until then. */
static void learn(struct pool *pool, uint64_t posted)
{
    if (pool->is_known)
        return;
    pool->is_known = true;
    atomic_store(pool->handed, posted);
    atomic_store(&pool->least, posted);
}

void pool_take(struct pool *pool, uint64_t number, const struct ledger_credit *credit,
               uint64_t valid_until_ms)
{
    if (number != pool->number)
        return;
    pool->is_answered = true;
    atomic_store(&pool->is_lent, false);
    pool->is_kept = credit->bounds != LEDGER_BY_NOTHING || credit->ceiling > 0;
    pool->posted = credit->posted;
    if (credit->ceiling > pool->told)
        pool->told = credit->ceiling;
    if (credit->bounds != LEDGER_BY_NOTHING) {
        learn(pool, credit->posted);
        atomic_store(&pool->ceiling, credit->ceiling);
        if (credit->ceiling > credit->bound) /* money was taken away, or others need it */
            lower(pool, true);
    } else {
        atomic_store(&pool->ceiling, POOL_UNBOUNDED);
    }
    atomic_store(&pool->valid_until_ms, valid_until_ms);
}

void pool_told(struct pool *pool, uint64_t number, uint64_t posted, uint64_t valid_until_ms)
{
    if (number != pool->number)
        return;
    pool->is_answered = true;
    if (!pool->is_known)
        atomic_store(&pool->ceiling, posted);
    learn(pool, posted);
    pool->posted = posted;
    atomic_store(&pool->valid_until_ms, valid_until_ms);
}

void pool_bind(struct pool *pool)
{
    if (has_ceiling(pool))
        return;
    atomic_store(&pool->is_lent, false);
    atomic_store(&pool->valid_until_ms, 0);
    atomic_store(&pool->ceiling, atomic_load(pool->handed));
}

bool pool_lend(struct pool *pool, uint64_t bytes)
{
    if (atomic_load(&pool->is_lent))
        return true;
    if (pool_is_bounded(pool))
        return false;
    pool->lent_from = atomic_load(pool->handed);
    pool->lent_counted = 0;
    atomic_store(&pool->ceiling, pool->lent_from + bytes);
    atomic_store(&pool->is_lent, true);
    return true;
}

uint64_t pool_count_lent(struct pool *pool)
{
    uint64_t handed = atomic_load(pool->handed);
    if (!atomic_load(&pool->is_lent) || handed <= pool->lent_from + pool->lent_counted)
        return 0;
    uint64_t more = handed - pool->lent_from - pool->lent_counted;
    pool->lent_counted += more;
    return more;
}

bool pool_is_lowered(const struct pool *pool)
{
    return has_ceiling(pool) && pool->told > atomic_load(&pool->ceiling) &&
           pool->told > kept(pool, true);
}

bool pool_is_idle(const struct pool *pool)
{
    return pool->is_kept && pool->told > kept(pool, true);
}

bool pool_holds(const struct pool *pool)
{
    if (pool->number == 0 || (!pool->is_kept && !has_ceiling(pool)))
        return false;
    return !pool->is_answered || pool->told > pool->posted || kept(pool, true) > pool->posted;
}
