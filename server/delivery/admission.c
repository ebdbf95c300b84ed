/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether a response may start and whether a transfer may go on. request.c, transfer.c and
 * worker.c call it. The window's grant answers where it is valid and has funds, else one question
 * to Redis for the window (in the terms of RFC 8506: a grant of so many bytes, valid so long). A
 * response takes its funds when it begins. Connections that wait are parked, and one question
 * serves all that wait for the same window, on whichever worker they are.
 *
 * This file never decides who is revoked: only Redis does. When a revocation is heard, the windows
 * of its account find that the ledger has heard more than they have; their transfers stop, ask, and
 * are cut by the answer. While Redis cannot be asked, a transfer goes on until its grant's validity
 * ends, or, where it must ask, waits until then.
 */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "server/base/log.h"
#include "server/delivery/connection.h"
#include "server/delivery/redis_link.h"
#include "server/link/token_cache.h"
#include "storage/media/media.h"

#define SHORT_WAIT_MS 300 /* see may_wait */

/* A question to Redis that is under way: its window, and the connection that asked. */
struct ask {
    struct worker *worker;      /* borrows */
    struct window *window;      /* holds */
    uint32_t index, generation; /* of the connection; index CONNECTION_NONE: a mere renewal */
    uint64_t question;
    uint64_t asked_ms;
    struct ledger_heard heard; /* of revocations, when it was asked */
    uint64_t keep_ms;          /* of the link's terms; 0: none */
    int64_t iat;
    bool is_inquiry; /* it takes nothing, so nothing is granted, whatever the answer says */
    bool is_late;    /* it timed out: the connection was answered without it */
};

static bool link_is_up(const struct worker *worker)
{
    const struct ledger_redis *redis = redis_link_table(worker->redis);
    return redis->is_ready(redis->self);
}

static int send_command(const struct worker *worker, const struct ledger_command *command,
                        ledger_redis_done *done, ledger_redis_late *late, void *context)
{
    const struct ledger_redis *redis = redis_link_table(worker->redis);
    return redis->send(redis->self, command->argc, command->argv, command->lengths, done, late,
                       context);
}

/* Gives funds back to Redis. Where Redis cannot be reached, the grant's expiry gives them back. */
static void give_funds(void *context, const struct ledger_account *account,
                       const unsigned char link[WINDOW_KEY_SIZE], const struct funds *funds)
{
    struct worker *worker = context;
    struct ledger_command command;
    ledger_release_command(worker->node->ledger, account, link, funds->bytes, &command);
    (void)send_command(worker, &command, NULL, NULL, NULL);
}

/* ---- deciding ---- */

static const struct token *token_of(const struct connection *connection)
{
    return connection->link->token;
}

/* Whether Redis keeps a state of the link: its uses, its bytes, or that it was begun in time. */
static bool has_terms(const struct token *token)
{
    const struct token_limits *limits = &token->limits;
    return limits->max_uses > 0 || limits->max_bytes > 0 || limits->resume_s > 0;
}

/* The bytes that this response needs from Redis beyond its purse and its window's spare funds. */
static uint64_t need_of(struct worker *worker, struct connection *connection)
{
    struct window *window = connection->window;
    struct funds surplus = {0};
    unsigned set = purse_set(connection);
    uint64_t need = purse_need(connection);
    if (set == 0)
        return need;
    uint64_t has = window_level(window, set, &connection->purse, &surplus);
    if (!funds_are_empty(&surplus)) /* must reach Redis before the question, which may need it */
        give_funds(worker, window->account, window->link, &surplus);
    return has >= need ? 0 : need - has;
}

/* Whether the window's grant is valid, no revocation was heard since it was confirmed, and it was
 * confirmed for a token at least as old as this one. */
static bool is_covered(const struct worker *worker, const struct connection *connection)
{
    const struct window *window = connection->window;
    const struct ledger_heard now = ledger_heard(worker->node->ledger, window->account),
                              then = {.epoch = atomic_load(&window->heard_epoch),
                                      .messages = atomic_load(&window->heard_messages)};
    return ledger_heard_is_same(&now, &then) &&
           worker->now_ms < atomic_load(&window->valid_until_ms) &&
           token_of(connection)->iat >= atomic_load(&window->iat);
}

/*
 * Whether a new response may start without a question: only while the push connection is up, so
 * that every revocation is heard. A link with terms must also be in a use whose period is not over,
 * and of which less than three times the file has arrived.
 */
