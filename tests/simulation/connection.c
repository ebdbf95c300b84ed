/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to the simulated Redis. See connection.h. As over TCP, what was sent before a
 * connection is closed still arrives, and is carried out; so a command may arrive after those of
 * the connection that followed.
 */
#include "tests/simulation/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "tests/simulation/sim.h"

#define REFUSED_US (SIM_MS / 2)
#define LATE_US    (8 * SIM_SECOND)

/* When a message that leaves now arrives: not before the last one of its direction. */
static uint64_t arrival(struct sim_connection *connection, uint64_t *last_us)
{
    const struct sim *sim = connection->sim;
    uint64_t now_us = sim->schedule.now_us;
    uint64_t chance = random_mix(sim->seed, connection->number, ++connection->hops);
    uint64_t at_us = now_us + 50 + chance % 400;
    if (now_us < connection->slow_until_us)
        at_us += connection->slow_us;
    if (at_us < connection->apart_until_us)
        at_us = connection->apart_until_us + chance % 400;
    if (at_us <= *last_us)
        at_us = *last_us + 1;
    return *last_us = at_us;
}

/* ---- ends ---- */

static struct connection_due take_due(struct sim_connection *connection)
{
    check(connection->count > 0);
    struct connection_due due = connection->due[connection->first];
    connection->first = (connection->first + 1) % connection->room;
    connection->count--;
    return due;
}

/*
 * What is under way on a connection that is given up while it is slow or parted may arrive long
 * after: TCP sends it again at ever longer intervals.
 */
static void make_late(struct sim_connection *connection)
{
    const struct sim *sim = connection->sim;
    uint64_t now_us = sim->schedule.now_us;
    uint64_t until_us = connection->apart_until_us > connection->slow_until_us
                            ? connection->apart_until_us
                            : connection->slow_until_us;
    if (until_us <= now_us || connection->state != CONNECTION_OPEN)
        return;
    connection->late_life = connection->life;
    connection->late_us =
        until_us + random_mix(sim->seed, connection->number, connection->life) % LATE_US;
}

static void end(struct sim_connection *connection, enum connection_state state, const char *error)
{
    make_late(connection);
    connection->state = state;
    connection->error = error;
    connection->life++;
    connection->is_subscribed = false;
    connection->heard = NULL;
    timer_stop(&connection->silence);
    while (connection->count > 0) {
        struct connection_due due = take_due(connection);
        if (due.done != NULL)
            due.done(due.context, NULL);
    }
}

void connection_lost(struct sim_connection *connection, const char *error)
{
    if (connection->state != CONNECTION_OPENING && connection->state != CONNECTION_OPEN)
        return;
    end(connection, CONNECTION_BROKEN, error);
    connection->moved(connection);
}

void connection_lose(struct sim_connection *connection)
{
    connection->gone_life = connection->life;
}

void connection_cut(struct sim_connection *connection, uint64_t seed)
{
    uint64_t under_way = connection->sent - connection->arrived;
    connection->lost_life = connection->life;
    connection->lost_from = connection->arrived + 1 + (under_way > 0 ? seed % (under_way + 1) : 0);
    connection_lost(connection, "the connection was reset");
}

void connection_drop(struct sim_connection *connection)
{
    end(connection, CONNECTION_CLOSED, "");
}

static void on_silence(void *object, uint64_t number)
{
    (void)number;
    connection_lost(object, "Redis is silent");
}

/* Waits for the oldest answer, or calls the waiting off. */
static void await(struct sim_connection *connection)
{
    timer_stop(&connection->silence);
    if (connection->count > 0)
        timer_set(&connection->sim->schedule, &connection->silence,
                  connection->sim->schedule.now_us + connection->patience_us);
}

/* ---- messages ---- */

