/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A blocking connection to Redis for somebody who has no ledger: the probe, and who compares bills. It
 * finds the address by an authority of its own.
 */
#include <stdio.h>
#include <string.h>

#include "storage/ledger/redis.h"

void redis_say_why(const struct redis *redis, const struct ledger_options *options, char *error,
                   size_t size)
{
    static const char at[] = "Redis at ";
    const char *why = redis->error[0] != '\0' ? redis->error : "its reply has an unexpected form";
    bool cured = strstr(why, "; ") != NULL;
    if (strncmp(why, at, sizeof(at) - 1) == 0)
        snprintf(error, size, "%s", why + sizeof(at) - 1);
    else
        snprintf(error, size, "%s: %s", options->redis, why);
    size_t length = strlen(error);
    if (!cured)
        snprintf(error + length, size - length, "; %s",
                 redis->unreached ? "start Redis there, or correct `redis` in the configuration"
                                  : "look into the log of Redis");
}

int redis_open_alone(struct redis *redis, struct where **where,
                     const struct ledger_options *options, char *error, size_t error_size)
{
    struct ledger_redis_address first;
    char why[sizeof(redis->error)];
    int status = ledger_redis_validate(options->redis, error, error_size);
    if (status == 0 && (status = where_create(where, options)) != 0)
        snprintf(error, error_size, "%s", strerrordesc_np(-status));
    if (status != 0)
        return status;
    status = where_watch(*where);
    where_settle(*where, LEDGER_REDIS_RESOLVE_MS);
    if (status == 0)
        status = where_get(*where, &first, why, sizeof(why));
    else
        snprintf(why, sizeof(why), "%s", strerrordesc_np(-status));
    if (status != 0)
        snprintf(error, error_size, "%s: %s", options->redis, why);
    else if ((status = redis_open(redis, *where, options)) != 0)
        redis_say_why(redis, options, error, error_size);
    if (status != 0)
        where_destroy(where);
    return status;
}
