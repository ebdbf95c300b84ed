/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what a response does next about its grant: whether it may begin, go on, must ask Redis,
 * wait or be refused. admission.c and asker.c carry the decisions out on a connection; a
 * simulated response needs no other rules. Here is no connection, ring or socket, and nothing here
 * asks Redis: question.c does, where the decision is to ask.
 *
 * Only Redis decides who is revoked. While it cannot be asked, a transfer goes on until its grant's
 * validity ends, or, where it must ask, waits until then; outage.h says what goes on without it.
 */
#ifndef TOLLGATE_SERVER_GRANT_DECISION_H
#define TOLLGATE_SERVER_GRANT_DECISION_H

#include "server/grant/coverage.h"
#include "server/grant/grants.h"
#include "server/grant/outage.h"

/* What a response does next about its grant. */
enum decision {
    DECISION_GO,    /* begin, or go on: it has claimed what it needs */
    DECISION_ASK,   /* ask Redis (question_ask) */
    DECISION_WAIT,  /* stay parked: decision_retry decides again at each tick */
    DECISION_REFUSE /* refuse the client, or cut a transfer under way: for what Redis has answered,
                       or because Redis cannot be asked */
};

/* Whether a node may begin responses that need a grant, by the state of its ledger. */
enum readiness {
    READINESS_SERVES,
    READINESS_NO_REDIS,   /* Redis cannot be asked, or does not know yet what the journal holds */
    READINESS_NO_JOURNAL, /* nothing may be sent that cannot be billed */
    READINESS_STARTING    /* the node may not use its name or its state yet */
};

/* Why a response is refused for its funds, after Redis has granted it all else. */
enum shortage {
    SHORTAGE_NONE,
    SHORTAGE_BALANCE, /* the account, or the link, cannot pay for it beside what is under way */
    SHORTAGE_ACCOUNT_BYTES,
    SHORTAGE_LINK_BYTES,
    SHORTAGE_ELSEWHERE /* it can, but another node holds the funds and did not give them back */
};

/* A response that is short of funds waits so long at most, for others of its window to end or for
 * other nodes to give back what they hold idle; and so long, a worker's tick, before a question is
 * asked for it again. */
#define PATIENCE_SHORT_MS LEDGER_RECALL_MS
#define PATIENCE_RETRY_MS 100

/* How long a parked response waits. */
struct patience {
    uint64_t until_ms;       /* a new response waits for the questions of others until then */
    uint64_t short_until_ms; /* and for funds until then; 0: it was never short */
    uint64_t short_retry_ms; /* no question is asked for it before */
};

/* A new response is parked, and waits timeout_ms at most for the questions of others. */
static inline void patience_begin(struct patience *patience, uint64_t now_ms, uint64_t timeout_ms)
{
    patience->until_ms = now_ms + timeout_ms;
}

enum readiness decision_readiness(const struct grants *grants);
/* Of a new response whose window is open: GO, with its claim made, or ASK. */
static inline enum decision decision_begin(const struct grants *grants, const struct demand *demand,
                                           uint64_t now_ms)
{
    return demand_claim_unasked(grants->ledger, demand, now_ms) ||
                   outage_claim(grants, demand, now_ms)
               ? DECISION_GO
               : DECISION_ASK;
}
/*
 * Before each piece of a transfer, of whose demand it reads `window`, `iat` and `link_bounds` alone: GO,
 * or ASK where what was confirmed and granted no longer speaks for the transfer, which decision_more
 * then decides. `*renew`: past half of the validity it is to be renewed (question_renew), while the
 * transfer goes on.
 */
enum decision decision_next(const struct grants *grants, const struct demand *demand,
                            uint64_t now_ms, bool *renew);
/* Of a transfer that was parked because it has no funds or no validity left: GO where an outage lets
 * it on, ASK, or what decision_unanswered says. */
enum decision decision_more(const struct grants *grants, const struct demand *demand,
                            uint64_t now_ms);
/* Of a parked response that Redis has answered, not overtaken by a revocation. Any of the four; where
 * it is refused for its funds, `*shortage` says why. */
enum decision decision_answered(const struct demand *demand, const struct grants_answer *answer,
                                struct patience *patience, uint64_t now_ms,
                                enum shortage *shortage);
/* Of a parked response for which Redis cannot be asked now, or has not answered: GO where the outage
 * lets it on; a transfer WAITs while its grant is valid, whatever was heard since; else REFUSE. */
enum decision decision_unanswered(const struct grants *grants, const struct demand *demand,
                                  uint64_t now_ms);
/* Of a parked response, at each tick, and when a question for its window is over. Any of the four;
 * it is refused because Redis was not asked in time, or cannot be. */
enum decision decision_retry(const struct grants *grants, const struct demand *demand,
                             const struct patience *patience, uint64_t now_ms);

#endif
