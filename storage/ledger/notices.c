/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notices for shops: a bounded queue that any thread fills and the poster's thread empties into
 * one stream per issuer in Redis, which ledger_notices reads by cursor. No money or usage
 * depends on them.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/ledger/ledger_internal.h"
#include "storage/ledger/redis.h"

#define QUEUE_MAX 4096
#define JTI_MAX   128

struct queued {
    struct queued *next;
    enum ledger_notice_kind kind;
    uint64_t bytes, time_ms;
    char issuer[LEDGER_ISSUER_MAX + 1];
    char account[LEDGER_ACCOUNT_MAX + 1];
    char jti[JTI_MAX + 1];
    char file[]; /* NUL-terminated */
};

struct notices {
    pthread_mutex_t lock;
    struct queued *first, **last; /* owns */
    uint32_t count;
    _Atomic uint32_t waiting;
    uint32_t under_way; /* sent and not answered yet; of the poster's thread */
    _Atomic uint64_t lost;
};

static const char *const kinds[] = {"completed", "balance_low", "used_up"};

const char *ledger_notice_kind_name(enum ledger_notice_kind kind)
{
    return kinds[kind];
}

int notices_create(struct notices **out)
{
    struct notices *notices = calloc(1, sizeof(*notices));
    if (notices == NULL)
        return -ENOMEM;
    pthread_mutex_init(&notices->lock, NULL);
    notices->last = &notices->first;
    *out = notices;
    return 0;
}

void notices_destroy(struct notices **notices)
{
    if (*notices == NULL)
        return;
    while ((*notices)->first != NULL) {
        struct queued *next = (*notices)->first->next;
        free((*notices)->first);
        (*notices)->first = next;
    }
    pthread_mutex_destroy(&(*notices)->lock);
    free(*notices);
    *notices = NULL;
}

bool notices_are_waiting(const struct ledger *ledger)
{
    const struct notices *notices = ledger->notices;
    return notices->under_way == 0 && atomic_load(&notices->waiting) > 0;
}

uint64_t notices_lost(const struct ledger *ledger)
{
    return atomic_load(&ledger->notices->lost);
}

void ledger_notify(struct ledger *ledger, const struct ledger_account *account,
                   const struct ledger_notice *notice)
{
    struct notices *notices = ledger->notices;
    size_t length = strlen(notice->file);
    struct queued *queued = calloc(1, sizeof(*queued) + length + 1);
    if (queued != NULL) {
        queued->kind = notice->kind;
        queued->bytes = notice->bytes;
        queued->time_ms = notice->time_ms;
        snprintf(queued->issuer, sizeof(queued->issuer), "%s", account->issuer->id);
        snprintf(queued->account, sizeof(queued->account), "%s", account->account);
        snprintf(queued->jti, sizeof(queued->jti), "%s", notice->jti);
        memcpy(queued->file, notice->file, length + 1);
    }
    pthread_mutex_lock(&notices->lock);
    if (queued != NULL && notices->count < QUEUE_MAX) {
        notices->count++;
        *notices->last = queued;
        notices->last = &queued->next;
        queued = NULL;
    } else {
        atomic_fetch_add(&notices->lost, 1);
    }
    bool first = atomic_exchange(&notices->waiting, notices->count) == 0;
    pthread_mutex_unlock(&notices->lock);
    free(queued);
    if (first)
        ledger_wake_poster(ledger);
}

/* ---- to Redis ---- */

static struct queued *take_all(struct notices *notices)
{
    pthread_mutex_lock(&notices->lock);
    struct queued *first = notices->first;
    notices->first = NULL;
    notices->last = &notices->first;
    notices->count = 0;
    atomic_store(&notices->waiting, 0);
    pthread_mutex_unlock(&notices->lock);
    return first;
}

static void take_answer(void *context, const redisReply *reply)
{
    struct notices *notices = context;
    notices->under_way--;
    if (reply == NULL || reply->type == REDIS_REPLY_ERROR)
        atomic_fetch_add(&notices->lost, 1);
}

