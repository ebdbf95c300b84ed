/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The step ADMIT, and what SEND asks before it sends on: has it decided whether a response may start
 * and whether a transfer may go on (grant/decision.c), and says so by an outcome. What the window has
 * been granted already answers, else one question to Redis for the window (asker.c). Connections that
 * wait are parked, and one question serves all that wait for the same window, on whichever worker
 * they are.
 *
 * Only Redis decides who is revoked. When a revocation is heard, the windows of its account find
 * that the ledger has heard more than they have; their transfers stop, ask, and are cut by the
 * answer.
 */
#include "server/delivery/admission.h"

#include <errno.h>

#include "server/delivery/limits.h"
#include "server/delivery/redis_connection.h"
#include "server/link/token_cache.h"
#include "storage/media/media.h"

_Static_assert(PATIENCE_RETRY_MS == WORKER_TICK_MS, "a response that is short waits for a tick");

/* The connection waits in the worker's list, until what it waits for has come, a tick looks again, or
 * its patience ends. */
static void park(struct worker *worker, struct connection *connection, enum wait wait)
{
    struct exchange *exchange = &connection->exchange;
    if (!admission_is_under_way(connection))
        patience_begin(&exchange->patience, worker->now_ms,
                       worker->node->config->admission_timeout_ms);
    exchange->waiting = wait;
    exchange->question = exchange->question_round = 0;
    connection_join(worker, connection, LIST_PARKED);
}

static enum step_outcome refuse(struct worker *worker, struct connection *connection,
                                enum refusal refusal)
{
    connection_leave(worker, connection, LIST_PARKED);
    connection->exchange.refusal = refusal;
    if (!admission_is_under_way(connection))
        count(refusal_status(refusal) == 503 ? &worker->stats.admissions_failed
                                             : &worker->stats.admissions_refused,
              1);
    return STEP_REFUSE;
}

/* The response may start, or the transfer send on, unless a limit of the node stands against it. */
static enum step_outcome go_on(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    connection_leave(worker, connection, LIST_PARKED);
    if (admission_is_under_way(connection)) {
        limits_join(exchange);
        return STEP_NEXT;
    }
    enum refusal refusal = limits_enter(worker, exchange);
    return refusal == REFUSAL_NONE ? STEP_NEXT : refuse(worker, connection, refusal);
}

/* Does what was decided, but to ask; `refusal` is the reason where it is to refuse. To wait, the
 * connection must be parked. */
static enum step_outcome settle(struct worker *worker, struct connection *connection,
                                enum decision decision, enum refusal refusal)
{
    if (decision == DECISION_GO)
        return go_on(worker, connection);
    return decision == DECISION_REFUSE ? refuse(worker, connection, refusal) : STEP_WAIT;
}

/* Redis cannot be asked now, or has not answered: refuses, unless the connection may wait. */
static enum step_outcome cannot_ask(struct worker *worker, struct connection *connection)
{
    const struct demand demand = asker_demand(connection);
    return settle(worker, connection, decision_unanswered(&worker->grants, &demand, worker->now_ms),
                  REFUSAL_REDIS_UNAVAILABLE);
}

static enum step_outcome ask(struct worker *worker, struct connection *connection)
{
    return asker_ask(worker, connection) ? STEP_WAIT : cannot_ask(worker, connection);
}

/* Does what was decided. To ask, too, the connection must be parked. */
static enum step_outcome carry_out(struct worker *worker, struct connection *connection,
                                   enum decision decision, enum refusal refusal)
{
    if (decision != DECISION_ASK)
        return settle(worker, connection, decision, refusal);
    if (admission_is_under_way(connection) || redis_connection_lets_in(worker->redis))
        return ask(worker, connection);
    return refuse(worker, connection, REFUSAL_REDIS_UNAVAILABLE);
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
    case LEDGER_OUTDATED: /* never, as the next one: it counts as no answer */
    case LEDGER_FILLING:
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
    struct window *window = connection->exchange.window;
    if (connection->inquiry == NULL && !atomic_exchange(&window->used_up, true))
        node_notify(worker->node, window, LEDGER_LINK_USED_UP);
}

static enum step_outcome decide(struct worker *worker, struct connection *connection,
                                const struct grants_answer *answer)
{
    struct exchange *exchange = &connection->exchange;
    const struct demand demand = asker_demand(connection);
    enum ledger_admission admission = answer->admission;
    enum shortage shortage;
    enum decision decision =
        decision_answered(&demand, answer, &exchange->patience, worker->now_ms, &shortage);
    if (admission == LEDGER_REVOKED)
        exchange->link->revoked = true; /* so that HEAD, which asks nothing, is refused, too */
    if (admission == LEDGER_USED_UP)
        tell_used_up(worker, connection);
    if (admission == LEDGER_GRANTED && decision == DECISION_GO)
        count(&worker->stats.admissions_granted, 1);
    return carry_out(worker, connection, decision,
                     admission == LEDGER_GRANTED ? refusal_of_shortage(shortage)
                                                 : refusal_of_admission(admission));
}

