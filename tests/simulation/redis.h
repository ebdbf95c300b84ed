/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated Redis: the store with the real function library (store.h), and what a server does
 * around it: who it is, whether it answers, and what it forgets.
 */
#ifndef TOLLGATE_SIMULATION_REDIS_H
#define TOLLGATE_SIMULATION_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim;
struct sim_connection;
struct store;
struct message;

enum redis_snapshot { SNAPSHOT_OF_REPLICA, SNAPSHOT_OF_BACKUP, REDIS_SNAPSHOTS };

struct sim_redis {
    struct store *store;                      /* owns */
    struct store *snapshots[REDIS_SNAPSHOTS]; /* own; NULL: none */
    uint64_t snapshot_us[REDIS_SNAPSHOTS];
    bool is_kept[REDIS_SNAPSHOTS]; /* until it goes back to it */
    uint64_t lost_us;              /* when it last lost data */
    char run_id[41], replication_id[41];
    uint64_t life; /* grows with each process of it */
    bool is_up, is_readonly;
    uint64_t stalled_until_us;
    struct message *waiting, **waiting_end; /* arrived while it is stalled */
};

/* A command on its way to Redis, or its answer on the way back. */
struct message {
    struct message *next;
    struct sim_connection *connection;
    uint64_t life, redis_life, number, sent_us;
    struct redisReply *reply; /* owns; NULL: a command */
    bool is_published;
    int count;
    const char **words;
    size_t *lengths;
};

void redis_init(struct sim *sim);
void redis_free(struct sim *sim);
/* A command arrives. Takes the message over. */
void redis_take(struct sim *sim, struct message *message);
/* Kills its process; starts another one, with what the store holds. */
void redis_kill(struct sim *sim);
void redis_start(struct sim *sim);
void redis_stall(struct sim *sim, uint64_t until_us);
/* Keeps what the store holds now, for redis_go_back. */
void redis_keep(struct sim *sim, enum redis_snapshot snapshot);
/* Has the store hold what it held then. */
void redis_go_back(struct sim *sim, enum redis_snapshot snapshot);
void redis_empty(struct sim *sim);
/* A reply from its bytes in Redis' protocol, which must be whole. The caller frees it. */
struct redisReply *redis_parse(const char *protocol, size_t length);
void message_free(struct message *message);
/* Reads who a Redis is from its answer to INFO. False where it does not say. */
bool redis_run_id(const struct redisReply *reply, char run_id[64]);
uint64_t redis_real_ms(const struct sim *sim);
/* A field of a hash as a number; 0 where it is absent. */
int64_t redis_number(struct sim *sim, const char *key, const char *field);

#endif
