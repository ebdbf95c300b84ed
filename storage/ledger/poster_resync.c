/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the poster begins: it asks Redis for the watermark of every account, and puts the cursor where
 * the first missing record is. Called by poster.c after each connection.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/ledger/keys.h"
#include "storage/ledger/lease.h"
#include "storage/ledger/poster_internal.h"
#include "storage/ledger/segment.h"

/* ---- watermarks and the cursor ---- */

static void refuse_older(struct poster *poster, const struct ledger_account *account,
                         uint64_t watermark)
{
    char text[LEDGER_TEXT_MAX];
    snprintf(
        text, sizeof(text),
        "the state directory is older than Redis: of account %.100s Redis has %" PRIu64
        " records and the journal %" PRIu64
        " (restored or cloned?); bring the newest directory back, or start with an empty one under "
        "another node name",
        account->tag, watermark, account->sent);
    poster_not_current(poster, "");
    poster_object(poster, LEDGER_REFUSED, text);
}

bool poster_is_damage(int result)
{
    return result == -EBADMSG || result == -EPROTO || result == -EIO || result == -ENOENT;
}

void poster_say_unread(struct poster *poster, uint32_t segment, int result)
{
    snprintf(poster->link.error, sizeof(poster->link.error), "journal segment %08u.seg: %s; %s",
             segment, strerrordesc_np(-result), segment_cure(-result));
}

/* Lowers `segment` to the one where replay must begin for this account. */
static void needs_from(struct ledger_account *account, uint32_t *segment)
{
    /* Most accounts lack nothing and need no lock. What is journalled from now on stands in
     * a later segment. */
    if (account->watermark >= atomic_load_explicit(&account->sequence, memory_order_acquire))
        return;
    pthread_mutex_lock(&account->name.names->lock);
    uint32_t from = account->watermark >= account->tail_before ? account->tail_segment : 1;
    pthread_mutex_unlock(&account->name.names->lock);
    if (from < *segment)
        *segment = from;
}

static int ask_watermarks(struct poster *poster, struct ledger_account *const *accounts,
                          size_t count, bool *lost)
{
    char key[LEDGER_KEY_MAX], field[LEDGER_HEX_SIZE + 2];
    snprintf(field, sizeof(field), "w:%s", poster->ledger->instance);
    for (size_t i = 0; i < count; i++) {
        struct redis_arguments arguments;
        arguments.count = 0;
        ledger_key(key, accounts[i], "account");
        redis_add(&arguments, "HGET");
        redis_add(&arguments, key);
        redis_add(&arguments, field);
        if (redis_send(&poster->link, &arguments) != 0)
            return -EAGAIN;
    }
    int result = 0;
    for (size_t i = 0; i < count; i++) {
        redisReply *reply = redis_next(&poster->link);
        if (reply == NULL)
            return -EAGAIN;
        uint64_t watermark = 0;
        if (reply->type == REDIS_REPLY_STRING) {
            watermark = strtoull(reply->str, NULL, 10);
        } else if (reply->type != REDIS_REPLY_NIL) {
            snprintf(poster->link.error, sizeof(poster->link.error), "Redis refuses HGET: %.200s",
                     reply->type == REDIS_REPLY_ERROR ? reply->str : "not a string");
            result = -EAGAIN;
        }
        freeReplyObject(reply);
        if (result == 0 && watermark > accounts[i]->sent) {
            refuse_older(poster, accounts[i], watermark);
            result = -EPERM;
        }
        *lost = *lost || watermark < accounts[i]->watermark;
        if (result == 0)
            accounts[i]->watermark = watermark;
    }
    return result;
}

int poster_resync(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    bool lost = false;
    int result = 0;
    poster->target = atomic_load(&ledger->journal.durable_records);
    uint32_t missing = journal_segments(&ledger->journal);
    struct ledger_account *next = names_recorded(&ledger->names);
    while (next != NULL && result == 0) {
        struct ledger_account *accounts[POSTER_PIPELINE];
        size_t count = 0;
        for (; next != NULL && count < POSTER_PIPELINE; next = names_recorded_next(next))
            accounts[count++] = next;
        result = ask_watermarks(poster, accounts, count, &lost);
        for (size_t i = 0; i < count && result == 0; i++)
            needs_from(accounts[i], &missing);
        if (result == 0)
            result = poster_keep_lease(poster);
    }
    if (lost) {
        /*
         * Also where the link failed meanwhile, for some lower watermarks were already taken over.
         */
        poster->placed = false;
        poster_not_current(poster,
                           "Redis has lost its newest data; the journal is being replayed to it");
    }
    if (result != 0)
        return result;
    uint32_t segment = poster->placed ? poster->safe_segment : missing;
    result = reader_enter(&poster->reader, segment, journal_base(&ledger->journal, segment), false);
    if (result != 0) {
        poster_say_unread(poster, segment, result);
        return -EAGAIN;
    }
    poster->placed = true;
    poster->safe_segment = segment;
    poster_publish(poster);
    return 0;
}