static struct message *message_make(struct sim_connection *connection, int count,
                                    const char *const words[], const size_t lengths[])
{
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += lengths[i] + 1;
    size_t head = sizeof(struct message) + (size_t)count * (sizeof(char *) + sizeof(size_t));
    struct message *message = malloc(head + bytes);
    check(message != NULL);
    *message = (struct message){.connection = connection,
                                .life = connection->life,
                                .redis_life = connection->redis_life,
                                .number = connection->sent,
                                .sent_us = connection->sim->schedule.now_us,
                                .count = count,
                                .words = (const char **)(void *)(message + 1)};
    message->lengths = (size_t *)(void *)(message->words + count);
    char *at = (char *)(void *)(message->lengths + count);
    for (int i = 0; i < count; i++) {
        memcpy(at, words[i], lengths[i]);
        at[lengths[i]] = '\0';
        message->words[i] = at;
        message->lengths[i] = lengths[i];
        at += lengths[i] + 1;
    }
    return message;
}

void message_free(struct message *message)
{
    if (message->reply != NULL)
        freeReplyObject(message->reply);
    free(message);
}

static void arrive(void *object, uint64_t number)
{
    struct message *message = object;
    struct sim_connection *connection = message->connection;
    (void)number;
    struct schedule *schedule = &connection->sim->schedule;
    if (message->life <= connection->gone_life) {
        message_free(message);
        return;
    }
    if (message->life == connection->late_life && schedule->now_us < connection->late_us) {
        schedule_add(schedule, connection->late_us + message->number, arrive, message, 0);
        return;
    }
    if (message->life == connection->lost_life && message->number >= connection->lost_from) {
        message_free(message);
        return;
    }
    if (message->life == connection->life)
        connection->arrived = message->number;
    redis_take(connection->sim, message);
}

static void answer(void *object, uint64_t number)
{
    struct message *message = object;
    struct sim_connection *connection = message->connection;
    (void)number;
    if (message->life == connection->life && connection->state == CONNECTION_OPEN) {
        if (message->is_published) {
            if (connection->heard != NULL)
                connection->heard(connection->heard_context, message->reply);
        } else {
            struct connection_due due = take_due(connection);
            connection->is_doubtful |= message->reply->type == REDIS_REPLY_ERROR;
            if (due.done != NULL)
                due.done(due.context, message->reply);
        }
        await(connection);
        connection->moved(connection);
    }
    message_free(message);
}

void connection_answer(struct message *message)
{
    struct sim_connection *connection = message->connection;
    if (message->life != connection->life) {
        message_free(message);
        return;
    }
    schedule_add(&connection->sim->schedule, arrival(connection, &connection->answers_us), answer,
                 message, 0);
}

void connection_publish(struct sim_connection *connection, const char *channel, size_t length,
                        const char *text, size_t text_length)
{
    if (!connection->is_subscribed || connection->state != CONNECTION_OPEN ||
        connection->redis_life != connection->sim->redis.life)
        return;
    struct message *message = message_make(connection, 0, NULL, NULL);
    char protocol[200];
    int used = snprintf(protocol, sizeof(protocol),
                        "*3\r\n$7\r\nmessage\r\n$%zu\r\n%.*s\r\n$%zu\r\n%.*s\r\n", length,
                        (int)length, channel, text_length, (int)text_length, text);
    check(used > 0 && (size_t)used < sizeof(protocol));
    message->reply = redis_parse(protocol, (size_t)used);
    message->is_published = true;
    connection_answer(message);
}

/* ---- the table ---- */

static void on_opened(void *object, uint64_t life)
{
    struct sim_connection *connection = object;
    const struct sim_redis *redis = &connection->sim->redis;
    if (connection->life != life || connection->state != CONNECTION_OPENING)
        return;
    if (!redis->is_up) {
        connection_lost(connection, "Connection refused");
        return;
    }
    connection->state = CONNECTION_OPEN;
    connection->redis_life = redis->life;
    timer_stop(&connection->silence);
    connection->moved(connection);
}

