/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether what Redis holds of an account is as the functions write it. See inspect.h. Each key is a
 * hash, and its numbers are numbers; and since a post changes all of them in one call, the months' usage,
 * the pools and the transactions add up to the account's own figures, and the files and days of a month
 * to the month, until they end by Redis' clock. So a key that was deleted shows, although each of the
 * others is in order.
 */
#include "storage/ledger/inspect.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "storage/ledger/keys.h"

#define LOOKS_MAX 10
#define SCAN_STEP "1000"

#define SLOTS     LEDGER_TRANSACTION_KEYS_COUNT

/* A month: what the account's key says, and what its files and its days add up to. */
struct month {
    uint32_t date; /* yyyymm */
    int64_t used, files, days;
};

/* What the keys add up to, in one look. */
struct sums {
    struct inspection *out; /* borrows */
    bool is_postpaid;
    int64_t balance, used, ended; /* of the account's key */
    int64_t posted;               /* of the pools */
    int64_t slots[SLOTS], until[SLOTS],
        moved[SLOTS];     /* money and end by the key; of the transactions */
    struct month *months; /* owns */
    size_t months_count;
    uint32_t date; /* of the key of usage that is read: yyyymmdd or yyyymm */
    size_t slot;   /* of the key of transactions that is read */
    bool no_memory;
};

typedef void take_field(struct sums *sums, const char *field, const char *value);

/* ---- the keys ---- */

void account_keys_free(struct account_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++)
        free(keys->names[i]);
    free(keys->names);
    *keys = (struct account_keys){0};
}

static int add_key(struct account_keys *keys, const redisReply *name)
{
    if (keys->count == keys->room) {
        size_t room = keys->room == 0 ? 16 : 2 * keys->room;
        char **names = realloc(keys->names, room * sizeof(*names));
        if (names == NULL)
            return -ENOMEM;
        keys->names = names;
        keys->room = room;
    }
    char *copy = name->type == REDIS_REPLY_STRING ? strdup(name->str) : NULL;
    if (copy == NULL)
        return -ENOMEM;
    keys->names[keys->count++] = copy;
    return 0;
}

/* A step of SCAN or HSCAN: [cursor, [elements]]. Puts the next cursor into `cursor`. */
static bool is_step(const redisReply *reply, char cursor[24])
{
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->type != REDIS_REPLY_STRING || reply->element[0]->len >= 24 ||
        reply->element[1]->type != REDIS_REPLY_ARRAY)
        return false;
    memcpy(cursor, reply->element[0]->str, reply->element[0]->len + 1);
    return true;
}

