/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives hiredis over a socket that never blocks: connecting, AUTH, commands and their replies in
 * order, deadlines. The poster's and push's threads use it. hiredis' own asynchronous layer is not
 * used, because version 0.14 loses the answer to a PING on a connection that has subscribed.
 */
#include "storage/ledger/conversation.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>

#include "server/base/check.h"
#include "storage/ledger/redis_talk.h"

#define POLL_FAILED_MS 100 /* a poll that keeps failing must not burn the core */

enum conversation_state { CLOSED, CONNECTING, INTRODUCING, READY, BROKEN };

/* A command whose reply is due. */
struct due {
    ledger_redis_done *done;
    ledger_redis_late *late;
    void *context;
};

struct conversation {
    struct ledger_redis table;
    struct where *where;                  /* borrows */
    const struct ledger_options *options; /* borrows */
    const struct ledger_clock *clock;     /* borrows */
    int wake_fd;                          /* borrows */
    enum conversation_state state;
    redisContext *context; /* owns; NULL where closed or broken */
    bool unsent;           /* hiredis holds bytes that the socket has not taken */
    bool moving;           /* callbacks run: they may send, but not close */
    uint64_t moved_ms;     /* when a byte last moved, or the oldest due command was sent */
    uint32_t patience_ms;  /* how long an answer may take from then on */
    struct due *due;       /* owns: a ring, in the order of their sending */
    size_t first, count, room;
    ledger_redis_done *heard;
    void *heard_context;
    char error[400]; /* of the last failure: cause, cure if known; no secrets */
};

static uint64_t now_of(const struct conversation *conversation)
{
    return conversation->clock->monotonic_ms(conversation->clock->self);
}

/* ---- ends ---- */

static struct due take_due(struct conversation *conversation)
{
    struct due due = conversation->due[conversation->first];
    conversation->first = (conversation->first + 1) % conversation->room;
    conversation->count--;
    return due;
}

static void end(struct conversation *conversation, enum conversation_state state)
{
    conversation->state = state;
    conversation->heard = NULL;
    conversation->unsent = false;
    if (conversation->context != NULL)
        redisFree(conversation->context);
    conversation->context = NULL;
    while (conversation->count > 0) {
        struct due due = take_due(conversation);
        if (due.done != NULL)
            due.done(due.context, NULL);
    }
}

/* Ends a connection that failed; `said` is the cause. */
static void break_off(struct conversation *conversation, const char *said)
{
    snprintf(conversation->error, sizeof(conversation->error), "Redis at %.160s: %.200s",
             conversation->options->redis, said);
    end(conversation, BROKEN);
}

/* The same, where hiredis tells the cause. */
static void break_off_by_hiredis(struct conversation *conversation, const char *errstr)
{
    char said[300];
    (void)ledger_redis_explain(NULL, errstr, NULL, said, sizeof(said));
    break_off(conversation, said);
}

/* ---- the table ---- */

int conversation_open_at(struct conversation *conversation,
                         const struct ledger_redis_address *address)
{
    check(conversation->context == NULL);
    conversation->error[0] = '\0';
    conversation->context = address->port == 0 ? redisConnectUnixNonBlock(address->host)
                                               : redisConnectNonBlock(address->host, address->port);
    if (conversation->context == NULL || conversation->context->err != 0) {
        break_off(conversation,
                  conversation->context == NULL ? "no memory" : conversation->context->errstr);
        return -EAGAIN;
    }
    conversation->state = CONNECTING;
    conversation->moved_ms = now_of(conversation);
    conversation->patience_ms = LEDGER_REDIS_CONNECT_MS;
    return 0;
}

static int redis_open(void *self)
{
    struct conversation *conversation = self;
    struct ledger_redis_address address;
    char said[200];
    int result = where_get(conversation->where, &address, said, sizeof(said));
    if (result == 0)
        return conversation_open_at(conversation, &address);
    break_off(conversation, said);
    return result;
}

static void redis_close(void *self)
{
    struct conversation *conversation = self;
    check(!conversation->moving);
    end(conversation, CLOSED);
}

static bool redis_is_ready(const void *self)
{
    const struct conversation *conversation = self;
    return conversation->state == READY;
}

