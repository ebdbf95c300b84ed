/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Redis or a Sentinel that a test plays on a real socket of 127.0.0.1, in a thread of its own. It
 * knows the few commands by which the ledger learns where Redis is: AUTH, INFO, SUBSCRIBE and
 * SENTINEL. What it answers may be changed at any time.
 */
#ifndef TOLLGATE_TESTS_LEDGER_PLAYER_H
#define TOLLGATE_TESTS_LEDGER_PLAYER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define PLAYER_CONNECTIONS_MAX 16

struct redisReader;

struct player_connection {
    int fd;
    struct redisReader *reader;
    bool is_known, is_subscribed; /* is_known: it has given the password, or needs none */
};

struct player {
    pthread_t thread;
    pthread_mutex_t lock; /* of all that follows */
    int fd, port;
    bool stops;
    struct player_connection connections[PLAYER_CONNECTIONS_MAX];
    unsigned asked; /* how often it was asked for the master's address, or for INFO */

    const char *password; /* of "user" or of nobody; NULL: it wants none */
    bool is_silent;       /* it answers nothing */
    const char *always; /* a reply in Redis' protocol that it gives to each question; NULL: none */

    /* As a Redis. */
    bool is_replica;
    /* As a Sentinel: the master that it names. */
    int master_port;
    uint64_t epoch;
};

void player_start(struct player *player);
void player_stop(struct player *player);
/* As a Sentinel: names another master from now on; `publishes`: and says so by +switch-master. */
void player_name(struct player *player, int master_port, uint64_t epoch, bool publishes);
void player_silence(struct player *player);
unsigned player_asked(struct player *player);

#endif