int account_keys_read(struct redis *redis, const struct ledger_account *account,
                      struct account_keys *out)
{
    char pattern[LEDGER_KEY_MAX], cursor[24] = "0";
    int result = 0;
    account_keys_free(out);
    ledger_key(pattern, account, "*"); /* a tag has no character that a pattern knows */
    do {
        const char *const words[] = {"SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_STEP};
        redisReply *reply = redis_call(redis, sizeof(words) / sizeof(words[0]), words);
        if (!is_step(reply, cursor))
            result = -EAGAIN;
        for (size_t i = 0; result == 0 && i < reply->element[1]->elements; i++)
            result = add_key(out, reply->element[1]->element[i]);
        freeReplyObject(reply);
    } while (result == 0 && strcmp(cursor, "0") != 0);
    return result;
}

/* ---- the fields ---- */

/* Reads a number as functions/numbers.lua does. Says that the field is damaged where it is none. */
static int64_t number_of(struct sums *sums, const char *field, const char *value, char **end)
{
    char *at;
    int64_t number = strtoll(value, &at, 10);
    bool is_whole = at != value && (end != NULL || *at == '\0') && number < LEDGER_AMOUNT_MAX &&
                    number > -LEDGER_AMOUNT_MAX;
    if (!is_whole && sums->out->said[0] == '\0')
        snprintf(sums->out->said, sizeof(sums->out->said), "its field %.40s is \"%.40s\"", field,
                 value);
    if (end != NULL)
        *end = at;
    return number;
}

/* The sums of a month; of one that was not met yet, too. NULL where there is no memory. */
static struct month *month_at(struct sums *sums, uint32_t date)
{
    for (size_t i = 0; i < sums->months_count; i++)
        if (sums->months[i].date == date)
            return &sums->months[i];
    struct month *months =
        reallocarray(sums->months, sums->months_count + 1, sizeof(*sums->months));
    if (months == NULL) {
        sums->no_memory = true;
        return NULL;
    }
    sums->months = months;
    months[sums->months_count] = (struct month){.date = date};
    return &months[sums->months_count++];
}

/* m:YYYYMM, "bytes responses" */
static void take_month(struct sums *sums, const char *field, const char *value)
{
    char *at;
    int64_t bytes = number_of(sums, field, value, &at);
    (void)number_of(sums, field, at, NULL);
    struct month *month = month_at(sums, (uint32_t)strtoul(field + 2, NULL, 10));
    if (month != NULL)
        month->used = bytes;
}

/* t:SLOT, "money until" */
static void take_slot(struct sums *sums, const char *field, const char *value)
{
    char *at;
    size_t slot = strtoul(field + 2, NULL, 10);
    int64_t money = number_of(sums, field, value, &at);
    int64_t until = number_of(sums, field, at, NULL);
    if (slot >= SLOTS)
        return;
    sums->slots[slot] = money;
    sums->until[slot] = until;
}

static void take_account(struct sums *sums, const char *field, const char *value)
{
    static const char *const numbers[] = {
        "balance",       "used",      "revision",   "revoked_before", "rate",      "recalled",
        "revoked_until", "max_conns", "operations", "max_bytes",      "conflicts", "ended"};
    bool is_number = strncmp(field, "w:", 2) == 0 || strncmp(field, "l:", 2) == 0;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        is_number = is_number || strcmp(field, numbers[i]) == 0;
    int64_t number = is_number ? number_of(sums, field, value, NULL) : 0;
    if (strcmp(field, "plan") == 0) {
        sums->out->is_open = true;
        sums->is_postpaid = strcmp(value, "postpaid") == 0;
    } else if (strcmp(field, "balance") == 0) {
        sums->balance = number;
    } else if (strcmp(field, "used") == 0) {
        sums->used = number;
    } else if (strcmp(field, "ended") == 0) {
        sums->ended = number;
    } else if (strncmp(field, "m:", 2) == 0) {
        take_month(sums, field, value);
    } else if (strncmp(field, "t:", 2) == 0) {
        take_slot(sums, field, value);
    }
}

/* "lease count ceiling least expires"; or, in a field of its own, what was posted. */
static void take_pool(struct sums *sums, const char *field, const char *value)
{
    char *at = (char *)(uintptr_t)value;
    if (strncmp(field, "p:", 2) == 0) {
        sums->posted += number_of(sums, field, value, NULL);
        return;
    }
    for (int i = 0; i < 5 && sums->out->said[0] == '\0'; i++)
        (void)number_of(sums, field, at, i < 4 ? &at : NULL);
}

static void take_link_pool(struct sums *sums, const char *field, const char *value)
{
    int64_t posted = sums->posted;
    take_pool(sums, field, value);
    sums->posted = posted;
}

static void take_usage(struct sums *sums, const char *field, const char *value)
{
    int64_t number = number_of(sums, field, value, NULL);
    bool is_month = sums->date < 1000000;
    struct month *month = month_at(sums, is_month ? sums->date : sums->date / 100);
    if (month != NULL && strncmp(field, "b:", 2) == 0)
        *(is_month ? &month->files : &month->days) += number;
}

/* "operation amount plan rank instance": with a rank once it is posted. */
static void take_transaction(struct sums *sums, const char *field, const char *value)
{
    char operation[16], plan[16], rank[2] = "";
    long long amount = 0;
    if (sscanf(value, "%15s %lld %15s %1s", operation, &amount, plan, rank) < 3) {
        (void)number_of(sums, field, "", NULL);
        return;
    }
    bool moves = strcmp(operation, "open") == 0 || strcmp(operation, "top_up") == 0 ||
                 strcmp(operation, "adjust") == 0;
    if (moves && rank[0] != '\0')
        sums->moved[sums->slot] += amount;
}

static void take_link(struct sums *sums, const char *field, const char *value)
{
    if (strcmp(field, "revoked") == 0 || strcmp(field, "bytes") == 0)
        (void)number_of(sums, field, value, NULL);
}

/* Which fields the key has, by what stands behind its hash tag. NULL: it is another program's. */
static take_field *fields_of(const char *what)
{
    static const struct {
        const char *begins, *ends;
        take_field *take;
    } kinds[] = {{"account", "account", take_account}, {"grants", "grants", take_pool},
                 {"usage:", "", take_usage},           {"transactions:", "", take_transaction},
                 {"link:", ":grants", take_link_pool}, {"link:", "", take_link}};
    size_t length = strlen(what);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        size_t ends = strlen(kinds[i].ends);
        if (strncmp(what, kinds[i].begins, strlen(kinds[i].begins)) == 0 && length >= ends &&
            strcmp(what + length - ends, kinds[i].ends) == 0)
            return kinds[i].take;
    }
    return NULL;
}

