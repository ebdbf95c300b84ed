/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the poster begins: it asks Redis for the watermark of every account, a page at a time, and
 * puts the cursor where the first missing record is. poster.c calls it after each connection, and
 * where Redis refused a post. It posts nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/ledger/aside.h"
#include "storage/ledger/checkpoints.h"
#include "storage/ledger/keys.h"
#include "storage/ledger/poster_internal.h"

/* ---- watermarks and the cursor ---- */

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

/* Lowers poster->missing to the segment where replay must begin for this account: where Redis has nothing of
 * it, its checkpoint is posted first. Where that has left the journal, the account is set aside. 0; -ENOMEM; or
 * -EAGAIN: too many are set aside. */
static int needs_from(struct poster *poster, struct ledger_account *account)
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

static int take_watermark(struct poster *poster, size_t index, const redisReply *reply)
{
    struct ledger_account *account = poster->page[index];
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
    if (!aside_placed(account, watermark, held) && watermark < account->watermark)
        note_loss(poster);
    account->watermark = watermark;
    return 0;
}

static int ask_page(struct poster *poster)
{
    char key[LEDGER_KEY_MAX], field[LEDGER_HEX_SIZE + 2];
    const char *const words[] = {"HGET", key, field};
    snprintf(field, sizeof(field), "w:%s", poster->ledger->instance);
    poster_enter(poster, POSTER_RESYNCING, take_watermark);
    while (poster->next_account != NULL && poster->page_count < POSTER_PIPELINE) {
        poster->page[poster->page_count++] = poster->next_account;
        ledger_key(key, poster->next_account, "account");
        poster->next_account = names_recorded_next(poster->next_account);
        int result = poster_send(poster, 3, words);
        if (result != 0)
            return result;
    }
    return 0;
}

static int place_cursor(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    uint32_t segment = poster->placed ? poster->safe_segment : poster->missing;
    uint32_t first = atomic_load(&ledger->journal.first);
    if (segment < first) /* Redis had all of it, and it has left the journal */
        segment = first;
    int result = poster_place(poster, segment);
    if (result != 0)
        return result;
    poster->placed = true;
    poster_publish(poster);
    if (!atomic_exchange(&ledger->redis_up, true))
        atomic_fetch_add_explicit(&ledger->redis_connects, 1, memory_order_relaxed);
    poster->turn_due = true;
    poster_enter(poster, POSTER_RESTING, NULL);
    return 0;
}

int poster_resync_on(struct poster *poster)
{
    int result = 0;
    for (size_t i = 0; result == 0 && i < poster->page_count; i++)
        result = needs_from(poster, poster->page[i]);
    poster->page_count = 0;
    if (result == -ENOMEM)
        snprintf(poster->error, sizeof(poster->error), "no memory");
    if (result != 0)
        return -EAGAIN;
    /* A million accounts take longer than a lease lasts. */
    if (lease_is_due(&poster->lease, poster->ledger))
        return poster_ask_lease(poster, LEASE_TO_RESYNC);
    return poster->next_account != NULL ? ask_page(poster) : place_cursor(poster);
}

int poster_resync(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    poster_fill_forget(poster);
    poster->checkpoint = checkpoints_segment(ledger);
    if (poster->checkpoint == poster->unreadable)
        poster->checkpoint = 0;
    poster->target = atomic_load(&ledger->journal.durable_records);
    poster->missing = journal_segments(&ledger->journal);
    poster->next_account = names_recorded(&ledger->names);
    poster->page_count = 0;
    poster->lost = false;
    return poster_resync_on(poster);
}