static bool may_start_unasked(const struct worker *worker, const struct connection *connection)
{
    struct window *window = connection->window;
    uint64_t opened = atomic_load(&window->opened_ms);
    if (!ledger_push_is_up(worker->node->ledger, worker->now_ms))
        return false;
    if (opened == 0)
        return !has_terms(token_of(connection));
    return worker->now_ms < atomic_load(&window->use_until_ms) &&
           window_arrived(window) < 3 * connection->file->size;
}

/* Takes the funds to start or to go on, where the window's grant allows that without a question. */
static bool take_funds_unasked(const struct worker *worker, struct connection *connection)
{
    bool sending = connection->state == CONNECTION_SENDING;
    return is_covered(worker, connection) && (sending || may_start_unasked(worker, connection)) &&
           purse_fill(connection);
}

static void refuse(struct worker *worker, struct connection *connection, enum refusal refusal)
{
    connection_unlink(worker, connection, LINK_PARKED);
    if (connection->state == CONNECTION_SENDING) {
        transfer_cut(worker, connection, refusal_text(refusal));
        return;
    }
    purse_return(worker, connection); /* now: a slow client must not hold funds while it is told */
    count(refusal_status(refusal) == 503 ? &worker->stats.admissions_failed
                                         : &worker->stats.admissions_refused,
          1);
    response_refuse(worker, connection, refusal);
}

static void go_on(struct worker *worker, struct connection *connection)
{
    connection_unlink(worker, connection, LINK_PARKED);
    if (connection->state == CONNECTION_SENDING) {
        purse_begin(connection);
        limits_join(connection);
        transfer_run(worker, connection);
        return;
    }
    enum refusal refusal = limits_enter(worker, connection);
    if (refusal != REFUSAL_NONE) {
        refuse(worker, connection, refusal);
        return;
    }
    purse_begin(connection);
    response_start(worker, connection);
}

static void wake_others(struct worker *worker, uint64_t waiters)
{
    for (unsigned i = 0; i < worker->node->worker_count; i++) {
        if (waiters >> i & 1)
            worker_wake(worker->node->workers[i]);
    }
}

/* Redis cannot be asked now. A transfer stays parked while its grant is valid, and admission_retry
 * looks at it again; anything else is refused. */
static void cannot_ask(struct worker *worker, struct connection *connection)
{
    if (connection->state != CONNECTION_SENDING ||
        worker->now_ms >= atomic_load(&connection->window->valid_until_ms))
        refuse(worker, connection, REFUSAL_REDIS_UNAVAILABLE);
}

/* ---- asking ---- */

static void on_admission(void *context, const struct redisReply *reply);
static void on_late(void *context);

static void fill_terms(const struct worker *worker, const struct connection *connection,
                       struct ledger_terms *terms)
{
    const struct token *token = token_of(connection);
    const struct token_limits *limits = &token->limits;
    *terms = (struct ledger_terms){
        .path = connection->file->path,
        .path_length = connection->file->path_length,
        .size = connection->file->size,
        .max_uses = limits->max_uses,
        .max_bytes = limits->max_bytes,
        /* Neither overflows: exp lies at most link_lifetime_max_s ahead, and resume_s is no longer.
         * The state is kept for the life of another link, as the same jti may be signed again. */
        .till_ms = ((uint64_t)token->exp + limits->resume_s) * 1000,
        .keep_ms =
            ((uint64_t)token->exp + limits->resume_s + worker->node->config->link_lifetime_max_s) *
            1000,
        .window_ms = worker->node->config->use_window_s * 1000,
        .stage = connection->state == CONNECTION_SENDING   ? LEDGER_UNDER_WAY
                 : token_is_resuming(token, worker->now_s) ? LEDGER_RESUMING
                                                           : LEDGER_BEGINNING,
    };
}

/* Sends the question. The caller holds the right to ask (window_ask). 0, or a negative errno where
 * Redis could not be asked. */
