/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds the store against a real redis-server at the same clock: calls at random go to both, each
 * answer is compared, and now and then all keys. A mismatch prints the call and both answers; the
 * seed repeats it.
 *
 *   simulation_store_test [SEED [CALLS]]
 */
#include "tests/simulation/store_test.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "server/base/check.h"
#include "storage/ledger/redis_talk.h"
#include "tests/simulation/store_internal.h"

#define CALLS        100000
#define BATCH_MAX    200
#define CHECKPOINT   1000

/* ---- messages that PUBLISH sent ---- */

#define MESSAGES_MAX 1000

static struct {
    char text[MESSAGES_MAX][128];
    size_t lengths[MESSAGES_MAX];
    size_t count;
} messages;

static void hear(void *context, const char *channel, size_t channel_length, const char *message,
                 size_t message_length)
{
    (void)context;
    check(messages.count < MESSAGES_MAX);
    char *text = messages.text[messages.count];
    size_t length = channel_length + 1 + message_length;
    check(length < sizeof(messages.text[0]));
    memcpy(text, channel, channel_length);
    text[channel_length] = '\n';
    memcpy(text + channel_length + 1, message, message_length);
    messages.lengths[messages.count++] = length;
}

/* One more message than the store sent would come before the last one, which this sends. */
static bool same_messages(struct real *real)
{
    static const char *const last[] = {"PUBLISH", "end", "end"};
    bool same = true;
    freeReplyObject(real_words(real, 3, last));
    hear(NULL, "end", 3, "end", 3);
    for (size_t i = 0; same && i < messages.count; i++) {
        redisReply *reply = NULL;
        check(redisGetReply(real->listener, (void **)&reply) == REDIS_OK && reply->elements == 4);
        count_message(messages.text[i], messages.lengths[i]);
        const redisReply *channel = reply->element[2], *message = reply->element[3];
        same = messages.lengths[i] == channel->len + 1 + message->len &&
               memcmp(messages.text[i], channel->str, channel->len) == 0 &&
               memcmp(messages.text[i] + channel->len + 1, message->str, message->len) == 0;
        if (!same)
            printf("message %zu: the store sent\n%s\nRedis sent\n%s\n%s\n", i, messages.text[i],
                   channel->str, message->str);
        freeReplyObject(reply);
    }
    messages.count = 0;
    return same;
}

/* ---- answers that Redis gives in another order ---- */

/*
 * The usage of the accounts to which files with long names are posted. Redis's Lua hashes every
 * byte of a string, Debian's leaves some out where it has 32 or more, so pairs() goes another way
 * through a table that has such keys, and the fields are stored in another order.
 */
static bool is_loose(const char *key)
{
    unsigned account = 1;
    if (strncmp(key, "tg:", 3) != 0)
        return true; /* a malformed key, to which any account's usage may go */
    return sscanf(key, "tg:{iss/a%1u}:usage:", &account) == 1 && strstr(key, "}:usage:") != NULL &&
           account % 2 == 0;
}

/* ---- all keys ---- */

struct dump {
    struct store *store;
    struct real *real;
    size_t keys;
    bool same;
};

static bool same_words(const struct dump *dump, int count, const char *const words[], size_t group)
{
    redisReply *ours = store_call(dump->store, count, words, NULL);
    redisReply *theirs = real_words(dump->real, count, words);
    if (group > 0) {
        reply_sort(ours, group);
        reply_sort(theirs, group);
    }
    bool same = reply_same(ours, theirs);
    if (!same) {
        printf("%s %s: the store has\n", words[0], words[1]);
        reply_print(ours, 2);
        printf("Redis has\n");
        reply_print(theirs, 2);
    }
    freeReplyObject(ours);
    freeReplyObject(theirs);
    return same;
}

static bool same_encoding(const struct dump *dump, const char *key, const char *encoding)
{
    const char *const words[] = {"OBJECT", "ENCODING", key};
    redisReply *reply = real_words(dump->real, 3, words);
    bool same = reply->str != NULL && strcmp(reply->str, encoding) == 0;
    if (!same)
        printf("%s is a %s, in the store a %s\n", key, reply->str, encoding);
    freeReplyObject(reply);
    return same;
}

