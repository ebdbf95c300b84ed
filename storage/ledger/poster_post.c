/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A batch of records: read from the journal, posted in pipelines, its replies taken. poster.c calls
 * it in turns. It decides nothing about the lease, but asks for it.
 */
#include <errno.h>
#include <string.h>

#include "storage/ledger/aside.h"

/* ---- reading ---- */

/* Takes a record that Redis may lack. */
static int take_entry(struct poster *poster, const struct journal_entry *entry)
{
    struct ledger_account *account = entry->account;
    /* Of an account that is asleep Redis has all records. */
    if (account == NULL || !names_is_awake(account) || aside_skips(account) ||
        entry->record.sequence <= account->watermark)
        return 0;
    /* Where none of its posts waits, it is the next one that Redis lacks, unless that has left the journal. */
    if (!account->waits && entry->record.sequence != account->watermark + 1 &&
        atomic_load(&poster->ledger->journal.first) > 1)
        return aside_gone(poster, account);
    return pending_add(&poster->pending, poster->ledger, &poster->reader, entry);
}

static int read_batch(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    struct journal_reader *reader = &poster->reader;
    struct journal_entry entry;
    reader->limit = atomic_load_explicit(&ledger->journal.durable_records, memory_order_acquire);
    for (int i = 0; i < POSTER_BATCH_RECORDS && reader->count < reader->limit; i++) {
        int result = reader_next(reader, &entry);
        if (result == 0) /* not at the limit: the segment ends here, and another follows */
            result = reader_enter(reader, reader->segment + 1, reader->count, true);
        else if (result == 1)
            result = take_entry(poster, &entry);
        if (result != 0)
            return result;
    }
    return 0;
}

/* Reads on, and moves what is due into the batch. */
static int fill_batch(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    pending_take_asked(&poster->pending, ledger);
    int result = read_batch(poster);
    pthread_mutex_lock(&ledger->lock);
    uint64_t least = ledger->stopping ? UINT64_MAX : ledger->posts_wanted;
    pthread_mutex_unlock(&ledger->lock);
    if (least < poster->target)
        least = poster->target;
    if (result == 0)
        result =
            pending_collect(&poster->pending, &poster->batch, ledger_monotonic_ms(ledger), least);
    return result;
}

void poster_forget_posts(struct poster *poster)
{
    post_batch_clear(&poster->batch);
    pending_clear(&poster->pending);
    poster_fill_forget(poster);
    poster_sweep_forget(poster);
}

static int tell_unread(struct poster *poster, int result)
{
    char text[LEDGER_TEXT_MAX];
    const struct journal_reader *reader = &poster->reader;
    poster_forget_posts(poster);
    if (!poster_is_damage(result)) {
        /* No memory or no descriptors: the next connection begins where all records before are
         * posted. */
        poster_say_unread(poster, reader->segment, result);
        return -EAGAIN;
    }
    snprintf(text, sizeof(text),
             "journal segment %08u.seg cannot be read at record %u: %s; check the disk and restart",
             reader->segment, reader->index, strerrordesc_np(-result));
    poster_not_current(poster, text);
    poster_object(poster, LEDGER_FAILED, text);
    return -EIO;
}

/* ---- posting ---- */

/* Posts a prepaid account more often while its balance soon ends, and tells once that it is low: with
 * the post that brought it below the mark. */
static void notice_low(struct ledger *ledger, const struct post *post, int64_t balance)
{
    int64_t low = (int64_t)ledger->options.balance_low_bytes, sum = 0;
    for (size_t i = 0; i < post->files_count; i++)
        sum += (int64_t)post->files[i].bytes;
    /* What another post like this one would leave. */
    post->account->is_near = balance - 2 * sum < low;
    if (balance >= low || balance + sum < low)
        return;
    const struct ledger_notice notice = {.kind = LEDGER_BALANCE_LOW,
                                         .account = post->account->account,
                                         .file = "",
                                         .jti = "",
                                         .bytes = balance > 0 ? (uint64_t)balance : 0,
                                         .time_ms = ledger_real_ms(ledger)};
    ledger_notify(ledger, post->account, &notice);
}

