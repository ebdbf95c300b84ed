/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all states of the poster need: commands and their replies, and what the rest of the ledger sees of
 * it: its objections, how far it came. The poster's other parts call it.
 */
#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "server/base/check.h"
#include "storage/ledger/checkpoints.h"
#include "storage/ledger/poster_internal.h"
#include "storage/ledger/segment.h"
#include "storage/ledger/where.h"

/* ---- commands ---- */

void poster_enter(struct poster *poster, enum poster_state state, poster_take *take)
{
    poster->state = state;
    poster->take = take;
    poster->asked = poster->answered = 0;
    poster->result = 0;
}

void poster_answered(void *context, const redisReply *reply)
{
    struct poster *poster = context;
    size_t index = poster->answered++;
    check(poster->answered <= poster->asked);
    int result = reply == NULL ? -EAGAIN : poster->take(poster, index, reply);
    if (poster->result == 0 || (poster->result == -ESTALE && result != 0))
        poster->result = result;
}

int poster_send(struct poster *poster, int count, const char *const words[])
{
    size_t lengths[16];
    check(count <= (int)(sizeof(lengths) / sizeof(lengths[0])));
    for (int i = 0; i < count; i++)
        lengths[i] = strlen(words[i]);
    poster->asked++;
    if (poster->redis->send(poster->redis->self, count, words, lengths, poster_answered, NULL,
                            poster) == 0)
        return 0;
    return poster_unsent(poster);
}

int poster_unsent(struct poster *poster)
{
    poster->asked--;
    snprintf(poster->error, sizeof(poster->error), "Redis at %.160s: no memory",
             poster->ledger->options.redis);
    return -EAGAIN;
}

int poster_refused(struct poster *poster, const char *command, const redisReply *reply)
{
    (void)ledger_redis_explain(command, reply->str, poster->ledger->options.redis_user,
                               poster->error, sizeof(poster->error));
    return -EAGAIN;
}

/* ---- what the ledger sees ---- */

/*
 * Whether an objection was not told since Redis last took posts. Numbers, such as the time left, do
 * not make it another one. After POSTER_OBJECTIONS_MAX kinds, only `doctor` and the health answer
 * tell more.
 */
static bool is_news(struct poster *poster, const char *text)
{
    char kind[256];
    size_t length = 0;
    for (; *text != '\0' && length < sizeof(kind); text++) {
        if (*text < '0' || *text > '9')
            kind[length++] = *text;
    }
    uint64_t hash = XXH3_64bits(kind, length);
    for (unsigned i = 0; i < poster->said_count; i++) {
        if (poster->said[i] == hash)
            return false;
    }
    if (poster->said_count == POSTER_OBJECTIONS_MAX)
        return false;
    poster->said[poster->said_count++] = hash;
    return true;
}

void poster_waiting(struct poster *poster, const char *text)
{
    struct ledger *ledger = poster->ledger;
    if (atomic_load(&ledger->poster_state) == LEDGER_CATCHING_UP)
        ledger_set_poster_state(ledger, LEDGER_CATCHING_UP, text);
    /* The embedded Redis may still be starting. */
    if (atomic_load(&ledger->redis_connects) == 0 &&
        ledger_monotonic_ms(ledger) < poster->begun_ms + POSTER_PATIENCE_MS)
        return;
    if (is_news(poster, text))
        ledger_say(ledger, LEDGER_EVENT_WARNING, "%s; the node keeps trying", text);
}

void poster_object(struct poster *poster, enum ledger_state state, const char *text)
{
    struct ledger *ledger = poster->ledger;
    bool changes = atomic_load(&ledger->poster_state) != (int)state;
    ledger_set_poster_state(ledger, state, text);
    if (is_news(poster, text) || changes)
        ledger_say(ledger, state == LEDGER_CATCHING_UP ? LEDGER_EVENT_WARNING : LEDGER_EVENT_ERROR,
                   "%s", text);
}

void poster_not_current(struct poster *poster, const char *text)
{
    struct ledger *ledger = poster->ledger;
    poster->current = false;
    where_serve_none(ledger->where);
    if (atomic_load(&ledger->poster_state) == LEDGER_READY)
        ledger_set_poster_state(ledger, LEDGER_CATCHING_UP, text);
}

static void become_current(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    poster->current = true;
    checkpoints_release(ledger);
    where_serve(ledger->where, poster->generation);
    ledger_set_poster_state(ledger, LEDGER_READY, "");
    ledger_say(ledger, LEDGER_EVENT_INFO, "every record of the journal is in Redis");
}

bool poster_is_asked(const struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    const struct ledger_account *first = poster->pending.first;
    pthread_mutex_lock(&ledger->lock);
    uint64_t least = ledger->stopping ? UINT64_MAX : ledger->posts_wanted;
    pthread_mutex_unlock(&ledger->lock);
    return atomic_load(&ledger->asked) != NULL || (first != NULL && first->wait_record < least);
}

uint64_t poster_posted(const struct poster *poster)
{
    const struct ledger_account *first = poster->pending.first;
    if (poster_fill_waits(poster) || poster_sweep_waits(poster))
        return 0; /* the cursor stands behind what their checkpoints cover */
    return first != NULL ? first->wait_record : poster->reader.count;
}

bool poster_has_to_tell(const struct poster *poster)
{
    struct holding holding;
    return holdings_left(poster->ledger->holdings, 0, &holding) >= 0;
}

void poster_publish(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    const struct ledger_account *first = poster->pending.first;
    uint64_t posted = poster_posted(poster), now_ms = ledger_real_ms(ledger);
    pthread_mutex_lock(&ledger->lock);
    ledger->posted = posted;
    if (first != NULL)
        ledger->unposted_since_ms = first->wait_time_ms;
    else if (posted >= atomic_load(&ledger->journal.durable_records))
        ledger->unposted_since_ms = 0;
    else if (ledger->unposted_since_ms == 0)
        ledger->unposted_since_ms = now_ms;
    pthread_cond_broadcast(&ledger->posted_moved);
    pthread_mutex_unlock(&ledger->lock);
    if (!poster->current && posted >= poster->target && !poster_has_to_tell(poster))
        become_current(poster);
}

void poster_works_again(struct poster *poster)
{
    if (poster->said_count > 0)
        ledger_say(poster->ledger, LEDGER_EVENT_INFO, "Redis takes posts again");
    poster->said_count = 0;
    poster->backoff_ms = LEDGER_REDIS_BACKOFF_LEAST_MS;
}

bool poster_is_damage(int result)
{
    return result == -EBADMSG || result == -EPROTO || result == -EIO || result == -ENOENT;
}

void poster_say_unread(struct poster *poster, uint32_t segment, int result)
{
    snprintf(poster->error, sizeof(poster->error), "journal segment %08u.seg: %s; %s", segment,
             strerrordesc_np(-result), segment_cure(-result));
}

int poster_place(struct poster *poster, uint32_t segment)
{
    uint64_t before = journal_base(&poster->ledger->journal, segment);
    int result = reader_enter(&poster->reader, segment, before, false);
    if (result != 0) {
        poster_say_unread(poster, segment, result);
        return -EAGAIN;
    }
    poster->safe_segment = segment;
    return 0;
}
