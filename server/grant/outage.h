/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An outage is a time in which the node cannot ask Redis. With `redis_down: continue` the responses of
 * accounts that Redis has confirmed, and has bounded by nothing, go on without it: up to so many bytes
 * of each account, while so much of the journal waits for Redis, and for so long, because revocations
 * are not heard meanwhile. What an outage lets in ends with it: afterwards Redis is asked about all of
 * it. Called by decision.c and admission.c on a response's worker, and by worker 0 at each tick.
 */
#ifndef TOLLGATE_SERVER_GRANT_OUTAGE_H
#define TOLLGATE_SERVER_GRANT_OUTAGE_H

#include "server/grant/demand.h"
#include "server/grant/grants.h"

/* By the configuration's keys. */
struct outage_settings {
    uint64_t longest_ms;        /* redis_down_ms_max; 0: redis_down is wait */
    uint64_t bytes_max;         /* redis_down_bytes_max, of each account */
    uint64_t journal_bytes_max; /* redis_down_journal_bytes_max */
};

/* Before any worker has the windows. */
void outage_settle(struct windows *windows, const struct outage_settings *settings);
/* Notes whether the node could ask Redis at now_ms, and heard it; one thread alone calls it. */
void outage_observe(struct windows *windows, bool is_granting, uint64_t now_ms);
/* Whether responses may go on without Redis, where it cannot be asked: the time, and the room in the
 * journal, are not over. */
bool outage_lets_on(const struct windows *windows, uint64_t now_ms);
/* For how long it would be so from now on; 0: not at all. */
uint64_t outage_left_ms(const struct windows *windows, uint64_t now_ms);
/*
 * Whether the response begins, or goes on, without Redis: it cannot be asked now, or owes an answer
 * that is late; the account is known, without a bound, and under its cap; and the link has no terms and
 * is not revoked, as far as this node has heard. A new response has claimed what it needs then.
 */
bool outage_claim(const struct grants *grants, const struct demand *demand, uint64_t now_ms);

/* What has begun or gone on without Redis, since the node started. */
struct outage_count {
    uint64_t responses, bytes; /* handed to the kernel, less what came back; as of the last sweep */
};
struct outage_count outage_counted(const struct windows *windows);
/* The same as of now; it looks at every group, so it is for the end of an outage. */
struct outage_count outage_count_all(struct windows *windows);

#endif