static int redis_open(void *self)
{
    struct sim_connection *connection = self;
    struct schedule *schedule = &connection->sim->schedule;
    check(connection->state == CONNECTION_CLOSED || connection->state == CONNECTION_BROKEN);
    connection->state = CONNECTION_OPENING;
    connection->error = NULL;
    connection->life++;
    connection->sent = connection->arrived = 0;
    connection->patience_us = LEDGER_REDIS_INTRODUCE_MS * SIM_MS;
    timer_stop(&connection->silence);
    timer_set(schedule, &connection->silence, schedule->now_us + LEDGER_REDIS_CONNECT_MS * SIM_MS);
    uint64_t at_us = arrival(connection, &connection->arrives_us) + REFUSED_US;
    schedule_add(schedule, at_us, on_opened, connection, connection->life);
    return 0;
}

static void redis_close(void *self)
{
    end(self, CONNECTION_CLOSED, "");
}

static bool redis_is_ready(const void *self)
{
    const struct sim_connection *connection = self;
    return connection->state == CONNECTION_OPEN;
}

static int redis_send(void *self, int count, const char *const words[], const size_t lengths[],
                      ledger_redis_done *done, ledger_redis_late *late, void *context)
{
    struct sim_connection *connection = self;
    if (connection->state != CONNECTION_OPEN)
        return -ENOTCONN;
    if (connection->count == connection->room) {
        size_t room = connection->room == 0 ? 16 : 2 * connection->room;
        struct connection_due *due = malloc(room * sizeof(*due));
        check(due != NULL);
        for (size_t i = 0; i < connection->count; i++)
            due[i] = connection->due[(connection->first + i) % connection->room];
        free(connection->due);
        connection->due = due;
        connection->room = room;
        connection->first = 0;
    }
    connection->due[(connection->first + connection->count++) % connection->room] =
        (struct connection_due){done, late, context, connection->sim->schedule.now_us, false};
    if (count > 1 && strcmp(words[1], "tollgate_post") == 0)
        watch_posts(connection->node);
    connection->sent++;
    if (connection->count == 1)
        await(connection);
    schedule_add(&connection->sim->schedule, arrival(connection, &connection->arrives_us), arrive,
                 message_make(connection, count, words, lengths), 0);
    return 0;
}

static const char *redis_error(const void *self)
{
    const struct sim_connection *connection = self;
    return connection->state == CONNECTION_BROKEN ? connection->error : NULL;
}

static void redis_hear(void *self, ledger_redis_done *heard, void *context)
{
    struct sim_connection *connection = self;
    connection->heard = heard;
    connection->heard_context = context;
}

static void redis_introduced(void *self)
{
    struct sim_connection *connection = self;
    connection->patience_us = LEDGER_REDIS_SILENCE_MS * SIM_MS;
}

void connection_tell_late(struct sim_connection *connection, uint64_t timeout_us)
{
    for (size_t i = 0; i < connection->count; i++) {
        struct connection_due *due = &connection->due[(connection->first + i) % connection->room];
        if (connection->sim->schedule.now_us - due->sent_us <= timeout_us)
            return;
        if (due->is_late)
            continue;
        due->is_late = true;
        if (due->late != NULL)
            due->late(due->context);
    }
}

void connection_init(struct sim_connection *connection, struct sim_node *node, unsigned number,
                     const char *name, void (*moved)(struct sim_connection *connection))
{
    *connection = (struct sim_connection){
        .table = {.self = connection,
                  .open = redis_open,
                  .close = redis_close,
                  .is_ready = redis_is_ready,
                  .send = redis_send,
                  .error = redis_error,
                  .hear = redis_hear,
                  .introduced = redis_introduced},
        .sim = node->sim,
        .node = node,
        .number = number,
        .name = name,
        .error = "",
        .moved = moved,
        .silence = {.fire = on_silence, .object = connection},
    };
}

void connection_free(struct sim_connection *connection)
{
    connection_drop(connection);
    free(connection->due);
}

void connection_discard(const struct moment *moment)
{
    if (moment->fire == arrive || moment->fire == answer)
        message_free(moment->object);
}
