/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The step STANDING: whether a link has been revoked, for answers that carry no bytes of the file:
 * HEAD, 304, 412, 416. These need no grant, so ADMIT does not ask about them; this step asks Redis
 * once for a link, remembers the answer in the token cache's entry, and asks again when the node has
 * heard of a revocation in its account. Where Redis cannot be asked, the answer follows what the node
 * knows.
 */
#include <stdlib.h>

#include "server/base/check.h"
#include "server/delivery/connection.h"
#include "server/delivery/redis_connection.h"
#include "server/link/token_cache.h"

#define STANDING_ASKS_MAX 3 /* for one head, where revocations overtake the answers */

/* A question under way, and the connection that waits for it. */
struct standing_question {
    struct worker *worker;               /* borrows */
    struct token_entry *entry;           /* holds */
    uint32_t index, generation, answers; /* of whose exchange, see exchange_of */
    uint64_t asked_ms;
    struct ledger_heard heard;
};

/* What is known of a link. */
enum standing {
    STANDING_UNKNOWN, /* it may have been revoked since it was asked about */
    STANDING_GOOD,
    STANDING_REVOKED, /* for good: no revocation is taken back */
};

static enum standing standing_of(const struct worker *worker, const struct exchange *exchange)
{
    const struct token_entry *entry = exchange->link;
    if (entry->revoked)
        return STANDING_REVOKED;
    if (exchange->standing_good)
        return STANDING_GOOD;
    const struct ledger_heard now = ledger_heard(worker->node->ledger, entry->account);
    return worker->now_ms < entry->good_until_ms &&
                   ledger_push_is_up(worker->node->ledger, worker->now_ms) &&
                   ledger_heard_is_same(&now, &entry->good_as_of)
               ? STANDING_GOOD
               : STANDING_UNKNOWN;
}

/* What a reply of Redis says of the link. */
enum word {
    WORD_NONE,  /* nothing, or nothing of use */
    WORD_STALE, /* a revocation in the account has overtaken it: ask again */
    WORD_GOOD,
    WORD_REVOKED,
};

static enum word learn(const struct standing_question *question, const struct redisReply *reply)
{
    const struct worker *worker = question->worker;
    const struct ledger *ledger = worker->node->ledger;
    struct token_entry *entry = question->entry;
    struct ledger_grant grant;
    if (reply == NULL || ledger_admit_reply(reply, &grant) != 0)
        return WORD_NONE;
    if (grant.admission == LEDGER_REVOKED) {
        entry->revoked = true;
        return WORD_REVOKED;
    }
    /* Read before the grant is judged: a revocation that comes from now on counts as news. */
    const struct ledger_heard now = ledger_heard(ledger, entry->account);
    if (ledger_grant_is_stale(ledger, entry->account, &grant, &question->heard))
        return WORD_STALE;
    if (grant.admission != LEDGER_GRANTED)
        return WORD_NONE;
    entry->good_as_of = now;
    entry->good_until_ms = question->asked_ms + worker->node->config->grant_validity_ms;
    return WORD_GOOD;
}

/* The connection whose exchange still waits for the question's answer; else NULL. */
static struct connection *waiting_for(const struct standing_question *question)
{
    check(question->index < question->worker->taken);
    struct connection *connection = &question->worker->connections[question->index];
    return connection->generation == question->generation && connection->state == STATE_STANDING &&
                   connection->answers == question->answers
               ? connection
               : NULL;
}

/* Lets the exchange go on, with `word` as the answer to its question. */
static void go_on(struct standing_question *question, enum word word)
{
    if (question->index == CONNECTION_NONE) /* it has gone on already */
        return;
    struct connection *connection = waiting_for(question);
    question->index = CONNECTION_NONE;
    if (connection == NULL)
        return;
    /*
     * The answer holds for this exchange even while the push connection is down: it is of this
     * moment.
     */
    connection->exchange.standing_good = word == WORD_GOOD;
    if (word != WORD_STALE)
        connection->exchange.standing_asks = STANDING_ASKS_MAX;
    question->worker->run(question->worker, connection);
}

static void on_late(void *context)
{
    go_on(context, WORD_NONE);
}

static void on_answer(void *context, const struct redisReply *reply)
{
    struct standing_question *question = context;
    enum word word = learn(question, reply);
    go_on(question, word);
    token_entry_drop(&question->entry);
    free(question);
}

/* Asks Redis about the link. False where Redis cannot be asked, or has been asked too often for this
 * exchange already. */
static bool ask(struct worker *worker, struct connection *connection)
{
    const struct ledger_redis *redis = redis_connection_table(worker->redis);
    struct exchange *exchange = &connection->exchange;
    struct token_entry *entry = exchange->link;
    if (exchange->standing_asks >= STANDING_ASKS_MAX || !redis->is_ready(redis->self))
        return false;
    struct standing_question *question = malloc(sizeof(*question));
    if (question == NULL)
        return false;
    exchange->standing_asks++;
    entry->references++;
    *question = (struct standing_question){
        .worker = worker,
        .entry = entry,
        .index = connection->index,
        .generation = connection->generation,
        .answers = connection->answers,
        .asked_ms = worker->now_ms,
        .heard = ledger_heard(worker->node->ledger, entry->account),
    };
    const struct ledger_ask wanted = {
        .account = entry->account,
        .link_id = entry->link_id,
        .validity_ms = (uint32_t)worker->node->config->grant_validity_ms,
        .iat = entry->token->iat,
        .takes_nothing = true,
    };
    struct ledger_command command;
    ledger_admit_command(worker->node->ledger, &wanted, &command);
    int status = redis->send(redis->self, command.argc, command.argv, command.lengths, on_answer,
                             on_late, question);
    if (status != 0) {
        token_entry_drop(&question->entry);
        free(question);
    }
    return status == 0;
}

/* Whether bytes of the file are to be sent, so that ADMIT asks. */
static bool brings_bytes(const struct exchange *exchange)
{
    return exchange->answer == ANSWER_FILE && !exchange->head_only && exchange->body_length > 0;
}

enum step_outcome step_standing(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    if (brings_bytes(exchange))
        return STEP_NEXT;
    /* While Redis was waited for, the key that signed the link may have been removed. */
    if (exchange->waiting == WAIT_STANDING &&
        !token_is_live(worker->trust, exchange->link->token)) {
        exchange->refusal = refusal_of_verdict(REFUSED_KEY_UNKNOWN);
        return STEP_REFUSE;
    }
    enum standing standing = standing_of(worker, exchange);
    if (standing == STANDING_UNKNOWN && ask(worker, connection)) {
        exchange->waiting = WAIT_STANDING;
        return STEP_WAIT;
    }
    exchange->waiting = WAIT_NONE;
    exchange->standing_unknown = standing == STANDING_UNKNOWN;
    if (standing == STANDING_REVOKED)
        exchange->refusal = REFUSAL_LINK_REVOKED;
    if (exchange->refusal != REFUSAL_NONE)
        return STEP_REFUSE;
    return exchange->answer == ANSWER_FILE ? STEP_NEXT : STEP_ANSWER;
}