/* Nothing was answered: a tick, or the end of another's question. */
static enum step_outcome retry(struct worker *worker, struct connection *connection)
{
    const struct demand demand = asker_demand(connection);
    return carry_out(
        worker, connection,
        decision_retry(&worker->grants, &demand, &connection->exchange.patience, worker->now_ms),
        REFUSAL_REDIS_UNAVAILABLE);
}

enum step_outcome admission_resume(struct worker *worker, struct connection *connection)
{
    const struct grants_answer *answer = connection->exchange.reply;
    connection->exchange.reply = NULL;
    if (!token_is_live(worker->trust, connection->exchange.link->token))
        return refuse(worker, connection, refusal_of_verdict(REFUSED_KEY_UNKNOWN));
    if (answer == NULL)
        return retry(worker, connection);
    if (answer->status != 0)
        return cannot_ask(worker, connection);
    return answer->is_overtaken ? ask(worker, connection) : decide(worker, connection, answer);
}

/* ---- the step ---- */

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

/* NONE without a window: the account is asleep. */
static enum refusal open_window(struct worker *worker, struct exchange *exchange)
{
    struct media_file *file = exchange->file;
    const struct token *token = exchange->link->token;
    struct ledger_file *name = file->user;
    int status = 0;
    if (name == NULL) {
        status = ledger_file_get(worker->node->ledger, file->path, file->path_length, &name);
        file->user = name;
    }
    const struct window_key key = {
        .link_id = exchange->link->link_id,
        .account = exchange->link->account,
        .file = name,
        .size = file->size,
        .jti = node_has_shop(worker->node, token->issuer_id) ? token->jti : NULL,
    };
    if (status == 0 && atomic_load_explicit(&worker->node->draining, memory_order_relaxed) &&
        !windows_have(worker->node->windows, &key))
        return REFUSAL_NODE_DRAINING;
    if (status == 0)
        status = grants_open_window(&worker->grants, &key, worker->now_ms, &exchange->window);
    if (status == -EINPROGRESS)
        return REFUSAL_NONE;
    if (status == -ENOSPC || status == -EIO)
        return REFUSAL_JOURNAL_UNAVAILABLE;
    if (status != 0)
        return REFUSAL_NODE_BUSY;
    limits_set(exchange);
    return REFUSAL_NONE;
}

/* Waits until the account is awake, which takes the writer a moment, unless its disk cannot be read. */
static enum step_outcome await_account(struct worker *worker, struct connection *connection)
{
    const struct exchange *exchange = &connection->exchange;
    if (exchange->waiting != WAIT_ACCOUNT)
        park(worker, connection, WAIT_ACCOUNT);
    else if (worker->now_ms >= exchange->patience.until_ms)
        return refuse(worker, connection, REFUSAL_JOURNAL_UNAVAILABLE);
    return STEP_WAIT;
}

static enum step_outcome begin(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    enum refusal refusal = node_refusal(worker);
    if (refusal == REFUSAL_NONE && ledger_account_is_set_aside(exchange->link->account))
        refusal = REFUSAL_ACCOUNT_SET_ASIDE;
    if (refusal == REFUSAL_NONE)
        refusal = open_window(worker, exchange);
    if (refusal != REFUSAL_NONE)
        return refuse(worker, connection, refusal);
    if (exchange->window == NULL)
        return await_account(worker, connection);
    exchange->waiting = WAIT_NONE;
    const struct demand demand = asker_demand(connection);
    enum decision decision = decision_begin(&worker->grants, &demand, worker->now_ms);
    if (decision == DECISION_ASK)
        park(worker, connection, WAIT_GRANT);
    return carry_out(worker, connection, decision, REFUSAL_NONE);
}

enum step_outcome step_admit(struct worker *worker, struct connection *connection)
{
    const struct exchange *exchange = &connection->exchange;
    /* HEAD (RFC 9110 9.3.2) and an empty file bring no bytes: nothing is granted or metered. */
    if (exchange->head_only || exchange_need(exchange) == 0)
        return STEP_NEXT;
    return exchange->waiting == WAIT_GRANT ? admission_resume(worker, connection)
                                           : begin(worker, connection);
}

/* ---- a transfer under way ---- */

bool admission_is_covered(const struct worker *worker, const struct exchange *exchange)
{
    return coverage_holds(worker->node->ledger, exchange->window, exchange->link->token->iat,
                          worker->now_ms);
}

enum step_outcome admission_more(struct worker *worker, struct connection *connection)
{
    park(worker, connection, WAIT_GRANT);
    const struct demand demand = asker_demand(connection);
    return carry_out(worker, connection, decision_more(&worker->grants, &demand, worker->now_ms),
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
    const struct exchange *exchange = &connection->exchange;
    /* Not asker_demand, as this comes before each piece, and decision_next reads no more. */
    const struct demand demand = {.window = exchange->window,
                                  .iat = exchange->link->token->iat,
                                  .link_bounds = exchange->claim.of_link};
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
