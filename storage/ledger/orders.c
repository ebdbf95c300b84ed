/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders: operations on an account, from the request to the state that was read back. Admin threads
 * call it, on connections of its own. Money reaches Redis only through the journal and the poster;
 * what is written there directly is what tollgate_order keeps until the post: the order's number,
 * its transaction's content, and the bytes that an adjustment takes away.
 *
 * Operations that replace each other (suspend and activate, limit, and open for its plan) are
 * ordered by their numbers, which Redis gives out, so they need Redis. Revocations only add up: they
 * have no number, and are journalled while Redis is away, too.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "server/base/clock.h"
#include "storage/ledger/keys.h"
#include "storage/ledger/post.h"
#include "storage/ledger/redis.h"
#include "storage/ledger/wake.h"

#define CHANGE_WAIT_MS 3000
#define REPLAY_WAIT_MS 3000 /* for the journal's replay to a Redis that changed */
#define REPLAY_POLL_MS 20
#define ORDER_LASTS_MS "60000" /* from the number to the post; far above CHANGE_WAIT_MS */

/* ---- what may be asked ---- */

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

/* ---- Redis' verdict, and what it says afterwards ---- */

/* The variables over which the lists of keys are expanded. */
#define RING_KEYS(ring)                                                                            \
    const char *transactions_0 = (ring)[0], *transactions_1 = (ring)[1],                           \
               *transactions_2 = (ring)[2], *transactions_3 = (ring)[3],                           \
               *transactions_4 = (ring)[4]

/*
 * Asks Redis whether the order may be journalled. Redis alone knows what other nodes are about to
 * do. A verdict, with the order's `number` where it is TAKEN; negative where Redis cannot say.
 */
static int ask_verdict(struct redis *redis, struct ledger_account *of,
                       const struct ledger_request *request, uint64_t *number)
{
    static const char keys[] = {'0' + LEDGER_COUNT(LEDGER_ORDER_KEYS), '\0'};
    const char *operation = post_operation_name(request->operation);
    const char *plan = post_plan_name(request->operation, request->plan);
    const char *transaction = request->transaction != NULL ? request->transaction : "";
    const char *allow_negative = request->allow_negative ? "1" : "0", *lasts = ORDER_LASTS_MS;
    char account[LEDGER_KEY_MAX], amount[24], least[24];
    char ring[LEDGER_TRANSACTION_KEYS_COUNT][LEDGER_KEY_MAX];
    ledger_key(account, of, "account");
    ledger_transaction_keys(ring, of);
    RING_KEYS(ring);
    snprintf(amount, sizeof(amount), "%" PRId64, request->amount);
    snprintf(least, sizeof(least), "%" PRIu64, atomic_load(&of->operations) + 1);
    const char *const words[] = {"FCALL", "tollgate_order", keys,
                                 LEDGER_ORDER_KEYS(LEDGER_KEY_WORD)
                                     LEDGER_ORDER_ARGUMENTS(LEDGER_WORD)};
    redisReply *reply = redis_call(redis, sizeof(words) / sizeof(words[0]), words);
    int verdict = -EAGAIN;
    if (reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements >= 2 &&
        reply->element[0]->type == REDIS_REPLY_INTEGER &&
        reply->element[1]->type == REDIS_REPLY_INTEGER) {
        verdict = (int)reply->element[0]->integer;
        *number = (uint64_t)reply->element[1]->integer;
    } else if (reply == NULL && redis_says_damaged(redis))
        verdict = -ENOTRECOVERABLE;
    if (reply != NULL)
        freeReplyObject(reply);
    return verdict;
}

/* Asks again while parts of the account are missing in Redis, until the deadline. */
static int await_verdict(struct redis *redis, struct ledger_account *of,
                         const struct ledger_request *request, uint64_t deadline_ms,
                         uint64_t *number)
{
    static const struct timespec pause = {.tv_nsec = REPLAY_POLL_MS * 1000000L};
    int verdict;
    while ((verdict = ask_verdict(redis, of, request, number)) == LEDGER_VERDICT_FILLING &&
           clock_monotonic_ms() < deadline_ms)
        nanosleep(&pause, NULL);
    return verdict;
}