/* A post that Redis refused does not keep the next ones of the pipeline from being taken. */
static int take_post(struct poster *poster, size_t index, const redisReply *reply)
{
    const struct post *post = poster->batch.posts[poster->batch_first + index];
    struct ledger *ledger = poster->ledger;
    /* Behind the one that was refused there may be others of its account in the pipeline. */
    if (ledger_reply_is_damage(reply))
        return aside_set(poster, post->account, reply->str);
    if (aside_skips(post->account))
        return 0;
    bool shaped = reply->type == REDIS_REPLY_ARRAY && reply->elements >= 4;
    for (size_t i = 0; shaped && i < 4; i++)
        shaped = reply->element[i]->type == REDIS_REPLY_INTEGER;
    if (!shaped) {
        snprintf(poster->error, sizeof(poster->error), "Redis refuses a post: %.200s",
                 reply->type == REDIS_REPLY_ERROR ? reply->str
                                                  : "its reply has an unexpected form");
        return -EAGAIN;
    }
    if (reply->element[0]->integer == 2) {
        ledger_lease_is_outdated(ledger, (uint64_t)reply->element[1]->integer);
        return -ESTALE;
    }
    if (reply->element[0]->integer == 3)
        return poster_set_aside_begun(poster, post->account, reply->element[1]->integer);
    if (reply->element[0]->integer != 0 || reply->element[1]->integer != (long long)post->to)
        return -ESTALE;
    if (reply->element[3]->integer == 1)
        notice_low(ledger, post, reply->element[2]->integer);
    post->account->watermark = post->to;
    aside_posted(poster, post->account);
    atomic_fetch_add_explicit(&ledger->posts, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&ledger->records_posted, post->to - post->from + 1,
                              memory_order_relaxed);
    return 0;
}

static int send_post(struct poster *poster, const struct post *post)
{
    struct ledger *ledger = poster->ledger;
    if (post->to <= post->account->sent)
        atomic_fetch_add_explicit(&ledger->posts_replayed, 1, memory_order_relaxed);
    else
        post->account->sent = post->to;
    poster->asked++;
    return post_send(post, ledger, poster->redis, poster_answered, poster) == 0
               ? 0
               : poster_unsent(poster);
}

static int finish_batch(struct poster *poster)
{
    if (poster->batch.count > 0)
        poster->resyncs = 0;
    post_batch_clear(&poster->batch);
    poster->safe_segment = poster->pending.first != NULL ? poster->pending.first->wait_segment
                                                         : poster->reader.segment;
    poster_works_again(poster);
    poster_publish(poster);
    poster_enter(poster, POSTER_RESTING, NULL);
    return 0;
}

int poster_post_on(struct poster *poster)
{
    const struct post_batch *batch = &poster->batch;
    if (poster->batch_sent == batch->count)
        return finish_batch(poster);
    /* A slow Redis may take longer for a batch than a lease lasts. */
    if (lease_is_due(&poster->lease, poster->ledger))
        return poster_ask_lease(poster, LEASE_TO_POST);
    poster_enter(poster, POSTER_POSTING, take_post);
    poster->batch_first = poster->batch_sent;
    while (poster->batch_sent < batch->count && poster->asked < POSTER_PIPELINE) {
        int result = send_post(poster, batch->posts[poster->batch_sent]);
        if (result != 0)
            return result;
        poster->batch_sent++;
    }
    return 0;
}

int poster_turn(struct poster *poster)
{
    poster->turn_due = false;
    poster->batch_sent = 0;
    int result = fill_batch(poster);
    if (result == -EAGAIN) { /* too many accounts are set aside */
        poster_forget_posts(poster);
        return result;
    }
    if (result != 0)
        return tell_unread(poster, result);
    /*
     * Redis learns how many records are on disk before it gets any of them. Otherwise a node that
     * is killed before it renews its lease has posted more records than Redis was told of, and an
     * older copy of its state directory would not be refused.
     */
    if (poster->batch.count > 0 && !lease_has_told(&poster->lease, poster->ledger))
        return poster_ask_lease(poster, LEASE_TO_POST);
    return poster_post_on(poster);
}
