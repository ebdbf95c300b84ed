/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replays recorded calls of the ledger's functions (store_recording.h) against the functions that this program
 * brings, and compares the answers. A version takes the calls of the one before and answers them as that
 * would have: what an array answers may be longer, and nothing else may differ. A recording of this very version
 * shows that no answer has changed since it was made.
 *
 *   versions-calls replay FILE...  in a store, from the first call on, and with the functions replaced where a
 *                                  quarter, half and three quarters of the calls were answered by those of the
 *                                  recording: so what these have stored is read, too
 *   versions-calls redis FILE...   in a redis-server at the recorded time
 *   versions-calls record FILE     records calls at random, of each function
 *
 * FILE may be -, standard input. Ends with 0 where all answers agree.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "storage/ledger/redis_talk.h"
#include "tests/simulation/store_recording.h"
#include "tests/simulation/store_test.h"

#define STORES_MAX 64
#define CUTS       4 /* where the functions are replaced: behind so many quarters of the calls */
#define CALLS      1500
#define SEED       20

/* ---- answers ---- */

/* Whether `now` answers what `then` did. Errors have a place in the functions' text behind their code. */
static bool agrees(const redisReply *then, const redisReply *now, bool may_grow)
{
    if (then->type != now->type)
        return false;
    if (then->type == REDIS_REPLY_ERROR) {
        size_t code = strcspn(then->str, " ");
        return strncmp(then->str, now->str, code + 1) == 0;
    }
    if (then->type != REDIS_REPLY_ARRAY)
        return reply_same(then, now);
    if (now->elements < then->elements || (now->elements > then->elements && !may_grow))
        return false;
    for (size_t i = 0; i < then->elements; i++)
        if (!agrees(then->element[i], now->element[i], may_grow))
            return false;
    return true;
}

static void print_difference(const struct recorded *entry, uint64_t number, const redisReply *now)
{
    printf("call %" PRIu64 " is answered otherwise:", number);
    for (int i = 1; i < entry->words.count && i < 60; i++)
        printf(" '%.*s'", (int)entry->lengths[i], entry->text[i]);
    printf("\nthe recording has\n");
    reply_print(entry->reply, 2);
    printf("these functions answer\n");
    reply_print(now, 2);
}

static bool is_function(const struct recorded *entry)
{
    return entry->words.text[0][0] == 'F';
}

/* Whether this answer is that of the recording; says so where it is not. Takes the answer over. */
static bool same(const struct recording *recording, const struct recorded *entry, uint64_t number,
                 redisReply *now)
{
    bool may_grow = recording->version < LEDGER_FUNCTIONS_FORMAT;
    bool good = !is_function(entry) || agrees(entry->reply, now, may_grow);
    if (!good)
        print_difference(entry, number, now);
    freeReplyObject(now);
    return good;
}

/* ---- in stores ---- */

struct replay {
    struct recording *recording; /* borrows */
    struct store *stores[STORES_MAX];
    char *library; /* owns: the recording's, with a NUL */
    bool is_replaced;
};

static void load(const struct replay *replay, struct store *store)
{
    const char *text = replay->is_replaced ? redis_library_text() : replay->library;
    const char *const words[] = {"FUNCTION", "LOAD", "REPLACE", text};
    redisReply *reply = store_call(store, 4, words, NULL);
    check(reply->type != REDIS_REPLY_ERROR);
    freeReplyObject(reply);
}

static struct store *store_of(struct replay *replay, uint32_t number)
{
    check(number < STORES_MAX);
    if (replay->stores[number] == NULL) {
        check(store_create(&replay->stores[number], NULL, NULL) == 0);
        load(replay, replay->stores[number]);
    }
    return replay->stores[number];
}

static bool replay_entry(struct replay *replay, const struct recorded *entry, uint64_t number)
{
    struct store *store = store_of(replay, entry->store);
    switch (entry->kind) {
    case RECORDED_CLEAR:
        store_clear(store);
        break;
    case RECORDED_COPY:
        (void)store_copy(store, store_of(replay, entry->from));
        break;
    case RECORDED_CALL:
        store_set_time(store, entry->real_us);
        return same(replay->recording, entry, number,
                    store_call(store, entry->words.count, entry->words.text, entry->words.lengths));
    case RECORDED_END:
        break;
    }
    load(replay, store); /* as the first node does that meets it */
    return true;
}