static int send_question(struct worker *worker, const struct connection *connection, bool renewal,
                         uint64_t need, uint64_t want)
{
    struct window *window = connection->window;
    struct ask *ask = malloc(sizeof(*ask));
    if (ask == NULL)
        return -ENOMEM;
    window_hold(window);
    const struct token *token = token_of(connection);
    struct ledger_terms terms;
    fill_terms(worker, connection, &terms);
    *ask = (struct ask){
        .worker = worker,
        .window = window,
        .index = renewal ? CONNECTION_NONE : connection->index,
        .generation = connection->generation,
        .question = connection->question,
        .asked_ms = worker->now_ms,
        .heard = ledger_heard(worker->node->ledger, window->account),
        .keep_ms = terms.keep_ms,
        .iat = token->iat,
        .is_inquiry = connection->inquiry != NULL,
    };
    const struct ledger_ask wanted = {
        .account = window->account,
        .link = window->link,
        .need = need,
        .want = want,
        .validity_ms = (uint32_t)worker->node->config->grant_validity_ms,
        .iat = token->iat,
        .terms = has_terms(token) ? &terms : NULL,
        .takes_nothing = connection->inquiry != NULL,
    };
    struct ledger_command command;
    ledger_admit_command(worker->node->ledger, &wanted, &command);
    int status = send_command(worker, &command, on_admission, on_late, ask);
    if (status != 0) {
        window_drop(&ask->window, worker->now_ms);
        free(ask);
        return status;
    }
    count(&worker->stats.admissions_asked, 1);
    return 0;
}

/*
 * Asks for the connection's window, or waits for the answer to the question of another connection.
 * The first grant of a window is the whole file; each further one is twice the last, so that a link
 * that is fetched again and again asks ever more seldom. grant_slice_bytes bounds both.
 */
static void ask(struct worker *worker, struct connection *connection)
{
    struct window *window = connection->window;
    if (!window_ask(worker->node->windows, window, worker->index))
        return; /* parked: this worker is woken when the other question is answered */
    uint64_t need = need_of(worker, connection);
    uint64_t slice = window->slice == 0 ? connection->file->size : window->slice * 2;
    if (slice > worker->node->config->grant_slice_bytes)
        slice = worker->node->config->grant_slice_bytes;
    uint64_t want = need > slice ? need : slice;
    if (need == 0 || connection->inquiry != NULL)
        want = need; /* need 0: only the validity is renewed; an inquiry is granted nothing */
    connection->question = ++worker->questions;
    if (send_question(worker, connection, false, need, want) != 0) {
        wake_others(worker, window_asked(worker->node->windows, window));
        cannot_ask(worker, connection);
    }
}

static void park(struct worker *worker, struct connection *connection)
{
    if (connection->state == CONNECTION_SENDING)
        connection->waiting = WAIT_GRANT;
    else {
        connection_set_state(connection, CONNECTION_ADMITTING);
        connection->admit_until_ms = worker->now_ms + worker->node->config->admission_timeout_ms;
    }
    connection->question = 0;
    connection_link(worker, connection, LINK_PARKED);
}

/* The connection that asked, where the same response still waits for the answer; else NULL. */
static struct connection *asker_of(struct worker *worker, const struct ask *ask)
{
    if (ask->index == CONNECTION_NONE)
        return NULL;
    check(ask->index < worker->taken);
    struct connection *connection = &worker->connections[ask->index];
    if (connection->generation != ask->generation || !connection->linked[LINK_PARKED] ||
        connection->question != ask->question)
        return NULL;
    check(connection->window == ask->window);
    return connection;
}

/*
 * Whether a response that is short of funds waits, SHORT_WAIT_MS at most, for others of its window
 * to end: a player that seeks asks again before it has closed the old response. admission_retry
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
    uint64_t need = need_of(worker, connection);
    if (need == 0 || windows_recall(worker->node->windows, connection->window, fund, need,
                                    give_funds, worker) > 0)
        ask(worker, connection);
    else if (take_funds_unasked(worker, connection))
        go_on(worker, connection);
    else if (may_wait(worker, connection))
        purse_return(worker, connection); /* others may have its funds while it waits */
    else
        refuse(worker, connection, refusal);
}

/* Tells the shop once for each window, not at each of a player's retries. */
static void on_used_up(struct worker *worker, struct connection *connection, enum refusal refusal)
{
    struct window *window = connection->window;
    if (connection->inquiry == NULL && !atomic_exchange(&window->used_up, true))
        node_notify(worker->node, window, LEDGER_LINK_USED_UP);
    refuse(worker, connection, refusal);
}

