/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The accounts that are asleep, where Redis does not prove that it has all of their records (poster_proof.c): the
 * checkpoint is read once, in its order, and Redis is asked for the watermark of each account whose last
 * record stands behind what Redis proves, a page at a time. Those of which it has nothing are filled in
 * between (poster_fill.c). poster.c calls it behind a resync, before it reads on. It posts nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/ledger/checkpoint_index.h"
#include "storage/ledger/checkpoints.h"
#include "storage/ledger/keys.h"
#include "storage/ledger/poster_internal.h"

#define STEP_BLOCKS 64u   /* of the checkpoint that are read in one step */
#define FILLS_LEAST 4096u /* accounts are filled together, unless there are no more */
#define SAY_MS      5000  /* how often progress is told */

struct sweep {
    struct checkpoint_index index;
    uint32_t segment; /* of the checkpoint */
    bool is_open, is_over;
    struct checkpoint_place_of_account at; /* the next account */
    uint64_t proven;                       /* records of the journal that Redis has */
    uint64_t seen, say_ms;
};

int poster_sweep_begin(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    struct poster_proof *proof = &poster->proof;
    uint32_t base = ledger->names.base;
    poster_sweep_forget(poster);
    proof->mark = proof->resync_mark;
    if (base == 0 || journal_base(&ledger->journal, base + 1) <= proof->resync_found)
        return 0;
    struct sweep *sweep = calloc(1, sizeof(*sweep));
    if (sweep == NULL)
        return -ENOMEM;
    sweep->index.fd = -1;
    sweep->proven = proof->resync_found;
    sweep->say_ms = ledger_monotonic_ms(ledger) + SAY_MS;
    poster->missing = UINT32_MAX;
    poster->sweep = sweep;
    return 0;
}

/* Those of the page that Redis has may leave again. */
static void let_go(struct poster *poster)
{
    for (size_t i = 0; i < poster->held_count; i++) {
        names_drop(&poster->page[i]->name);
        (void)poster_let_go(poster, poster->page[i]);
    }
    poster->held_count = 0;
}

void poster_sweep_forget(struct poster *poster)
{
    struct sweep *sweep = poster->sweep;
    for (size_t i = 0; i < poster->held_count; i++)
        names_drop(&poster->page[i]->name);
    poster->held_count = 0;
    if (sweep == NULL)
        return;
    poster->sweep = NULL;
    checkpoint_index_close(&sweep->index);
    free(sweep);
    atomic_store_explicit(&poster->ledger->accounts_filling, 0, memory_order_relaxed);
}

bool poster_sweep_comes_first(const struct poster *poster)
{
    return poster->sweep != NULL && poster_fill_count(poster) < FILLS_LEAST;
}

/* ---- reading ---- */

/* The checkpoint cannot be read: only a start can go back to the one before. */
static int give_up(struct poster *poster, int result)
{
    char text[sizeof(poster->error)];
    uint32_t segment = poster->sweep->segment;
    snprintf(text, sizeof(text),
             "the checkpoint of segment %" PRIu32
             " cannot be read: %s; check the disk, and start the node again",
             segment, strerrordesc_np(-result));
    memcpy(poster->error, text, sizeof(text));
    if (result == -ENOMEM || result == -EMFILE || result == -ENFILE ||
        segment != checkpoints_segment(poster->ledger))
        return -EAGAIN;
    poster_not_current(poster, text);
    poster_object(poster, LEDGER_FAILED, text);
    return -EIO;
}

static int open_checkpoint(struct poster *poster)
{
    struct sweep *sweep = poster->sweep;
    struct ledger *ledger = poster->ledger;
    const struct checkpoint_place place = checkpoints_place(ledger);
    if (sweep->is_open)
        return 0;
    sweep->segment = checkpoints_segment(ledger);
    int result = checkpoint_index_open(&sweep->index, &place, sweep->segment);
    sweep->is_open = result == 0;
    return result;
}

/* Whether Redis proves that it has all records of the account. */
static bool is_proven(struct poster *poster, const struct names_records *records)
{
    struct journal *journal = &poster->ledger->journal;
    return records->tail_segment < journal_segments(journal) &&
           journal_base(journal, records->tail_segment + 1) <= poster->sweep->proven;
}

