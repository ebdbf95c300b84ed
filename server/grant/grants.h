/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker's side of the windows: those that it opened, the Redis that it asks, and the settings
 * by which it asks. A worker has one `struct grants` for its life, and alone calls these functions
 * with it; the windows are shared. There is no connection, socket or thread here: time, Redis and
 * the responses that wait are reached by the tables of functions, so that a simulated worker needs
 * no others.
 */
#ifndef TOLLGATE_SERVER_GRANT_GRANTS_H
#define TOLLGATE_SERVER_GRANT_GRANTS_H

#include <stdbool.h>
#include <stdint.h>

#include "server/grant/demand.h"
#include "server/grant/window.h"
#include "storage/ledger/ledger.h"
#include "storage/ledger/outside.h"

/* By the configuration's keys. */
struct grants_settings {
    uint64_t validity_ms;      /* grant_validity_ms */
    uint64_t slice_bytes;      /* grant_slice_bytes */
    uint64_t use_period_ms;    /* use_window_s */
    uint64_t link_lifetime_ms; /* link_lifetime_max_s */
};

/* Names a response that asks; only its worker knows what the numbers mean. */
struct grants_asker {
    uint32_t index, generation;
    uint64_t question; /* numbers the worker's questions from 1; 0: it has asked none */
    uint64_t round;    /* the last question of others of which its need is a part */
};

/* What a question came to. */
struct grants_answer {
    /* 0; -ENOTCONN: Redis is gone, -EPROTO: it cannot, -ETIMEDOUT: it is late, -ESTALE: a later
     * question was there before, or Redis has lost data that it may lack for this answer. */
    int status;
    bool lacks_data;   /* Redis has lost data, and may have more funds once it has them again */
    bool is_overtaken; /* by a revocation, so that the response must ask again */
    /* With status 0. */
    enum ledger_admission admission;
    unsigned subjects;                      /* set of enum window_subject */
    struct ledger_credit funds, link_funds; /* of those that are subjects */
};

/* What the grants want of their worker. */
struct grants_worker {
    void *self;
    /* The question is over, and others may ask for its window. Called once for each question that
     * was asked for a response, which may wait no longer; may ask again. */
    void (*answered)(void *self, const struct grants_asker *asker,
                     const struct grants_answer *answer);
    /* Responses of other workers (a bit each) waited for a question that is over. */
    void (*wake)(void *self, uint64_t workers);
};

struct grants {
    struct windows *windows;          /* borrows */
    struct ledger *ledger;            /* borrows */
    const struct ledger_redis *redis; /* borrows; `open` and `close` are not called */
    const struct ledger_clock *clock; /* borrows; monotonic_ms alone is called */
    struct grants_worker worker;
    struct grants_settings settings;
    unsigned number;             /* the worker's, below 64 */
    struct window *owned;        /* windows that it opened */
    struct window_group *groups; /* and their groups that were made for them */
    uint64_t swept_ms;           /* when it swept last */
    uint64_t losses_told; /* of the last sweep that found all ceilings told: ledger_losses + 1 */
    uint64_t questions;   /* the number of the last one of a response */
    uint32_t overdue;     /* questions whose answers are late, and still awaited */
};

static inline bool grants_may_ask(const struct grants *grants)
{
    return grants->redis->is_ready(grants->redis->self);
}
/* Whether Redis cannot be asked, or has not answered in time. */
static inline bool grants_are_cut_off(const struct grants *grants)
{
    return grants->overdue > 0 || !grants_may_ask(grants);
}
/*
 * Finds or opens a window, as window_open does, whose errors it returns; *out is a reference for
 * the caller. At the bound it first ends idle windows to make room. `key.owner` is not read. Also -EINPROGRESS:
 * the account is asleep, and will wake within a moment (ledger_account_is_awake).
 */
int grants_open_window(struct grants *grants, const struct window_key *key, uint64_t now_ms,
                       struct window **out);
/* Ends the windows that this worker opened and that have been idle for a while (`all`: that are
 * idle now), tells Redis again what their groups hold, and frees those that hold nothing. */
void grants_sweep(struct grants *grants, uint64_t now_ms, bool all);
/* Whether Redis has lost its data, and this worker has not told it all ceilings since: other nodes wait
 * for that, so it is to sweep at each tick. */
static inline bool grants_owe_ceilings(const struct grants *grants)
{
    uint64_t losses = ledger_losses(grants->ledger);
    return (losses & 1) != 0 && grants->losses_told != losses + 1;
}
/* Gives back what is idle of the accounts that another node was short of just now. It looks at one atomic
 * of each group, so it may be called at each tick. */
void grants_give_back(struct grants *grants, uint64_t now_ms);

#endif
