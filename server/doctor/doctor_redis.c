/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor's examination of Redis: asks the Redis that the configuration names, and judges what
 * it says of itself and of the node's name. Called for doctor_run; it changes nothing in Redis.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "server/doctor/doctor_internal.h"
#include "server/redis/redis_address.h"
#include "server/redis/redis_process.h"
#include "storage/ledger/ledger.h"

#define REDIS_MAJOR    7
#define CLOCK_AHEAD_MS 2000

static void judge_redis(const char *address, const struct ledger_redis_report *redis,
                        struct doctor_finding *out)
{
    if (strtol(redis->version, NULL, 10) < REDIS_MAJOR)
        doctor_find(out, DOCTOR_FAILURE, "%s: version %s has no functions; run Redis 7.0 or later",
                    address, redis->version[0] != '\0' ? redis->version : "unknown");
    else if (redis->replica)
        doctor_find(out, DOCTOR_FAILURE, "%s: is a replica; give the address of the master",
                    address);
    else if (strcmp(redis->policy, "noeviction") != 0)
        doctor_find(
            out, DOCTOR_FAILURE,
            "%s: its maxmemory-policy %s may evict accounts and bills; run redis-cli CONFIG SET "
            "maxmemory-policy noeviction, and put it into redis.conf",
            address, redis->policy);
    else if (!redis->hears_revocations)
        doctor_find(out, DOCTOR_FAILURE, "%s: %s", address, redis->push_error);
    else if (redis->loading)
        doctor_find(out, DOCTOR_WARNING, "%s: is loading its data; wait", address);
    else if (!redis->append_only)
        doctor_find(out, DOCTOR_WARNING, "%s: " LEDGER_REDIS_FORGETS, address);
    else if (llabs(redis->clock_ahead_ms) > CLOCK_AHEAD_MS)
        doctor_find(out, DOCTOR_WARNING,
                    "%s: its clock is %lld s %s ours; one of the two is off, synchronise both",
                    address, llabs(redis->clock_ahead_ms) / 1000,
                    redis->clock_ahead_ms > 0 ? "ahead of" : "behind");
    else
        doctor_find(out, DOCTOR_OK, "%s: Redis %s, append-only, noeviction", address,
                    redis->version);
}

/*
 * Reports the node's name as a finding of its own, although Redis tells it: a node whose name is
 * taken starts, but never serves.
 */
static void judge_node(const struct config *config, const struct ledger_redis_report *redis,
                       const struct doctor_finding *out)
{
    struct doctor_finding name = *out;
    name.name = "node";
    if (redis->name == LEDGER_NAME_UNKNOWN)
        doctor_find(&name, DOCTOR_WARNING,
                    "whether another node has the name %s was not found out: %s", config->node,
                    redis->name_error);
    else if (redis->name == LEDGER_NAME_FREE)
        doctor_find(&name, DOCTOR_OK, "the name %s is free", config->node);
    else if (redis->name == LEDGER_NAME_OWN)
        doctor_find(&name, DOCTOR_OK, "the name %s belongs to this state_dir", config->node);
    else if (redis->name == LEDGER_NAME_COPY)
        doctor_find(&name, DOCTOR_WARNING,
                    "the name %s is held in Redis, and no process on this machine uses %s: a node "
                    "with a copy of it runs elsewhere, or this one was killed less than %" PRId64
                    " seconds ago; stop the other node, or give another `node` and an empty "
                    "state_dir",
                    config->node, config->state_dir, redis->name_left_ms / 1000 + 1);
    else if (redis->name_left_ms > 0)
        doctor_find(&name, DOCTOR_FAILURE,
                    "the name %s is taken: another node runs under it; give another `node`",
                    config->node);
    else
        doctor_find(&name, DOCTOR_FAILURE,
                    "the name %s is taken: it belongs to a node with another state_dir, which does "
                    "not run now; give another `node`, or run redis-cli DEL 'tg:node:{%s}' if that "
                    "node will never run again",
                    config->node, config->node);
    doctor_report(out, &name);
}

void doctor_examine_redis(const struct config *config, struct doctor_finding *out)
{
    struct redis_address where;
    struct ledger_redis_report redis;
    char program[PATH_MAX], error[512] = "";
    if (redis_address_read(config, &where, out->text, sizeof(out->text)) < 0) {
        out->verdict = DOCTOR_FAILURE;
        return;
    }
    const struct ledger_options options = {
        .redis = where.address,
        .redis_user = config->redis_user[0] != '\0' ? config->redis_user : NULL,
        .redis_password = where.password[0] != '\0' ? where.password : NULL,
        .redis_sentinel_user = config->sentinel_user[0] != '\0' ? config->sentinel_user : NULL,
        .redis_sentinel_password =
            where.sentinel_password[0] != '\0' ? where.sentinel_password : NULL,
        .node = config->node,
        .state_dir = config->state_dir,
    };
    int status = ledger_redis_probe(&options, &redis, error, sizeof(error));
    explicit_bzero(where.password, sizeof(where.password));
    explicit_bzero(where.sentinel_password, sizeof(where.sentinel_password));
    if (status == 0) {
        judge_node(config, &redis, out);
        judge_redis(where.address, &redis, out);
    } else if (!where.embedded)
        doctor_find(out, DOCTOR_FAILURE, "%s", error);
    else if (redis_program_find(program, sizeof(program)) != 0)
        doctor_find(
            out, DOCTOR_FAILURE,
            "redis-server is not in PATH; install the package redis-server, or name a running "
            "Redis with `redis: HOST:PORT`");
    else
        doctor_find(out, DOCTOR_OK, "embedded: the node will run %s", program);
}
