/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts for people: money operations, the views of an account and of a link. Admin threads call
 * it, on connections of its own. Money reaches Redis only through the journal and the poster; the
 * one thing that is written there directly is the hold of an adjustment.
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

#define CHANGE_WAIT_MS 3000
#define HOLD_MS        "60000" /* from hold to post of an adjustment; far above CHANGE_WAIT_MS */
#define VIEW_FIELDS    10

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
    view->reserved = (uint64_t)numbers[3];
    view->used = (uint64_t)numbers[4];
    view->revision = (uint64_t)numbers[5];
    view->rate = (uint64_t)numbers[6];
    view->max_bytes = (uint64_t)numbers[7];
    view->max_conns = (uint32_t)numbers[8];
    view->revoked_before = numbers[9];
    return 0;
}

static int fetch_view(struct redis *redis, const struct ledger_account *account,
                      struct ledger_account_view *view)
{
    char key[LEDGER_KEY_MAX];
    ledger_key(key, account, "account");
    const char *const words[2 + VIEW_FIELDS] = {
        "HMGET", key,        "plan", "status",    "balance",   "reserved",
        "used",  "revision", "rate", "max_bytes", "max_conns", "revoked_before"};
    redisReply *reply = redis_call(redis, 2 + VIEW_FIELDS, words);
    if (reply == NULL)
        return -EAGAIN;
    int result = parse_view(reply, view);
    freeReplyObject(reply);
    return result;
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

static int open_current(struct ledger *ledger, struct redis *redis)
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
    result = open_current(ledger, &redis);
    if (result == 0) {
        result = fetch_view(&redis, account, view);
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
    ledger_link_key(key, account, link_id, "");
    snprintf(field, sizeof(field), "p:%s", path);
    result = open_current(ledger, &redis);
    if (result == 0) {
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
        redis_close(&redis);
    }
    ledger_account_drop(&account);
    return result;
}

/* ---- changes ---- */

bool ledger_transaction_is_valid(const char *transaction)
{
    size_t length = strnlen(transaction, LEDGER_TRANSACTION_MAX + 1);
    return length >= 1 && length <= LEDGER_TRANSACTION_MAX &&
           strspn(transaction,
                  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-") == length;
}

static int validate_request(const struct ledger_request *request)
{
    int64_t low = 0, high = LEDGER_AMOUNT_MAX - 1;
    bool needs_transaction = true;
    switch (request->operation) {
    case LEDGER_OPEN:
        if (request->plan != LEDGER_PREPAID && request->plan != LEDGER_POSTPAID)
            return -EINVAL;
        break;
    case LEDGER_TOP_UP:
        low = 1;
        break;
    case LEDGER_ADJUST:
        low = -high;
        break;
    case LEDGER_SUSPEND:
    case LEDGER_ACTIVATE:
        needs_transaction = false;
        high = 0;
        break;
    case LEDGER_REVOKE_LINK:
    case LEDGER_REVOKE_BEFORE:
        low = 1;
        needs_transaction = false;
        break;
    case LEDGER_LIMIT:
        needs_transaction = false;
        if (request->max_bytes >= (uint64_t)LEDGER_AMOUNT_MAX)
            return -EINVAL;
        break;
    default:
        return -EINVAL;
    }
    if (request->amount < low || request->amount > high)
        return -EINVAL;
    if (request->transaction == NULL)
        return needs_transaction ? -EINVAL : 0;
    return ledger_transaction_is_valid(request->transaction) ? 0 : -EINVAL;
}

enum known { KNOWN_NOT, KNOWN_SAME, KNOWN_OTHER, KNOWN_UNASKED };

static enum known ask_transaction(struct redis *redis, const struct ledger_account *account,
                                  const struct ledger_request *request)
{
    char key[LEDGER_KEY_MAX], content[96];
    if (request->transaction == NULL)
        return KNOWN_NOT;
    ledger_key(key, account, "transactions");
    snprintf(content, sizeof(content), "%s %" PRId64 " %s", post_operation_name(request->operation),
             request->amount, post_plan_name(request->operation, request->plan));
    const char *const words[] = {"HGET", key, request->transaction};
    redisReply *reply = redis_call(redis, 3, words);
    enum known known = KNOWN_UNASKED;
    if (reply != NULL && reply->type == REDIS_REPLY_NIL)
        known = KNOWN_NOT;
    else if (reply != NULL && reply->type == REDIS_REPLY_STRING)
        known = strcmp(reply->str, content) == 0 ? KNOWN_SAME : KNOWN_OTHER;
    if (reply != NULL)
        freeReplyObject(reply);
    return known;
}

static bool moves_money(enum ledger_operation operation)
{
    return operation == LEDGER_OPEN || operation == LEDGER_TOP_UP || operation == LEDGER_ADJUST;
}

static int validate_account(const struct ledger_request *request,
                            const struct ledger_account_view *view)
{
    if (request->operation == LEDGER_OPEN && view->exists)
        return -EEXIST;
    if (request->operation != LEDGER_OPEN && !view->exists)
        return -ENOENT;
    if (!moves_money(request->operation))
        return 0;
    /* Both are within 2^53, so their sum does not overflow. */
    int64_t total = view->balance + request->amount;
    return total >= LEDGER_AMOUNT_MAX || total <= -LEDGER_AMOUNT_MAX ? -EOVERFLOW : 0;
}

/*
 * Holds the bytes that an adjustment takes away, since only Redis knows what other nodes are about
 * to take. A hold of the same transaction is replaced, so that the change may be repeated. 0, -EDOM
 * or -EAGAIN.
 */
static int hold_bytes(struct redis *redis, const struct ledger_account *payer,
                      const struct ledger_request *request)
{
    static const char keys[] = {'0' + LEDGER_COUNT(LEDGER_HOLD_KEYS), '\0'};
    const char *transaction = request->transaction, *lasts = HOLD_MS;
    char account[LEDGER_KEY_MAX], amount[24];
    if (request->operation != LEDGER_ADJUST || request->amount >= 0 || request->allow_negative)
        return 0;
    ledger_key(account, payer, "account");
    snprintf(amount, sizeof(amount), "%" PRId64, -request->amount);
    const char *const words[] = {"FCALL", "tollgate_hold", keys,
                                 LEDGER_HOLD_KEYS(LEDGER_KEY_WORD)
                                     LEDGER_HOLD_ARGUMENTS(LEDGER_WORD)};
    redisReply *reply = redis_call(redis, sizeof(words) / sizeof(words[0]), words);
    int result = -EAGAIN;
    if (reply != NULL && reply->type == REDIS_REPLY_INTEGER && reply->integer >= 0)
        result = reply->integer == 1 ? 0 : -EDOM;
    if (reply != NULL)
        freeReplyObject(reply);
    return result;
}

/* Journals the change and waits until it is durable and then posted. 0; -EINPROGRESS: durable, not
 * posted in time; -ENOSPC, -EIO: not journalled. */
static int journal_change(struct ledger *ledger, struct ledger_account *account,
                          const struct ledger_request *request, uint64_t deadline_ms)
{
    struct money money = {.account = account};
    money.record.type = JOURNAL_MONEY;
    money.record.operation = request->operation;
    money.record.plan = request->operation == LEDGER_OPEN ? request->plan : LEDGER_PREPAID;
    money.record.amount = request->amount;
    money.record.max_bytes = request->max_bytes;
    money.record.max_conns = request->max_conns;
    if (request->operation == LEDGER_REVOKE_LINK)
        for (size_t i = 0; i < LEDGER_LINK_ID_BYTES; i++)
            snprintf(money.record.transaction + 2 * i, 3, "%02x", request->link_id[i]);
    else if (request->transaction != NULL)
        memcpy(money.record.transaction, request->transaction, strlen(request->transaction));
    int result = writer_money(ledger, &money);
    if (result != 0)
        return result == -ENOSPC ? result : -EIO;
    uint64_t records = atomic_load(&ledger->journal.durable_records);
    return ledger_wait_posted(ledger, records, deadline_ms) == 0 ? 0 : -EINPROGRESS;
}

/*
 * As journal_change, for an account that may be new and then needs a place. Also -EUSERS, -EDQUOT.
 */
static int journal_new(struct ledger *ledger, struct ledger_account *account,
                       const struct ledger_request *request, uint64_t deadline_ms)
{
    int result = names_take_place(account);
    ledger_warn_of_accounts(ledger);
    if (result != 0)
        return result;
    result = journal_change(ledger, account, request, deadline_ms);
    names_give_place_back(account);
    return result;
}

static int change_locked(struct ledger *ledger, struct ledger_account *account,
                         const struct ledger_request *request, bool *repeated, struct redis *redis,
                         struct ledger_account_view *view)
{
    uint64_t deadline_ms = clock_monotonic_ms() + CHANGE_WAIT_MS;
    /* What was journalled before must be visible, or a repetition would not be seen. */
    if (ledger_wait_posted(ledger, atomic_load(&ledger->journal.durable_records), deadline_ms) != 0)
        return -EAGAIN;
    enum known known = ask_transaction(redis, account, request);
    if (known == KNOWN_UNASKED || fetch_view(redis, account, view) != 0)
        return -EAGAIN;
    *repeated = known == KNOWN_SAME;
    if (known != KNOWN_NOT)
        return known == KNOWN_SAME ? 0 : -ENOTUNIQ;
    int result = validate_account(request, view);
    if (result == 0)
        result = hold_bytes(redis, account, request);
    if (result == 0)
        result = request->operation == LEDGER_OPEN
                     ? journal_new(ledger, account, request, deadline_ms)
                     : journal_change(ledger, account, request, deadline_ms);
    if (result != 0)
        return result;
    /* Another node may have used the id between the question and the post: then Redis
     * kept that one. */
    known = ask_transaction(redis, account, request);
    if (known == KNOWN_OTHER)
        return -ENOTUNIQ;
    return known == KNOWN_UNASKED || fetch_view(redis, account, view) != 0 ? -EINPROGRESS : 0;
}

/* Asks Redis only where the account is new here and a bound is reached: an account that another
 * node opened is revoked in any case, and only a name that nobody opened is refused. */
static int revoke_links(struct ledger *ledger, struct ledger_account *account,
                        const struct ledger_request *request)
{
    uint64_t deadline_ms = clock_monotonic_ms() + CHANGE_WAIT_MS;
    enum ledger_state state = ledger_state(ledger);
    struct ledger_account_view view;
    struct redis redis;
    if (state == LEDGER_REFUSED || state == LEDGER_FAILED)
        return -EAGAIN;
    int result = journal_new(ledger, account, request, deadline_ms);
    if (result != -EUSERS && result != -EDQUOT)
        return result;
    if (open_current(ledger, &redis) != 0)
        return -EAGAIN;
    int asked = fetch_view(&redis, account, &view);
    redis_close(&redis);
    if (asked != 0)
        return asked;
    return view.exists ? journal_change(ledger, account, request, deadline_ms) : result;
}

int ledger_account_change(struct ledger *ledger, const struct ledger_request *request,
                          bool *repeated, struct ledger_account_view *view)
{
    struct ledger_account *account;
    struct redis redis;
    *repeated = false;
    int result = validate_request(request);
    if (result == 0)
        result = account_get(ledger, request->issuer, request->account, &account);
    if (result != 0)
        return result == -ENOMEM ? -EAGAIN : result;
    if (request->operation == LEDGER_REVOKE_LINK || request->operation == LEDGER_REVOKE_BEFORE) {
        memset(view, 0, sizeof(*view));
        result = revoke_links(ledger, account, request);
        ledger_account_drop(&account);
        return result;
    }
    pthread_mutex_lock(&ledger->change_lock);
    result = open_current(ledger, &redis);
    if (result == 0) {
        result = change_locked(ledger, account, request, repeated, &redis, view);
        redis_close(&redis);
    }
    pthread_mutex_unlock(&ledger->change_lock);
    ledger_account_drop(&account);
    return result;
}
