/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to the simulated Redis, by the table of functions that the ledger and the grants are
 * given (outside.h). What is sent arrives in order and after a while, as do the answers; different
 * connections overtake each other. A fault may cut it, slow it down, or part it from Redis.
 */
#ifndef TOLLGATE_SIMULATION_CONNECTION_H
#define TOLLGATE_SIMULATION_CONNECTION_H

#include "storage/ledger/outside.h"
#include "tests/simulation/schedule.h"

struct sim;
struct sim_node;

enum connection_state { CONNECTION_CLOSED, CONNECTION_OPENING, CONNECTION_OPEN, CONNECTION_BROKEN };

/* A command that has no answer yet. */
struct connection_due {
    ledger_redis_done *done;
    ledger_redis_late *late;
    void *context;
    uint64_t sent_us;
    bool is_late;
};

struct sim_connection {
    struct ledger_redis table;
    struct sim *sim;
    struct sim_node *node;
    unsigned number; /* of the connection, among all of the world */
    const char *name;
    enum connection_state state;
    uint64_t life;       /* grows with each opening and each end */
    uint64_t redis_life; /* of the Redis that it is to */
    const char *error;
    struct connection_due *due; /* owns: a ring, in the order of sending */
    size_t first, count, room;
    uint64_t sent, arrived;          /* commands of this opening */
    uint64_t lost_life, lost_from;   /* a cut: commands of that life from that number on are lost */
    uint64_t gone_life;              /* commands of that life, and of those before it, are lost */
    uint64_t late_life, late_us;     /* commands of that life arrive then, at the earliest */
    uint64_t arrives_us, answers_us; /* when the last one does */
    uint64_t hops;                   /* messages so far, both ways: decides how long each takes */
    uint64_t slow_until_us, slow_us, apart_until_us;
    bool is_subscribed; /* at Redis, in this life */
    ledger_redis_done *heard;
    void *heard_context;
    bool is_doubtful; /* an error was answered */
    uint64_t patience_us;
    struct timer silence;
    /* Called after anything has changed: an answer, an opening, an end. */
    void (*moved)(struct sim_connection *connection);
};

void connection_init(struct sim_connection *connection, struct sim_node *node, unsigned number,
                     const char *name, void (*moved)(struct sim_connection *connection));
void connection_free(struct sim_connection *connection);
/* Ends it without a word: the process is gone. Callbacks get NULL. */
void connection_drop(struct sim_connection *connection);
/* Tells those whose answers have taken longer than `timeout_us`; as a worker's connection does. */
void connection_tell_late(struct sim_connection *connection, uint64_t timeout_us);

/* Faults. */
void connection_cut(struct sim_connection *connection, uint64_t seed);
/* What is under way, of this opening and of those before it, does not arrive. */
void connection_lose(struct sim_connection *connection);
void connection_lost(struct sim_connection *connection, const char *error);
/* Of redis.c: sends the answer that the message holds, and takes the message over. */
struct message;
void connection_answer(struct message *message);
/* Of redis.c: Redis publishes. */
void connection_publish(struct sim_connection *connection, const char *channel, size_t length,
                        const char *text, size_t text_length);

/* Frees what a moment that will not come would have brought. */
void connection_discard(const struct moment *moment);

#endif
