/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists the nodes that Redis knows: tg:birth has their lanes, tg:lease:{INSTANCE} what each has said. See
 * nodes.h. An admin thread calls it, on a connection of its own. It changes nothing.
 */
#include "storage/ledger/nodes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/ledger/ledger_internal.h"
#include "storage/ledger/redis.h"

static bool read_entry(const redisReply *instance, const redisReply *entry,
                       struct ledger_known_lane *out)
{
    char birth[17], run[41];
    if (instance->type != REDIS_REPLY_STRING || entry->type != REDIS_REPLY_STRING ||
        instance->len != LEDGER_INSTANCE_SIZE - 1)
        return false;
    memcpy(out->instance, instance->str, LEDGER_INSTANCE_SIZE);
    return sscanf(entry->str, "%32s %32s %16s %40s %" SCNd64 " %" SCNu32, out->node, out->directory,
                  birth, run, &out->seen_ms, &out->functions) >= 5;
}

static uint64_t number_of(const redisReply *field)
{
    return field->type == REDIS_REPLY_STRING ? strtoull(field->str, NULL, 10) : 0;
}

static void read_lease(const redisReply *reply, int64_t now_ms, struct ledger_known_lane *out)
{
    out->number = number_of(reply->element[0]);
    int64_t until_ms = (int64_t)number_of(reply->element[1]);
    out->records = number_of(reply->element[2]);
    out->tells_rest = reply->element[3]->type == REDIS_REPLY_STRING;
    out->unposted = number_of(reply->element[3]);
    out->aside = number_of(reply->element[4]);
    out->left_ms = until_ms > now_ms ? until_ms - now_ms : 0;
    out->lease = out->number == 0     ? LEDGER_LEASE_NONE
                 : until_ms == 0      ? LEDGER_LEASE_RETURNED
                 : until_ms <= now_ms ? LEDGER_LEASE_RUN_OUT
                                      : LEDGER_LEASE_HELD;
}

static int ask_lease(struct redis *redis, int64_t now_ms, struct ledger_known_lane *out)
{
    char key[LEDGER_INSTANCE_SIZE + 16];
    snprintf(key, sizeof(key), "tg:lease:{%s}", out->instance);
    const char *const words[] = {"HMGET", key, "number", "until", "records", "unposted", "aside"};
    redisReply *reply = redis_call(redis, 7, words);
    bool is_good = reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 5;
    if (is_good)
        read_lease(reply, now_ms, out);
    freeReplyObject(reply);
    return is_good ? 0 : -EAGAIN;
}

int ledger_each_known_lane(struct ledger *ledger,
                           void (*each)(void *context, const struct ledger_known_lane *lane),
                           void *context)
{
    static const char *const words[] = {"HGETALL", "tg:birth"}, *const time[] = {"TIME"};
    struct redis redis;
    int64_t now_ms = 0;
    int result = account_redis_open_current(ledger, &redis);
    if (result != 0)
        return result;
    redisReply *clock = redis_call(&redis, 1, time);
    redisReply *all = redis_call(&redis, 2, words);
    if (clock == NULL || !redis_read_time(clock, &now_ms) || all == NULL ||
        all->type != REDIS_REPLY_ARRAY)
        result = -EAGAIN;
    for (size_t i = 0; result == 0 && i + 1 < all->elements; i += 2) {
        struct ledger_known_lane lane = {0};
        if (!read_entry(all->element[i], all->element[i + 1], &lane))
            continue; /* the birth id */
        lane.is_own = strcmp(lane.directory, ledger->lane.state_id) == 0;
        result = ask_lease(&redis, now_ms, &lane);
        if (result == 0)
            each(context, &lane);
    }
    freeReplyObject(clock);
    freeReplyObject(all);
    redis_close(&redis);
    return result;
}
