/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the bill of each account from Redis: one walk over the keys says which accounts there are,
 * then each account is looked at, and again where it was posted meanwhile. See reconcile.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/ledger/reconcile_internal.h"
#include "storage/ledger/redis.h"

#define LOOKS_MAX 20
#define SCAN_STEP "1000"

struct reading {
    struct ledger_reconcile *reconcile;
    struct redis redis;
};

/* ---- which accounts there are ---- */

/* "tg:{TAG}:WHAT" */
static int take_key(struct ledger_reconcile *reconcile, const char *key)
{
    const char *tag = key + strlen("tg:{"), *end = strchr(key, '}');
    if (strncmp(key, "tg:{", strlen("tg:{")) != 0 || end == NULL || end[1] != ':')
        return 0;
    return reconcile_account(reconcile, tag, (size_t)(end - tag)) == NULL ? -ENOMEM : 0;
}

/* A step of SCAN: [cursor, [elements]]. Puts the next cursor into `cursor`. */
static bool is_step(const redisReply *reply, char cursor[24])
{
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->type != REDIS_REPLY_STRING || reply->element[0]->len >= 24 ||
        reply->element[1]->type != REDIS_REPLY_ARRAY)
        return false;
    memcpy(cursor, reply->element[0]->str, reply->element[0]->len + 1);
    return true;
}

static int read_keys(struct reading *reading)
{
    char cursor[24] = "0";
    int result = 0;
    do {
        const char *const words[] = {"SCAN", cursor, "MATCH", "tg:{*", "COUNT", SCAN_STEP};
        redisReply *reply = redis_call(&reading->redis, sizeof(words) / sizeof(words[0]), words);
        if (!is_step(reply, cursor))
            result = reply == NULL ? -EAGAIN : -EPROTO;
        for (size_t i = 0; result == 0 && i < reply->element[1]->elements; i++)
            result = take_key(reading->reconcile, reply->element[1]->element[i]->str);
        freeReplyObject(reply);
    } while (result == 0 && strcmp(cursor, "0") != 0);
    return result;
}

/* ---- an account ---- */

/* One look at an account; what it adds up to. */
struct look {
    struct reconcile_account *account;
    redisReply *first, *grants, *second; /* own */
    int64_t used, months;
    uint64_t watermarks; /* their sum, which grows with each post */
};

static int64_t number_of(struct reconcile_account *account, const char *where, const char *field,
                         const char *text)
{
    char *end;
    errno = 0;
    int64_t number = strtoll(text, &end, 10);
    if ((end == text || *end != '\0' || errno != 0) && account->damage[0] == '\0')
        snprintf(account->damage, sizeof(account->damage), "%s has %.30s \"%.30s\"", where, field,
                 text);
    return number;
}

/* Calls `take` with each field of a hash. A key that is none is said to be damaged. */
static void each_field(const redisReply *hash, const char *name, struct look *look,
                       void (*take)(struct look *look, const char *field, const char *value))
{
    if (hash->type != REDIS_REPLY_ARRAY) {
        if (look->account->damage[0] == '\0')
            snprintf(look->account->damage, sizeof(look->account->damage), "%s is not a hash",
                     name);
        return;
    }
    for (size_t i = 0; i + 1 < hash->elements; i += 2)
        take(look, hash->element[i]->str, hash->element[i + 1]->str);
}

/* Of "bytes responses", as a month has it. */
static int64_t bytes_of(struct reconcile_account *account, const char *field, const char *value)
{
    char bytes[24];
    snprintf(bytes, sizeof(bytes), "%.*s", (int)strcspn(value, " "), value);
    return number_of(account, "account", field, bytes);
}

static void take_figures(struct look *look, const char *field, const char *value)
{
    if (strcmp(field, "used") == 0)
        look->used = number_of(look->account, "account", field, value);
    else if (strncmp(field, "m:", 2) == 0)
        look->months += bytes_of(look->account, field, value);
    else if (strncmp(field, "w:", 2) == 0)
        look->watermarks += (uint64_t)number_of(look->account, "account", field, value);
}

