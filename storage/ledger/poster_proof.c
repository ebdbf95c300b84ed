/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Redis itself says it has of the journal: `posted` of tg:lease:{INSTANCE}, written behind each renewal
 * of the lease, is how many of the journal's first records were in Redis by then. A Redis that went back in
 * time went back to a state in which its count was true, so accounts whose records all stand before it need
 * not be asked for. It holds no more once the keys of an account were deleted (release.c): the mark of
 * tg:emptied is another one then, and the count says under which it was written. An emptied Redis has
 * neither. poster.c and poster_state.c call it.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "storage/ledger/aside.h"
#include "storage/ledger/checkpoints.h"
#include "storage/ledger/keys.h"
#include "storage/ledger/poster_internal.h"

bool poster_needs_proof(const struct poster *poster)
{
    const struct ledger *ledger = poster->ledger;
    return ledger->names.base != 0 || checkpoints_segment(ledger) != 0;
}

static uint64_t number_of(const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_INTEGER)
        return (uint64_t)reply->integer;
    return reply->type == REDIS_REPLY_STRING ? strtoull(reply->str, NULL, 10) : 0;
}

/* Takes the mark, and the count where it was written under that mark. */
void poster_take_proof(struct poster *poster, bool is_mark, const redisReply *reply)
{
    struct poster_proof *proof = &poster->proof;
    if (is_mark && reply->type == REDIS_REPLY_ERROR)
        return;
    if (is_mark) {
        proof->found_mark = number_of(reply);
        proof->has_asked = true;
        return;
    }
    char *end = NULL;
    uint64_t records = reply->type == REDIS_REPLY_STRING ? strtoull(reply->str, &end, 10) : 0;
    uint64_t mark = end != NULL ? strtoull(end, NULL, 10) : 0;
    proof->found = mark == proof->found_mark && mark != 0 ? records : 0;
}

int poster_ask_proof(struct poster *poster)
{
    const struct poster_proof *proof = &poster->proof;
    char key[LEDGER_HEX_SIZE + 16], number[24];
    const char *const get[] = {"HGET", LEDGER_EMPTIED_KEY, LEDGER_EMPTIED_FIELD};
    const char *const make[] = {"HINCRBY", LEDGER_EMPTIED_KEY, LEDGER_EMPTIED_FIELD, number};
    const char *const count[] = {"HGET", key, "posted"};
    /* A Redis without a mark has none of our counts, either; it gets one that it cannot have had. */
    bool makes = proof->has_asked && proof->found_mark == 0;
    snprintf(key, sizeof(key), "tg:lease:{%s}", poster->ledger->instance);
    if (makes)
        ledger_emptied_step(number);
    int result = makes ? poster_send(poster, 4, make) : poster_send(poster, 3, get);
    return result == 0 ? poster_send(poster, 3, count) : result;
}

void ledger_emptied_step(char out[24])
{
    uint32_t number = 0;
    (void)!getrandom(&number, sizeof(number), 0);
    snprintf(out, 24, "%" PRIu64, (uint64_t)number + 1);
}

static void ignore(void *context, const redisReply *reply)
{
    (void)context;
    (void)reply; /* it is told again with the next renewal */
}

/* Whether all that the journal holds of other accounts than those at hand is in Redis up to the count. */
static bool is_sound(const struct poster *poster)
{
    const struct poster_proof *proof = &poster->proof;
    return poster->current && poster->placed && !poster_fill_waits(poster) &&
           !poster_sweep_waits(poster) && !aside_has_any(poster->ledger) && proof->mark != 0 &&
           proof->mark == proof->found_mark;
}

void poster_tell_proof(struct poster *poster)
{
    struct poster_proof *proof = &poster->proof;
    struct ledger *ledger = poster->ledger;
    char key[LEDGER_HEX_SIZE + 16], value[64];
    size_t lengths[4];
    const char *const words[] = {"HSET", key, "posted", value};
    uint64_t posted = ledger->posted; /* the poster alone moves it */
    if (!is_sound(poster) || posted == proof->found)
        return;
    snprintf(key, sizeof(key), "tg:lease:{%s}", ledger->instance);
    snprintf(value, sizeof(value), "%" PRIu64 " %" PRIu64, posted, proof->mark);
    for (int i = 0; i < 4; i++)
        lengths[i] = strlen(words[i]);
    (void)poster->redis->send(poster->redis->self, 4, words, lengths, ignore, NULL, poster);
}
