/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts for people: the views of an account and of a link. Admin threads call it, on connections
 * of its own. It changes nothing; orders.c does.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/base/clock.h"
#include "storage/ledger/keys.h"
#include "storage/ledger/post.h"
#include "storage/ledger/redis.h"

#define SETTLE_WAIT_MS 1000
#define VIEW_FIELDS    9

/* ---- the view ---- */

static bool parse_integer(const redisReply *reply, int64_t *out)
{
    *out = 0;
    if (reply->type == REDIS_REPLY_NIL)
        return true;
    char *end;
    if (reply->type != REDIS_REPLY_STRING)
        return false;
    *out = strtoll(reply->str, &end, 10);
    return *end == '\0' && end != reply->str;
}

static bool is_word(const redisReply *reply, const char *word)
{
    return reply->type == REDIS_REPLY_STRING && strcmp(reply->str, word) == 0;
}

static int parse_view(const redisReply *reply, struct ledger_account_view *view)
{
    int64_t numbers[VIEW_FIELDS];
    memset(view, 0, sizeof(*view));
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != VIEW_FIELDS)
        return -EAGAIN;
    for (size_t i = 2; i < VIEW_FIELDS; i++)
        if (!parse_integer(reply->element[i], &numbers[i]))
            return -EAGAIN;
    /* Without a plan the account is not open: usage may be posted before its opening is. */
    view->exists = reply->element[0]->type == REDIS_REPLY_STRING;
    if (!view->exists)
        return 0;
    view->plan = is_word(reply->element[0], "postpaid") ? LEDGER_POSTPAID : LEDGER_PREPAID;
    view->status = is_word(reply->element[1], "active") ? LEDGER_ACTIVE : LEDGER_STATUS_SUSPENDED;
    view->balance = numbers[2];
    view->used = (uint64_t)numbers[3];
    view->revision = (uint64_t)numbers[4];
    view->rate = (uint64_t)numbers[5];
    view->max_bytes = (uint64_t)numbers[6];
    view->max_conns = (uint32_t)numbers[7];
    view->revoked_before = numbers[8];
    return 0;
}

/* What the nodes have reserved is computed from what each of them last told. */
static int fetch_reserved(struct redis *redis, const struct ledger_account *account,
                          struct ledger_account_view *view)
{
    static const char count[] = {'0' + LEDGER_COUNT(LEDGER_RESERVED_KEYS), '\0'};
    char pool[LEDGER_KEY_MAX];
    ledger_key(pool, account, "grants");
    const char *const words[] = {"FCALL", "tollgate_reserved", count,
                                 LEDGER_RESERVED_KEYS(LEDGER_KEY_WORD)};
    redisReply *reply = redis_call(redis, sizeof(words) / sizeof(words[0]), words);
    bool is_number = reply != NULL && reply->type == REDIS_REPLY_INTEGER && reply->integer >= 0;
    if (is_number)
        view->reserved = (uint64_t)reply->integer;
    freeReplyObject(reply);
    return is_number ? 0 : -EAGAIN;
}

int account_fetch(struct redis *redis, const struct ledger_account *account,
                  struct ledger_account_view *view)
{
    char key[LEDGER_KEY_MAX];
    ledger_key(key, account, "account");
    const char *const words[2 + VIEW_FIELDS] = {"HMGET",     key,         "plan",          "status",
                                                "balance",   "used",      "revision",      "rate",
                                                "max_bytes", "max_conns", "revoked_before"};
    redisReply *reply = redis_call(redis, 2 + VIEW_FIELDS, words);
    if (reply == NULL)
        return redis_says_damaged(redis) ? -ENOTRECOVERABLE : -EAGAIN;
    int result = parse_view(reply, view);
    freeReplyObject(reply);
    /* Of an account without a bound nothing is reserved, whatever nodes told while it had one. */
    bool is_bounded = view->plan == LEDGER_PREPAID || view->max_bytes > 0;
    return result == 0 && view->exists && is_bounded ? fetch_reserved(redis, account, view)
                                                     : result;
}

int account_redis_open(struct ledger *ledger, struct redis *redis, char run_id[static 64])
{
    struct redis_facts facts;
    if (redis_open(redis, ledger->where, &ledger->options) != 0)
        return -EAGAIN;
    if (redis_facts(redis, &facts) == 0 &&
        where_is_current(ledger->where, redis->generation, facts.run_id)) {
        memcpy(run_id, facts.run_id, sizeof(facts.run_id));
        return 0;
    }
    redis_close(redis);
    return -EAGAIN;
}