/* A step of tollgate_usage for both, each with its own cursor. */
static redisReply *usage_step(const struct dump *dump, bool ours, const char *key,
                              const char *cursor)
{
    struct call call;
    call_begin(&call);
    call_text(&call, "FCALL");
    call_text(&call, "tollgate_usage");
    call_text(&call, "2");
    call_format(&call, "%.*saccount", (int)(strstr(key, "usage:") - key), key);
    call_text(&call, key);
    call_text(&call, strrchr(key, ':') + 1);
    call_text(&call, cursor);
    call_text(&call, "50");
    redisReply *reply;
    if (ours) {
        reply = store_call(dump->store, call.count, call.words, call.lengths);
        count_answer(&call, reply);
    } else {
        real_send(dump->real, &call);
        reply = real_next(dump->real);
    }
    return reply;
}

/* Every step of one side, as one sorted list; an error alone. */
static redisReply *whole_usage(const struct dump *dump, bool ours, const char *key)
{
    redisReply *all = calloc(1, sizeof(*all)), *failed = NULL;
    char cursor[32] = "0";
    check(all != NULL);
    all->type = REDIS_REPLY_ARRAY;
    do {
        redisReply *step = usage_step(dump, ours, key, cursor);
        if (step->type != REDIS_REPLY_ARRAY) {
            failed = step;
            break;
        }
        all->element =
            store_resize(all->element, (all->elements + step->elements) * sizeof(redisReply *));
        snprintf(cursor, sizeof(cursor), "%s", step->element[0]->str);
        for (size_t i = 1; i < step->elements; i++) {
            all->element[all->elements++] = step->element[i];
            step->element[i] = NULL;
        }
        freeReplyObject(step);
    } while (strcmp(cursor, "0") != 0);
    if (failed != NULL) {
        freeReplyObject(all);
        return failed;
    }
    reply_sort(all, 3);
    return all;
}

static bool same_usage(const struct dump *dump, const char *key)
{
    redisReply *ours = whole_usage(dump, true, key), *theirs = whole_usage(dump, false, key);
    bool same = reply_same(ours, theirs);
    if (!same)
        printf("the usage of %s differs: the store lists %zu words, Redis %zu\n", key,
               ours->elements, theirs->elements);
    freeReplyObject(ours);
    freeReplyObject(theirs);
    return same;
}

static void compare_key(void *context, const char *key, size_t length, enum store_kind kind,
                        int64_t expires_ms)
{
    struct dump *dump = context;
    const char *const expiry[] = {"PEXPIRETIME", key};
    const char *const hash[] = {"HGETALL", key};
    const char *const stream[] = {"XRANGE", key, "-", "+"};
    dump->keys++;
    if (!dump->same)
        return;
    bool scattered = store_find(dump->store, key, length)->scattered;
    dump->same = same_words(dump, 2, expiry, 0) &&
                 same_encoding(dump, key,
                               kind == STORE_STREAM ? "stream"
                               : scattered          ? "hashtable"
                                                    : "listpack") &&
                 (kind == STORE_HASH ? same_words(dump, 2, hash, scattered || is_loose(key) ? 2 : 0)
                                     : same_words(dump, 4, stream, 0));
    (void)expires_ms;
    if (dump->same && scattered && strstr(key, ":usage:") != NULL &&
        store_find(dump->store, key, length) != NULL)
        dump->same = same_usage(dump, key);
}

