/*
 * May this response start, and may this transfer go on? Answered from the window's grant where that
 * is valid and has funds, else by one question to Redis for the window (the terms of RFC 8506: a
 * grant of so many bytes, valid so long). Connections that wait are parked; one question serves all
 * that wait for the same window, on whichever worker they are.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/check.h"
#include "server/connection.h"
#include "server/log.h"
#include "server/redis_link.h"
#include "server/token_cache.h"
#include "storage/media/media.h"

/* A question under way: for which window, and for which connection it is to be decided first. */
struct ask {
    struct window *window;      /* holds */
    uint32_t index, generation; /* of the connection, CONNECTION_NONE for a mere renewal */
    uint64_t asked_ms;
};

static bool link_is_up(const struct worker *worker)
{
    return redis_link_is_ready(worker->redis);
}

void admission_release(struct worker *worker, const struct ledger_account *account, uint64_t bytes)
{
    if (bytes == 0)
        return;
    struct ledger_command command;
    ledger_release_command(worker->node->ledger, account, bytes, &command);
    (void)redis_link_send(worker->redis, &command, NULL,
                          NULL); /* unreachable: the grant's expiry gives them back */
}

/* ---- deciding ---- */

static uint64_t left_of(const struct connection *connection)
{
    return connection->left + connection->left_after;
}

/* What this response needs beyond the funds of its window. */
static uint64_t need_of(const struct connection *connection)
{
    const struct window *window = connection->window;
    long long funds = atomic_load(&window->funds);
    if (!atomic_load(&window->prepaid) || funds <= 0)
        return left_of(connection);
    return (uint64_t)funds >= left_of(connection) ? 0 : left_of(connection) - (uint64_t)funds;
}

static bool has_grant(const struct worker *worker, const struct connection *connection)
{
    const struct window *window = connection->window;
    if (worker->now_ms >= atomic_load(&window->valid_until_ms))
        return false;
    if (!atomic_load(&window->prepaid))
        return true;
    long long funds = atomic_load(&window->funds);
    /* A transfer under way goes on with what there is; a new response wants to be paid for whole.
     */
    return connection->state == CONNECTION_SENDING
               ? funds > 0
               : funds >= 0 && (uint64_t)funds >= left_of(connection);
}

static void go_on(struct worker *worker, struct connection *connection)
{
    connection_unlink(worker, connection, LINK_PARKED);
    if (connection->state == CONNECTION_SENDING)
        transfer_run(worker, connection);
    else
        response_start(worker, connection);
}

static void refuse(struct worker *worker, struct connection *connection, enum refusal refusal)
{
    connection_unlink(worker, connection, LINK_PARKED);
    if (connection->state == CONNECTION_SENDING) {
        transfer_cut(worker, connection, refusal_text(refusal));
        return;
    }
    count(refusal_status(refusal) == 503 ? &worker->stats.admissions_failed
                                         : &worker->stats.admissions_refused,
          1);
    response_refuse(worker, connection, refusal);
}

static void wake_others(struct worker *worker, uint64_t waiters)
{
    for (unsigned i = 0; i < worker->node->worker_count; i++) {
        if (waiters >> i & 1)
            worker_wake(worker->node->workers[i]);
    }
}

/* ---- asking ---- */

static void on_admission(struct worker *worker, const struct redisReply *reply, void *context);

/* 0, or the reason why Redis could not be asked; the right to ask must be held. */
static int send_question(struct worker *worker, struct window *window, uint64_t need, uint64_t want,
                         const struct connection *connection)
{
    struct ask *ask = malloc(sizeof(*ask));
    if (ask == NULL)
        return -ENOMEM;
    window_hold(window);
    *ask = (struct ask){
        .window = window,
        .index = connection != NULL ? connection->index : CONNECTION_NONE,
        .generation = connection != NULL ? connection->generation : 0,
        .asked_ms = worker->now_ms,
    };
    struct ledger_command command;
    ledger_admit_command(worker->node->ledger, window->account, need, want,
                         (uint32_t)worker->node->config->grant_validity_ms, &command);
    int status = redis_link_send(worker->redis, &command, on_admission, ask);
    if (status != 0) {
        window_drop(&ask->window, worker->now_ms);
        free(ask);
        return status;
    }
    count(&worker->stats.admissions_asked, 1);
    return 0;
}