static int read_key(struct redis *redis, const char *key, take_field *take, struct sums *sums)
{
    char cursor[24] = "0";
    do {
        const char *const words[] = {"HSCAN", key, cursor, "COUNT", SCAN_STEP};
        redisReply *reply = redis_call(redis, sizeof(words) / sizeof(words[0]), words);
        if (reply == NULL && redis_says_damaged(redis)) {
            snprintf(sums->out->said, sizeof(sums->out->said), "it is not a hash");
            return 0;
        }
        if (!is_step(reply, cursor)) {
            freeReplyObject(reply);
            return -EAGAIN;
        }
        const redisReply *fields = reply->element[1];
        for (size_t i = 0; i + 1 < fields->elements && sums->out->said[0] == '\0'; i += 2)
            take(sums, fields->element[i]->str, fields->element[i + 1]->str);
        freeReplyObject(reply);
    } while (strcmp(cursor, "0") != 0 && sums->out->said[0] == '\0');
    return 0;
}

/* ---- the account ---- */

/* Redis' clock in ms; 0 where it cannot be asked. */
static int64_t ask_time(struct redis *redis)
{
    const char *const words[] = {"TIME"};
    redisReply *reply = redis_call(redis, 1, words);
    int64_t now_ms = 0;
    if (reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
        reply->element[0]->type == REDIS_REPLY_STRING)
        now_ms = strtoll(reply->element[0]->str, NULL, 10) * 1000;
    freeReplyObject(reply);
    return now_ms;
}

static int64_t begins_ms(uint32_t month, int months)
{
    struct tm parts = {.tm_year = (int)(month / 100) - 1900,
                       .tm_mon = (int)(month % 100) - 1 + months,
                       .tm_mday = 1};
    return (int64_t)timegm(&parts) * 1000;
}

/* Which keys of a month are not as the account's key says; NULL: none. Where some of its days have ended,
 * those that are left are less. `now_ms`: what has not ended then was there for the whole look. */
static const char *judge_month(const struct month *month, int64_t now_ms)
{
    int64_t first_ends_ms =
        begins_ms(month->date, 0) + (int64_t)(1 + LEDGER_DAYS_KEPT) * 86400 * 1000;
    if (month->days > month->used || month->files > month->used)
        return "account";
    if (month->days < month->used && first_ends_ms > now_ms)
        return "usage of a day";
    return month->files < month->used && begins_ms(month->date, 1 + LEDGER_MONTHS_KEPT) > now_ms
               ? "usage of a month"
               : NULL;
}

