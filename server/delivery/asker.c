/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts a connection's case to the worker's grants (grant/question.c), and brings their answers back
 * to it: it works out the demand of a connection, and finds the connection of a question, which the
 * driver then runs. Called by admission.c, and by the grants, through struct grants_worker. It
 * decides nothing.
 */
#include <errno.h>

#include "server/base/check.h"
#include "server/delivery/admission.h"
#include "server/delivery/redis_connection.h"
#include "server/grant/question.h"
#include "server/link/token_cache.h"
#include "storage/media/media.h"

static const struct token *token_of(const struct connection *connection)
{
    return connection->exchange.link->token;
}

struct demand asker_demand(struct connection *connection)
{
    const struct token *token = token_of(connection);
    const struct token_limits *limits = &token->limits;
    struct exchange *exchange = &connection->exchange;
    return (struct demand){
        .window = exchange->window,
        .claim = &exchange->claim,
        .need = exchange_need(exchange),
        .size = exchange->file->size,
        .iat = token->iat,
        .has_terms = limits->max_uses > 0 || limits->max_bytes > 0 || limits->resume_s > 0,
        .link_bounds = limits->max_bytes > 0,
        .is_under_way = admission_is_under_way(connection),
        .takes_nothing = connection->inquiry != NULL,
    };
}

static struct question_terms terms_of(const struct worker *worker,
                                      const struct connection *connection)
{
    const struct token *token = token_of(connection);
    const struct token_limits *limits = &token->limits;
    return (struct question_terms){
        .max_uses = limits->max_uses,
        .max_bytes = limits->max_bytes,
        /* No overflow: exp lies at most link_lifetime_max_s ahead, and resume_s is no longer. */
        .till_ms = ((uint64_t)token->exp + limits->resume_s) * 1000,
        .stage = admission_is_under_way(connection)        ? LEDGER_UNDER_WAY
                 : token_is_resuming(token, worker->now_s) ? LEDGER_RESUMING
                                                           : LEDGER_BEGINNING,
    };
}

bool asker_ask(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    const struct demand demand = asker_demand(connection);
    const struct question_terms terms = terms_of(worker, connection);
    struct grants_asker asker = {.index = connection->index,
                                 .generation = connection->generation,
                                 .question = exchange->question,
                                 .round = exchange->question_round};
    int status = question_ask(&worker->grants, &demand, &terms, &asker);
    exchange->question = asker.question;
    exchange->question_round = asker.round;
    if (status == 0)
        count(&worker->stats.admissions_asked, 1);
    return status == 0 || status == -EALREADY;
}

void asker_renew(struct worker *worker, struct connection *connection)
{
    const struct demand demand = asker_demand(connection);
    const struct question_terms terms = terms_of(worker, connection);
    if (question_renew(&worker->grants, &demand, &terms) == 0)
        count(&worker->stats.admissions_asked, 1);
}

/* The connection that asked, where the same exchange still waits for the answer; else NULL. */
static struct connection *asker_of(const struct worker *worker, const struct grants_asker *asker)
{
    check(asker->index < worker->taken);
    struct connection *connection = &worker->connections[asker->index];
    if (connection->generation != asker->generation || !connection->listed[LIST_PARKED] ||
        connection->exchange.question != asker->question)
        return NULL;
    return connection;
}

static void answered(void *self, const struct grants_asker *asker,
                     const struct grants_answer *answer)
{
    struct worker *worker = self;
    struct connection *connection = asker_of(worker, asker);
    if (connection == NULL)
        return;
    connection->exchange.reply = answer; /* for the step, which the driver runs now */
    worker->run(worker, connection);
}

static void wake(void *self, uint64_t workers)
{
    const struct worker *worker = self;
    for (unsigned i = 0; i < worker->node->worker_count; i++) {
        if (workers >> i & 1)
            worker_wake(worker->node->workers[i]);
    }
}

static uint64_t turn_ms(void *self)
{
    return ((const struct worker *)self)->now_ms;
}

void asker_prepare(struct worker *worker)
{
    const struct config *config = worker->node->config;
    worker->clock = (struct ledger_clock){.self = worker, .monotonic_ms = turn_ms};
    worker->grants = (struct grants){
        .windows = worker->node->windows,
        .ledger = worker->node->ledger,
        .redis = redis_connection_table(worker->redis),
        .clock = &worker->clock,
        .worker = {.self = worker, .answered = answered, .wake = wake},
        .settings = {.validity_ms = config->grant_validity_ms,
                     .slice_bytes = config->grant_slice_bytes,
                     .use_period_ms = config->use_window_s * 1000,
                     .link_lifetime_ms = config->link_lifetime_max_s * 1000},
        .number = worker->index,
    };
}