static int make_room(struct conversation *conversation)
{
    if (conversation->count < conversation->room)
        return 0;
    check(conversation->count == conversation->room);
    size_t room = conversation->room == 0 ? 512 : conversation->room * 2;
    struct due *due = calloc(room, sizeof(struct due));
    if (due == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < conversation->count; i++)
        due[i] = conversation->due[(conversation->first + i) % conversation->room];
    free(conversation->due);
    conversation->due = due;
    conversation->room = room;
    conversation->first = 0;
    return 0;
}

static int queue(struct conversation *conversation, int count, const char *const words[],
                 const size_t lengths[], struct due due)
{
    /* hiredis takes pointers to non-const and writes through none of them. */
    if (make_room(conversation) != 0 ||
        redisAppendCommandArgv(conversation->context, count, (const char **)(uintptr_t)words,
                               lengths) != REDIS_OK)
        return -ENOMEM;
    if (conversation->count == 0)
        conversation->moved_ms = now_of(conversation);
    conversation->due[(conversation->first + conversation->count++) % conversation->room] = due;
    conversation->unsent = true;
    return 0;
}

static int redis_send(void *self, int count, const char *const words[], const size_t lengths[],
                      ledger_redis_done *done, ledger_redis_late *late, void *context)
{
    struct conversation *conversation = self;
    if (conversation->state != READY)
        return -ENOTCONN;
    return queue(conversation, count, words, lengths, (struct due){done, late, context});
}

static const char *redis_error(const void *self)
{
    const struct conversation *conversation = self;
    return conversation->context != NULL ? NULL : conversation->error;
}

static void redis_hear(void *self, ledger_redis_done *heard, void *context)
{
    struct conversation *conversation = self;
    conversation->heard = heard;
    conversation->heard_context = context;
}

static void redis_introduced(void *self)
{
    struct conversation *conversation = self;
    conversation->patience_ms = LEDGER_REDIS_SILENCE_MS;
}

/* ---- connecting ---- */

static void authenticated(void *context, const redisReply *reply)
{
    struct conversation *conversation = context;
    if (reply == NULL)
        return;
    if (reply->type != REDIS_REPLY_ERROR) {
        conversation->state = READY;
        return;
    }
    char said[sizeof(conversation->error)];
    (void)ledger_redis_explain("AUTH", reply->str, conversation->options->redis_user, said,
                               sizeof(said));
    end(conversation, BROKEN);
    memcpy(conversation->error, said, sizeof(said));
}

static void introduce(struct conversation *conversation)
{
    const struct ledger_options *options = conversation->options;
    conversation->patience_ms = LEDGER_REDIS_INTRODUCE_MS;
    conversation->state = options->redis_password == NULL ? READY : INTRODUCING;
    if (options->redis_password == NULL)
        return;
    const char *words[3] = {"AUTH"};
    size_t lengths[3] = {4};
    int count = 1;
    if (options->redis_user != NULL)
        words[count++] = options->redis_user;
    words[count++] = options->redis_password;
    for (int i = 1; i < count; i++)
        lengths[i] = strlen(words[i]);
    if (queue(conversation, count, words, lengths,
              (struct due){.done = authenticated, .context = conversation}) != 0)
        break_off(conversation, "no memory");
}

