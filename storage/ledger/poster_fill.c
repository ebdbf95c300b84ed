/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filling: of an account of which Redis has nothing of this journal, the checkpoint is posted in place of the
 * records that it covers, in parts (fill_part.h); those behind it are posted from the segments, as always.
 * poster.c calls it behind a resync, before it reads on. A part is sent again where nobody knows whether it
 * was taken, and Redis takes each one once.
 *
 * Redis keeps which checkpoint was begun. That one is finished, also by another process: its file is kept
 * until the journal is in Redis (checkpoints_hold).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "storage/ledger/aside.h"
#include "storage/ledger/checkpoint_index.h"
#include "storage/ledger/checkpoints.h"
#include "storage/ledger/fill_part.h"

#define WINDOW       1024u             /* parts under way, at most */
#define WINDOW_BYTES ((size_t)4 << 20) /* and bytes of them, but for one part */
#define NAMES_HINT   64                /* the files of one account */
#define SAY_MS       5000              /* how often progress is told */
#define SAY_LEAST    10000             /* accounts; fewer take no time */

struct fill {
    uint64_t hash;
    struct ledger_account *account; /* a reference */
    uint32_t segment;               /* of the checkpoint to be posted */
    bool moved; /* another checkpoint of it was begun: it stands in the list once more */
};

/* A part under way. */
struct sent {
    size_t fill; /* its place in the list */
    size_t bytes;
    bool is_last;
};

struct fills {
    struct fill *list; /* owns */
    size_t count, room, next;
    size_t done;    /* accounts that Redis has now */
    uint32_t first; /* the first segment with records behind what was posted */
    struct checkpoint_index index;
    uint32_t opened; /* the segment of the index; 0: none */
    struct names names;
    struct checkpoint_account account; /* what is sent of it now; without a name: none */
    uint32_t part, parts;              /* of it: the one sent last, and how many there are */
    struct sent sent[WINDOW];          /* by the number of the reply */
    size_t bytes;                      /* under way */
    uint64_t say_ms;
    struct fill_part words;
};

/* ---- the list ---- */

static struct fills *fills_of(struct poster *poster)
{
    struct fills *fills = poster->fills;
    if (fills != NULL)
        return fills;
    fills = calloc(1, sizeof(*fills));
    if (fills == NULL || names_init(&fills->names, NAMES_HINT, NAMES_HINT) != 0) {
        free(fills);
        return NULL;
    }
    fills->index.fd = -1;
    fills->first = UINT32_MAX;
    return poster->fills = fills;
}

static int note(struct fills *fills, struct ledger_account *account, uint32_t segment)
{
    if (fills->count == fills->room) {
        size_t room = fills->room == 0 ? 256 : fills->room * 2;
        struct fill *list = reallocarray(fills->list, room, sizeof(*list));
        if (list == NULL)
            return -ENOMEM;
        fills->list = list;
        fills->room = room;
    }
    names_hold_recorded(account);
    fills->list[fills->count++] =
        (struct fill){.hash = checkpoint_hash(account->name.text, account->name.length),
                      .account = account,
                      .segment = segment};
    return 0;
}

int poster_fill_note(struct poster *poster, struct ledger_account *account)
{
    struct fills *fills = fills_of(poster);
    return fills == NULL ? -ENOMEM : note(fills, account, poster->checkpoint);
}

size_t poster_fill_count(const struct poster *poster)
{
    return poster->fills != NULL ? poster->fills->count : 0;
}

static void publish(struct poster *poster, uint64_t left)
{
    if (poster_sweep_waits(poster)) /* that says how far all of them are */
        return;
    atomic_store_explicit(&poster->ledger->accounts_filling, left, memory_order_relaxed);
}