static int ask(struct poster *poster, const char *text, size_t length,
               const struct names_records *records)
{
    char key[LEDGER_KEY_MAX], field[LEDGER_HEX_SIZE + 2];
    const char *const words[] = {"HGET", key, field};
    struct ledger_name *name;
    int result = names_get(&poster->ledger->names, JOURNAL_ACCOUNT, text, length, &name);
    if (result != 0)
        return result == -EINVAL ? -EBADMSG : result;
    struct ledger_account *account = names_account(name);
    account->was_swept = names_wake(account, records, false) || account->was_swept;
    if (account->resync == poster->resync) { /* it was awake by then, and was asked for */
        names_drop(name);
        return 0;
    }
    account->resync = poster->resync;
    poster->page[poster->held_count++] = account;
    snprintf(field, sizeof(field), "w:%s", poster->ledger->instance);
    ledger_key(key, account, "account");
    return poster_send(poster, 3, words);
}

/* Asks for a page. 1: there may be more; 0: the checkpoint ends here; or a negative errno. */
static int ask_page(struct poster *poster)
{
    struct sweep *sweep = poster->sweep;
    size_t first = sweep->at.block;
    const uint8_t *bytes;
    uint32_t length;
    int result = 1;
    while (poster->held_count < POSTER_PIPELINE && sweep->at.block - first < STEP_BLOCKS) {
        struct names_records records;
        size_t text_length;
        result = checkpoint_index_next(&sweep->index, &sweep->at, &bytes, &length);
        if (result != 1)
            return result;
        const char *text = checkpoint_account_text(bytes, length, &text_length);
        checkpoint_account_records(bytes, &records);
        sweep->seen++;
        if (!is_proven(poster, &records))
            result = ask(poster, text, text_length, &records);
        if (result < 0)
            return result;
        result = 1;
    }
    return result;
}

static void say(struct poster *poster)
{
    struct sweep *sweep = poster->sweep;
    struct ledger *ledger = poster->ledger;
    uint64_t all = sweep->index.head.accounts, now_ms = ledger_monotonic_ms(ledger);
    char text[LEDGER_TEXT_MAX];
    atomic_store_explicit(&ledger->accounts_filling, all - sweep->seen, memory_order_relaxed);
    if (now_ms < sweep->say_ms)
        return;
    snprintf(text, sizeof(text),
             "Redis is being compared with the checkpoint of segment %" PRIu32
             ", and filled: %" PRIu64 " of %" PRIu64 " accounts are there",
             sweep->segment, sweep->seen, all);
    if (atomic_load(&ledger->poster_state) == LEDGER_CATCHING_UP)
        ledger_set_poster_state(ledger, LEDGER_CATCHING_UP, text);
    ledger_say(ledger, LEDGER_EVENT_INFO, "%s", text);
    sweep->say_ms = now_ms + SAY_MS;
}

/* ---- the state ---- */

static int take_swept(struct poster *poster, size_t index, const redisReply *reply)
{
    return poster_take_watermark(poster, poster->page[index], reply);
}

/* All were asked for. Where a watermark lies behind the cursor, that goes back. */
static int finish(struct poster *poster)
{
    uint32_t missing = poster->missing, first = atomic_load(&poster->ledger->journal.first);
    poster_sweep_forget(poster);
    missing = missing < first ? first : missing;
    int result = missing < poster->reader.segment ? poster_place(poster, missing) : 0;
    if (result != 0)
        return result;
    poster_publish(poster);
    poster_enter(poster, POSTER_RESTING, NULL);
    return 0;
}

int poster_sweep(struct poster *poster)
{
    struct sweep *sweep = poster->sweep;
    poster_enter(poster, POSTER_SWEEPING, take_swept);
    int result = open_checkpoint(poster);
    if (result == 0)
        result = ask_page(poster);
    if (result == -EAGAIN)
        return result;
    if (result < 0)
        return give_up(poster, result);
    say(poster);
    sweep->is_over = result == 0;
    return 0;
}

int poster_sweep_on(struct poster *poster)
{
    int result = 0;
    for (size_t i = 0; result == 0 && i < poster->held_count; i++)
        result = poster_needs_from(poster, poster->page[i]);
    let_go(poster);
    if (result == -ENOMEM)
        snprintf(poster->error, sizeof(poster->error), "no memory");
    if (result != 0)
        return -EAGAIN;
    if (poster->sweep->is_over)
        return finish(poster);
    poster_enter(poster, POSTER_RESTING, NULL);
    return 0;
}