/* At the first moment of 1970 no key's time has come, so those are seen that nobody looked at. */
static bool same_keys(struct store *store, struct real *real, uint64_t now_us)
{
    static const char *const size[] = {"DBSIZE"};
    struct dump dump = {.store = store, .real = real, .same = true};
    store_set_time(store, 1);
    *real->clock_us = 1;
    store_each_key(store, compare_key, &dump);
    redisReply *reply = real_words(real, 1, size);
    if (dump.same && reply->integer != (long long)dump.keys) {
        printf("the store has %zu keys, Redis %lld\n", dump.keys, reply->integer);
        dump.same = false;
    }
    freeReplyObject(reply);
    store_set_time(store, now_us);
    *real->clock_us = now_us;
    return dump.same;
}

/* Goes on with a copy, so that what a copy would lose is missed later. */
static struct store *swap(struct store *store, uint64_t now_us)
{
    struct store *copy;
    uint64_t digest = store_digest(store);
    check(store_create(&copy, hear, NULL) == 0 && store_copy(copy, store) == 0);
    store_set_time(copy, now_us);
    check(store_digest(copy) == digest);
    store_destroy(&store);
    return copy;
}

/* ---- the clock ---- */

/* Keeps one of the keys that expire. */
static void take_expiry(void *context, const char *key, size_t length, enum store_kind kind,
                        int64_t expires_ms)
{
    struct world *world = context;
    (void)key, (void)length, (void)kind;
    if (expires_ms >= 0 && world_chance(world, 20))
        world->now_us = (uint64_t)expires_ms * 1000 + 1000 * world_random(world, 2);
}

/* Moves the clock: on a little, and at times far ahead or back. */
static void move_clock(struct world *world)
{
    uint64_t hour_us = 3600000000;
    if (world_chance(world, 10))
        store_each_key(world->store, take_expiry, world); /* to the very millisecond */
    else if (world_chance(world, 90))
        world->now_us += world_random(world, world_chance(world, 50) ? 2000 : 2000000);
    else if (world_chance(world, 80))
        world->now_us += world_random(world, hour_us);
    else if (world_chance(world, 60))
        world->now_us += 24 * hour_us * world_random(world, 40);
    else
        world->now_us -= hour_us * world_random(world, 600);
    if (world->now_us < 1700000000000000 || world->now_us > 1900000000000000)
        world->now_us = 1764000000000000;
}

/* ---- calls ---- */

struct sent {
    struct call call;
    redisReply *reply;
    bool scattered; /* the hash that call.unordered names */
};

/* {cursor, file, bytes, responses, file...} */
static void sort_usage(redisReply *reply)
{
    reply->element++;
    reply->elements--;
    reply_sort(reply, 3);
    reply->element--;
    reply->elements++;
}

/* Sorts what Redis answers in an order of its own. */
static void settle(const struct sent *sent, redisReply *reply)
{
    const struct call *call = &sent->call;
    if (reply->type != REDIS_REPLY_ARRAY)
        return;
    if (call->unordered != NULL && (sent->scattered || is_loose(call->unordered))) {
        if (strcmp(call->words[0], "HGETALL") == 0)
            reply_sort(reply, 2);
        else if (strcmp(call->words[0], "HSCAN") == 0)
            reply_sort(reply->element[1], 2);
        else
            sort_usage(reply);
        return;
    }
    if (call->count < 2 || strcasecmp(call->words[0], "FUNCTION") != 0 ||
        strcasecmp(call->words[1], "LIST") != 0)
        return;
    for (size_t i = 0; i < reply->elements; i++)
        reply_sort(reply->element[i]->element[5], 1);
    reply_sort(reply, 1);
}

/* What a step of a scan may answer: elements, or that a field it saw is malformed. */
static bool is_step(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY ||
           (reply->type == REDIS_REPLY_ERROR && strstr(reply->str, "a stored field") != NULL);
}

static bool same_answer(struct sent *sent, redisReply *theirs)
{
    settle(sent, theirs);
    /* A step of HSCAN: it looks at other fields, and whole scans are compared at the checkpoints. */
    if (sent->scattered && strcmp(sent->call.words[0], "HGETALL") != 0 &&
        (is_step(sent->reply) || is_step(theirs)))
        return is_step(sent->reply) && is_step(theirs);
    return reply_same(sent->reply, theirs);
}