/* Replays all; behind `cut` calls the functions of the recording give way to ours. */
static bool replay_with(struct recording *recording, struct recorded *entry, uint64_t cut)
{
    struct replay replay = {.recording = recording, .is_replaced = cut == 0};
    uint64_t number = 0;
    bool good = true;
    replay.library = strndup(recording->library, recording->library_length);
    check(replay.library != NULL);
    recording_rewind(recording);
    while (good && recording_next(recording, entry) != RECORDED_END) {
        number += entry->kind == RECORDED_CALL;
        if (!replay.is_replaced && number > cut) {
            replay.is_replaced = true;
            for (size_t i = 0; i < STORES_MAX; i++)
                if (replay.stores[i] != NULL)
                    load(&replay, replay.stores[i]);
        }
        good = replay_entry(&replay, entry, number);
    }
    if (!good && cut > 0 && number > cut)
        printf("up to call %" PRIu64 " those of the recording had answered\n", cut);
    for (size_t i = 0; i < STORES_MAX; i++)
        store_destroy(&replay.stores[i]);
    free(replay.library);
    return good;
}

static bool replay_all(struct recording *recording, struct recorded *entry)
{
    bool good = true;
    for (uint64_t quarter = 0; quarter < CUTS && good; quarter++)
        good = replay_with(recording, entry, recording->calls * quarter / CUTS);
    return good;
}

/* ---- in a redis-server ---- */

static void send_words(const struct real *real, int count, const char *const words[])
{
    redisReply *reply = real_words((struct real *)(uintptr_t)real, count, words);
    check(reply->type != REDIS_REPLY_ERROR);
    freeReplyObject(reply);
}

static void fill_call(struct call *call, const struct recorded *entry)
{
    call_begin(call);
    for (int i = 0; i < entry->words.count; i++)
        call_bytes(call, entry->text[i], entry->lengths[i]);
}

/* Sorts what a scan has found, {"0", file, bytes, responses, ...}: a redis-server goes through a hash in another
 * order than the store. */
static void sort_usage(const struct recorded *entry, redisReply *reply)
{
    if (strncmp(entry->text[1], "tollgate_usage", entry->lengths[1]) != 0 ||
        reply->type != REDIS_REPLY_ARRAY || reply->elements < 4)
        return;
    redisReply rows = {
        .type = REDIS_REPLY_ARRAY, .elements = reply->elements - 1, .element = reply->element + 1};
    reply_sort(&rows, 3);
}

/* Whether it answers a step of a scan that has further ones: a redis-server finds other fields in it. */
static bool is_step(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 &&
           reply->element[0]->type == REDIS_REPLY_STRING &&
           strcmp(reply->element[0]->str, "0") != 0;
}

static bool same_in_redis(const struct recording *recording, const struct recorded *entry,
                          uint64_t number, redisReply *now)
{
    if (is_step(entry->reply) || is_step(now)) {
        freeReplyObject(now);
        return true;
    }
    sort_usage(entry, entry->reply);
    sort_usage(entry, now);
    return same(recording, entry, number, now);
}

/* Each store up to its first snapshot, which a redis-server does not take at once. */
static bool replay_redis(struct recording *recording, struct recorded *entry)
{
    static struct call call;
    struct real real;
    const char *const load_words[] = {"FUNCTION", "LOAD", "REPLACE", redis_library_text()};
    static const char *const empty[] = {"FLUSHALL"};
    uint64_t number = 0, replayed = 0;
    uint32_t store = 0, over = 0;
    bool good = true;
    real_start(&real);
    send_words(&real, 4, load_words);
    recording_rewind(recording);
    while (good && recording_next(recording, entry) != RECORDED_END) {
        number += entry->kind == RECORDED_CALL;
        if (entry->kind == RECORDED_COPY && entry->store == store)
            over = store;
        if (entry->store == over || entry->kind == RECORDED_COPY)
            continue;
        if (entry->kind == RECORDED_CLEAR || entry->store != store)
            send_words(&real, 1, empty);
        store = entry->store;
        if (entry->kind != RECORDED_CALL || entry->words.count > CALL_WORDS_MAX)
            continue;
        *real.clock_us = entry->real_us;
        fill_call(&call, entry);
        real_send(&real, &call);
        good = same_in_redis(recording, entry, number, real_next(&real));
        replayed++;
    }
    printf("%" PRIu64 " calls in a redis-server\n", replayed);
    real_stop(&real);
    return good;
}

