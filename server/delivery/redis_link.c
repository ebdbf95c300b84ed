/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives hiredis 0.14 on the ring. See redis_link.h. hiredis calls add_read, add_write and so on;
 * here they arm a multishot poll or note that the end of the turn shall write. hiredis itself frees
 * the context after the disconnect callback, so nothing here frees it, and a generation tells
 * completions of an earlier connection apart.
 *
 *   DOWN --tick, backoff over--> CONNECTING --> INTRODUCING (AUTH; INFO: who is this?)
 *    ^                                              |
 *    |                        STANDING_BY <---------+
 *    |                         |      ^ the ledger catches up again
 *    |       it has replayed   v      |
 *    |          to this very   TRYING -- the library answers --> READY
 *    |          Redis             |                                |
 *    +--- lost, silent, refused, or not the ledger's Redis --------+
 */
#include "server/delivery/redis_link.h"

#include <errno.h>
#include <hiredis/async.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "server/base/check.h"
#include "server/base/log.h"
#include "server/delivery/worker.h"

#define OUTSTANDING_MAX                                                                            \
    65536 /* questions under way; at the bound redis_link_send refuses and the client gets 503 */

enum link_state {
    LINK_DOWN,
    LINK_CONNECTING,
    LINK_INTRODUCING,
    LINK_STANDING_BY,
    LINK_TRYING,
    LINK_IS_READY,
};

/* A question under way. Redis answers in order, so the first of the queue is the oldest. */
struct question {
    struct redis_link *link;
    redis_link_done *done;
    redis_link_late *late;
    void *context;
    uint64_t asked_ms;
    bool is_late;
    struct question *next;
};

struct redis_link {
    struct worker *worker;      /* borrows */
    redisAsyncContext *context; /* hiredis'; NULL while down */
    enum link_state state;
    uint32_t generation;
    bool want_write, polling_read, polling_write, warned;
    bool unread;   /* the socket may hold more: looked at in each turn until it is empty */
    bool trying;   /* a library call that only tests whether Redis takes it is under way */
    bool doubtful; /* an error was answered: is Redis at fault, or that question? */
    uint64_t retry_ms, backoff_ms;
    uint64_t since_ms; /* when the state began to wait; READY: when the last byte came */
    struct question *oldest, *newest, *unused;
    struct question *in_time; /* the oldest that is not late */
    uint32_t outstanding;
    uint64_t number;   /* of the address connected to; 0: none is known */
    char run_id[41];   /* of the Redis that it is connected to */
    uint64_t followed; /* ledger_redis_generation, when this was the ledger's Redis */
    char refused[400]; /* why this Redis cannot be used; empty: no objection */
};

/* ---- hiredis' event interface ---- */

static void arm_read(struct redis_link *link)
{
    struct io_uring_sqe *sqe = worker_sqe(link->worker);
    io_uring_prep_poll_multishot(sqe, link->context->c.fd, POLLIN);
    sqe->user_data = operation_data(OPERATION_REDIS_READABLE, link->generation, 0);
    link->polling_read = true;
}

static void add_read(void *data)
{
    struct redis_link *link = data;
    if (!link->polling_read && link->context != NULL)
        arm_read(link);
}

static void add_write(void *data)
{
    ((struct redis_link *)data)->want_write = true;
}

static void del_write(void *data)
{
    ((struct redis_link *)data)->want_write = false;
}

static void ignore(void *data)
{
    (void)data; /* the multishot poll stays for the life of the connection */
}

/* hiredis is about to free the context and close its descriptor. The polls hold the file, so they
 * are cancelled, or the connection would stay open. */
static void cleanup(void *data)
{
    struct redis_link *link = data;
    for (unsigned i = 0; i < 2; i++) {
        struct io_uring_sqe *sqe = worker_sqe(link->worker);
        io_uring_prep_poll_remove(
            sqe, operation_data(i == 0 ? OPERATION_REDIS_READABLE : OPERATION_REDIS_WRITABLE,
                                link->generation, 0));
        sqe->user_data = operation_data(OPERATION_IGNORED, 0, 0);
    }
    link->generation = (link->generation + 1) & 0xffffff;
    link->polling_read = link->polling_write = link->want_write = link->unread = false;
}

