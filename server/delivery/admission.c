/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether a response may start and whether a transfer may go on. request.c, transfer.c and
 * worker.c call it. What the window has been granted already answers (grant/demand.c), else one
 * question to Redis for the window (asker.c); this file turns what was answered into a response, a
 * refusal or a cut. Connections that wait are parked (parked.c), and one question serves all that
 * wait for the same window, on whichever worker they are.
 *
 * This file never decides who is revoked: only Redis does. When a revocation is heard, the windows
 * of its account find that the ledger has heard more than they have; their transfers stop, ask, and
 * are cut by the answer. While Redis cannot be asked, a transfer goes on until its grant's validity
 * ends, or, where it must ask, waits until then.
 */
#include <errno.h>

#include "server/delivery/admission_internal.h"
#include "server/grant/coverage.h"
#include "server/link/token_cache.h"
#include "storage/media/media.h"

#define SHORT_WAIT_MS 300 /* see may_wait */

static const struct token *token_of(const struct connection *connection)
{
    return connection->link->token;
}

bool admission_fill_unasked(const struct worker *worker, struct connection *connection)
{
    const struct demand demand = asker_demand(connection);
    return demand_fill_unasked(worker->node->ledger, &demand, worker->now_ms);
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
        purse_return(&connection->purse, worker->node->windows, connection->window);
    count(refusal_status(refusal) == 503 ? &worker->stats.admissions_failed
                                         : &worker->stats.admissions_refused,
          1);
    response_refuse(worker, connection, refusal);
}

void admission_go_on(struct worker *worker, struct connection *connection)
{
    connection_leave(worker, connection, LIST_PARKED);
    if (connection->state == CONNECTION_SENDING) {
        purse_begin(&connection->purse, connection->window);
        limits_join(connection);
        transfer_run(worker, connection);
        return;
    }
    enum refusal refusal = limits_enter(worker, connection);
    if (refusal != REFUSAL_NONE) {
        admission_refuse(worker, connection, refusal);
        return;
    }
    purse_begin(&connection->purse, connection->window);
    response_start(worker, connection);
}

void admission_cannot_ask(struct worker *worker, struct connection *connection)
{
    if (connection->state != CONNECTION_SENDING ||
        !coverage_is_valid(connection->window, worker->now_ms))
        admission_refuse(worker, connection, REFUSAL_REDIS_UNAVAILABLE);
}

/*
 * Whether a response that is short of funds waits, SHORT_WAIT_MS at most, for others of its window
 * to end: a player that seeks asks again before it has closed the old response. parked_retry
 * decides it again. A transfer under way does not wait: it had its funds and is told at once.
 */
static bool may_wait(const struct worker *worker, struct connection *connection)
{
    if (connection->state == CONNECTION_SENDING || atomic_load(&connection->window->paying) == 0)
        return false;
    if (connection->short_until_ms == 0)
        connection->short_until_ms = worker->now_ms + SHORT_WAIT_MS;
    /* It is not decided again at each answer to another: they would keep each other asking. */
    connection->short_retry_ms = worker->now_ms + WORKER_TICK_MS;
    return worker->now_ms < connection->short_until_ms;
}

/* The account or the link is short of funds. First the spare funds of other windows go back to
 * Redis and it asks again; failing that it goes on with the funds of its own window, or waits for
 * the end of other responses, or is refused. */
static void on_short(struct worker *worker, struct connection *connection, enum ledger_fund fund,
                     enum refusal refusal)
{
    const struct demand demand = asker_demand(connection);
    if (grants_recall(&worker->grants, &demand, fund))
        asker_ask(worker, connection);
    else if (demand_fill_unasked(worker->node->ledger, &demand, worker->now_ms))
        admission_go_on(worker, connection);
    else if (may_wait(worker, connection)) /* others may have its funds while it waits */
        purse_return(&connection->purse, worker->node->windows, connection->window);
    else
        admission_refuse(worker, connection, refusal);
}

