/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Releasing an account that is set aside: what Redis holds of it is read, and, where that is in order,
 * its posts are tried again; or its keys are deleted, and all nodes post it again from their journals,
 * which are the truth. An admin thread calls it, on a connection of its own. It writes no journal.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/base/clock.h"
#include "storage/ledger/aside.h"
#include "storage/ledger/drains.h"
#include "storage/ledger/inspect.h"
#include "storage/ledger/keys.h"
#include "storage/ledger/post.h"
#include "storage/ledger/wake.h"

#define RELEASE_WAIT_MS 5000
#define RELEASE_POLL_MS 10
#define HEARD_WAIT_MS   500 /* for the other nodes, which hear within some ms */
#define DELETED_AT_ONCE 1000

static void pause_ms(long ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&time, NULL);
}

/* A command whose reply says no more than that it was done. */
static int command(struct redis *redis, int count, const char *const words[])
{
    redisReply *reply = redis_call(redis, count, words);
    bool is_done = reply != NULL;
    freeReplyObject(reply);
    return is_done ? 0 : -EAGAIN;
}

/* ---- trying again ---- */

/* The account in the lanes that earlier processes, or retired nodes, have left. */
struct others {
    const char *tag;
    bool begins; /* it is to be tried again there */
    bool is_aside, is_damaged, is_waiting;
};

static void look_at_drain(void *context, struct ledger *drain)
{
    struct others *others = context;
    struct ledger_account *account =
        names_find_tag(&drain->names, others->tag, strlen(others->tag));
    if (account == NULL)
        return;
    enum account_aside aside = ASIDE_DAMAGED;
    if (others->begins) {
        (void)atomic_compare_exchange_strong(&account->aside, &aside, ASIDE_EMPTIED);
        ledger_post_soon(drain, account);
    }
    aside = atomic_load(&account->aside);
    others->is_aside = others->is_aside || aside != ASIDE_NOT;
    others->is_damaged = others->is_damaged || aside == ASIDE_DAMAGED;
    others->is_waiting =
        others->is_waiting || aside != ASIDE_NOT || !ledger_account_is_posted(account);
    ledger_account_drop(&account);
}

static struct others look_at_others(struct ledger *ledger, const struct ledger_account *account,
                                    bool begins)
{
    struct others others = {.tag = account->tag, .begins = begins};
    drains_each(ledger, look_at_drain, &others);
    return others;
}

/* Waits until what the journals hold of the account is posted, or refused again. */
static int await_posts(struct ledger *ledger, const struct ledger_account *account)
{
    for (uint64_t until_ms = clock_monotonic_ms() + RELEASE_WAIT_MS;;) {
        const struct others others = look_at_others(ledger, account, false);
        enum account_aside aside = atomic_load(&account->aside);
        if (aside == ASIDE_DAMAGED || others.is_damaged)
            return -EBADMSG;
        if (aside == ASIDE_NOT && ledger_account_is_posted(account) && !others.is_waiting)
            return 0;
        if (clock_monotonic_ms() >= until_ms)
            return -EINPROGRESS;
        pause_ms(RELEASE_POLL_MS);
    }
}

/* ---- rebuilding it ---- */

/* Tells all nodes, this one as well: where push is down, it hears nothing. */
static int tell_nodes(struct ledger *ledger, struct redis *redis,
                      const struct ledger_account *account, const char *word)
{
    char text[LEDGER_TAG_MAX + 16];
    snprintf(text, sizeof(text), "%s %s", account->tag, word);
    const char *const words[] = {"PUBLISH", "tg:revocations", text};
    int result = command(redis, 3, words);
    (void)aside_hear(ledger, account->tag, strlen(account->tag), word, strlen(word));
    return result;
}

/* From here on each function says DAMAGED of the account, or WRONGTYPE as before: nothing is written to
 * its keys while they are looked for and deleted. */
static int close_account(struct redis *redis, const char *key)
{
    const char *const words[] = {"HSET", key, "revision", "none, as the account is rebuilt"};
    redisReply *reply = redis_call(redis, 4, words);
    bool is_closed = reply != NULL || redis_says_damaged(redis);
    freeReplyObject(reply);
    return is_closed ? 0 : -EAGAIN;
}

static int delete_keys(struct redis *redis, const struct account_keys *keys, const char *last)
{
    struct redis_arguments arguments = {.count = 0};
    int result = 0;
    for (size_t i = 0; result == 0 && i <= keys->count; i++) {
        bool ends = i == keys->count;
        if (arguments.count == 0)
            redis_add(&arguments, "DEL");
        if (!ends && strcmp(keys->names[i], last) != 0)
            redis_add(&arguments, keys->names[i]);
        if (arguments.count > 1 && (ends || arguments.count > DELETED_AT_ONCE)) {
            result = command(redis, arguments.count, arguments.text);
            arguments.count = 0;
        }
    }
    const char *const words[] = {"DEL", last};
    return result == 0 ? command(redis, 2, words) : result;
}