static void decide(struct worker *worker, struct connection *connection, int status,
                   const struct ledger_grant *grant)
{
    if (status != 0) {
        cannot_ask(worker, connection);
        return;
    }
    switch (grant->admission) {
    case LEDGER_GRANTED:
        if (connection->inquiry == NULL &&
            !purse_fill(connection)) { /* others have taken what the window had */
            ask(worker, connection);
            break;
        }
        count(&worker->stats.admissions_granted, 1);
        go_on(worker, connection);
        break;
    case LEDGER_UNKNOWN:
        refuse(worker, connection, REFUSAL_ACCOUNT_UNKNOWN);
        break;
    case LEDGER_SUSPENDED:
        refuse(worker, connection, REFUSAL_ACCOUNT_SUSPENDED);
        break;
    case LEDGER_REVOKED:
        connection->link->revoked = true; /* so that HEAD, which asks nothing, is refused, too */
        refuse(worker, connection, REFUSAL_LINK_REVOKED);
        break;
    case LEDGER_USED_UP:
        on_used_up(worker, connection, REFUSAL_LINK_USED_UP);
        break;
    case LEDGER_NOT_BEGUN:
        refuse(worker, connection, refusal_of_verdict(REFUSED_EXPIRED));
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

/* Whether funds alone are short: the link is not revoked, nor the account suspended. */
static bool is_short(enum ledger_admission admission)
{
    return admission == LEDGER_INSUFFICIENT || admission == LEDGER_ACCOUNT_BYTES_UP ||
           admission == LEDGER_LINK_BYTES_UP;
}

/* Notes that Redis let this token pass: for tokens no older, the window asks only when it needs
 * funds. False, and nothing is noted, where a revocation has overtaken the answer. */
static bool confirm(const struct worker *worker, const struct ask *ask,
                    const struct ledger_grant *grant)
{
    struct window *window = ask->window;
    const struct ledger *ledger = worker->node->ledger;
    /* Read before the test below: a push that comes in between must be news to the window. */
    const struct ledger_heard now = ledger_heard(ledger, window->account);
    if (ledger_grant_is_stale(ledger, window->account, grant, &ask->heard))
        return false;
    atomic_store(&window->iat, ask->iat);
    atomic_store(&window->heard_messages, now.messages);
    atomic_store(&window->heard_epoch, now.epoch);
    return true;
}

/* Never shortens it: a late answer may come after the answer to a later question. */
static void extend_validity(struct window *window, uint64_t until_ms)
{
    unsigned long long known = atomic_load(&window->valid_until_ms);
    while (known < until_ms &&
           !atomic_compare_exchange_weak(&window->valid_until_ms, &known, until_ms))
        continue;
}

static void take_limits(struct window *window, const struct ledger_grant *grant)
{
    struct quota *quota = &window->account_quota->quota;
    atomic_store_explicit(&quota->bucket.rate, grant->rate, memory_order_relaxed);
    atomic_store_explicit(&quota->max_conns, grant->max_conns, memory_order_relaxed);
}

/* take_grant for an inquiry: the window was given nothing, so only the account's limits are noted.
 * False where a revocation has overtaken the answer. */
static bool take_judgement(const struct worker *worker, const struct ask *ask,
                           const struct ledger_grant *grant)
{
    if (grant->admission == LEDGER_GRANTED)
        take_limits(ask->window, grant);
    return !ledger_grant_is_stale(worker->node->ledger, ask->window->account, grant, &ask->heard);
}

/*
 * Puts a grant into its window. False where a revocation has overtaken the answer: its funds are
 * taken all the same, as Redis has reserved them, but no response may start on it. `connection` is
 * the one that asked, where it still waits, or NULL.
 */
static bool take_grant(struct worker *worker, const struct ask *ask,
                       const struct ledger_grant *grant, struct connection *connection)
{
    struct window *window = ask->window;
    if (is_short(grant->admission))
        return confirm(worker, ask, grant); /* transfers may go on with the window's own funds */
    if (grant->admission != LEDGER_GRANTED) {
        /* No connection waits for this refusal, so the window's transfers would not learn of it:
         * each of them must ask, and is refused itself. */
        if (connection == NULL)
            atomic_store(&window->heard_epoch, WINDOW_UNCONFIRMED);
        return true;
    }
    /* A late answer may be older than the last one: it may set the bound but not lift it. */
    bool bounds = funds_has(grant->funds, LEDGER_FUND_ACCOUNT);
    if (bounds || !ask->is_late)
        atomic_store(&window->account_bounds, bounds);
    window_fund(worker->node->windows, window, grant->funds, grant->granted,
                connection != NULL ? &connection->purse : NULL,
                connection != NULL ? purse_need(connection) : 0);
    /* A late question has lost the right to ask, and only its holder may write the slice. */
    if (!ask->is_late && (grant->granted > 0 || window->slice == 0))
        window->slice = grant->granted + 1; /* never 0 again: the window has had its first grant */
    if (grant->opened_ms != 0 &&
        (!ask->is_late || grant->opened_ms >= atomic_load(&window->opened_ms)))
        window_grant_use(worker->node->windows, window, grant, ask->asked_ms, ask->keep_ms);
    take_limits(window, grant);
    /* The validity counts from the question, not from the answer, so that it never outlasts the
     * reservation in Redis. It does not help a window that must ask (is_covered). */
    extend_validity(window, ask->asked_ms + worker->node->config->grant_validity_ms);
    return confirm(worker, ask, grant);
}

/* Ends a question that was answered, or whose time is over: others may ask for the window, and the
 * connection that waited for the answer is decided. Not `current`: it must ask again. */
static void answer_asker(struct worker *worker, const struct ask *asked, int status, bool current,
                         const struct ledger_grant *grant)
{
    uint64_t waiters = window_asked(worker->node->windows, asked->window);
    struct connection *connection = asker_of(worker, asked);
    if (connection != NULL) {
        if (current)
            decide(worker, connection, status, grant);
        else
            ask(worker, connection);
        connection_resume_if_alive(worker, asked->index, asked->generation);
    }
    wake_others(worker, waiters);
}

static void on_late(void *context)
{
    struct ask *asked = context;
    asked->is_late = true;
    answer_asker(asked->worker, asked, -ETIMEDOUT, true, NULL);
}

/* A late answer's grant is taken, too. No connection waits for it: its funds serve the next
 * response of the window, or go back when the window is idle. */
static void on_admission(void *context, const struct redisReply *reply)
{
    struct ask *asked = context;
    struct worker *worker = asked->worker;
    struct ledger_grant grant = {0};
    bool current = true;
    int status = reply == NULL ? -ENOTCONN : ledger_admit_reply(reply, &grant);
    if (status == -EPROTO)
        log_error("worker %u: Redis refuses the admission function: %s", worker->index,
                  reply->str != NULL ? reply->str : "its answer has an unexpected form");
    if (status == 0 && asked->is_inquiry)
        current = take_judgement(worker, asked, &grant);
    else if (status == 0)
        current =
            take_grant(worker, asked, &grant, asked->is_late ? NULL : asker_of(worker, asked));
    if (!asked->is_late)
        answer_asker(worker, asked, status, current, &grant);
    window_drop(&asked->window, worker->now_ms);
    free(asked);
}

/* ---- entry points ---- */

static enum refusal node_refusal(const struct worker *worker)
{
    switch (ledger_state(worker->node->ledger)) {
    case LEDGER_READY:
    case LEDGER_FULL: /* open windows go on; window_open opens no other */
        return link_is_up(worker) ? REFUSAL_NONE : REFUSAL_REDIS_UNAVAILABLE;
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
    bool created;
    int status = 0;
    if (name == NULL) {
        status = ledger_file_get(worker->node->ledger, file->path, file->path_length, &name);
        file->user = name;
    }
    const struct window_key key = {
        .link = connection->link->link,
        .account = connection->link->account,
        .file = name,
        .size = file->size,
        .jti = node_has_shop(worker->node, token->issuer_id) ? token->jti : NULL,
        .owner = worker->index,
    };
    if (status == 0)
        status =
            window_open(worker->node->windows, &key, worker->now_ms, &connection->window, &created);
    if (status == -EMFILE && worker->windows_swept_ms != worker->now_ms) {
        admission_sweep(worker); /* at the bound, idle windows end to make room */
        status =
            window_open(worker->node->windows, &key, worker->now_ms, &connection->window, &created);
    }
    if (status == -ENOSPC || status == -EIO)
        return REFUSAL_JOURNAL_UNAVAILABLE;
    if (status != 0)
        return REFUSAL_NODE_BUSY;
    if (created) {
        connection->window->owned_next = worker->owned;
        worker->owned = connection->window;
    }
    limits_set(connection);
    return REFUSAL_NONE;
}

void admission_begin(struct worker *worker, struct connection *connection)
{
    /* HEAD (RFC 9110 9.3.2) and an empty file bring no bytes: nothing is granted or metered. */
    if (connection->head_only || purse_need(connection) == 0) {
        response_start(worker, connection);
        return;
    }
    enum refusal refusal = node_refusal(worker);
    if (refusal == REFUSAL_NONE)
        refusal = open_window(worker, connection);
    if (refusal != REFUSAL_NONE) {
        refuse(worker, connection, refusal);
        return;
    }
    if (take_funds_unasked(worker, connection)) {
        go_on(worker, connection);
        return;
    }
    park(worker, connection);
    ask(worker, connection);
}

void admission_more(struct worker *worker, struct connection *connection)
{
    park(worker, connection);
    if (link_is_up(worker))
        ask(worker, connection);
    else
        cannot_ask(worker, connection);
}

bool admission_is_valid(struct worker *worker, struct connection *connection)
{
    struct window *window = connection->window;
    uint64_t until = atomic_load(&window->valid_until_ms);
    if (!is_covered(worker, connection))
        return false;
    /* Past half of the validity the grant is renewed, while the transfer goes on. */
    if (until - worker->now_ms < worker->node->config->grant_validity_ms / 2 &&
        link_is_up(worker) && window_ask(worker->node->windows, window, worker->index) &&
        send_question(worker, connection, true, 0, 0) != 0)
        wake_others(worker, window_asked(worker->node->windows, window));
    return true;
}

/* Whether a new response has waited admission_timeout_ms for the questions of others. To ask itself
 * now would make it wait as long again, and the last of many as long as all of them together. */
static bool is_overdue(const struct worker *worker, const struct connection *connection)
{
    return connection->state == CONNECTION_ADMITTING && connection->short_until_ms == 0 &&
           worker->now_ms > connection->admit_until_ms;
}

static void retry_one(struct worker *worker, struct connection *connection)
{
    uint32_t index = connection->index, generation = connection->generation;
    if (take_funds_unasked(worker, connection))
        go_on(worker, connection);
    else if (is_overdue(worker, connection))
        refuse(worker, connection, REFUSAL_REDIS_UNAVAILABLE);
    else if (worker->now_ms < connection->short_retry_ms)
        return;
    else if (link_is_up(worker))
        ask(worker, connection);
    else
        cannot_ask(worker, connection);
    connection_resume_if_alive(worker, index, generation);
}

void admission_retry(struct worker *worker)
{
    struct connection *connection = worker->parked.first;
    while (connection != NULL) {
        struct connection *next = connection->next[LINK_PARKED];
        retry_one(worker, connection);
        connection = next;
    }
}

/*
 * Grants were dropped, or (`keys`) key sets replaced. Transfers that wait for room, their rate or
 * acknowledgements would notice only when they may send again; those that run notice by themselves.
 */
void admission_recheck(struct worker *worker, bool keys)
{
    struct connection *connection = worker->unmetered.first;
    while (connection != NULL) {
        struct connection *next = connection->next[LINK_UNMETERED];
        if (connection->state == CONNECTION_SENDING && connection->window != NULL) {
            if (keys && !token_is_live(worker->trust, token_of(connection)))
                transfer_cut(worker, connection, "the key that signed its link was removed");
            else if ((connection->waiting == WAIT_WRITABLE || connection->waiting == WAIT_RATE ||
                      connection->waiting == WAIT_ACKNOWLEDGED) &&
                     connection->left > 0 && !is_covered(worker, connection))
                admission_more(worker, connection);
        }
        connection = next;
    }
    connection = keys ? worker->parked.first : NULL;
    while (connection != NULL) {
        struct connection *next = connection->next[LINK_PARKED];
        uint32_t index = connection->index, generation = connection->generation;
        if (!token_is_live(worker->trust, token_of(connection))) {
            refuse(worker, connection, refusal_of_verdict(REFUSED_KEY_UNKNOWN));
            connection_resume_if_alive(worker, index, generation);
        }
        connection = next;
    }
}

/* Ends the idle windows that this worker made, and gives their funds back. */
void admission_sweep(struct worker *worker)
{
    struct windows *windows = worker->node->windows;
    uint64_t idle_ms = worker->stopping ? 0 : windows_idle_ms(windows);
    struct window **link = &worker->owned;
    worker->windows_swept_ms = worker->now_ms;
    while (*link != NULL) {
        struct window *window = *link, *next = window->owned_next;
        if (window_sweep(windows, window, worker->now_ms, idle_ms, give_funds, worker))
            *link = next;
        else
            link = &window->owned_next;
    }
}