/* ---- recording ---- */

static int record(const char *path)
{
    static struct call call;
    struct world world = {.random = SEED, .now_us = 1764000000000000};
    if (!recording_begin(path, CALLS))
        return 1;
    check(store_create(&world.store, NULL, NULL) == 0);
    const struct replay ours = {.is_replaced = true};
    load(&ours, world.store);
    for (unsigned calls = 0; calls < CALLS; calls++) {
        do {
            world_call(&world, &call);
        } while (strcmp(call.words[0], "FCALL") != 0 ||
                 strncmp(call.words[1], "tollgate_", 9) != 0);
        world.now_us += world_random(&world, world_chance(&world, 2) ? 3600000000 : 200000);
        store_set_time(world.store, world.now_us);
        freeReplyObject(store_call(world.store, call.count, call.words, call.lengths));
    }
    store_destroy(&world.store);
    return recording_finish() ? 0 : 1;
}

/* ---- which calls ---- */

#define FUNCTIONS_MAX 32

/* Prints how often each function was called. */
static void print_counts(struct recording *recording, struct recorded *entry)
{
    struct {
        char name[40];
        uint64_t calls;
    } counts[FUNCTIONS_MAX] = {0};
    recording_rewind(recording);
    while (recording_next(recording, entry) != RECORDED_END) {
        if (entry->kind != RECORDED_CALL || !is_function(entry))
            continue;
        size_t i = 0;
        while (counts[i].calls > 0 &&
               (strlen(counts[i].name) != entry->lengths[1] ||
                memcmp(counts[i].name, entry->text[1], entry->lengths[1]) != 0))
            i++;
        check(i < FUNCTIONS_MAX);
        snprintf(counts[i].name, sizeof(counts[i].name), "%.*s", (int)entry->lengths[1],
                 entry->text[1]);
        counts[i].calls++;
    }
    printf("%" PRIu64 " calls of version %" PRIu32 ":", recording->calls, recording->version);
    for (size_t i = 0; i < FUNCTIONS_MAX && counts[i].calls > 0; i++)
        printf(" %s %" PRIu64, counts[i].name + strlen("tollgate_"), counts[i].calls);
    printf("\n");
}

static bool replay_file(const char *path, bool in_redis)
{
    struct recording recording;
    struct recorded *entry = calloc(1, sizeof(*entry));
    char error[200];
    check(entry != NULL);
    bool good = recording_read(&recording, path, error);
    if (!good)
        fprintf(stderr, "%s\n", error);
    if (good && (recording.version > LEDGER_FUNCTIONS_FORMAT ||
                 recording.version + 1 < LEDGER_FUNCTIONS_FORMAT)) {
        fprintf(stderr, "%s is of version %" PRIu32 ", and these are functions of version %d\n",
                path, recording.version, LEDGER_FUNCTIONS_FORMAT);
        good = false;
    }
    if (good) {
        print_counts(&recording, entry);
        good = in_redis ? replay_redis(&recording, entry) : replay_all(&recording, entry);
        printf("%s functions of version %d\n", good ? "answered alike by" : "answered otherwise by",
               LEDGER_FUNCTIONS_FORMAT);
    }
    recording_free(&recording, entry);
    free(entry);
    return good;
}

int main(int count, char *arguments[])
{
    const char *what = count > 2 ? arguments[1] : "";
    bool in_redis = strcmp(what, "redis") == 0, good = true;
    if (strcmp(what, "record") == 0)
        return record(arguments[2]);
    if (!in_redis && strcmp(what, "replay") != 0) {
        fprintf(stderr, "usage: versions-calls replay|redis|record FILE...\n");
        return 64;
    }
    for (int i = 2; i < count && good; i++)
        good = replay_file(arguments[i], in_redis);
    return good ? 0 : 1;
}