/* What a verdict means. 0: the order may be journalled, or is KNOWN. */
static int judge_verdict(int verdict)
{
    switch (verdict) {
    case LEDGER_VERDICT_TAKEN:
    case LEDGER_VERDICT_KNOWN:
        return 0;
    case LEDGER_VERDICT_CONTRADICTED:
        return -ENOTUNIQ;
    case LEDGER_VERDICT_OPEN:
        return -EEXIST;
    case LEDGER_VERDICT_NOT_OPEN:
        return -ENOENT;
    case LEDGER_VERDICT_TOO_LITTLE:
        return -EDOM;
    case LEDGER_VERDICT_TOO_LARGE:
        return -EOVERFLOW;
    case LEDGER_VERDICT_BUSY:
        return -EBUSY;
    default:
        return verdict == -ENOTRECOVERABLE ? verdict : -EAGAIN;
    }
}

/* Whether the transaction that counts has this content. 0, -ENOTUNIQ: another, -EINPROGRESS: Redis
 * does not say. */
static int read_transaction(struct redis *redis, const struct ledger_account *account,
                            const struct ledger_request *request)
{
    static const char keys[] = {'0' + LEDGER_TRANSACTION_KEYS_COUNT, '\0'};
    const char *transaction = request->transaction;
    char ring[LEDGER_TRANSACTION_KEYS_COUNT][LEDGER_KEY_MAX], content[96];
    if (transaction == NULL)
        return 0;
    ledger_transaction_keys(ring, account);
    RING_KEYS(ring);
    int length = snprintf(content, sizeof(content), "%s %" PRId64 " %s ",
                          post_operation_name(request->operation), request->amount,
                          post_plan_name(request->operation, request->plan));
    const char *const words[] = {"FCALL", "tollgate_transaction", keys,
                                 LEDGER_TRANSACTION_KEYS(LEDGER_KEY_WORD)
                                     LEDGER_TRANSACTION_ARGUMENTS(LEDGER_WORD)};
    redisReply *reply = redis_call(redis, sizeof(words) / sizeof(words[0]), words);
    int result = -EINPROGRESS;
    if (reply != NULL && reply->type == REDIS_REPLY_STRING)
        result = strncmp(reply->str, content, (size_t)length) == 0 ? 0 : -ENOTUNIQ;
    if (reply != NULL)
        freeReplyObject(reply);
    return result;
}

/* Whether the account is as the order wants it, which it is not where a later order counts. */
static bool is_in_force(const struct ledger_request *request,
                        const struct ledger_account_view *view)
{
    switch (request->operation) {
    case LEDGER_OPEN:
        return view->exists && view->plan == request->plan;
    case LEDGER_SUSPEND:
        return view->status == LEDGER_STATUS_SUSPENDED;
    case LEDGER_ACTIVATE:
        return view->status == LEDGER_ACTIVE;
    case LEDGER_LIMIT:
        return view->rate == (uint64_t)request->amount && view->max_bytes == request->max_bytes &&
               view->max_conns == request->max_conns;
    case LEDGER_TOP_UP:
    case LEDGER_ADJUST:
    case LEDGER_REVOKE_LINK:
    case LEDGER_REVOKE_BEFORE:
        return true;
    }
    return true;
}

/* ---- the journal ---- */

/* Journals the change and waits until it is durable and then posted. 0; -EINPROGRESS: durable, not
 * posted in time; -ENOSPC, -EIO: not journalled. */
static int journal_change(struct ledger *ledger, struct ledger_account *account,
                          const struct ledger_request *request, uint64_t number,
                          uint64_t deadline_ms)
{
    struct money money = {.account = account};
    money.record.type = JOURNAL_MONEY;
    money.record.operation = request->operation;
    money.record.plan = request->operation == LEDGER_OPEN ? request->plan : LEDGER_PREPAID;
    money.record.amount = request->amount;
    money.record.operation_number = number;
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
    return ledger_wait_account(ledger, account, deadline_ms) == 0 ? 0 : -EINPROGRESS;
}

/*
 * As journal_change, for an account that may be new and then needs a place. Also -EUSERS, -EDQUOT.
 */
static int journal_new(struct ledger *ledger, struct ledger_account *account,
                       const struct ledger_request *request, uint64_t number, uint64_t deadline_ms)
{
    int result = names_take_place(account);
    ledger_warn_of_accounts(ledger);
    if (result != 0)
        return result;
    result = journal_change(ledger, account, request, number, deadline_ms);
    names_give_place_back(account);
    return result;
}