static void judge_sums(const struct sums *sums, int64_t begun_ms, int64_t now_ms)
{
    struct inspection *out = sums->out;
    const char *lacks = NULL;
    int64_t usage = 0, money = sums->ended;
    for (size_t i = 0; i < sums->months_count; i++) {
        usage += sums->months[i].used;
        if (lacks == NULL)
            lacks = judge_month(&sums->months[i], now_ms);
    }
    for (size_t i = 0; i < SLOTS; i++) {
        money += sums->slots[i];
        bool has_ended = sums->until[i]<begun_ms, stands = sums->until[i]> now_ms;
        if ((has_ended && sums->moved[i] != 0) || (stands && sums->moved[i] != sums->slots[i]))
            lacks = "transactions";
    }
    if (usage != sums->used)
        lacks = "account";
    else if (sums->posted != sums->used)
        lacks = sums->posted < sums->used ? "grants" : "account";
    else if (sums->balance != money - (sums->is_postpaid ? 0 : sums->used))
        lacks = "account";
    if (lacks != NULL)
        snprintf(out->said, sizeof(out->said),
                 "its keys do not add up, as when %s was deleted: used %" PRId64
                 ", balance %" PRId64 "; months %" PRId64 ", posted %" PRId64 ", money %" PRId64,
                 lacks, sums->used, sums->balance, usage, sums->posted, money);
}

/* Reads each key but the account's own into the sums. */
static int read_keys(struct redis *redis, const struct account_keys *keys, size_t begins,
                     struct sums *sums)
{
    int result = 0;
    for (size_t i = 0; result == 0 && sums->out->said[0] == '\0' && i < keys->count; i++) {
        const char *what = keys->names[i] + begins;
        take_field *take = fields_of(what);
        if (take == NULL || take == take_account)
            continue;
        const char *number = strrchr(what, ':') == NULL ? "0" : strrchr(what, ':') + 1;
        sums->date = (uint32_t)strtoul(number, NULL, 10);
        sums->slot = take == take_transaction && sums->date < SLOTS ? sums->date : 0;
        result = read_key(redis, keys->names[i], take, sums);
        if (sums->out->said[0] != '\0')
            snprintf(sums->out->key, sizeof(sums->out->key), "%s", keys->names[i]);
    }
    return sums->no_memory ? -ENOMEM : result;
}

/* One look. 1: the account was posted meanwhile. */
static int look_into(struct redis *redis, const struct ledger_account *account,
                     struct account_keys *keys, struct sums *sums, struct sums *again)
{
    struct inspection *out = sums->out;
    char key[LEDGER_KEY_MAX];
    int64_t begun_ms = ask_time(redis);
    int result = account_keys_read(redis, account, keys);
    ledger_key(key, account, "account");
    if (result == 0)
        result = read_key(redis, key, take_account, sums);
    if (out->said[0] != '\0')
        snprintf(out->key, sizeof(out->key), "%s", key);
    if (result == 0 && out->said[0] == '\0')
        result = read_keys(redis, keys, strlen(key) - strlen("account"), sums);
    if (result != 0 || out->said[0] != '\0')
        return result;
    result = read_key(redis, key, take_account, again);
    int64_t now_ms = ask_time(redis);
    if (result != 0 || begun_ms == 0 || now_ms == 0)
        return result != 0 ? result : -EAGAIN;
    if (again->used != sums->used || again->balance != sums->balance)
        return 1;
    judge_sums(sums, begun_ms, now_ms + 1000); /* TIME was cut to its second */
    return 0;
}

static int look(struct redis *redis, const struct ledger_account *account,
                struct account_keys *keys, struct inspection *out)
{
    struct sums sums = {.out = out}, again = {.out = out};
    *out = (struct inspection){0};
    int result = look_into(redis, account, keys, &sums, &again);
    free(sums.months);
    free(again.months);
    return result;
}

int account_inspect(struct redis *redis, const struct ledger_account *account,
                    struct inspection *out)
{
    struct account_keys keys = {0};
    int result = 1;
    for (int i = 0; i < LOOKS_MAX && result == 1; i++)
        result = look(redis, account, &keys, out);
    account_keys_free(&keys);
    return result == 1 ? 0 : result;
}
