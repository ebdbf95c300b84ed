/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks Redis about links whose answers carry no bytes, and remembers what it said in the token
 * cache's entry. It sends nothing to clients. See standing.h.
 */
#include "server/delivery/standing.h"

#include <stdlib.h>

#include "server/base/check.h"
#include "server/delivery/connection.h"
#include "server/delivery/redis_connection.h"

#define STANDING_ASKS_MAX 3 /* for one head, where revocations overtake the answers */

/* A question under way, and the connection that waits for it. */
struct standing_question {
    struct worker *worker;     /* borrows */
    struct token_entry *entry; /* holds */
    uint32_t index, generation;
    uint64_t asked_ms;
    struct ledger_heard heard;
};

enum standing standing_of(const struct worker *worker, const struct connection *connection)
{
    const struct token_entry *entry = connection->link;
    if (entry->revoked)
        return STANDING_REVOKED;
    if (connection->standing_good)
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

/* Lets the connection read its head again, with `word` as the answer to its question. */
static void go_on(struct standing_question *question, enum word word)
{
    struct worker *worker = question->worker;
    uint32_t index = question->index;
    if (index == CONNECTION_NONE) /* the connection has gone on already */
        return;
    question->index = CONNECTION_NONE;
    check(index < worker->taken);
    struct connection *connection = &worker->connections[index];
    if (connection->generation != question->generation || connection->state != CONNECTION_PREPARING)
        return;
    /*
     * The answer holds for this head even while the push connection is down: it is of this moment.
     */
    connection->standing_good = word == WORD_GOOD;
    if (word != WORD_STALE)
        connection->standing_asks = STANDING_ASKS_MAX;
    connection_set_state(connection, CONNECTION_READING);
    connection_resume(worker, connection);
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

bool standing_ask(struct worker *worker, struct connection *connection)
{
    const struct ledger_redis *redis = redis_connection_table(worker->redis);
    struct token_entry *entry = connection->link;
    if (connection->standing_asks >= STANDING_ASKS_MAX || !redis->is_ready(redis->self))
        return false;
    struct standing_question *question = malloc(sizeof(*question));
    if (question == NULL)
        return false;
    connection->standing_asks++;
    entry->references++;
    *question = (struct standing_question){
        .worker = worker,
        .entry = entry,
        .index = connection->index,
        .generation = connection->generation,
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
    } else {
        connection_set_state(connection, CONNECTION_PREPARING);
    }
    return status == 0;
}
