/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has it decided whether a response may start and whether a transfer may go on (grant/decision.c),
 * and carries that out: a response, a question, a refusal or a cut. request.c, transfer.c and
 * worker.c call it. What the window has been granted already answers, else one question to Redis
 * for the window (asker.c). Connections that wait are parked (parked.c), and one question serves
 * all that wait for the same window, on whichever worker they are.
 *
 * Only Redis decides who is revoked. When a revocation is heard, the windows of its account find
 * that the ledger has heard more than they have; their transfers stop, ask, and are cut by the
 * answer.
 */
#include <errno.h>

#include "server/delivery/admission_internal.h"
#include "server/delivery/redis_connection.h"
#include "server/link/token_cache.h"
#include "storage/media/media.h"

static const struct token *token_of(const struct connection *connection)
{
    return connection->link->token;
}

bool admission_is_covered(const struct worker *worker, const struct connection *connection)
{
    return coverage_holds(worker->node->ledger, connection->window, token_of(connection)->iat,
                          worker->now_ms);
}

void admission_refuse(struct worker *worker, struct connection *connection, enum refusal refusal)
{
    connection_leave(worker, connection, LIST_PARKED);
    if (connection->state == CONNECTION_SENDING) {
        transfer_cut(worker, connection, refusal_text(refusal));
        return;
    }
    /* Now, or a slow client would hold funds while it is told. */
    if (connection->window != NULL)
        claim_end(&connection->claim, connection->window);
    count(refusal_status(refusal) == 503 ? &worker->stats.admissions_failed
                                         : &worker->stats.admissions_refused,
          1);
    response_refuse(worker, connection, refusal);
}

/* Starts the response, or lets the transfer send on. */
static void go_on(struct worker *worker, struct connection *connection)
{
    connection_leave(worker, connection, LIST_PARKED);
    if (connection->state == CONNECTION_SENDING) {
        limits_join(connection);
        transfer_run(worker, connection);
        return;
    }
    enum refusal refusal = limits_enter(worker, connection);
    if (refusal != REFUSAL_NONE) {
        admission_refuse(worker, connection, refusal);
        return;
    }
    response_start(worker, connection);
}

void admission_cannot_ask(struct worker *worker, struct connection *connection)
{
    const struct demand demand = asker_demand(connection);
    admission_carry_out(worker, connection,
                        decision_unanswered(&worker->grants, &demand, worker->now_ms),
                        REFUSAL_REDIS_UNAVAILABLE);
}

void admission_carry_out(struct worker *worker, struct connection *connection,
                         enum decision decision, enum refusal refusal)
{
    switch (decision) {
    case DECISION_GO:
        go_on(worker, connection);
        break;
    case DECISION_ASK:
        if (connection->state == CONNECTION_SENDING || redis_connection_lets_in(worker->redis))
            asker_ask(worker, connection);
        else
            admission_refuse(worker, connection, REFUSAL_REDIS_UNAVAILABLE);
        break;
    case DECISION_WAIT:
        break;
    case DECISION_REFUSE:
        admission_refuse(worker, connection, refusal);
        break;
    }
}

/* ---- what Redis has answered ---- */

/* The refusal for an answer of Redis; NONE for a grant. */
static enum refusal refusal_of_admission(enum ledger_admission admission)
{
    switch (admission) {
    case LEDGER_GRANTED:
        return REFUSAL_NONE;
    case LEDGER_UNKNOWN:
        return REFUSAL_ACCOUNT_UNKNOWN;
    case LEDGER_SUSPENDED:
        return REFUSAL_ACCOUNT_SUSPENDED;
    case LEDGER_REVOKED:
        return REFUSAL_LINK_REVOKED;
    case LEDGER_USED_UP:
        return REFUSAL_LINK_USED_UP;
    case LEDGER_NOT_BEGUN:
        return refusal_of_verdict(REFUSED_EXPIRED);
    case LEDGER_SET_ASIDE:
        return REFUSAL_ACCOUNT_SET_ASIDE;
    case LEDGER_OUTDATED: /* never: it counts as no answer */
        break;
    }
    return REFUSAL_NONE;
}

/* The refusal of a response for which Redis has granted all but the funds. */
static enum refusal refusal_of_shortage(enum shortage shortage)
{
    switch (shortage) {
    case SHORTAGE_NONE:
        break;
    case SHORTAGE_BALANCE:
        return REFUSAL_BALANCE_INSUFFICIENT;
    case SHORTAGE_ACCOUNT_BYTES:
        return REFUSAL_ACCOUNT_BYTES_USED_UP;
    case SHORTAGE_LINK_BYTES:
        return REFUSAL_LINK_BYTES_USED_UP;
    case SHORTAGE_ELSEWHERE:
        return REFUSAL_FUNDS_HELD_ELSEWHERE;
    }
    return REFUSAL_NONE;
}

