/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a Redis is the one to which a journal belongs: it has a lease of the journal's instance, or a
 * watermark; whether the journal is as new as Redis knows it; and whether a process has its lease. See retire.h.
 * It reads the journal and changes nothing, neither there nor in Redis.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "storage/ledger/journal.h"
#include "storage/ledger/keys.h"
#include "storage/ledger/lane.h"
#include "storage/ledger/redis.h"
#include "storage/ledger/retire.h"
#include "storage/ledger/verify.h"

#define FILES_HINT 4096
#define PAUSE_MS   100

/* A field of a hash, cut to the buffer; "" where it is absent. 0 or -EAGAIN. */
static int get(struct redis *redis, const char *key, const char *field, char *out, size_t size)
{
    const char *const words[] = {"HGET", key, field};
    redisReply *reply = redis_call(redis, 3, words);
    out[0] = '\0';
    if (reply == NULL)
        return -EAGAIN;
    if (reply->type == REDIS_REPLY_STRING)
        snprintf(out, size, "%s", reply->str);
    freeReplyObject(reply);
    return 0;
}

/* The name of the node that had the instance, where it still belongs to the directory. */
static int find_name(struct redis *redis, const char *directory, const char *instance,
                     struct ledger_acquaintance *out)
{
    char entry[160], name[LEDGER_NODE_MAX + 1], key[LEDGER_NODE_MAX + 16], holder[64];
    char own[LEDGER_HEX_SIZE];
    bool has_own = probe_read_directory(directory, own) == 0;
    snprintf(out->name, sizeof(out->name), "replay-%.8s",
             has_own && own[0] != '\0' ? own : instance);
    int result = get(redis, "tg:birth", instance, entry, sizeof(entry));
    if (result != 0 || sscanf(entry, "%32s ", name) != 1)
        return result;
    snprintf(key, sizeof(key), "tg:node:{%s}", name);
    result = get(redis, key, "directory", holder, sizeof(holder));
    if (result == 0 && has_own && (holder[0] == '\0' || strcmp(holder, own) == 0))
        snprintf(out->name, sizeof(out->name), "%s", name);
    return result;
}

/* Looks for a watermark of the instance at each account of the journal, until one is found. */
static int find_watermark(struct redis *redis, struct names *names, const char *instance,
                          bool *found)
{
    char key[LEDGER_KEY_MAX], field[LEDGER_HEX_SIZE + 2], watermark[32];
    int result = 0;
    snprintf(field, sizeof(field), "w:%s", instance);
    for (struct ledger_account *account = names_recorded(names);
         account != NULL && result == 0 && !*found; account = names_recorded_next(account)) {
        ledger_key(key, account, "account");
        result = get(redis, key, field, watermark, sizeof(watermark));
        *found = watermark[0] != '\0';
    }
    return result;
}

static int ask(const struct ledger_options *options, const char *directory, const char *instance,
               struct names *names, struct ledger_acquaintance *out, char *error, size_t error_size)
{
    struct redis redis;
    struct where *where;
    char key[LEDGER_HEX_SIZE + 16], number[32], records[32] = "";
    int result = redis_open_alone(&redis, &where, options, error, error_size);
    if (result != 0)
        return result;
    snprintf(key, sizeof(key), "tg:lease:{%s}", instance);
    result = get(&redis, key, "number", number, sizeof(number));
    out->is_known = number[0] != '\0';
    if (result == 0)
        result = get(&redis, key, "records", records, sizeof(records));
    out->records_known = strtoull(records, NULL, 10);
    if (result == 0)
        result = find_name(&redis, directory, instance, out);
    if (result == 0 && !out->is_known)
        result = find_watermark(&redis, names, instance, &out->is_known);
    if (result != 0)
        redis_say_why(&redis, options, error, error_size);
    redis_close(&redis);
    where_destroy(&where);
    return result;
}

int ledger_is_known(const struct ledger_options *options, const char *directory, unsigned lane,
                    struct ledger_acquaintance *out, char *error, size_t error_size)
{
    uint8_t id[JOURNAL_ID_BYTES];
    char instance[LEDGER_HEX_SIZE], name[LANE_NAME_SIZE];
    struct ledger_verification found = {0};
    struct names names;
    int journal = -1;
    *out = (struct ledger_acquaintance){0};
    error[0] = '\0';
    lane_name(lane, name);
    int result = lane_look(directory, lane, id, &journal);
    if (result == -ENOENT)
        return result;
    if (result == 0 && (result = names_init(&names, FILES_HINT, FILES_HINT)) != 0)
        close(journal);
    else if (result == 0) {
        lane_to_hex(id, instance);
        out->is_in_use = lane_is_locked(directory, lane);
        result =
            journal_verify(&ledger_system_disk, &names, journal, id, &found, error, error_size);
        out->records = found.usage_records + found.operations;
        memcpy(out->instance, instance, sizeof(out->instance));
        if (result == 0)
            result = ask(options, directory, instance, &names, out, error, error_size);
        /* How many records have left the journal nobody knows here; whoever opens it does, and is refused then. */
        if (found.first > 1 && out->records < out->records_known)
            out->records = out->records_known;
        names_free(&names);
    }
    if (result != 0 && error[0] == '\0')
        snprintf(error, error_size, "%s/%s cannot be read: %s; `tollgate ledger verify` says more",
                 directory, name, strerrordesc_np(-result));
    return result == -ENOENT ? -EIO : result;
}

/* ---- the lease ---- */

/* Until when the lease lasts, by Redis' clock; 0: it was given back, or there is none. 0 or -EAGAIN. */
static int get_end(struct redis *redis, const char *key, int64_t *out)
{
    char until[32];
    int result = get(redis, key, "until", until, sizeof(until));
    *out = strtoll(until, NULL, 10);
    return result;
}

static int get_time(struct redis *redis, int64_t *now_ms)
{
    static const char *const words[] = {"TIME"};
    redisReply *reply = redis_call(redis, 1, words);
    int result = reply != NULL && redis_read_time(reply, now_ms) ? 0 : -EAGAIN;
    freeReplyObject(reply);
    return result;
}

static int await_renewal(struct redis *redis, const char *instance, bool *out)
{
    static const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    uint64_t until_ms = clock_monotonic_ms() + LEDGER_KNOWN_WAIT_MS;
    char key[LEDGER_HEX_SIZE + 16];
    int64_t first = 0, end = 0, now_ms = 0;
    snprintf(key, sizeof(key), "tg:lease:{%s}", instance);
    int result = get_end(redis, key, &first);
    for (end = first; result == 0 && end == first && first != 0;) {
        result = get_time(redis, &now_ms);
        if (result != 0 || now_ms > first || clock_monotonic_ms() >= until_ms)
            break;
        (void)nanosleep(&pause, NULL);
        result = get_end(redis, key, &end);
    }
    *out = end != first && end != 0;
    return result;
}

int ledger_lease_is_renewed(const struct ledger_options *options, const char *instance, bool *out,
                            char *error, size_t error_size)
{
    struct redis redis;
    struct where *where;
    *out = false;
    int result = redis_open_alone(&redis, &where, options, error, error_size);
    if (result != 0)
        return -EAGAIN;
    result = await_renewal(&redis, instance, out);
    if (result != 0)
        redis_say_why(&redis, options, error, error_size);
    redis_close(&redis);
    where_destroy(&where);
    return result;
}