static int send_one(struct notices *notices, const struct queued *queued,
                    const struct ledger_redis *redis)
{
    char key[LEDGER_ISSUER_MAX + 16], kept[24], bytes[24], time[24];
    struct redis_arguments arguments;
    snprintf(key, sizeof(key), "tg:notices:%s", queued->issuer);
    snprintf(kept, sizeof(kept), "%d", LEDGER_NOTICES_KEPT);
    snprintf(bytes, sizeof(bytes), "%" PRIu64, queued->bytes);
    snprintf(time, sizeof(time), "%" PRIu64, queued->time_ms);
    const char *const words[] = {
        "XADD", key,    "MAXLEN",     "~",   kept, "*",     "type", kinds[queued->kind], "account",
        NULL,   "file", queued->file, "jti", NULL, "bytes", bytes,  "time_ms",           time};
    arguments.count = 0;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        redis_add(&arguments, i == 9 ? queued->account : i == 13 ? queued->jti : words[i]);
    return redis->send(redis->self, arguments.count, arguments.text, arguments.lengths, take_answer,
                       NULL, notices);
}

void notices_post(struct ledger *ledger, const struct ledger_redis *redis)
{
    struct notices *notices = ledger->notices;
    if (!notices_are_waiting(ledger))
        return;
    struct queued *first = take_all(notices);
    while (first != NULL) {
        struct queued *next = first->next;
        if (send_one(notices, first, redis) == 0)
            notices->under_way++;
        else
            atomic_fetch_add(&notices->lost, 1);
        free(first);
        first = next;
    }
}

/* ---- from Redis ---- */

/* "1764000000000-0", as Redis numbers a stream's entries; "" stands before the first. */
static bool is_cursor(const char *text)
{
    size_t whole = strspn(text, "0123456789");
    if (text[0] == '\0')
        return true;
    if (whole == 0 || whole > 19 || text[whole] != '-')
        return false;
    size_t part = strspn(text + whole + 1, "0123456789");
    return part >= 1 && part <= 19 && text[whole + 1 + part] == '\0';
}

static bool is_text(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING;
}

/* An entry is [id, [field, value, ...]]. False where it is malformed or of an unknown kind. */
static bool read_entry(const redisReply *entry, struct ledger_notice *out)
{
    *out = (struct ledger_notice){.account = "", .file = "", .jti = ""};
    if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2 || !is_text(entry->element[0]) ||
        entry->element[1]->type != REDIS_REPLY_ARRAY)
        return false;
    const redisReply *fields = entry->element[1];
    bool known = false;
    out->id = entry->element[0]->str;
    for (size_t i = 0; i + 1 < fields->elements; i += 2) {
        if (!is_text(fields->element[i]) || !is_text(fields->element[i + 1]))
            return false;
        const char *name = fields->element[i]->str, *value = fields->element[i + 1]->str;
        if (strcmp(name, "account") == 0)
            out->account = value;
        else if (strcmp(name, "file") == 0)
            out->file = value;
        else if (strcmp(name, "jti") == 0)
            out->jti = value;
        else if (strcmp(name, "bytes") == 0)
            out->bytes = strtoull(value, NULL, 10);
        else if (strcmp(name, "time_ms") == 0)
            out->time_ms = strtoull(value, NULL, 10);
        for (size_t kind = 0; strcmp(name, "type") == 0 && kind < 3; kind++) {
            if (strcmp(value, kinds[kind]) == 0) {
                out->kind = (enum ledger_notice_kind)kind;
                known = true;
            }
        }
    }
    return known;
}

int ledger_notices(struct ledger *ledger, const char *issuer, const char *after, uint32_t limit,
                   int (*each)(void *context, const struct ledger_notice *notice), void *context)
{
    char key[LEDGER_ISSUER_MAX + 16], start[LEDGER_NOTICE_ID_MAX + 2], count[16];
    struct redis redis;
    if (!names_issuer_valid(issuer) || !is_cursor(after) || limit == 0)
        return -EINVAL;
    if (redis_open(&redis, ledger->where, &ledger->options) != 0)
        return -EAGAIN;
    snprintf(key, sizeof(key), "tg:notices:%s", issuer);
    snprintf(start, sizeof(start), "%s%s", after[0] != '\0' ? "(" : "",
             after[0] != '\0' ? after : "-");
    snprintf(count, sizeof(count), "%" PRIu32, limit);
    const char *const words[] = {"XRANGE", key, start, "+", "COUNT", count};
    redisReply *reply = redis_call(&redis, 6, words);
    int result = reply != NULL && reply->type == REDIS_REPLY_ARRAY ? 0 : -EAGAIN;
    for (size_t i = 0; result == 0 && i < reply->elements; i++) {
        struct ledger_notice notice;
        if (read_entry(reply->element[i], &notice) && each(context, &notice) != 0)
            break;
    }
    if (reply != NULL)
        freeReplyObject(reply);
    redis_close(&redis);
    return result;
}