/* Tells the shop once for each window, not at each of a player's retries. */
static void tell_used_up(const struct worker *worker, const struct connection *connection)
{
    struct window *window = connection->window;
    if (connection->inquiry == NULL && !atomic_exchange(&window->used_up, true))
        node_notify(worker->node, window, LEDGER_LINK_USED_UP);
}

void admission_decide(struct worker *worker, struct connection *connection,
                      const struct grants_answer *answer)
{
    const struct demand demand = asker_demand(connection);
    enum ledger_admission admission = answer->admission;
    enum shortage shortage;
    enum decision decision =
        decision_answered(&demand, answer, &connection->patience, worker->now_ms, &shortage);
    if (admission == LEDGER_REVOKED)
        connection->link->revoked = true; /* so that HEAD, which asks nothing, is refused, too */
    if (admission == LEDGER_USED_UP)
        tell_used_up(worker, connection);
    if (admission == LEDGER_GRANTED && decision == DECISION_GO)
        count(&worker->stats.admissions_granted, 1);
    admission_carry_out(worker, connection, decision,
                        admission == LEDGER_GRANTED ? refusal_of_shortage(shortage)
                                                    : refusal_of_admission(admission));
}

/* ---- entry points ---- */

static enum refusal node_refusal(const struct worker *worker)
{
    switch (decision_readiness(&worker->grants)) {
    case READINESS_SERVES:
        return REFUSAL_NONE;
    case READINESS_NO_REDIS:
        return outage_lets_on(worker->node->windows, worker->now_ms) ? REFUSAL_NONE
                                                                     : REFUSAL_REDIS_UNAVAILABLE;
    case READINESS_NO_JOURNAL:
        return REFUSAL_JOURNAL_UNAVAILABLE;
    case READINESS_STARTING:
        return REFUSAL_NODE_STARTING;
    }
    return REFUSAL_NODE_STARTING;
}

static enum refusal open_window(struct worker *worker, struct connection *connection)
{
    struct media_file *file = connection->file;
    const struct token *token = token_of(connection);
    struct ledger_file *name = file->user;
    int status = 0;
    if (name == NULL) {
        status = ledger_file_get(worker->node->ledger, file->path, file->path_length, &name);
        file->user = name;
    }
    const struct window_key key = {
        .link_id = connection->link->link_id,
        .account = connection->link->account,
        .file = name,
        .size = file->size,
        .jti = node_has_shop(worker->node, token->issuer_id) ? token->jti : NULL,
    };
    if (status == 0)
        status = grants_open_window(&worker->grants, &key, worker->now_ms, &connection->window);
    if (status == -ENOSPC || status == -EIO)
        return REFUSAL_JOURNAL_UNAVAILABLE;
    if (status != 0)
        return REFUSAL_NODE_BUSY;
    limits_set(connection);
    return REFUSAL_NONE;
}

void admission_begin(struct worker *worker, struct connection *connection)
{
    /* HEAD (RFC 9110 9.3.2) and an empty file bring no bytes: nothing is granted or metered. */
    if (connection->head_only || asker_need(connection) == 0) {
        response_start(worker, connection);
        return;
    }
    enum refusal refusal = node_refusal(worker);
    if (refusal == REFUSAL_NONE && ledger_account_is_set_aside(connection->link->account))
        refusal = REFUSAL_ACCOUNT_SET_ASIDE;
    if (refusal == REFUSAL_NONE)
        refusal = open_window(worker, connection);
    if (refusal != REFUSAL_NONE) {
        admission_refuse(worker, connection, refusal);
        return;
    }
    const struct demand demand = asker_demand(connection);
    enum decision decision = decision_begin(&worker->grants, &demand, worker->now_ms);
    if (decision == DECISION_ASK)
        parked_enter(worker, connection);
    admission_carry_out(worker, connection, decision, REFUSAL_NONE);
}

void admission_more(struct worker *worker, struct connection *connection)
{
    parked_enter(worker, connection);
    const struct demand demand = asker_demand(connection);
    admission_carry_out(worker, connection, decision_more(&worker->grants, &demand, worker->now_ms),
                        REFUSAL_REDIS_UNAVAILABLE);
}

/* The demand is the whole one, unlike that of admission_is_valid. */
static bool goes_on_without_redis(const struct worker *worker, struct connection *connection)
{
    const struct demand demand = asker_demand(connection);
    return outage_claim(&worker->grants, &demand, worker->now_ms);
}

bool admission_is_valid(struct worker *worker, struct connection *connection)
{
    /* Not asker_demand, as this comes before each piece, and decision_next reads no more. */
    const struct demand demand = {.window = connection->window,
                                  .iat = token_of(connection)->iat,
                                  .link_bounds = connection->claim.of_link};
    bool renew;
    if (decision_next(&worker->grants, &demand, worker->now_ms, &renew) != DECISION_GO)
        return goes_on_without_redis(worker, connection);
    if (renew)
        asker_renew(worker, connection);
    return true;
}

void admission_sweep(struct worker *worker)
{
    grants_sweep(&worker->grants, worker->now_ms, worker->stopping);
}