static void finish_connecting(struct conversation *conversation)
{
    int error = 0;
    socklen_t size = sizeof(error);
    check(conversation->context != NULL);
    if (getsockopt(conversation->context->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    if (error != 0)
        break_off(conversation, strerrordesc_np(error));
    else
        introduce(conversation);
}

/* ---- moving ---- */

/* What Redis publishes answers no command. */
static bool is_message(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements == 3 &&
           reply->element[0]->type == REDIS_REPLY_STRING &&
           strcmp(reply->element[0]->str, "message") == 0;
}

static void hand_over(struct conversation *conversation, const redisReply *reply)
{
    if (conversation->heard != NULL && is_message(reply)) {
        conversation->heard(conversation->heard_context, reply);
    } else if (conversation->count > 0) {
        struct due due = take_due(conversation);
        if (due.done != NULL)
            due.done(due.context, reply);
    }
}

static void read_replies(struct conversation *conversation)
{
    if (redisBufferRead(conversation->context) != REDIS_OK) {
        break_off_by_hiredis(conversation, conversation->context->errstr);
        return;
    }
    conversation->moved_ms = now_of(conversation);
    /* What comes unasked, such as a refusal of one client more, answers the first command. */
    while (conversation->context != NULL &&
           (conversation->count > 0 || conversation->heard != NULL)) {
        void *reply = NULL;
        if (redisReaderGetReply(conversation->context->reader, &reply) != REDIS_OK) {
            break_off_by_hiredis(conversation, conversation->context->reader->errstr);
            return;
        }
        if (reply == NULL)
            return;
        hand_over(conversation, reply);
        freeReplyObject(reply);
    }
}

static void write_commands(struct conversation *conversation)
{
    int done = 0;
    if (redisBufferWrite(conversation->context, &done) != REDIS_OK) {
        break_off_by_hiredis(conversation, conversation->context->errstr);
        return;
    }
    conversation->unsent = done == 0;
    conversation->moved_ms = now_of(conversation);
}

static bool is_awaited(const struct conversation *conversation)
{
    return conversation->state == CONNECTING ||
           (conversation->context != NULL && conversation->count > 0);
}

static void judge_silence(struct conversation *conversation)
{
    char said[64];
    if (!is_awaited(conversation) ||
        now_of(conversation) < conversation->moved_ms + conversation->patience_ms)
        return;
    for (size_t i = 0; i < conversation->count; i++) {
        const struct due *due = &conversation->due[(conversation->first + i) % conversation->room];
        if (due->late != NULL)
            due->late(due->context);
    }
    if (conversation->state == CONNECTING)
        snprintf(said, sizeof(said), "%s", strerrordesc_np(ETIMEDOUT));
    else
        snprintf(said, sizeof(said), "no answer within %" PRIu32 " ms", conversation->patience_ms);
    break_off(conversation, said);
}

static void move(struct conversation *conversation, short events)
{
    conversation->moving = true;
    if (conversation->state == CONNECTING && events != 0)
        finish_connecting(conversation);
    else if (conversation->context != NULL && (events & (POLLIN | POLLHUP | POLLERR)) != 0)
        read_replies(conversation);
    if (conversation->context != NULL && conversation->unsent && (events & POLLOUT) != 0)
        write_commands(conversation);
    judge_silence(conversation);
    conversation->moving = false;
}

static int wait_ms(const struct conversation *conversation, uint64_t until_ms)
{
    uint64_t now = now_of(conversation);
    if (is_awaited(conversation) && conversation->moved_ms + conversation->patience_ms < until_ms)
        until_ms = conversation->moved_ms + conversation->patience_ms;
    if (until_ms <= now)
        return 0;
    return until_ms - now < INT_MAX ? (int)(until_ms - now) : INT_MAX;
}

void conversation_wait(struct conversation *conversation, uint64_t until_ms)
{
    bool writes = conversation->state == CONNECTING || conversation->unsent;
    struct pollfd items[2] = {{.fd = conversation->wake_fd, .events = POLLIN},
                              {.fd = conversation->context != NULL ? conversation->context->fd : -1,
                               .events = (short)(conversation->state == CONNECTING ? POLLOUT
                                                 : writes ? POLLIN | POLLOUT
                                                          : POLLIN)}};
    if (poll(items, 2, wait_ms(conversation, until_ms)) < 0) {
        if (errno != EINTR)
            nanosleep(&(struct timespec){.tv_nsec = POLL_FAILED_MS * 1000000L}, NULL);
        items[0].revents = items[1].revents = 0;
    }
    eventfd_t count;
    if (items[0].revents != 0)
        (void)eventfd_read(conversation->wake_fd, &count);
    move(conversation, items[1].revents);
}

/* ---- making ---- */

int conversation_create(struct conversation **out, struct where *where,
                        const struct ledger_options *options, const struct ledger_clock *clock,
                        int wake_fd)
{
    struct conversation *conversation = calloc(1, sizeof(*conversation));
    if (conversation == NULL)
        return -ENOMEM;
    conversation->where = where;
    conversation->options = options;
    conversation->clock = clock;
    conversation->wake_fd = wake_fd;
    conversation->table = (struct ledger_redis){.self = conversation,
                                                .open = redis_open,
                                                .close = redis_close,
                                                .is_ready = redis_is_ready,
                                                .send = redis_send,
                                                .error = redis_error,
                                                .hear = redis_hear,
                                                .introduced = redis_introduced};
    *out = conversation;
    return 0;
}

void conversation_destroy(struct conversation **pointer)
{
    struct conversation *conversation = *pointer;
    *pointer = NULL;
    if (conversation == NULL)
        return;
    end(conversation, CLOSED);
    free(conversation->due);
    free(conversation);
}

const struct ledger_redis *conversation_redis(struct conversation *conversation)
{
    return &conversation->table;
}
