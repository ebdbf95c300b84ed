/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays a Redis or a Sentinel: see player.h. Commands are read by hiredis' reader, since a command is
 * an array of strings like a reply.
 */
#include "tests/unit/ledger/player.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define MASTER "tollgate"

/* ---- answers ---- */

/* A peer that is gone does not hear it. */
static void say(const struct player_connection *connection, const char *text)
{
    (void)!send(connection->fd, text, strlen(text), MSG_NOSIGNAL);
}

static void say_bulk(const struct player_connection *connection, const char *text)
{
    char reply[512];
    snprintf(reply, sizeof(reply), "$%zu\r\n%s\r\n", strlen(text), text);
    say(connection, reply);
}

static void answer_info(struct player *player, const struct player_connection *connection)
{
    char info[256];
    snprintf(info, sizeof(info),
             "redis_version:7.0.0\r\nrun_id:%040d\r\nmaster_replid:%040d\r\n"
             "maxmemory_policy:noeviction\r\naof_enabled:1\r\nloading:0\r\nrole:%s\r\n",
             player->port, player->port, player->is_replica ? "slave" : "master");
    player->asked++;
    say_bulk(connection, info);
}

static void answer_address(struct player *player, const struct player_connection *connection)
{
    char port[16];
    snprintf(port, sizeof(port), "%d", player->master_port);
    player->asked++;
    say(connection, "*2\r\n");
    say_bulk(connection, "127.0.0.1");
    say_bulk(connection, port);
}

static void answer_master(const struct player *player, const struct player_connection *connection)
{
    char epoch[32];
    snprintf(epoch, sizeof(epoch), "%" PRIu64, player->epoch);
    say(connection, "*4\r\n");
    say_bulk(connection, "name");
    say_bulk(connection, MASTER);
    say_bulk(connection, "config-epoch");
    say_bulk(connection, epoch);
}

static bool is_word(const redisReply *command, size_t index, const char *word)
{
    return index < command->elements && strcasecmp(command->element[index]->str, word) == 0;
}

static void answer(struct player *player, struct player_connection *connection,
                   const redisReply *command)
{
    const redisReply *last = command->element[command->elements - 1];
    if (player->is_silent)
        return;
    if (is_word(command, 0, "AUTH")) {
        connection->is_known = player->password != NULL && strcmp(last->str, player->password) == 0;
        say(connection, connection->is_known ? "+OK\r\n" : "-WRONGPASS invalid password\r\n");
    } else if (player->password != NULL && !connection->is_known) {
        say(connection, "-NOAUTH Authentication required.\r\n");
    } else if (is_word(command, 0, "SUBSCRIBE")) {
        connection->is_subscribed = true;
        say(connection, "*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n");
    } else if (player->always != NULL) {
        player->asked++;
        say(connection, player->always);
    } else if (is_word(command, 0, "INFO")) {
        answer_info(player, connection);
    } else if (is_word(command, 1, "GET-MASTER-ADDR-BY-NAME")) {
        answer_address(player, connection);
    } else if (is_word(command, 1, "MASTER")) {
        answer_master(player, connection);
    } else {
        say(connection, "-ERR unknown command\r\n");
    }
}

/* ---- connections ---- */

static void drop(struct player_connection *connection)
{
    close(connection->fd);
    redisReaderFree(connection->reader);
    *connection = (struct player_connection){.fd = -1};
}

static void take_connection(struct player *player)
{
    int fd = accept(player->fd, NULL, NULL);
    for (unsigned i = 0; fd >= 0 && i < PLAYER_CONNECTIONS_MAX; i++) {
        if (player->connections[i].fd >= 0)
            continue;
        player->connections[i] =
            (struct player_connection){.fd = fd, .reader = redisReaderCreate()};
        return;
    }
    if (fd >= 0)
        close(fd);
}

static void take_bytes(struct player *player, struct player_connection *connection)
{
    char bytes[4096];
    ssize_t got = recv(connection->fd, bytes, sizeof(bytes), 0);
    void *command = NULL;
    if (got <= 0 || redisReaderFeed(connection->reader, bytes, (size_t)got) != REDIS_OK) {
        drop(connection);
        return;
    }
    while (redisReaderGetReply(connection->reader, &command) == REDIS_OK && command != NULL) {
        answer(player, connection, command);
        freeReplyObject(command);
        command = NULL;
    }
}

/* Looks at its end each 20 ms, too: nothing wakes it for that. */
static void *run(void *argument)
{
    struct player *player = argument;
    struct pollfd polled[1 + PLAYER_CONNECTIONS_MAX];
    for (;;) {
        pthread_mutex_lock(&player->lock);
        bool stops = player->stops;
        polled[0] = (struct pollfd){.fd = player->fd, .events = POLLIN};
        for (unsigned i = 0; i < PLAYER_CONNECTIONS_MAX; i++)
            polled[1 + i] = (struct pollfd){.fd = player->connections[i].fd, .events = POLLIN};
        pthread_mutex_unlock(&player->lock);
        if (stops)
            return NULL;
        (void)poll(polled, 1 + PLAYER_CONNECTIONS_MAX, 20);
        pthread_mutex_lock(&player->lock);
        for (unsigned i = 0; i < PLAYER_CONNECTIONS_MAX; i++) {
            if (polled[1 + i].revents != 0)
                take_bytes(player, &player->connections[i]);
        }
        if (polled[0].revents != 0)
            take_connection(player);
        pthread_mutex_unlock(&player->lock);
    }
}

/* ---- what tests call ---- */

void player_start(struct player *player)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    pthread_mutex_init(&player->lock, NULL);
    for (unsigned i = 0; i < PLAYER_CONNECTIONS_MAX; i++)
        player->connections[i].fd = -1;
    player->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(bind(player->fd, (struct sockaddr *)&at, size) == 0 && listen(player->fd, 16) == 0 &&
              getsockname(player->fd, (struct sockaddr *)&at, &size) == 0);
    player->port = ntohs(at.sin_port);
    cr_assert_eq(pthread_create(&player->thread, NULL, run, player), 0);
}

void player_stop(struct player *player)
{
    pthread_mutex_lock(&player->lock);
    player->stops = true;
    pthread_mutex_unlock(&player->lock);
    pthread_join(player->thread, NULL);
    for (unsigned i = 0; i < PLAYER_CONNECTIONS_MAX; i++) {
        if (player->connections[i].fd >= 0)
            drop(&player->connections[i]);
    }
    close(player->fd);
}

void player_name(struct player *player, int master_port, uint64_t epoch, bool publishes)
{
    char text[64];
    pthread_mutex_lock(&player->lock);
    snprintf(text, sizeof(text), MASTER " 127.0.0.1 %d 127.0.0.1 %d", player->master_port,
             master_port);
    player->master_port = master_port;
    player->epoch = epoch;
    for (unsigned i = 0; publishes && i < PLAYER_CONNECTIONS_MAX; i++) {
        if (!player->connections[i].is_subscribed)
            continue;
        say(&player->connections[i], "*3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n");
        say_bulk(&player->connections[i], text);
    }
    pthread_mutex_unlock(&player->lock);
}

void player_silence(struct player *player)
{
    pthread_mutex_lock(&player->lock);
    player->is_silent = true;
    pthread_mutex_unlock(&player->lock);
}

unsigned player_asked(struct player *player)
{
    pthread_mutex_lock(&player->lock);
    unsigned asked = player->asked;
    pthread_mutex_unlock(&player->lock);
    return asked;
}
