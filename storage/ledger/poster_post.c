/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A batch of records: read from the journal, posted in a pipeline, its replies taken. Called by
 * poster.c in turns.
 */

#include "storage/ledger/post.h"
#include "server/base/clock.h"
#include "storage/ledger/lease.h"
#include "storage/ledger/poster_internal.h"

/* ---- posting ---- */

int poster_read_batch(struct poster *poster, struct post_batch *batch)
{
    struct journal_reader *reader = &poster->reader;
    struct journal_entry entry;
    reader->limit =
        atomic_load_explicit(&poster->ledger->journal.durable_records, memory_order_acquire);
    for (int i = 0; i < POSTER_BATCH_RECORDS && reader->count < reader->limit; i++) {
        int result = reader_next(reader, &entry);
        if (result == 0) /* not at the limit: the segment ends here, and another follows */
            result = reader_enter(reader, reader->segment + 1, reader->count, true);
        else if (result == 1)
            result = entry.account == NULL || entry.record.sequence <= entry.account->watermark
                         ? 0
                         : post_add(batch, &entry, reader->epoch);
        if (result != 0)
            return result;
    }
    return 0;
}

/* Tells once that a balance is low: with the post that brought it below the mark. */
static void notice_low(struct ledger *ledger, const struct post *post, int64_t balance)
{
    int64_t low = (int64_t)ledger->options.balance_low_bytes, sum = 0;
    for (size_t i = 0; i < post->files_count; i++)
        sum += (int64_t)post->files[i].bytes;
    if (balance >= low || balance + sum < low)
        return;
    const struct ledger_notice notice = {.kind = LEDGER_BALANCE_LOW,
                                         .account = post->account->account,
                                         .file = "",
                                         .jti = "",
                                         .bytes = balance > 0 ? (uint64_t)balance : 0,
                                         .time_ms = clock_real_ms()};
    ledger_notify(ledger, post->account, &notice);
}

static enum posting take_reply(struct poster *poster, struct post *post)
{
    redisReply *reply = redis_next(&poster->link);
    enum posting result = POSTING_LOST;
    if (reply == NULL)
        return POSTING_LOST;
    bool shaped = reply->type == REDIS_REPLY_ARRAY && reply->elements == 4;
    for (size_t i = 0; shaped && i < 4; i++)
        shaped = reply->element[i]->type == REDIS_REPLY_INTEGER;
    if (!shaped)
        snprintf(poster->link.error, sizeof(poster->link.error), "Redis refuses a post: %.200s",
                 reply->type == REDIS_REPLY_ERROR ? reply->str
                                                  : "its reply has an unexpected form");
    else
        result =
            reply->element[0]->integer == 0 && reply->element[1]->integer == (long long)post->to
                ? POSTING_DONE
                : POSTING_DIFFERS;
    if (result == POSTING_DONE && reply->element[3]->integer == 1)
        notice_low(poster->ledger, post, reply->element[2]->integer);
    freeReplyObject(reply);
    if (result == POSTING_DONE) {
        post->account->watermark = post->to;
        atomic_fetch_add_explicit(&poster->ledger->posts, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&poster->ledger->records_posted, post->to - post->from + 1,
                                  memory_order_relaxed);
    }
    return result;
}

static enum posting send_posts(struct poster *poster, struct post *const *posts, size_t count)
{
    enum posting worst = POSTING_DONE;
    for (size_t i = 0; i < count; i++) {
        struct ledger_account *account = posts[i]->account;
        if (posts[i]->to <= account->sent)
            atomic_fetch_add_explicit(&poster->ledger->posts_replayed, 1, memory_order_relaxed);
        else
            account->sent = posts[i]->to;
        if (post_send(posts[i], poster->ledger, &poster->link) != 0)
            return POSTING_LOST;
    }
    for (size_t i = 0; i < count; i++) {
        enum posting one = take_reply(poster, posts[i]);
        if (one > worst)
            worst = one;
        if (poster->link.context->err != 0)
            return POSTING_LOST;
    }
    return worst;
}

enum posting poster_post_batch(struct poster *poster, const struct post_batch *batch)
{
    enum posting result = POSTING_DONE;
    /*
     * Redis learns how many records are on disk before it gets any of them. Otherwise a node that
     * is killed before it renews its lease has posted more records than Redis was told of, and an
     * older copy of its state directory would not be refused.
     */
    if (batch->count > 0 && !lease_has_told(&poster->lease, poster->ledger) &&
        poster_renew_lease(poster) != 0)
        return POSTING_LOST;
    for (size_t i = 0; i < batch->count && result == POSTING_DONE; i += POSTER_PIPELINE) {
        if (poster_keep_lease(poster) != 0)
            return POSTING_LOST;
        size_t count = batch->count - i < POSTER_PIPELINE ? batch->count - i : POSTER_PIPELINE;
        result = send_posts(poster, batch->posts + i, count);
    }
    return result;
}