void poster_fill_forget(struct poster *poster)
{
    struct fills *fills = poster->fills;
    if (fills == NULL)
        return;
    poster->fills = NULL;
    publish(poster, 0);
    checkpoint_account_clear(&fills->account);
    checkpoint_index_close(&fills->index);
    names_free(&fills->names);
    for (size_t i = 0; i < fills->count; i++) {
        names_drop(&fills->list[i].account->name);
        (void)poster_let_go(poster, fills->list[i].account);
    }
    free(fills->list);
    free(fills);
}

static int by_hash(const void *one, const void *other)
{
    const struct fill *first = one, *second = other;
    return first->hash < second->hash ? -1 : first->hash > second->hash;
}

/* ---- the next part ---- */

int poster_set_aside_begun(struct poster *poster, struct ledger_account *account, long long segment)
{
    char said[120];
    snprintf(said, sizeof(said),
             "parts of the checkpoint of segment %lld, which this node cannot finish", segment);
    return aside_set(poster, account, said);
}

/* Whether Redis has parts of this checkpoint, of an earlier process. */
static bool is_begun(const struct poster *poster, const struct fill *fill)
{
    return fill->segment != poster->checkpoint;
}

static bool is_transient(int result)
{
    return result == -ENOMEM || result == -EMFILE || result == -ENFILE;
}

/* The checkpoint cannot be read: the records that it covers are posted from the segments instead; or from a
 * newer one, where two were made meanwhile and this one is gone. */
static int give_up(struct poster *poster, uint32_t segment, int result)
{
    struct ledger *ledger = poster->ledger;
    if (is_transient(result)) {
        snprintf(poster->error, sizeof(poster->error),
                 "the checkpoint of segment %" PRIu32 " cannot be read: %s", segment,
                 strerrordesc_np(-result));
        return -EAGAIN;
    }
    poster->placed = false; /* the cursor stands behind what it covers */
    if (result == -ENOENT && segment != checkpoints_segment(ledger))
        return -ESTALE;
    ledger_say(ledger, LEDGER_EVENT_ERROR,
               "the checkpoint of segment %" PRIu32
               " of %s/%s cannot be read: %s; Redis is filled from the journal's segments instead",
               segment, ledger->options.state_dir, ledger->lane.name, strerrordesc_np(-result));
    poster->unreadable = segment;
    return -ESTALE;
}

static int open_checkpoint(struct poster *poster, uint32_t segment)
{
    struct fills *fills = poster->fills;
    struct ledger *ledger = poster->ledger;
    const struct checkpoint_place place = checkpoints_place(ledger);
    if (fills->opened == segment)
        return 0;
    checkpoint_index_close(&fills->index);
    fills->opened = 0;
    int result = checkpoint_index_open(&fills->index, &place, segment);
    if (result == 0)
        fills->opened = segment;
    return result;
}

/* Has the checkpoint of the account at hand. 1; 0: nothing is to be posted of it; or a negative errno. */
static int read_account(struct poster *poster, const struct fill *fill)
{
    struct fills *fills = poster->fills;
    const struct ledger_name *name = &fill->account->name;
    const uint8_t *bytes = NULL;
    uint32_t length = 0;
    int result = open_checkpoint(poster, fill->segment);
    if (result == 0)
        result = checkpoint_index_find(&fills->index, name->text, name->length, &bytes, &length);
    if (result == 1)
        result = checkpoint_account_decode(bytes, length, &fills->names, &fills->account);
    else if (result == 0) /* all of its records stand behind the checkpoint */
        return is_begun(poster, fill) ? poster_set_aside_begun(poster, fill->account, fill->segment)
                                      : 0;
    if (result == 0)
        return 1;
    return is_begun(poster, fill) && !is_transient(result)
               ? poster_set_aside_begun(poster, fill->account, fill->segment)
               : give_up(poster, fill->segment, result);
}

static uint32_t rows_of_part(const struct ledger *ledger)
{
    uint32_t rows = ledger->options.fill_rows;
    return rows == 0 || rows > FILL_ROWS ? FILL_ROWS : rows;
}