int account_redis_confirm(struct ledger *ledger, struct redis *redis, uint64_t losses)
{
    struct ledger_command command;
    ledger_confirm_command(&command);
    redisReply *reply = redis_call(redis, command.argc, command.argv);
    int result = ledger_confirm_reply(ledger, reply);
    if (reply != NULL)
        freeReplyObject(reply);
    return result == 0 && ledger_losses(ledger) == losses && !ledger_data_is_lost(ledger) ? 0
                                                                                          : -EAGAIN;
}

int account_redis_open_current(struct ledger *ledger, struct redis *redis)
{
    char run_id[64];
    return account_redis_open(ledger, redis, run_id);
}

int account_get(struct ledger *ledger, const char *issuer, const char *name,
                struct ledger_account **out)
{
    if (issuer == NULL || name == NULL)
        return -EINVAL;
    return ledger_account_get(ledger, issuer, name, strnlen(name, LEDGER_ACCOUNT_MAX + 1), out);
}

int ledger_account_show(struct ledger *ledger, const char *issuer, const char *name,
                        struct ledger_account_view *view)
{
    struct ledger_account *account;
    struct redis redis;
    int result = account_get(ledger, issuer, name, &account);
    if (result != 0)
        return result == -EINVAL ? result : -EAGAIN;
    uint64_t losses = ledger_losses(ledger);
    result = account_redis_open_current(ledger, &redis);
    if (result == 0) {
        /* Where that takes too long, what Redis has is shown. */
        (void)ledger_account_settle(ledger, account, SETTLE_WAIT_MS);
        result = account_fetch(&redis, account, view);
        if (result == 0)
            result = account_redis_confirm(ledger, &redis, losses);
        if (result == 0)
            push_take_revision(ledger, account, view->revision);
        redis_close(&redis);
    }
    ledger_account_drop(&account);
    return result;
}

/* `text` is "until acknowledged opened...", see functions/uses.lua; a use in which nothing
 * arrived is not a use. */
static void parse_use(const char *text, struct ledger_link_view *view)
{
    char *at;
    uint64_t till_ms = strtoull(text, &at, 10);
    uint64_t acknowledged = strtoull(at, &at, 10);
    for (; *at != '\0'; at++)
        view->uses += *at == ' ' ? 1 : 0;
    if (view->uses > 0 && acknowledged == 0)
        view->uses--;
    view->is_open = till_ms > clock_real_ms();
}

int ledger_link_show(struct ledger *ledger, const char *issuer, const char *name,
                     const unsigned char link_id[LEDGER_LINK_ID_BYTES], const char *path,
                     struct ledger_link_view *view)
{
    struct ledger_account *account;
    struct redis redis;
    char key[LEDGER_KEY_MAX], field[LEDGER_FILE_MAX + 3];
    memset(view, 0, sizeof(*view));
    int result = account_get(ledger, issuer, name, &account);
    if (result != 0)
        return result == -EINVAL ? result : -EAGAIN;
    uint64_t losses = ledger_losses(ledger);
    ledger_link_key(key, account, link_id, "");
    snprintf(field, sizeof(field), "p:%s", path);
    result = account_redis_open_current(ledger, &redis);
    if (result == 0) {
        (void)ledger_account_settle(ledger, account, SETTLE_WAIT_MS);
        const char *const words[] = {"HMGET", key, "revoked", "bytes", field};
        redisReply *reply = redis_call(&redis, 5, words);
        int64_t bytes = 0;
        if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 ||
            !parse_integer(reply->element[1], &bytes)) {
            result = -EAGAIN;
        } else {
            view->revoked = reply->element[0]->type == REDIS_REPLY_STRING;
            view->bytes = (uint64_t)bytes;
            if (reply->element[2]->type == REDIS_REPLY_STRING)
                parse_use(reply->element[2]->str, view);
        }
        if (reply != NULL)
            freeReplyObject(reply);
        if (result == 0)
            result = account_redis_confirm(ledger, &redis, losses);
        redis_close(&redis);
    }
    ledger_account_drop(&account);
    return result;
}
