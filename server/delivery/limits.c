/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limits that a node applies without asking Redis: how many responses of a link and an account
 * run at once, how fast they are, and how many may end unacknowledged. The limits come from the
 * token's claims and the account; quota.c counts. Called by admission.c and transfer.c. It waits
 * for nothing, and refuses nobody: its callers do.
 */
#include "server/delivery/limits.h"

#include "server/delivery/worker.h"
#include "server/link/token_cache.h"
#include "storage/media/media.h"

#define PACE_BURST_US     UINT64_C(10000000) /* sound sent at once, for a player's buffer */
#define PACE_BITS_UNKNOWN 320000 /* before the file is hashed: the highest bitrate of MP3 */
#define ACCOUNT_ALLOWANCE 16     /* times unacknowledged_max: an account has many listeners */

/* ---- bytes per second ---- */

/*
 * The bits per second at which the file plays; 0 where it has no frames, so that its pace is
 * unknown. Where the value errs it is too high, because a player that starves is worse than bytes
 * sent in vain. The bitrate of the frames leaves out all that is not sound (a cover, the pictures
 * of a film), so the value is at least the file's size divided by its playing time.
 */
static uint64_t bits_of(const struct media_file *file)
{
    if (file->etag[0] == '\0')
        return PACE_BITS_UNKNOWN;
    if (file->duration_ms == 0)
        return 0;
    uint64_t bits = file->size / file->duration_ms * 8000 +
                    file->size % file->duration_ms * 8000 / file->duration_ms;
    bits = bits > file->bitrate ? bits : file->bitrate;
    return bits < UINT32_MAX ? bits : UINT32_MAX;
}

/* The pace that the connection's token asks for: bytes per second (0: no pace), and how many
 * microseconds' worth may come at once. It is not kept in the window, because another token of the
 * same link may have another pace. */
struct pace {
    uint64_t rate, burst_us;
};

static struct pace pace_of(const struct exchange *exchange)
{
    uint64_t thousandth = exchange->link->token->limits.pace_thousandth;
    if (thousandth == 0)
        return (struct pace){0};
    return (struct pace){.rate = bits_of(exchange->file) * thousandth / 8000,
                         .burst_us = PACE_BURST_US * 1000 / thousandth};
}

void limits_learn(const struct worker *worker, struct exchange *exchange)
{
    if (exchange->link->token->limits.pace_thousandth > 0)
        media_file_learn(worker->files, exchange->file);
}

/* A bucket that limits this response, its rate and burst, and the quota that counts its sharers. */
struct flow {
    atomic_ullong *paid_us;
    uint64_t rate, burst_us;
    const struct quota *sharers;
};

/* Adds the quota's bucket to the flows, where it has a rate. Returns how many there are then. */
static unsigned add_quota(struct flow flows[3], unsigned count, struct quota *quota)
{
    struct bucket *bucket = &quota->bucket;
    uint64_t rate = atomic_load_explicit(&bucket->rate, memory_order_relaxed);
    if (rate > 0)
        flows[count++] = (struct flow){.paid_us = &bucket->paid_us,
                                       .rate = rate,
                                       .burst_us = bucket->burst_us,
                                       .sharers = quota};
    return count;
}

/* Lists the flows that limit the response; returns how many. */
static unsigned flows_of(const struct exchange *exchange, struct flow flows[3])
{
    struct window *window = exchange->window;
    struct quota *link = &window->link_group->quota;
    const struct pace pace = pace_of(exchange);
    unsigned count = 0;
    if (pace.rate > 0)
        flows[count++] = (struct flow){&window->paced_us, pace.rate, pace.burst_us, link};
    count = add_quota(flows, count, link);
    return add_quota(flows, count, &window->account_group->quota);
}

bool limits_bind(const struct exchange *exchange)
{
    struct flow flows[3];
    return exchange->window != NULL && flows_of(exchange, flows) > 0;
}

uint64_t limits_take(const struct worker *worker, const struct exchange *exchange, uint64_t want)
{
    struct flow flows[3];
    unsigned count = flows_of(exchange, flows);
    uint64_t taken = want;
    for (unsigned i = 0; i < count && taken > 0; i++) {
        uint64_t part = bucket_take_at(flows[i].paid_us, flows[i].rate, flows[i].burst_us, taken,
                                       atomic_load(&flows[i].sharers->responses), worker->now_ms);
        for (unsigned before = 0; before < i; before++)
            bucket_give_at(flows[before].paid_us, flows[before].rate, taken - part);
        taken = part;
    }
    return taken;
}

void limits_give(const struct exchange *exchange, uint64_t bytes)
{
    struct flow flows[3];
    unsigned count = bytes > 0 ? flows_of(exchange, flows) : 0;
    for (unsigned i = 0; i < count; i++)
        bucket_give_at(flows[i].paid_us, flows[i].rate, bytes);
}

/* ---- responses at once ---- */

void limits_set(const struct exchange *exchange)
{
    const struct token_limits *limits = &exchange->link->token->limits;
    struct quota *quota = &exchange->window->link_group->quota;
    atomic_store_explicit(&quota->bucket.rate, limits->rate, memory_order_relaxed);
    atomic_store_explicit(&quota->max_conns, limits->max_conns, memory_order_relaxed);
}

enum refusal limits_enter(const struct worker *worker, struct exchange *exchange)
{
    struct window *window = exchange->window;
    struct quota *link = &window->link_group->quota, *account = &window->account_group->quota;
    uint64_t allowance = worker->node->config->unacknowledged_max;
    if (quota_unacknowledged(link, worker->now_ms) > allowance ||
        quota_unacknowledged(account, worker->now_ms) > ACCOUNT_ALLOWANCE * allowance)
        return REFUSAL_TOO_MANY_UNACKNOWLEDGED;
    /* Three times the file has arrived or is under way, so this use of the link is over. Redis lags
     * a little behind; it says at the next request whether that was the last use. */
    if (exchange->link->token->limits.max_uses > 0 &&
        window_under_way(window) >= 3 * exchange->file->size)
        return REFUSAL_LINK_BUSY;
    /* Links and accounts without a limit are not counted, because workers would contend for the
     * counters. */
    if (quota_is_limited(link) || exchange->link->token->limits.pace_thousandth > 0) {
        if (!quota_enter(link))
            return REFUSAL_LINK_CONNECTIONS;
        exchange->in_link_quota = true;
    }
    if (quota_is_limited(account)) {
        if (!quota_enter(account))
            return REFUSAL_ACCOUNT_CONNECTIONS; /* limits_leave leaves the link's quota */
        exchange->in_account_quota = true;
    }
    return REFUSAL_NONE;
}

void limits_join(struct exchange *exchange)
{
    struct quota *account = &exchange->window->account_group->quota;
    if (exchange->in_account_quota || !quota_is_limited(account))
        return;
    quota_join(account);
    exchange->in_account_quota = true;
}

void limits_leave(struct exchange *exchange)
{
    if (exchange->in_link_quota)
        quota_leave(&exchange->window->link_group->quota);
    if (exchange->in_account_quota)
        quota_leave(&exchange->window->account_group->quota);
    exchange->in_link_quota = exchange->in_account_quota = false;
}