/* ---- down and up ---- */

/* `why` is the cause and, behind "; ", the cure, where one is known. */
static void say_down(const struct redis_link *link, const char *why, bool refused)
{
    const char *cure = strstr(why, "; ");
    size_t length = cure != NULL ? (size_t)(cure - why) : strlen(why);
    log_warning("worker %u: Redis at %s cannot be %s%.*s%s%s; the node keeps trying",
                link->worker->index, link->worker->node->redis.address,
                refused ? "used: " : "reached (", (int)length, why, refused ? "" : ")",
                cure != NULL ? cure : "");
}

static void went_down(struct redis_link *link, const char *why)
{
    char text[sizeof(link->refused)];
    bool refused = link->refused[0] != '\0';
    if (refused)
        why = link->refused;
    else if (ledger_redis_explain(NULL, why, NULL, text, sizeof(text))) {
        why = text;
        refused = true;
    }
    if (!link->warned && !link->worker->stopping)
        say_down(link, why, refused);
    bool another =
        link->number != 0 &&
        ledger_redis_failed(link->worker->node->ledger, link->number, link->state == LINK_IS_READY);
    link->number = 0;
    link->warned = true;
    link->context = NULL;
    link->state = LINK_DOWN;
    atomic_store(&link->worker->redis_generation, 0);
    link->trying = link->doubtful = false;
    link->refused[0] = '\0';
    uint8_t jitter = 0;
    (void)!getrandom(&jitter, sizeof(jitter), GRND_NONBLOCK);
    link->backoff_ms = link->backoff_ms == 0 ? LEDGER_REDIS_BACKOFF_LEAST_MS : link->backoff_ms * 2;
    if (link->backoff_ms > LEDGER_REDIS_BACKOFF_MOST_MS)
        link->backoff_ms = LEDGER_REDIS_BACKOFF_MOST_MS;
    link->retry_ms = link->worker->now_ms + link->backoff_ms + link->backoff_ms * jitter / 1024;
    if (another)
        link->retry_ms = link->worker->now_ms;
}