/* ---- an order ---- */

static int change_locked(struct ledger *ledger, struct ledger_account *account,
                         const struct ledger_request *request, bool *repeated, struct redis *redis,
                         struct ledger_account_view *view)
{
    uint64_t deadline_ms = clock_monotonic_ms() + CHANGE_WAIT_MS, number = 0;
    uint64_t losses = ledger_losses(ledger);
    /* What was journalled before must be visible, or a repetition would not be seen. */
    if (ledger_wait_account(ledger, account, deadline_ms) != 0)
        return -EAGAIN;
    int verdict = await_verdict(redis, account, request, deadline_ms, &number);
    if (account_redis_confirm(ledger, redis, losses) != 0)
        return -EAGAIN;
    int result = judge_verdict(verdict);
    *repeated = verdict == LEDGER_VERDICT_KNOWN;
    if (verdict == LEDGER_VERDICT_KNOWN || verdict == LEDGER_VERDICT_TOO_LITTLE)
        return account_fetch(redis, account, view) == 0 ? result : -EAGAIN;
    if (result != 0)
        return result;
    atomic_store(&account->operations, number);
    result = request->operation == LEDGER_OPEN
                 ? journal_new(ledger, account, request, number, deadline_ms)
                 : journal_change(ledger, account, request, number, deadline_ms);
    if (result == 0)
        result = read_transaction(redis, account, request);
    if (result != 0)
        return result;
    if (account_fetch(redis, account, view) != 0 ||
        account_redis_confirm(ledger, redis, losses) != 0)
        return -EINPROGRESS;
    push_take_revision(ledger, account, view->revision);
    return is_in_force(request, view) ? 0 : -ECANCELED;
}

/* While Redis may lack what this journal or others hold, its numbers and its answers would be of an
 * older state: the order waits for the replays. */
static int await_replay(const struct ledger *ledger, uint64_t until_ms)
{
    static const struct timespec pause = {.tv_nsec = REPLAY_POLL_MS * 1000000L};
    while (ledger_state(ledger) == LEDGER_CATCHING_UP || ledger_data_is_lost(ledger) ||
           !ledger_is_settled(ledger)) {
        if (clock_monotonic_ms() >= until_ms)
            return -EAGAIN;
        nanosleep(&pause, NULL);
    }
    return 0;
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
    int result = journal_new(ledger, account, request, 0, deadline_ms);
    if (result != -EUSERS && result != -EDQUOT)
        return result;
    if (account_redis_open_current(ledger, &redis) != 0)
        return -EAGAIN;
    int asked = account_fetch(&redis, account, &view);
    redis_close(&redis);
    if (asked != 0)
        return asked;
    return view.exists ? journal_change(ledger, account, request, 0, deadline_ms) : result;
}

int ledger_account_change(struct ledger *ledger, const struct ledger_request *request,
                          bool *repeated, struct ledger_account_view *view)
{
    struct ledger_account *account;
    struct redis redis;
    uint64_t until_ms = clock_monotonic_ms() + REPLAY_WAIT_MS;
    *repeated = false;
    int result = validate_request(request);
    if (result == 0)
        result = account_get(ledger, request->issuer, request->account, &account);
    if (result != 0)
        return result == -ENOMEM ? -EAGAIN : result;
    if (account_wake(ledger, account) != 0) {
        ledger_account_drop(&account);
        return -EAGAIN;
    }
    if (request->operation == LEDGER_REVOKE_LINK || request->operation == LEDGER_REVOKE_BEFORE) {
        memset(view, 0, sizeof(*view));
        result = revoke_links(ledger, account, request);
        ledger_account_drop(&account);
        return result;
    }
    pthread_mutex_lock(&ledger->change_lock);
    result = await_replay(ledger, until_ms);
    if (result == 0)
        result = account_redis_open_current(ledger, &redis);
    if (result == 0) {
        result = change_locked(ledger, account, request, repeated, &redis, view);
        redis_close(&redis);
    }
    pthread_mutex_unlock(&ledger->change_lock);
    ledger_account_drop(&account);
    return result;
}