static void print_call(const struct call *call)
{
    for (int i = 0; i < call->count && i < 60; i++)
        printf(" '%.*s'", call->lengths[i] < 200 ? (int)call->lengths[i] : 200, call->words[i]);
    printf("\n");
}

static bool same_batch(struct sent *sent, size_t count, struct real *real, unsigned long before)
{
    bool same = true;
    for (size_t i = 0; i < count; i++) {
        redisReply *theirs = real_next(real);
        if (same && !same_answer(&sent[i], theirs)) {
            same = false;
            printf("call %lu differs:", before + i);
            print_call(&sent[i].call);
            printf("the store answers\n");
            reply_print(sent[i].reply, 2);
            printf("Redis answers\n");
            reply_print(theirs, 2);
        }
        freeReplyObject(theirs);
    }
    return same;
}

static void send_one(struct world *world, struct sent *sent, struct real *real)
{
    world_call(world, &sent->call);
    sent->scattered = false;
    if (sent->call.unordered != NULL) {
        /* Not store_find(), which removes a key whose time has come. */
        const struct table_entry *entry =
            table_find(&world->store->keys, sent->call.unordered, strlen(sent->call.unordered));
        sent->scattered = entry != NULL && entry->object->scattered;
    }
    if (real != NULL)
        real_send(real, &sent->call);
    sent->reply = store_call(world->store, sent->call.count, sent->call.words, sent->call.lengths);
    settle(sent, sent->reply);
}

/* Without a `real` it only makes the calls. Returns a digest of all answers; 0 where one differs. */
static uint64_t run(uint64_t seed, unsigned long calls, struct real *real)
{
    struct world world = {.random = seed, .now_us = 1764000000000000};
    struct sent *sent = store_allocate(BATCH_MAX * sizeof(*sent));
    uint64_t digest = seed;
    unsigned long due = CHECKPOINT;
    bool same = store_create(&world.store, hear, NULL) == 0;
    while (same && world.calls < calls) {
        size_t count = 1 + world_random(&world, BATCH_MAX);
        unsigned long before = world.calls;
        move_clock(&world);
        store_set_time(world.store, world.now_us);
        if (real != NULL)
            *real->clock_us = world.now_us;
        for (size_t i = 0; i < count; i++)
            send_one(&world, &sent[i], real);
        same = real == NULL || same_batch(sent, count, real, before);
        for (size_t i = 0; i < count; i++) {
            digest = reply_digest(sent[i].reply, digest);
            if (real != NULL)
                count_answer(&sent[i].call, sent[i].reply);
            freeReplyObject(sent[i].reply);
        }
        if (same && (world.calls >= due || world.calls >= calls)) {
            same =
                real == NULL || (same_messages(real) && same_keys(world.store, real, world.now_us));
            messages.count = 0;
            due = world.calls + CHECKPOINT;
            if (real != NULL)
                world.store = swap(world.store, world.now_us);
        }
    }
    digest ^= store_digest(world.store);
    store_destroy(&world.store);
    free(sent);
    return same ? digest : 0;
}

int main(int count, char *arguments[])
{
    struct real real;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed = count > 1 ? strtoull(arguments[1], NULL, 10) : (uint64_t)now.tv_nsec;
    unsigned long calls = count > 2 ? strtoul(arguments[2], NULL, 10) : CALLS;
    printf("seed %" PRIu64 ", %lu calls\n", seed, calls);
    (void)fflush(stdout);
    real_start(&real);
    uint64_t digest = run(seed, calls, &real);
    real_stop(&real);
    if (digest == 0)
        return 1;
    /* The functions now remember numbers and names of the run before: no answer may show it. */
    if (run(seed, calls, NULL) != digest) {
        printf("the same calls gave other answers\n");
        return 1;
    }
    unsigned missing = count_report();
    printf("%lu calls: every answer is the same, and after each %d all keys\n", calls, CHECKPOINT);
    return missing > 0 && calls >= CALLS ? 1 : 0;
}