/* No node believes any more that Redis has all of its records, before the first key is deleted and behind the
 * last one: a node that asks in between would see both. */
static int mark(struct redis *redis)
{
    char step[24];
    const char *const words[] = {"HINCRBY", LEDGER_EMPTIED_KEY, LEDGER_EMPTIED_FIELD, step};
    ledger_emptied_step(step);
    return command(redis, 4, words);
}

static int empty(struct ledger *ledger, struct redis *redis, const struct ledger_account *account)
{
    struct account_keys keys = {0};
    char key[LEDGER_KEY_MAX];
    ledger_key(key, account, "account");
    int result = tell_nodes(ledger, redis, account, ASIDE_EMPTYING_WORD);
    if (result == 0)
        pause_ms(HEARD_WAIT_MS);
    if (result == 0)
        result = mark(redis);
    if (result == 0)
        result = close_account(redis, key);
    if (result == 0)
        result = account_keys_read(redis, account, &keys);
    if (result == 0)
        result = delete_keys(redis, &keys, key);
    account_keys_free(&keys);
    if (result == 0)
        result = mark(redis);
    /* Also where it failed: the nodes look, and set the account aside again. */
    int told = tell_nodes(ledger, redis, account, ASIDE_EMPTIED_WORD);
    return result != 0 ? result : told;
}

/* ---- the call ---- */

/* What the poster was told of the account, where the keys alone do not show it. */
static void say_what_was_said(struct ledger *ledger, const struct ledger_account *account,
                              struct ledger_release *out)
{
    pthread_mutex_lock(&ledger->lock);
    if (ledger->aside_last == account)
        snprintf(out->said, sizeof(out->said), "%s", ledger->aside_said);
    pthread_mutex_unlock(&ledger->lock);
}

static int inspect(struct redis *redis, const struct ledger_account *account,
                   struct ledger_release *out)
{
    struct inspection found;
    int result = account_inspect(redis, account, &found);
    if (result != 0)
        return -EAGAIN;
    snprintf(out->key, sizeof(out->key), "%s", found.key);
    snprintf(out->said, sizeof(out->said), "%s", found.said);
    if (found.said[0] != '\0')
        return -EBADMSG;
    return found.is_open || atomic_load(&account->sequence) > 0 ||
                   ledger_account_is_set_aside(account)
               ? 0
               : -ENOENT;
}

/* Has each node ask for the watermarks and post what waits. */
static int try_again(struct ledger *ledger, struct redis *redis, struct ledger_account *account)
{
    enum account_aside damaged = ASIDE_DAMAGED; /* or await_posts would take it for the outcome */
    (void)atomic_compare_exchange_strong(&account->aside, &damaged, ASIDE_EMPTIED);
    (void)look_at_others(ledger, account, true);
    return tell_nodes(ledger, redis, account, ASIDE_EMPTIED_WORD);
}

static int release(struct ledger *ledger, struct redis *redis, struct ledger_account *account,
                   bool rebuilds, struct ledger_release *out)
{
    int result = inspect(redis, account, out);
    if (result != 0 && (result != -EBADMSG || !rebuilds))
        return result;
    if (rebuilds)
        result = empty(ledger, redis, account);
    else if (out->was_aside)
        result = try_again(ledger, redis, account);
    ledger_post_soon(ledger, account);
    if (result == 0)
        result = await_posts(ledger, account);
    if (result == 0)
        return inspect(redis, account, out);
    if (result == -EBADMSG && inspect(redis, account, out) == 0)
        say_what_was_said(ledger, account, out);
    return result;
}

int ledger_account_release(struct ledger *ledger, const char *issuer, const char *name,
                           bool rebuilds, struct ledger_release *out)
{
    struct ledger_account *account;
    struct redis redis;
    memset(out, 0, sizeof(*out));
    int result = account_get(ledger, issuer, name, &account);
    if (result != 0)
        return result == -EINVAL ? result : -EAGAIN;
    if (account_wake(ledger, account) != 0) {
        ledger_account_drop(&account);
        return -EAGAIN;
    }
    out->was_aside =
        ledger_account_is_set_aside(account) || look_at_others(ledger, account, false).is_aside;
    result = ledger_state(ledger) == LEDGER_CATCHING_UP
                 ? -EAGAIN
                 : account_redis_open_current(ledger, &redis);
    if (result == 0) {
        result = release(ledger, &redis, account, rebuilds, out);
        redis_close(&redis);
    }
    ledger_account_drop(&account);
    return result;
}
