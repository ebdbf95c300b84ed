/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts that leave memory: those that nobody has held or journalled for an hour, whose records are all in
 * Redis and in the two newest checkpoints. The poster looks at them in turn, some at a time, while it rests. One that
 * is needed again is asked for in the checkpoint (wake.c). It sends nothing.
 */
#include "storage/ledger/checkpoints.h"
#include "storage/ledger/poster_internal.h"

#define QUIET_MS 3600000u /* where the options say nothing */
#define LOOKS    1024     /* at accounts, in a turn */
#define TURN_MS  20       /* between two turns of a round */
#define ROUNDS   16       /* in the time for which an account must be quiet */
#define LEAST_MS 100      /* between two rounds */

/* Whether the poster itself has nothing to do with any account now. */
static bool is_idle(const struct poster *poster)
{
    return poster->current && poster->placed && !poster_fill_waits(poster) &&
           !poster_sweep_waits(poster) && poster->proof.mark != 0 &&
           poster->proof.mark == poster->proof.found_mark;
}

/* A journal that has failed may hold records that nobody counts until the next start. */
static bool has_failed(const struct ledger *ledger)
{
    return ledger_state(ledger) == LEDGER_FAILED;
}

/* Whether it has been quiet for so long. */
static bool is_quiet(const struct poster *poster, struct ledger_account *account, uint64_t now_ms,
                     uint32_t quiet_ms)
{
    uint64_t sequence = atomic_load_explicit(&account->sequence, memory_order_acquire);
    bool moves = atomic_load(&account->name.references) > 0 || account->waits ||
                 account->was_aside || account == poster->ledger->aside_last ||
                 sequence != account->quiet_sequence;
    if (!moves)
        return now_ms - account->quiet_ms >= quiet_ms;
    account->quiet_sequence = sequence;
    account->quiet_ms = now_ms;
    return false;
}

bool poster_let_go(struct poster *poster, struct ledger_account *account)
{
    struct ledger *ledger = poster->ledger;
    struct ledger_account *next = names_recorded_next(account);
    bool may = account->was_swept && !account->waits && !account->was_aside;
    account->was_swept = false;
    /* It was asleep a moment ago, so the checkpoint covers it. */
    if (!may || has_failed(ledger) || !names_leave(account, ledger->names.base))
        return false;
    if (poster->quiet_next == account)
        poster->quiet_next = next;
    return true;
}

uint64_t poster_quiet(struct poster *poster)
{
    struct ledger *ledger = poster->ledger;
    uint32_t quiet_ms = ledger->options.quiet_ms > 0 ? ledger->options.quiet_ms : QUIET_MS;
    uint64_t now_ms = ledger_monotonic_ms(ledger), round_ms = quiet_ms / ROUNDS;
    uint32_t covered = has_failed(ledger) ? 0 : checkpoints_covered(ledger);
    if (now_ms < poster->quiet_ms)
        return poster->quiet_ms;
    if (poster->quiet_next == NULL)
        poster->quiet_next = names_recorded(&ledger->names);
    for (int i = 0; i < LOOKS && poster->quiet_next != NULL; i++) {
        struct ledger_account *account = poster->quiet_next;
        poster->quiet_next = names_recorded_next(account);
        if (is_quiet(poster, account, now_ms, quiet_ms) && covered > 0 && is_idle(poster))
            (void)names_leave(account, covered);
    }
    bool goes_on = poster->quiet_next != NULL;
    poster->quiet_ms = now_ms + (goes_on ? TURN_MS : round_ms > LEAST_MS ? round_ms : LEAST_MS);
    return poster->quiet_ms;
}