/* Moves on to the next account of which parts are to be sent. 1; 0: there is none; or a negative errno. */
static int next_account(struct poster *poster)
{
    struct fills *fills = poster->fills;
    checkpoint_account_clear(&fills->account);
    while (fills->next < fills->count) {
        const struct fill *fill = &fills->list[fills->next++];
        int result = aside_skips(fill->account) ? 0 : read_account(poster, fill);
        if (result == 1) {
            fills->part = 0;
            fills->parts = fill_parts(&fills->account, rows_of_part(poster->ledger));
            if (fills->parts > 1)
                checkpoints_hold(poster->ledger, fills->opened);
        }
        if (result != 0)
            return result;
        fills->done++;
    }
    return 0;
}

static int send_part(struct poster *poster)
{
    struct fills *fills = poster->fills;
    struct ledger *ledger = poster->ledger;
    struct ledger_account *account = fills->list[fills->next - 1].account;
    const struct fill_says says = {.account = account,
                                   .checkpoint = &fills->account,
                                   .instance = ledger->instance,
                                   .node = ledger->options.node,
                                   .lease = ledger_lease_number(ledger),
                                   .segment = fills->opened,
                                   .wait_ms = ledger->options.data_lost_wait_ms,
                                   .number = ++fills->part,
                                   .rows = rows_of_part(ledger)};
    struct fill_part *words = &fills->words;
    fill_part_make(words, &says);
    if (account->sent < fills->account.sequence)
        account->sent = fills->account.sequence;
    fills->sent[poster->asked % WINDOW] = (struct sent){
        .fill = fills->next - 1, .bytes = words->bytes, .is_last = fills->part == fills->parts};
    fills->bytes += words->bytes;
    poster->asked++;
    return poster->redis->send(poster->redis->self, words->count, words->words, words->lengths,
                               poster_answered, NULL, poster) == 0
               ? 0
               : poster_unsent(poster);
}

/* ---- the answers ---- */

/* Another checkpoint of the account was begun, by a process before: that one is finished. */
static int move_to(struct poster *poster, size_t number, long long segment)
{
    struct fills *fills = poster->fills;
    struct fill *fill = &fills->list[number];
    struct ledger_account *account = fill->account;
    if (fill->moved)
        return 0;
    if (segment < 1 || segment > UINT32_MAX || (uint32_t)segment == fill->segment)
        return poster_set_aside_begun(poster, account, fill->segment);
    fill->moved = true;
    fills->done++;
    if ((uint32_t)segment + 1 < fills->first)
        fills->first = (uint32_t)segment + 1;
    return note(fills, account, (uint32_t)segment) == 0 ? 0 : -EAGAIN;
}

static void filled(struct poster *poster, struct ledger_account *account, uint64_t watermark)
{
    struct ledger *ledger = poster->ledger;
    account->watermark = watermark;
    aside_posted(poster, account);
    atomic_fetch_add_explicit(&ledger->accounts_filled, 1, memory_order_relaxed);
    poster->fills->done++;
}

static int take_part(struct poster *poster, size_t index, const redisReply *reply)
{
    struct fills *fills = poster->fills;
    const struct sent *sent = &fills->sent[index % WINDOW];
    struct ledger_account *account = fills->list[sent->fill].account;
    fills->bytes -= sent->bytes;
    if (ledger_reply_is_damage(reply))
        return aside_set(poster, account, reply->str);
    if (aside_skips(account))
        return 0;
    bool shaped = reply->type == REDIS_REPLY_ARRAY && reply->elements >= 4;
    for (size_t i = 0; shaped && i < 4; i++)
        shaped = reply->element[i]->type == REDIS_REPLY_INTEGER;
    if (!shaped) {
        snprintf(
            poster->error, sizeof(poster->error), "Redis refuses a part of a checkpoint: %.200s",
            reply->type == REDIS_REPLY_ERROR ? reply->str : "its reply has an unexpected form");
        return -EAGAIN;
    }
    switch (reply->element[0]->integer) {
    case 0:
        poster->resyncs = 0;
        if (sent->is_last)
            filled(poster, account, (uint64_t)reply->element[1]->integer);
        return 0;
    case 2:
        ledger_lease_is_outdated(poster->ledger, (uint64_t)reply->element[1]->integer);
        return -ESTALE;
    case 3:
        return move_to(poster, sent->fill, reply->element[1]->integer);
    default:
        return -ESTALE;
    }
}

