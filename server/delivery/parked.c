/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of a worker that wait for a grant, parked until what they wait for has come: an
 * answer, funds of their window, or the end of their patience. worker.c has it look at all of them
 * again, each tick, after a wake-up, and after a revocation or a reload; grant/decision.c decides
 * each, and admission.c carries it out.
 */
#include "server/delivery/admission_internal.h"
#include "server/link/token_cache.h"

_Static_assert(PATIENCE_RETRY_MS == WORKER_TICK_MS, "a response that is short waits for a tick");

void parked_enter(struct worker *worker, struct connection *connection)
{
    if (connection->state == CONNECTION_SENDING)
        connection->waiting = WAIT_GRANT;
    else {
        connection_set_state(connection, CONNECTION_ADMITTING);
        patience_begin(&connection->patience, worker->now_ms,
                       worker->node->config->admission_timeout_ms);
    }
    connection->question = connection->question_round = 0;
    connection_join(worker, connection, LIST_PARKED);
}

static void retry_one(struct worker *worker, struct connection *connection)
{
    uint32_t index = connection->index, generation = connection->generation;
    const struct demand demand = asker_demand(connection);
    admission_carry_out(
        worker, connection,
        decision_retry(&worker->grants, &demand, &connection->patience, worker->now_ms),
        REFUSAL_REDIS_UNAVAILABLE);
    connection_resume_if_alive(worker, index, generation);
}

void parked_retry(struct worker *worker)
{
    struct connection *connection = worker->parked.first;
    while (connection != NULL) {
        struct connection *next = connection->next[LIST_PARKED];
        retry_one(worker, connection);
        connection = next;
    }
}

/*
 * Grants were dropped, or (`keys`) key sets replaced. Transfers that wait for room, their rate or
 * acknowledgements would notice only when they may send again; those that run notice by themselves.
 */
void parked_look_again(struct worker *worker, bool keys)
{
    struct connection *connection = worker->unmetered.first;
    while (connection != NULL) {
        struct connection *next = connection->next[LIST_UNMETERED];
        if (connection->state == CONNECTION_SENDING && connection->window != NULL) {
            if (keys && !token_is_live(worker->trust, connection->link->token))
                transfer_cut(worker, connection, "the key that signed its link was removed");
            else if ((connection->waiting == WAIT_WRITABLE || connection->waiting == WAIT_RATE ||
                      connection->waiting == WAIT_ACKNOWLEDGED) &&
                     connection->left > 0 && !admission_is_covered(worker, connection))
                admission_more(worker, connection);
        }
        connection = next;
    }
    connection = keys ? worker->parked.first : NULL;
    while (connection != NULL) {
        struct connection *next = connection->next[LIST_PARKED];
        uint32_t index = connection->index, generation = connection->generation;
        if (!token_is_live(worker->trust, connection->link->token)) {
            admission_refuse(worker, connection, refusal_of_verdict(REFUSED_KEY_UNKNOWN));
            connection_resume_if_alive(worker, index, generation);
        }
        connection = next;
    }
}
