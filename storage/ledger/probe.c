/*
 * Asks a Redis what it is, for whoever sets a node up. Called by the server's doctor, never by the
 * running ledger: it changes nothing there.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "redis.h"

static int64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Redis' clock against ours, in the middle of the round trip. */
static int ask_clock(struct redis_link *link, int64_t *ahead_ms)
{
    const char *const words[] = {"TIME"};
    int64_t before_ms = wall_ms();
    redisReply *reply = redis_call(link, 1, words);
    int64_t after_ms = wall_ms();
    if (reply == NULL)
        return -EAGAIN;
    int status = -EPROTO;
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
        reply->element[0]->type == REDIS_REPLY_STRING &&
        reply->element[1]->type == REDIS_REPLY_STRING) {
        int64_t theirs_ms = strtoll(reply->element[0]->str, NULL, 10) * 1000 +
                            strtoll(reply->element[1]->str, NULL, 10) / 1000;
        *ahead_ms = theirs_ms - (before_ms + (after_ms - before_ms) / 2);
        status = 0;
    }
    freeReplyObject(reply);
    return status;
}

/* The last that is asked of the connection. */
static bool may_subscribe(struct redis_link *link)
{
    static const char *const words[] = {"SUBSCRIBE", "tg:revocations"};
    redisReply *reply = redis_call(link, 2, words);
    if (reply != NULL)
        freeReplyObject(reply);
    return reply != NULL;
}

int ledger_redis_probe(const char *address, const char *user, const char *password,
                       struct ledger_redis *out, char *error, size_t error_size)
{
    const struct ledger_options options = {
        .redis = address,
        .redis_user = user,
        .redis_password = password,
    };
    struct redis_link link;
    struct redis_facts facts;
    memset(out, 0, sizeof *out);
    struct where *where;
    struct ledger_redis_address first;
    int status = ledger_redis_check(address, error, error_size);
    if (status == 0 && (status = where_create(&where, address)) != 0)
        snprintf(error, error_size, "%s", strerror(-status));
    if (status != 0)
        return status;
    status = where_get(where, LEDGER_REDIS_RESOLVE_MS, &first, error, error_size);
    if (status == 0 && (status = redis_open_any(&link, where, &options)) != 0)
        snprintf(error, error_size, "%s", link.error);
    if (status != 0) {
        where_destroy(&where);
        return status;
    }
    status = redis_facts(&link, &facts);
    if (status == 0)
        status = ask_clock(&link, &out->clock_ahead_ms);
    if (status == 0) {
        snprintf(out->version, sizeof out->version, "%s", facts.version);
        snprintf(out->policy, sizeof out->policy, "%s", facts.policy);
        out->append_only = facts.append_only;
        out->loading = facts.loading;
        out->replica = facts.replica;
        out->hears_revocations = may_subscribe(&link);
    } else {
        snprintf(error, error_size, "%s", link.error[0] != '\0' ? link.error : strerror(-status));
    }
    redis_close(&link);
    where_destroy(&where);
    return status;
}
