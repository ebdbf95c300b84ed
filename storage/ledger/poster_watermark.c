/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an account's watermark means: from where on Redis lacks its records, whether Redis has lost some, and
 * whether the directory is older than Redis. poster_resync.c and poster_sweep.c ask for watermarks. It sends
 * nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/ledger/aside.h"

static void refuse_older(struct poster *poster, const struct ledger_account *account,
                         uint64_t watermark, uint64_t held)
{
    char text[LEDGER_TEXT_MAX];
    snprintf(
        text, sizeof(text),
        "the state directory is older than Redis: of account %.100s Redis has %" PRIu64
        " records and the journal %" PRIu64
        " (restored or cloned?); bring the newest directory back, or start with an empty one under "
        "another node name",
        account->tag, watermark, held);
    poster_not_current(poster, "");
    poster_object(poster, LEDGER_REFUSED, text);
}

int poster_needs_from(struct poster *poster, struct ledger_account *account)
{
    uint32_t first = atomic_load(&poster->ledger->journal.first);
    /* Most accounts lack nothing and need no lock. What is journalled from now on stands in
     * a later segment. */
    if (aside_skips(account) ||
        account->watermark >= atomic_load_explicit(&account->sequence, memory_order_acquire))
        return 0;
    pthread_mutex_lock(&account->name.names->lock);
    uint32_t tail = account->tail_segment;
    uint64_t before = account->tail_before;
    pthread_mutex_unlock(&account->name.names->lock);
    bool is_covered = account->watermark == 0 && poster->checkpoint > 0 &&
                      (tail <= poster->checkpoint || before > 0);
    uint32_t from = is_covered                     ? poster->checkpoint + 1
                    : account->watermark >= before ? tail
                                                   : first;
    if (!is_covered && tail < first)
        return aside_gone(poster, account);
    /* Whether the first of these records still stands there, the reading shows (poster_post.c). */
    if (!is_covered || tail > poster->checkpoint)
        poster->missing = from < poster->missing ? from : poster->missing;
    return is_covered ? poster_fill_note(poster, account) : 0;
}

/* Some watermarks were taken over by then, so it counts at once. */
static void note_loss(struct poster *poster)
{
    if (poster->lost)
        return;
    poster->lost = true;
    poster->placed = false;
    poster_not_current(poster,
                       "Redis has lost its newest data; the journal is being replayed to it");
}

int poster_take_watermark(struct poster *poster, struct ledger_account *account,
                          const redisReply *reply)
{
    uint64_t watermark = 0;
    if (poster->result != 0)
        return 0;
    if (reply->type == REDIS_REPLY_STRING) {
        if (reply->len == 0 || strspn(reply->str, "0123456789") != reply->len)
            return aside_set(poster, account, "a watermark is not a number");
        watermark = strtoull(reply->str, NULL, 10);
    } else if (ledger_reply_is_damage(reply)) {
        return aside_set(poster, account, reply->str);
    } else if (reply->type != REDIS_REPLY_NIL) {
        snprintf(poster->error, sizeof(poster->error), "Redis refuses HGET: %.200s",
                 reply->type == REDIS_REPLY_ERROR ? reply->str : "not a string");
        return -EAGAIN;
    }
    uint64_t held = atomic_load_explicit(&account->sequence, memory_order_acquire);
    if (watermark > held) {
        refuse_older(poster, account, watermark, held);
        return -EPERM;
    }
    /* Records that this process has not sent were posted by a copy of this directory, while it held
     * the lease. Where it had records of its own in their place, those of this journal are lost. */
    if (watermark > account->sent) {
        ledger_say(poster->ledger, LEDGER_EVENT_WARNING,
                   "a copy of the state directory has posted %" PRIu64
                   " records of account %.100s in place of this node; what this node's journal has "
                   "in their place is not posted, so stop the copy, and compare the bill",
                   watermark - account->sent, account->tag);
        account->sent = watermark;
    }
    if (!aside_placed(account, watermark, held) && watermark < account->watermark &&
        !poster_sweep_waits(poster))
        note_loss(poster);
    account->watermark = watermark;
    return 0;
}