/*
 * Asks for the connection's window, or waits for whoever asks. The first grant of a window is the
 * whole file where the account has plenty; each further one is twice the last, up to the slice: a link that is fetched again and again asks ever more seldom.
 */
static void ask(struct worker *worker, struct connection *connection)
{
    struct window *window = connection->window;
    if (!window_ask(worker->node->windows, window, worker->index))
        return; /* parked: woken when it is answered */
    uint64_t need = need_of(connection);
    uint64_t slice = window->slice == 0 ? connection->file->size : window->slice * 2;
    if (slice > worker->node->config->grant_slice_bytes)
        slice = worker->node->config->grant_slice_bytes;
    uint64_t want = need > slice ? need : slice;
    if (need == 0 && atomic_load(&window->prepaid))
        want = 0; /* a renewal */
    if (send_question(worker, window, need, want, connection) != 0) {
        wake_others(worker, window_asked(worker->node->windows, window));
        refuse(worker, connection, REFUSAL_REDIS_UNAVAILABLE);
    }
}

static void park(struct worker *worker, struct connection *connection)
{
    if (connection->state == CONNECTION_SENDING)
        connection->waiting = WAIT_GRANT;
    else
        connection_set_state(connection, CONNECTION_ADMITTING);
    connection_link(worker, connection, LINK_PARKED);
}

/* The connection a question was for, where it still waits for that window's answer. */
static struct connection *asker_of(struct worker *worker, const struct ask *ask)
{
    if (ask->index == CONNECTION_NONE)
        return NULL;
    check(ask->index < worker->capacity);
    struct connection *connection = &worker->connections[ask->index];
    if (connection->generation != ask->generation || !connection->linked[LINK_PARKED] ||
        connection->window != ask->window)
        return NULL;
    return connection;
}

/* The account is short. Its idle windows' funds go back and it is asked once more; then those who
 * share what this window has left go on; then it is refused. */
static void on_insufficient(struct worker *worker, struct connection *connection)
{
    struct window *window = connection->window;
    if (!connection->recalled) {
        uint64_t recalled = windows_recall(worker->node->windows, window->account, window);
        connection->recalled = true;
        if (recalled > 0) {
            admission_release(worker, window->account, recalled);
            ask(worker, connection);
            return;
        }
    }
    if (atomic_load(&window->funds) > 0 && worker->now_ms < atomic_load(&window->valid_until_ms))
        go_on(worker, connection);
    else
        refuse(worker, connection, REFUSAL_BALANCE_INSUFFICIENT);
}

static void decide(struct worker *worker, struct connection *connection, int status,
                   const struct ledger_grant *grant)
{
    if (status != 0) {
        refuse(worker, connection, REFUSAL_REDIS_UNAVAILABLE);
        return;
    }
    switch (grant->admission) {
    case LEDGER_GRANTED:
        count(&worker->stats.admissions_granted, 1);
        go_on(worker, connection);
        break;
    case LEDGER_UNKNOWN:
        refuse(worker, connection, REFUSAL_ACCOUNT_UNKNOWN);
        break;
    case LEDGER_SUSPENDED:
        refuse(worker, connection, REFUSAL_ACCOUNT_SUSPENDED);
        break;
    case LEDGER_INSUFFICIENT:
        on_insufficient(worker, connection);
        break;
    }
}

static void take_grant(struct worker *worker, const struct ask *ask,
                       const struct ledger_grant *grant)
{
    struct window *window = ask->window;
    if (grant->admission != LEDGER_GRANTED) {
        if (grant->admission != LEDGER_INSUFFICIENT)
            atomic_store(&window->valid_until_ms,
                         0); /* suspended or gone: what is under way ends, too */
        return;
    }
    atomic_store(&window->prepaid, grant->prepaid);
    if (grant->prepaid)
        atomic_fetch_add(&window->funds, (long long)grant->granted);
    if (grant->granted > 0 || window->slice == 0)
        window->slice = grant->granted + 1; /* never 0 again: the window has had its first grant */
    /* From when it was asked, not from when it was answered: never longer than Redis has it. */
    atomic_store(&window->valid_until_ms, ask->asked_ms + worker->node->config->grant_validity_ms);
}