/* ---- the state ---- */

/* Whether a further part may be sent although others are under way. */
bool poster_fill_has_room(const struct poster *poster)
{
    const struct fills *fills = poster->fills;
    return poster->state == POSTER_FILLING && fills != NULL && poster->result == 0 &&
           poster->asked - poster->answered < WINDOW && fills->bytes < WINDOW_BYTES &&
           (fills->part < fills->parts || fills->next < fills->count) &&
           !lease_is_due(&poster->lease, poster->ledger);
}

static void say(struct poster *poster)
{
    struct fills *fills = poster->fills;
    struct ledger *ledger = poster->ledger;
    uint64_t now_ms = ledger_monotonic_ms(ledger);
    publish(poster, fills->count - fills->done);
    if (fills->count < SAY_LEAST || poster_sweep_waits(poster) || now_ms < fills->say_ms)
        return;
    char text[LEDGER_TEXT_MAX];
    snprintf(text, sizeof(text),
             "Redis is being filled from the checkpoint of segment %" PRIu32
             ": %zu of %zu accounts are there",
             poster->checkpoint, fills->done, fills->count);
    if (atomic_load(&ledger->poster_state) == LEDGER_CATCHING_UP)
        ledger_set_poster_state(ledger, LEDGER_CATCHING_UP, text);
    ledger_say(ledger, LEDGER_EVENT_INFO, "%s", text);
    fills->say_ms = now_ms + SAY_MS;
}

/* All is there. Where a checkpoint was begun before, more is read from the segments than was thought. */
static int finish(struct poster *poster)
{
    uint32_t first = poster->fills->first;
    poster_fill_forget(poster);
    int result = first < poster->reader.segment ? poster_place(poster, first) : 0;
    if (result != 0)
        return result;
    poster_works_again(poster);
    poster_publish(poster);
    poster_enter(poster, POSTER_RESTING, NULL);
    return 0;
}

int poster_fill_on(struct poster *poster)
{
    struct fills *fills = poster->fills;
    bool all_answered = poster->answered == poster->asked;
    say(poster);
    if (all_answered && lease_is_due(&poster->lease, poster->ledger))
        return poster_ask_lease(poster, LEASE_TO_FILL);
    if (poster->state != POSTER_FILLING)
        poster_enter(poster, POSTER_FILLING, take_part);
    while (poster_fill_has_room(poster)) {
        int result = fills->part < fills->parts ? 1 : next_account(poster);
        if (result == 1)
            result = send_part(poster);
        if (result != 0 && poster->asked > poster->answered) {
            poster->result = result; /* taken up once what is under way is answered */
            return 0;
        }
        if (result != 0)
            return result;
    }
    bool all_sent = fills->part == fills->parts && fills->next == fills->count;
    return all_sent && poster->answered == poster->asked ? finish(poster) : 0;
}

int poster_fill(struct poster *poster)
{
    struct fills *fills = poster->fills;
    qsort(fills->list, fills->count, sizeof(fills->list[0]), by_hash);
    fills->say_ms = ledger_monotonic_ms(poster->ledger);
    /* As before a post, Redis learns first how many records are on disk. */
    return lease_has_told(&poster->lease, poster->ledger) ? poster_fill_on(poster)
                                                          : poster_ask_lease(poster, LEASE_TO_FILL);
}
