/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks a Redis what it is, for somebody who sets a node up. The server's doctor calls it, never the
 * running ledger. It changes nothing in Redis.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "storage/ledger/ledger_internal.h"
#include "storage/ledger/redis.h"

/* Compares Redis' clock with ours at the middle of the round trip. */
static int ask_clock(struct redis *redis, int64_t *ahead_ms)
{
    const char *const words[] = {"TIME"};
    int64_t before_ms = (int64_t)clock_real_ms();
    redisReply *reply = redis_call(redis, 1, words);
    int64_t after_ms = (int64_t)clock_real_ms();
    if (reply == NULL)
        return -EAGAIN;
    int64_t theirs_ms;
    bool told = redis_read_time(reply, &theirs_ms);
    freeReplyObject(reply);
    if (!told)
        return -EPROTO;
    *ahead_ms = theirs_ms - (before_ms + (after_ms - before_ms) / 2);
    return 0;
}

/*
 * Must be the last question on a connection, which takes no other commands once it is subscribed.
 */
static bool may_subscribe(struct redis *redis)
{
    static const char *const words[] = {"SUBSCRIBE", "tg:revocations"};
    redisReply *reply = redis_call(redis, 2, words);
    if (reply != NULL)
        freeReplyObject(reply);
    return reply != NULL;
}

/* ---- the node's name ---- */

/* The state directory's own id; "" where it has none yet. 0, or a negative errno where it cannot be
 * read. */
int probe_read_directory(const char *state_dir, char id[LEDGER_HEX_SIZE])
{
    char path[PATH_MAX];
    id[0] = '\0';
    if (snprintf(path, sizeof(path), "%s/directory", state_dir) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    ssize_t length = read(fd, id, LEDGER_HEX_SIZE - 1);
    int error = length < 0 ? -errno : 0;
    id[length < 0 ? 0 : length] = '\0';
    close(fd);
    return error;
}

/* How long the lease of an instance still lasts. 0 or -EAGAIN. */
static int ask_lease(struct redis *redis, const char *instance, int64_t now_ms, int64_t *left_ms)
{
    char key[LEDGER_HEX_SIZE + 16];
    snprintf(key, sizeof(key), "tg:lease:{%.32s}", instance);
    const char *const words[] = {"HGET", key, "until"};
    redisReply *reply = redis_call(redis, 3, words);
    if (reply == NULL)
        return -EAGAIN;
    *left_ms = reply->type == REDIS_REPLY_STRING ? strtoll(reply->str, NULL, 10) - now_ms : 0;
    freeReplyObject(reply);
    return 0;
}

/* The reply of HMGET to directory and instance. */
static void judge_name(const redisReply *reply, const struct ledger_options *options,
                       struct ledger_redis_report *out)
{
    char own[LEDGER_HEX_SIZE];
    bool shaped = reply->type == REDIS_REPLY_ARRAY && reply->elements == 2;
    int error = shaped ? probe_read_directory(options->state_dir, own) : -EPROTO;
    if (error != 0) {
        snprintf(out->name_error, sizeof(out->name_error),
                 "%.200s/directory: %s; let this user read state_dir", options->state_dir,
                 strerrordesc_np(-error));
        return;
    }
    if (reply->element[0]->type != REDIS_REPLY_STRING) {
        out->name = LEDGER_NAME_FREE;
        return;
    }
    if (strcmp(reply->element[0]->str, own) != 0)
        out->name = LEDGER_NAME_TAKEN;
    else
        out->name = out->name_left_ms > 0 && !ledger_is_running(options->state_dir)
                        ? LEDGER_NAME_COPY
                        : LEDGER_NAME_OWN;
}

/* Asks who holds the name, by the rules of tollgate_name but without taking the name. */
static void ask_name(struct redis *redis, const struct ledger_options *options,
                     struct ledger_redis_report *out)
{
    char key[LEDGER_NODE_MAX + 16];
    snprintf(key, sizeof(key), "tg:node:{%s}", options->node);
    const char *const words[] = {"HMGET", key, "directory", "instance"};
    const int64_t now_ms = (int64_t)clock_real_ms() + out->clock_ahead_ms;
    out->name = LEDGER_NAME_UNKNOWN;
    redisReply *reply = redis_call(redis, 4, words);
    if (reply == NULL ||
        (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
         reply->element[1]->type == REDIS_REPLY_STRING &&
         ask_lease(redis, reply->element[1]->str, now_ms, &out->name_left_ms) != 0))
        snprintf(out->name_error, sizeof(out->name_error), "%s", redis->error);
    else
        judge_name(reply, options, out);
    freeReplyObject(reply);
}

int ledger_redis_probe(const struct ledger_options *options, struct ledger_redis_report *out,
                       char *error, size_t error_size)
{
    struct redis redis;
    struct redis_facts facts;
    struct where *where;
    memset(out, 0, sizeof(*out));
    int status = redis_open_alone(&redis, &where, options, error, error_size);
    if (status != 0)
        return status;
    status = redis_facts(&redis, &facts);
    if (status == 0)
        status = ask_clock(&redis, &out->clock_ahead_ms);
    if (status == 0) {
        snprintf(out->version, sizeof(out->version), "%s", facts.version);
        snprintf(out->policy, sizeof(out->policy), "%s", facts.policy);
        out->append_only = facts.append_only;
        out->loading = facts.loading;
        out->replica = facts.replica;
        ask_name(&redis, options, out);
        out->hears_revocations = may_subscribe(&redis);
        if (!out->hears_revocations)
            snprintf(out->push_error, sizeof(out->push_error), "%s", redis.error);
    } else {
        redis_say_why(&redis, options, error, error_size);
    }
    redis_close(&redis);
    where_destroy(&where);
    return status;
}