static void on_admission(struct worker *worker, const struct redisReply *reply, void *context)
{
    struct ask *asked = context;
    struct ledger_grant grant = {0};
    int status = reply == NULL ? -ENOTCONN : ledger_admit_reply(reply, &grant);
    if (status == -EPROTO)
        log_error("worker %u: Redis refuses the admission function: %s", worker->index,
                  reply->str != NULL ? reply->str : "an answer of another shape");
    if (status == 0)
        take_grant(worker, asked, &grant);
    uint64_t waiters = window_asked(worker->node->windows, asked->window);
    struct connection *connection = asker_of(worker, asked);
    if (connection != NULL) {
        decide(worker, connection, status, &grant);
        connection_resume_if_alive(worker, asked->index, asked->generation);
    }
    window_drop(&asked->window, worker->now_ms);
    free(asked);
    wake_others(worker, waiters);
}

/* ---- entry points ---- */

static enum refusal node_refusal(const struct worker *worker)
{
    switch (ledger_state(worker->node->ledger)) {
    case LEDGER_READY:
        return link_is_up(worker) ? REFUSAL_NONE : REFUSAL_REDIS_UNAVAILABLE;
    case LEDGER_CATCHING_UP:
        return REFUSAL_REDIS_UNAVAILABLE;
    case LEDGER_FULL:
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
    struct ledger_file *name = file->user;
    bool created;
    int status = 0;
    if (name == NULL) {
        status = ledger_file_get(worker->node->ledger, file->path, file->path_length, &name);
        file->user = name;
    }
    if (status == 0)
        status =
            window_open(worker->node->windows, connection->link->link, connection->link->account,
                        name, worker->index, &connection->window, &created);
    if (status == -ENOSPC || status == -EIO)
        return REFUSAL_JOURNAL_UNAVAILABLE;
    if (status != 0)
        return REFUSAL_NODE_BUSY;
    if (created) {
        connection->window->owned_next = worker->owned;
        worker->owned = connection->window;
    }
    return REFUSAL_NONE;
}

void admission_begin(struct worker *worker, struct connection *connection)
{
    /* HEAD and an empty file bring no bytes: nothing is granted, nothing is metered. */
    if (connection->head_only || left_of(connection) == 0) {
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
    if (has_grant(worker, connection)) {
        response_start(worker, connection);
        return;
    }
    park(worker, connection);
    ask(worker, connection);
}

void admission_more(struct worker *worker, struct connection *connection)
{
    park(worker, connection);
    if (!link_is_up(worker)) {
        if (worker->now_ms >= atomic_load(&connection->window->valid_until_ms))
            refuse(worker, connection, REFUSAL_REDIS_UNAVAILABLE);
        return; /* the grant is still valid: parked until Redis is back or it is not, see
                   admission_retry */
    }
    ask(worker, connection);
}

bool admission_is_valid(struct worker *worker, struct window *window)
{
    uint64_t until = atomic_load(&window->valid_until_ms);
    if (worker->now_ms >= until)
        return false;
    /* Past half of it: renew, while the transfer goes on. */
    if (until - worker->now_ms < worker->node->config->grant_validity_ms / 2 &&
        link_is_up(worker) && window_ask(worker->node->windows, window, worker->index) &&
        send_question(worker, window, 0, 0, NULL) != 0)
        wake_others(worker, window_asked(worker->node->windows, window));
    return true;
}

static void retry_one(struct worker *worker, struct connection *connection)
{
    uint32_t index = connection->index, generation = connection->generation;
    if (has_grant(worker, connection))
        go_on(worker, connection);
    else if (link_is_up(worker))
        ask(worker, connection);
    else if (connection->state != CONNECTION_SENDING ||
             worker->now_ms >= atomic_load(&connection->window->valid_until_ms))
        refuse(worker, connection, REFUSAL_REDIS_UNAVAILABLE);
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

/* Each second: the windows that this worker made and that are idle give their funds back and end.
 */
void admission_sweep(struct worker *worker)
{
    struct window **link = &worker->owned;
    while (*link != NULL) {
        struct window *window = *link, *next = window->owned_next;
        struct ledger_account *account;
        uint64_t funds;
        if (window_sweep(worker->node->windows, window, worker->now_ms, &funds, &account)) {
            *link = next;
            admission_release(worker, account, funds);
            ledger_account_drop(&account);
        } else {
            link = &window->owned_next;
        }
    }
}