static int ask(struct reading *reading, int count, const char *const words[])
{
    struct redis_arguments arguments;
    arguments.count = 0;
    for (int i = 0; i < count; i++)
        redis_add(&arguments, words[i]);
    return redis_send(&reading->redis, &arguments);
}

static int read_all(struct reading *reading, struct look *look)
{
    char key[LEDGER_KEY_MAX], grants[LEDGER_KEY_MAX];
    snprintf(key, sizeof(key), "tg:{%s}:account", look->account->tag);
    snprintf(grants, sizeof(grants), "tg:{%s}:grants", look->account->tag);
    const char *const figures[] = {"HGETALL", key}, *const pools[] = {"HGETALL", grants};
    int result = ask(reading, 2, figures);
    if (result == 0)
        result = ask(reading, 2, pools);
    if (result == 0)
        result = ask(reading, 2, figures);
    if (result == 0 && ((look->first = redis_next(&reading->redis)) == NULL ||
                        (look->grants = redis_next(&reading->redis)) == NULL ||
                        (look->second = redis_next(&reading->redis)) == NULL))
        result = -EAGAIN;
    return result;
}

/* ---- what it comes to ---- */

static int note_foreign(struct ledger_reconcile *reconcile, const char *instance, uint64_t accounts,
                        int64_t bytes)
{
    size_t at = 0;
    while (at < reconcile->foreign_count && strcmp(reconcile->foreign[at].instance, instance) != 0)
        at++;
    if (at == LEDGER_FOREIGN_MAX)
        return 0;
    if (at == reconcile->foreign_room) {
        size_t room = at == 0 ? 8 : 2 * at;
        struct ledger_foreign *foreign =
            realloc(reconcile->foreign, room * sizeof(struct ledger_foreign));
        if (foreign == NULL)
            return -ENOMEM;
        reconcile->foreign = foreign;
        reconcile->foreign_room = room;
    }
    if (at == reconcile->foreign_count) {
        reconcile->foreign[at] = (struct ledger_foreign){.accounts = 0};
        snprintf(reconcile->foreign[at].instance, sizeof(reconcile->foreign[at].instance), "%s",
                 instance);
        reconcile->foreign_count++;
    }
    reconcile->foreign[at].accounts += accounts;
    reconcile->foreign[at].bytes += bytes;
    return 0;
}

static int keep_watermarks(struct ledger_reconcile *reconcile, struct look *look)
{
    const redisReply *hash = look->first;
    int result = 0;
    for (size_t i = 0; hash->type == REDIS_REPLY_ARRAY && i + 1 < hash->elements && result == 0;
         i += 2) {
        const char *field = hash->element[i]->str;
        if (strncmp(field, "w:", 2) != 0)
            continue;
        const struct reconcile_lane *lane = reconcile_lane_of(reconcile, field + 2);
        uint64_t watermark = strtoull(hash->element[i + 1]->str, NULL, 10);
        if (lane != NULL)
            look->account->shares[lane - reconcile->lanes].watermark = watermark;
        else
            result = note_foreign(reconcile, field + 2, 1, 0);
    }
    return result;
}

/* What each instance has posted: the fields "p:INSTANCE". */
static int keep_grants(struct ledger_reconcile *reconcile, struct look *look)
{
    struct reconcile_account *account = look->account;
    const redisReply *hash = look->grants;
    if (hash->type != REDIS_REPLY_ARRAY) {
        if (account->damage[0] == '\0')
            snprintf(account->damage, sizeof(account->damage), "grants is not a hash");
        return 0;
    }
    int result = 0;
    for (size_t i = 0; i + 1 < hash->elements && result == 0; i += 2) {
        const char *field = hash->element[i]->str;
        if (strncmp(field, "p:", 2) != 0)
            continue;
        int64_t bytes = number_of(account, "grants", field, hash->element[i + 1]->str);
        const struct reconcile_lane *lane = reconcile_lane_of(reconcile, field + 2);
        if (lane != NULL) {
            account->figures.given += bytes;
            account->shares[lane - reconcile->lanes].given = bytes;
        } else if (bytes != 0) {
            account->figures.foreign += bytes;
            result = note_foreign(reconcile, field + 2, 0, bytes);
        }
    }
    return result;
}

