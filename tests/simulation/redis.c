/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated Redis. The store answers all commands but those about the server itself and about a
 * connection. See redis.h.
 */
#include "tests/simulation/redis.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "storage/ledger/redis_talk.h"
#include "tests/simulation/sim.h"
#include "tests/simulation/store.h"

static const char channel[] = "tg:revocations";

uint64_t redis_real_ms(const struct sim *sim)
{
    return SIM_EPOCH_MS + sim_now_ms(sim);
}

static void set_time(struct sim *sim)
{
    store_set_time(sim->redis.store, (SIM_EPOCH_MS * SIM_MS) + sim->schedule.now_us);
}

static void published(void *context, const char *name, size_t name_length, const char *text,
                      size_t length)
{
    struct sim *sim = context;
    for (unsigned i = 0; i < SIM_NODES + SIM_COPIES; i++)
        if (sim->nodes[i].exists)
            connection_publish(&sim->nodes[i].push, name, name_length, text, length);
}

static void new_run_id(struct sim *sim)
{
    struct sim_redis *redis = &sim->redis;
    struct random random = {random_mix(sim->seed, 77, ++redis->life)};
    random_hex(&random, redis->run_id, sizeof(redis->run_id) - 1);
    memcpy(redis->replication_id, redis->run_id, sizeof(redis->run_id));
    redis->replication_id[0] = 'f';
}

void redis_init(struct sim *sim)
{
    struct sim_redis *redis = &sim->redis;
    redis->waiting_end = &redis->waiting;
    check(store_create(&redis->store, published, sim) == 0);
    redis->is_up = true;
    new_run_id(sim);
}

static void forget_waiting(struct sim_redis *redis)
{
    while (redis->waiting != NULL) {
        struct message *next = redis->waiting->next;
        message_free(redis->waiting);
        redis->waiting = next;
    }
    redis->waiting_end = &redis->waiting;
}

void redis_free(struct sim *sim)
{
    forget_waiting(&sim->redis);
    store_destroy(&sim->redis.store);
    for (unsigned i = 0; i < REDIS_SNAPSHOTS; i++)
        store_destroy(&sim->redis.snapshots[i]);
}

/* ---- commands ---- */

redisReply *redis_parse(const char *protocol, size_t length)
{
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;
    redisReaderFeed(reader, protocol, length);
    check(redisReaderGetReply(reader, &reply) == REDIS_OK && reply != NULL);
    redisReaderFree(reader);
    return reply;
}

static redisReply *info(const struct sim_redis *redis)
{
    char text[400], protocol[500];
    int length =
        snprintf(text, sizeof(text),
                 "# Server\r\nredis_version:7.0.15\r\nrun_id:%s\r\nmaxmemory_policy:"
                 "noeviction\r\naof_enabled:1\r\nloading:0\r\nrole:%s\r\nmaster_replid:%s"
                 "\r\n",
                 redis->run_id, redis->is_readonly ? "slave" : "master", redis->replication_id);
    length = snprintf(protocol, sizeof(protocol), "$%d\r\n%s\r\n", length, text);
    return redis_parse(protocol, (size_t)length);
}

static redisReply *pong(const struct message *message)
{
    char protocol[200];
    int length = message->count == 1
                     ? snprintf(protocol, sizeof(protocol), "+PONG\r\n")
                     : snprintf(protocol, sizeof(protocol), "*2\r\n$4\r\npong\r\n$%zu\r\n%s\r\n",
                                message->lengths[1], message->words[1]);
    return redis_parse(protocol, (size_t)length);
}

static bool writes(const struct message *message)
{
    const char *name = message->words[0];
    if (strcmp(name, "FCALL") == 0)
        return strcmp(message->words[1], "tollgate_usage") != 0 &&
               strcmp(message->words[1], "tollgate_transaction") != 0;
    return strcmp(name, "XADD") == 0 ||
           (strcmp(name, "FUNCTION") == 0 && strcmp(message->words[1], "LOAD") == 0);
}

#ifdef PLANTED_OLD
/* Plants a fault in the function library that is about to be loaded. */
static redisReply *load_planted(struct store *store, const struct message *message)
{
    static const char old[] = PLANTED_OLD, new[] = PLANTED_NEW;
    const char *text = message->words[3], *at = strstr(text, old);
    check(at != NULL && strstr(at + 1, old) == NULL);
    size_t before = (size_t)(at - text), length = strlen(text) + sizeof(new) - sizeof(old);
    char *planted = malloc(length + 1);
    check(planted != NULL);
    memcpy(planted, text, before);
    memcpy(planted + before, new, sizeof(new) - 1);
    strcpy(planted + before + sizeof(new) - 1, at + sizeof(old) - 1);
    const char *const words[] = {message->words[0], message->words[1], message->words[2], planted};
    redisReply *reply = store_call(store, 4, words, NULL);
    free(planted);
    return reply;
}
#endif