/* Notes why this Redis cannot be used. The connection ends later, outside of hiredis' callbacks. */
static void object(struct redis_link *link, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void object(struct redis_link *link, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (link->refused[0] == '\0') /* the first reason is the cause of the others */
        vsnprintf(link->refused, sizeof(link->refused), format, arguments);
    va_end(arguments);
}

static void object_to_refusal(struct redis_link *link, const char *command, const char *said)
{
    const char *user = link->worker->node->config->redis_user;
    char text[sizeof(link->refused)];
    (void)ledger_redis_explain(command, said, user[0] != '\0' ? user : NULL, text, sizeof(text));
    object(link, "%s", text);
}

static void set_state(struct redis_link *link, enum link_state state)
{
    link->state = state;
    link->since_ms = link->worker->now_ms;
}

/* Whether Redis owes an answer. */
static bool is_owed(const struct redis_link *link)
{
    return link->context->replies.head != NULL;
}

/* ---- who is this Redis, and may it be used? ---- */

static void on_auth(redisAsyncContext *context, void *reply, void *data)
{
    (void)data;
    const redisReply *answer = reply;
    if (answer != NULL && answer->type == REDIS_REPLY_ERROR)
        object_to_refusal(context->data, "AUTH", answer->str);
}

static void on_tried(redisAsyncContext *context, void *reply, void *data)
{
    (void)data;
    struct redis_link *link = context->data;
    const redisReply *answer = reply;
    link->trying = false;
    if (answer == NULL)
        return;
    if (answer->type == REDIS_REPLY_ERROR) {
        object_to_refusal(link, "FCALL", answer->str);
        return;
    }
    if (link->state != LINK_TRYING)
        return;
    if (link->warned)
        log_info("worker %u: Redis can be reached again", link->worker->index);
    set_state(link, LINK_IS_READY);
    link->warned = false;
    link->backoff_ms = 0;
}

/* Makes a call that Redis refuses exactly where it would refuse an admission: as a replica, while
 * it loads, without its replicas, disk, memory or our library. */
static void try_library(struct redis_link *link)
{
    struct ledger_command command;
    if (link->trying)
        return;
    ledger_try_command(&command);
    if (!is_owed(link))
        link->since_ms = link->worker->now_ms;
    const char **argv = (const char **)(uintptr_t)command.argv;
    link->trying = redisAsyncCommandArgv(link->context, on_tried, NULL, command.argc, argv,
                                         command.lengths) == REDIS_OK;
}

/* Follows the ledger, which may have replayed to this Redis, may still have to, or may have moved
 * to another one. */
static void follow_ledger(struct redis_link *link)
{
    struct ledger *ledger = link->worker->node->ledger;
    uint64_t generation = ledger_redis_generation(ledger); /* first: it may move meanwhile */
    if (link->state < LINK_STANDING_BY)
        return;
    if (ledger_redis_is_other(ledger, link->run_id)) {
        object(link, "it is not the one that the journal was posted to");
    } else if (!ledger_redis_is_current(ledger, link->run_id)) {
        set_state(link, LINK_STANDING_BY);
    } else {
        link->followed = generation;
        if (link->state == LINK_STANDING_BY) {
            set_state(link, LINK_TRYING);
            try_library(link);
        }
    }
}

static void on_info(redisAsyncContext *context, void *reply, void *data)
{
    (void)data;
    static const char field[] = "run_id:";
    struct redis_link *link = context->data;
    const redisReply *answer = reply;
    if (answer == NULL)
        return;
    const char *run_id = answer->type == REDIS_REPLY_STRING ? strstr(answer->str, field) : NULL;
    if (run_id == NULL || strlen(run_id) < sizeof(field) - 1 + 40) {
        if (answer->type == REDIS_REPLY_ERROR)
            object_to_refusal(link, "INFO", answer->str);
        else
            object(link, "its answer to INFO has no run_id");
        return;
    }
    memcpy(link->run_id, run_id + sizeof(field) - 1, 40);
    set_state(link, LINK_STANDING_BY);
    follow_ledger(link); /* not at the next tick: a node that has just started is asked at once */
}

static void on_connect(const redisAsyncContext *context, int status)
{
    struct redis_link *link = context->data;
    if (status != REDIS_OK) {
        went_down(link, context->errstr); /* hiredis frees the context after this */
        return;
    }
    set_state(link, LINK_INTRODUCING);
    (void)redisAsyncCommand(link->context, on_info, NULL, "INFO server");
}

static void on_disconnect(const redisAsyncContext *context, int status)
{
    went_down(context->data, status == REDIS_OK ? "closed" : context->errstr);
}

static void link_connect(struct redis_link *link)
{
    const struct node *node = link->worker->node;
    struct ledger_redis_address address;
    char error[512];
    if (ledger_redis_address(node->ledger, &address, error, sizeof(error)) != 0) {
        went_down(link, error);
        return;
    }
    link->number = address.number;
    redisAsyncContext *context = address.port == 0 ? redisAsyncConnectUnix(address.host)
                                                   : redisAsyncConnect(address.host, address.port);
    if (context == NULL || context->err != 0) {
        went_down(link, context == NULL ? "out of memory" : context->errstr);
        if (context != NULL)
            redisAsyncFree(context);
        return;
    }
    link->context = context;
    set_state(link, LINK_CONNECTING);
    context->data = link;
    context->ev.data = link;
    context->ev.addRead = add_read;
    context->ev.delRead = ignore;
    context->ev.addWrite = add_write;
    context->ev.delWrite = del_write;
    context->ev.cleanup = cleanup;
    redisAsyncSetConnectCallback(context, on_connect);
    redisAsyncSetDisconnectCallback(context, on_disconnect);
    const char *user = node->config->redis_user;
    if (node->redis.password[0] != '\0' && user[0] != '\0')
        redisAsyncCommand(context, on_auth, NULL, "AUTH %s %s", user, node->redis.password);
    else if (node->redis.password[0] != '\0')
        redisAsyncCommand(context, on_auth, NULL, "AUTH %s", node->redis.password);
    /* The non-blocking connect is done when the socket can be written to. */
    link->want_write = true;
}

/* ---- questions ---- */

bool redis_link_is_ready(const struct redis_link *link)
{
    return link->state == LINK_IS_READY &&
           link->followed == ledger_redis_generation(link->worker->node->ledger);
}

static void on_reply(redisAsyncContext *context, void *reply, void *data)
{
    (void)context;
    struct question *question = data;
    struct redis_link *link = question->link;
    const redisReply *answer = reply;
    check(link->oldest == question);
    link->oldest = question->next;
    if (link->in_time == question)
        link->in_time = question->next;
    if (link->oldest == NULL)
        link->newest = NULL;
    link->outstanding--;
    link->doubtful |= answer != NULL && answer->type == REDIS_REPLY_ERROR;
    redis_link_done *done = question->done;
    void *for_whom = question->context;
    question->next = link->unused;
    link->unused = question;
    if (done != NULL)
        done(link->worker, reply, for_whom);
}

int redis_link_send(struct redis_link *link, const struct ledger_command *command,
                    redis_link_done *done, redis_link_late *late, void *context)
{
    if (!redis_link_is_ready(link) || link->outstanding >= OUTSTANDING_MAX)
        return -ENOTCONN;
    struct question *question = link->unused;
    if (question != NULL)
        link->unused = question->next;
    else if ((question = malloc(sizeof(*question))) == NULL)
        return -ENOTCONN;
    *question = (struct question){.link = link,
                                  .done = done,
                                  .late = late,
                                  .context = context,
                                  .asked_ms = link->worker->now_ms};
    if (!is_owed(link))
        link->since_ms = link->worker->now_ms;
    /* hiredis' prototype lacks the const that its code keeps. */
    const char **argv = (const char **)(uintptr_t)command->argv;
    if (redisAsyncCommandArgv(link->context, on_reply, question, command->argc, argv,
                              command->lengths) != REDIS_OK) {
        question->next = link->unused;
        link->unused = question;
        return -ENOTCONN;
    }
    if (link->newest != NULL)
        link->newest->next = question;
    else
        link->oldest = question;
    link->newest = question;
    if (link->in_time == NULL)
        link->in_time = question;
    link->outstanding++;
    return 0;
}

void redis_link_flush(struct redis_link *link)
{
    if (link->doubtful && link->state == LINK_IS_READY)
        try_library(link);
    link->doubtful = false;
    if (!link->want_write || link->polling_write || link->context == NULL)
        return;
    if (link->state != LINK_CONNECTING) {
        redisAsyncHandleWrite(link->context);
        if (!link->want_write || link->context == NULL)
            return;
    }
    struct io_uring_sqe *sqe = worker_sqe(link->worker);
    io_uring_prep_poll_add(sqe, link->context->c.fd, POLLOUT);
    sqe->user_data = operation_data(OPERATION_REDIS_WRITABLE, link->generation, 0);
    link->polling_write = true;
}

void redis_link_readable(struct redis_link *link, uint32_t generation, int result, bool more)
{
    if (generation != link->generation || link->context == NULL)
        return;
    if (!more)
        link->polling_read = false;
    if (result < 0 && result != -ECANCELED)
        log_warning("worker %u: poll on Redis: %s", link->worker->index, strerrordesc_np(-result));
    link->unread = true;
}

/* Whether a read would not wait: the socket has bytes, its end, or an error. */
static bool has_input(const struct redis_link *link)
{
    char byte;
    return recv(link->context->c.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

static void look_again(struct redis_link *link)
{
    /* Answers all outstanding questions with NULL, and calls on_disconnect only where it was
     * connected. */
    redisAsyncFree(link->context);
    if (link->context != NULL)
        went_down(link, "closed");
}

/* Publishes whether Redis answers, and in time: where it is silent or behind, each admission would
 * be refused, so the node is not ready. */
static void publish_ready(const struct redis_link *link)
{
    const struct worker *worker = link->worker;
    uint64_t limit_ms = worker->node->config->admission_timeout_ms;
    bool ready = link->state == LINK_IS_READY && (link->oldest == NULL || !link->oldest->is_late) &&
                 (!is_owed(link) || worker->now_ms - link->since_ms <= limit_ms);
    atomic_store(&link->worker->redis_generation, ready ? link->followed : 0);
}

/*
 * The poll is edge-triggered: it says once that bytes have come, however many they are, and hiredis
 * reads 16 KiB a call. So `unread` remembers that bytes may be left, as no event will tell. There
 * is one read a turn, some 400 answers, because each may start a response, and the other
 * connections need their turn.
 */
void redis_link_read(struct redis_link *link)
{
    if (!link->unread)
        return;
    uint32_t generation = link->generation;
    if (link->state == LINK_IS_READY)
        link->since_ms = link->worker->now_ms;
    redisAsyncHandleRead(link->context);
    if (link->context == NULL || generation != link->generation)
        return; /* it was the end of the connection */
    if (link->refused[0] != '\0') {
        look_again(link);
        return;
    }
    link->unread = has_input(link);
    if (!link->polling_read)
        arm_read(link);
    publish_ready(link);
}

bool redis_link_has_unread(const struct redis_link *link)
{
    return link->unread;
}

void redis_link_writable(struct redis_link *link, uint32_t generation)
{
    if (generation != link->generation || link->context == NULL)
        return;
    link->polling_write = false;
    redisAsyncHandleWrite(link->context); /* completes the connect, then writes */
}

void redis_link_close(struct redis_link *link)
{
    if (link->context != NULL)
        look_again(link);
}

/* ---- deadlines ---- */

/* Milliseconds that the state may take, or that Redis may be silent in it; 0: no bound, because the
 * state waits for the ledger. */
static uint64_t patience_ms(const struct redis_link *link)
{
    switch (link->state) {
    case LINK_CONNECTING:
        return LEDGER_REDIS_CONNECT_MS;
    case LINK_INTRODUCING:
    case LINK_TRYING:
        return LEDGER_REDIS_INTRODUCE_MS;
    case LINK_IS_READY:
        return is_owed(link) ? LEDGER_REDIS_SILENCE_MS : 0;
    case LINK_DOWN:
    case LINK_STANDING_BY:
        break;
    }
    return 0;
}

/* Tells the askers of late questions. The answers are still awaited, since they may bring funds
 * that Redis has reserved. */
static void tell_late(struct redis_link *link)
{
    const struct worker *worker = link->worker;
    while (link->in_time != NULL &&
           worker->now_ms - link->in_time->asked_ms > worker->node->config->admission_timeout_ms) {
        struct question *question = link->in_time;
        question->is_late = true;
        link->in_time = question->next;
        if (question->late != NULL)
            question->late(link->worker, question->context);
    }
}

void redis_link_tick(struct redis_link *link)
{
    const struct worker *worker = link->worker;
    if (link->state == LINK_DOWN) {
        if (worker->now_ms >= link->retry_ms)
            link_connect(link);
        return;
    }
    /* Bytes that have come are read before any question is called late: it is the node that is slow
     * then, not Redis. */
    if (link->state != LINK_CONNECTING && has_input(link)) {
        link->unread = true;
    } else {
        uint64_t patience = patience_ms(link);
        tell_late(link);
        if (patience != 0 && worker->now_ms - link->since_ms > patience)
            object(link, "it did not answer within %llu ms", (unsigned long long)patience);
    }
    follow_ledger(link);
    if (link->refused[0] != '\0') {
        look_again(link);
        return;
    }
    if (link->state == LINK_IS_READY && !is_owed(link) &&
        worker->now_ms - link->since_ms >= LEDGER_REDIS_BEAT_MS)
        try_library(link);
    publish_ready(link);
}

int redis_link_create(struct redis_link **out, struct worker *worker)
{
    struct redis_link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return -ENOMEM;
    link->worker = worker;
    *out = link;
    return 0;
}

void redis_link_destroy(struct redis_link **link)
{
    if (*link == NULL)
        return;
    check((*link)->context == NULL);
    while ((*link)->unused != NULL) {
        struct question *question = (*link)->unused;
        (*link)->unused = question->next;
        free(question);
    }
    free(*link);
    *link = NULL;
}