/* Tells the shop once for each window, not at each of a player's retries. */
static void on_used_up(struct worker *worker, struct connection *connection, enum refusal refusal)
{
    struct window *window = connection->window;
    if (connection->inquiry == NULL && !atomic_exchange(&window->used_up, true))
        node_notify(worker->node, window, LEDGER_LINK_USED_UP);
    admission_refuse(worker, connection, refusal);
}

static void on_granted(struct worker *worker, struct connection *connection)
{
    const struct demand demand = asker_demand(connection);
    if (connection->inquiry == NULL && !demand_fill(&demand)) {
        asker_ask(worker, connection); /* others have taken what the window had */
        return;
    }
    count(&worker->stats.admissions_granted, 1);
    admission_go_on(worker, connection);
}

void admission_decide(struct worker *worker, struct connection *connection,
                      enum ledger_admission admission)
{
    switch (admission) {
    case LEDGER_GRANTED:
        on_granted(worker, connection);
        break;
    case LEDGER_UNKNOWN:
        admission_refuse(worker, connection, REFUSAL_ACCOUNT_UNKNOWN);
        break;
    case LEDGER_SUSPENDED:
        admission_refuse(worker, connection, REFUSAL_ACCOUNT_SUSPENDED);
        break;
    case LEDGER_REVOKED:
        connection->link->revoked = true; /* so that HEAD, which asks nothing, is refused, too */
        admission_refuse(worker, connection, REFUSAL_LINK_REVOKED);
        break;
    case LEDGER_USED_UP:
        on_used_up(worker, connection, REFUSAL_LINK_USED_UP);
        break;
    case LEDGER_NOT_BEGUN:
        admission_refuse(worker, connection, refusal_of_verdict(REFUSED_EXPIRED));
        break;
    case LEDGER_INSUFFICIENT:
        on_short(worker, connection, LEDGER_FUND_ACCOUNT, REFUSAL_BALANCE_INSUFFICIENT);
        break;
    case LEDGER_ACCOUNT_BYTES_UP:
        on_short(worker, connection, LEDGER_FUND_ACCOUNT, REFUSAL_ACCOUNT_BYTES_USED_UP);
        break;
    case LEDGER_LINK_BYTES_UP:
        on_short(worker, connection, LEDGER_FUND_LINK, REFUSAL_LINK_BYTES_USED_UP);
        break;
    }
}

/* ---- entry points ---- */

static enum refusal node_refusal(const struct worker *worker)
{
    switch (ledger_state(worker->node->ledger)) {
    case LEDGER_READY:
    case LEDGER_FULL: /* open windows go on; window_open opens no other */
        return grants_may_ask(&worker->grants) ? REFUSAL_NONE : REFUSAL_REDIS_UNAVAILABLE;
    case LEDGER_CATCHING_UP:
        return REFUSAL_REDIS_UNAVAILABLE;
    case LEDGER_EXHAUSTED:
    case LEDGER_FAILED:
        return REFUSAL_JOURNAL_UNAVAILABLE;
    case LEDGER_REFUSED:
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
    if (refusal == REFUSAL_NONE)
        refusal = open_window(worker, connection);
    if (refusal != REFUSAL_NONE) {
        admission_refuse(worker, connection, refusal);
        return;
    }
    if (admission_fill_unasked(worker, connection)) {
        admission_go_on(worker, connection);
        return;
    }
    parked_enter(worker, connection);
    asker_ask(worker, connection);
}

void admission_more(struct worker *worker, struct connection *connection)
{
    parked_enter(worker, connection);
    if (grants_may_ask(&worker->grants))
        asker_ask(worker, connection);
    else
        admission_cannot_ask(worker, connection);
}

bool admission_is_valid(struct worker *worker, struct connection *connection)
{
    const struct grants *grants = &worker->grants;
    if (!admission_is_covered(worker, connection))
        return false;
    /* Past half of the validity the grant is renewed, while the transfer goes on. */
    if (coverage_is_due(connection->window, grants->settings.validity_ms, worker->now_ms) &&
        grants_may_ask(grants))
        asker_renew(worker, connection);
    return true;
}

void admission_sweep(struct worker *worker)
{
    grants_sweep(&worker->grants, worker->now_ms, worker->stopping);
}