static redisReply *call(struct store *store, const struct message *message)
{
#ifdef PLANTED_OLD
    if (strcmp(message->words[0], "FUNCTION") == 0 && strcmp(message->words[1], "LOAD") == 0)
        return load_planted(store, message);
#endif
    return store_call(store, message->count, message->words, message->lengths);
}

static redisReply *run(struct sim *sim, const struct message *message)
{
    static const char readonly[] = "-READONLY You can't write against a read only replica.\r\n";
    static const char subscribed[] = "*3\r\n$9\r\nsubscribe\r\n$14\r\ntg:revocations\r\n:1\r\n";
    struct sim_redis *redis = &sim->redis;
    const char *name = message->words[0];
    if (strcmp(name, "INFO") == 0)
        return info(redis);
    if (strcmp(name, "PING") == 0)
        return pong(message);
    if (strcmp(name, "SUBSCRIBE") == 0) {
        check(strcmp(message->words[1], channel) == 0);
        if (message->life == message->connection->life)
            message->connection->is_subscribed = true;
        return redis_parse(subscribed, sizeof(subscribed) - 1);
    }
    if (redis->is_readonly && writes(message))
        return redis_parse(readonly, sizeof(readonly) - 1);
    set_time(sim);
    if (strcmp(message->words[0], "FCALL") == 0)
        watch_voids(sim, NULL); /* before it moves what they have posted, or tells them again */
    watch_replaced(sim, message);
    watch_admitted(sim, message);
    redisReply *reply = call(redis->store, message);
    check(reply != NULL);
    watch_executed(sim, message, reply);
    return reply;
}

/* ---- the story ---- */

static void reply_text(const redisReply *reply, char *out, size_t size)
{
    size_t used = 0;
    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        snprintf(out, size, "%lld", reply->integer);
        break;
    case REDIS_REPLY_NIL:
        snprintf(out, size, "nil");
        break;
    case REDIS_REPLY_ARRAY:
        for (size_t i = 0; i < reply->elements && used + 1 < size; i++) {
            reply_text(reply->element[i], out + used, size - used);
            used += strlen(out + used);
            if (used + 1 < size && i + 1 < reply->elements)
                out[used++] = ' ';
            out[used] = '\0';
        }
        break;
    default:
        snprintf(out, size, "%.*s", (int)strcspn(reply->str, "\r\n"), reply->str);
    }
}

/* Whether a command tells nothing: what only reads, or comes each second. */
static bool is_noise(const struct message *message)
{
    static const char *const noise[] = {"PING", "INFO", "FUNCTION", "HGET", "SUBSCRIBE"};
    const redisReply *reply = message->reply;
    const char *name = message->words[0];
    for (unsigned i = 0; i < sizeof(noise) / sizeof(noise[0]); i++)
        if (strcmp(name, noise[i]) == 0)
            return true;
    if (strcmp(name, "FCALL") != 0)
        return false;
    return strcmp(message->words[1], "tollgate_version") == 0 ||
           (strcmp(message->words[1], "tollgate_lease") == 0 && reply->type == REDIS_REPLY_ARRAY &&
            reply->element[0]->integer == 0 && reply->element[3]->integer == 1);
}

/* Writes a message and its answer into the story. */
static void tell(struct sim *sim, const struct message *message)
{
    char words[300] = "", answer[120] = "";
    const char *name = message->words[0];
    bool is_call = strcmp(name, "FCALL") == 0;
    if (sim->story == NULL || is_noise(message))
        return;
    int keys = is_call ? atoi(message->words[2]) : 0;
    size_t used = 0;
    for (int i = is_call ? 1 : 0; i < message->count && used < sizeof(words) - 1; i++)
        if (!is_call || i == 1 || i == 3 || i >= 3 + keys) /* of the keys, the account's alone */
            used += (size_t)snprintf(words + used, sizeof(words) - used, " %s", message->words[i]);
    reply_text(message->reply, answer, sizeof(answer));
    sim_tell(sim, "Redis", "%s, %s:%s -> %s", message->connection->node->name,
             message->connection->name, words, answer);
}

static void answer(struct sim *sim, struct message *message)
{
    message->reply = run(sim, message);
    tell(sim, message);
    connection_answer(message);
}