static void look_free(struct look *look)
{
    freeReplyObject(look->first);
    freeReplyObject(look->grants);
    freeReplyObject(look->second);
    *look = (struct look){.account = look->account};
}

/* Looks at the account until it was not posted meanwhile. */
static int read_account(struct reading *reading, struct reconcile_account *account)
{
    struct look look = {.account = account}, again = {.account = account};
    int result = 0;
    bool is_still = false;
    for (int i = 0; i < LOOKS_MAX && result == 0 && !is_still; i++) {
        look_free(&look);
        again.used = 0;
        again.watermarks = 0;
        account->damage[0] = '\0';
        result = read_all(reading, &look);
        if (result != 0)
            break;
        each_field(look.first, "account", &look, take_figures);
        each_field(look.second, "account", &again, take_figures);
        is_still = look.used == again.used && look.watermarks == again.watermarks;
    }
    if (result == 0 && !is_still && account->damage[0] == '\0')
        snprintf(account->damage, sizeof(account->damage), "posted at each of %d looks; ask again",
                 LOOKS_MAX);
    if (result == 0) {
        account->figures.used = look.used;
        account->figures.months = look.months;
        result = keep_watermarks(reading->reconcile, &look);
    }
    if (result == 0)
        result = keep_grants(reading->reconcile, &look);
    look_free(&look);
    return result;
}

/* ---- all of them ---- */

/* "name directory birth run seen" of each instance */
static int name_foreign(struct reading *reading)
{
    const char *const words[] = {"HGETALL", "tg:birth"};
    redisReply *reply = redis_call(&reading->redis, 2, words);
    if (reply == NULL)
        return -EAGAIN;
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2) {
        const char *name = reply->element[i + 1]->str;
        for (size_t k = 0; k < reading->reconcile->foreign_count; k++) {
            struct ledger_foreign *foreign = &reading->reconcile->foreign[k];
            if (strcmp(foreign->instance, reply->element[i]->str) == 0)
                snprintf(foreign->node, sizeof(foreign->node), "%.*s", (int)strcspn(name, " "),
                         name);
        }
    }
    freeReplyObject(reply);
    return 0;
}

static int read_accounts(struct reading *reading, ledger_reconcile_progress *progress,
                         void *context)
{
    struct ledger_reconcile *reconcile = reading->reconcile;
    uint64_t done = 0;
    int result = 0;
    for (size_t i = 0; i < reconcile->slots_count && result == 0; i++) {
        if (reconcile->slots[i] == NULL)
            continue;
        if (progress != NULL)
            progress(context, "account", ++done, reconcile->count);
        result = read_account(reading, reconcile->slots[i]);
    }
    return result;
}

int ledger_reconcile_redis(struct ledger_reconcile *reconcile, const struct ledger_options *options,
                           ledger_reconcile_progress *progress, void *context, char *error,
                           size_t error_size)
{
    struct reading reading = {.reconcile = reconcile};
    struct redis_facts facts;
    struct where *where;
    int result = redis_open_alone(&reading.redis, &where, options, error, error_size);
    if (result != 0)
        return result;
    result = redis_facts(&reading.redis, &facts);
    if (result == 0 && facts.loading) {
        snprintf(reading.redis.error, sizeof(reading.redis.error), "it loads its data; wait");
        result = -EAGAIN;
    }
    if (result == 0)
        result = read_keys(&reading);
    if (result == 0)
        result = read_accounts(&reading, progress, context);
    if (result == 0)
        result = name_foreign(&reading);
    reconcile->has_redis = result == 0;
    if (result == -ENOMEM)
        snprintf(error, error_size, "no memory for the accounts in Redis");
    else if (result != 0)
        redis_say_why(&reading.redis, options, error, error_size);
    redis_close(&reading.redis);
    where_destroy(&where);
    return result;
}