void redis_take(struct sim *sim, struct message *message)
{
    struct sim_redis *redis = &sim->redis;
    if (message->redis_life != redis->life || !redis->is_up) {
        message_free(message);
        return;
    }
    if (redis->stalled_until_us > sim->schedule.now_us || redis->waiting != NULL) {
        message->next = NULL;
        *redis->waiting_end = message;
        redis->waiting_end = &message->next;
        return;
    }
    answer(sim, message);
}

/* ---- what may happen to it ---- */

static void go_on(void *object, uint64_t life)
{
    struct sim *sim = object;
    struct sim_redis *redis = &sim->redis;
    if (life != redis->life || redis->stalled_until_us > sim->schedule.now_us)
        return;
    while (redis->waiting != NULL) {
        struct message *message = redis->waiting;
        redis->waiting = message->next;
        if (redis->waiting == NULL)
            redis->waiting_end = &redis->waiting;
        answer(sim, message);
    }
}

void redis_stall(struct sim *sim, uint64_t until_us)
{
    if (until_us > sim->redis.stalled_until_us)
        sim->redis.stalled_until_us = until_us;
    schedule_add(&sim->schedule, sim->redis.stalled_until_us, go_on, sim, sim->redis.life);
}

static void hear_of_end(void *object, uint64_t redis_life)
{
    struct sim_connection *connection = object;
    if (connection->state == CONNECTION_OPEN && connection->redis_life == redis_life)
        connection_lost(connection, "Redis closed the connection");
}

static void tell_end(struct sim *sim, struct sim_connection *connection)
{
    uint64_t now_us = sim->schedule.now_us;
    uint64_t at_us = now_us > connection->apart_until_us ? now_us : connection->apart_until_us;
    schedule_add(&sim->schedule, at_us + 100, hear_of_end, connection, sim->redis.life);
}

void redis_kill(struct sim *sim)
{
    struct sim_redis *redis = &sim->redis;
    redis->is_up = false;
    redis->stalled_until_us = 0;
    forget_waiting(redis);
    for (unsigned i = 0; i < SIM_NODES + SIM_COPIES; i++) {
        struct sim_node *node = &sim->nodes[i];
        if (!node->exists)
            continue;
        for (unsigned j = 0; j < SIM_CONNECTIONS; j++)
            tell_end(sim, node_connection(node, j));
    }
}

void redis_start(struct sim *sim)
{
    if (sim->redis.is_up)
        return;
    new_run_id(sim);
    sim->redis.is_up = true;
}

void redis_keep(struct sim *sim, enum redis_snapshot snapshot)
{
    struct sim_redis *redis = &sim->redis;
    check(snapshot < REDIS_SNAPSHOTS);
    if (redis->snapshots[snapshot] == NULL)
        check(store_create(&redis->snapshots[snapshot], NULL, NULL) == 0);
    set_time(sim);
    check(store_copy(redis->snapshots[snapshot], redis->store) == 0);
    redis->snapshot_us[snapshot] = sim->schedule.now_us;
    redis->is_kept[snapshot] = true;
}

void redis_go_back(struct sim *sim, enum redis_snapshot snapshot)
{
    struct sim_redis *redis = &sim->redis;
    int64_t used[SIM_ACCOUNTS];
    check(snapshot < REDIS_SNAPSHOTS && redis->snapshots[snapshot] != NULL);
    for (unsigned i = 0; i < SIM_ACCOUNTS; i++)
        used[i] = redis_number(sim, sim->accounts[i].key, "used");
    set_time(sim);
    check(store_copy(redis->store, redis->snapshots[snapshot]) == 0);
    redis->is_kept[snapshot] = false;
    for (unsigned i = 0; i < SIM_ACCOUNTS; i++)
        sim->accounts[i].gone_back +=
            (uint64_t)(used[i] - redis_number(sim, sim->accounts[i].key, "used")) +
            shop_given_back(sim, i);
    watch_lost_data(sim);
}

void redis_empty(struct sim *sim)
{
    store_clear(sim->redis.store);
    watch_lost_data(sim);
}

bool redis_run_id(const redisReply *reply, char run_id[64])
{
    static const struct ledger_options options;
    struct redis_facts facts;
    char error[200];
    if (!redis_read_facts(reply, &options, &facts, error, sizeof(error)))
        return false;
    memcpy(run_id, facts.run_id, sizeof(facts.run_id));
    return true;
}

int64_t redis_number(struct sim *sim, const char *key, const char *field)
{
    size_t length;
    set_time(sim);
    const char *value = store_field(sim->redis.store, key, field, &length);
    char text[24];
    if (value == NULL || length >= sizeof(text))
        return 0;
    memcpy(text, value, length);
    text[length] = '\0';
    return strtoll(text, NULL, 10);
}
