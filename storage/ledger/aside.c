/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts that are set aside because what Redis holds of them is not as it should be: a key of
 * another type, a field that no function has written; because it lacks what has left the journal; or because it
 * is being rebuilt. The poster
 * sets them aside and tries them again; other threads ask which they are. It changes nothing in
 * Redis (release.c does).
 */
#include "storage/ledger/aside.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "storage/ledger/drains.h"

/* What Redis said last, for whoever asks for a release. */
static void note(struct ledger *ledger, const struct ledger_account *account, const char *said)
{
    pthread_mutex_lock(&ledger->lock);
    ledger->aside_last = account;
    snprintf(ledger->aside_said, sizeof(ledger->aside_said), "%s", said);
    pthread_mutex_unlock(&ledger->lock);
}

/* Sets it aside for what was said; true: it was not before. */
static bool set(struct poster *poster, struct ledger_account *account, const char *said)
{
    struct ledger *ledger = poster->ledger;
    enum account_aside before = atomic_load(&account->aside);
    pending_drop(&poster->pending, account);
    if (before == ASIDE_DAMAGED || before == ASIDE_EMPTYING)
        return false;
    if (!atomic_compare_exchange_strong(&account->aside, &before, ASIDE_DAMAGED))
        return false; /* somebody has begun to empty it */
    note(ledger, account, said);
    atomic_fetch_add(&ledger->accounts_aside, 1);
    return true;
}

/* 0; or -EAGAIN where too many accounts are set aside, with the reason: `what` of so many, and the cure. */
static int bound(struct poster *poster, const char *what, const char *cure)
{
    if (atomic_load(&poster->ledger->accounts_aside) <= LEDGER_ASIDE_MAX)
        return 0;
    snprintf(poster->error, sizeof(poster->error), "%s of more than %d accounts%s", what,
             LEDGER_ASIDE_MAX, cure);
    poster_not_current(poster, poster->error);
    return -EAGAIN;
}

int aside_set(struct poster *poster, struct ledger_account *account, const char *said)
{
    if (!set(poster, account, said))
        return 0;
    if (!account->was_aside)
        ledger_say(poster->ledger, LEDGER_EVENT_ERROR,
                   "account %.200s is set aside: Redis holds something damaged of it (%.120s); "
                   "nothing of it is granted or posted, and its records stay in the journal; "
                   "`tollgate ledger release %.200s` says which key it is and what to do",
                   account->tag, said, account->tag);
    account->was_aside = true;
    return bound(poster, "Redis holds damaged data", ", so it is not the ledger's; check `redis`");
}

int aside_gone(struct poster *poster, struct ledger_account *account)
{
    struct ledger *ledger = poster->ledger;
    const char *archive = ledger->options.archive;
    bool has_archive = archive != NULL && archive[0] != '\0';
    if (!set(poster, account, "it lacks records that have left the journal"))
        return 0;
    if (!account->was_aside)
        ledger_say(ledger, LEDGER_EVENT_ERROR,
                   "account %.200s is set aside: Redis has its first %" PRIu64
                   " records, and the next ones have left the journal%s%.200s; Redis was emptied, "
                   "or restored "
                   "from a file older than the journal is kept; nothing of the account is granted "
                   "or posted; "
                   "bring Redis a newer file, or stop the node, run `tollgate ledger replay "
                   "%.200s%s`, and "
                   "start it again",
                   account->tag, (uint64_t)atomic_load(&account->watermark),
                   has_archive ? " for the archive " : "", has_archive ? archive : "",
                   ledger->options.state_dir, has_archive ? "" : " --archive DIRECTORY");
    account->was_aside = true;
    return bound(
        poster, "Redis lacks records that have left the journal,",
        ": it was emptied, or restored from a file older than the journal is kept; bring it a "
        "newer file, or stop the node, run `tollgate ledger replay`, and start it again");
}

static bool needs(struct ledger *ledger, uint32_t segment)
{
    struct ledger_account *account = names_recorded(&ledger->names);
    for (; account != NULL; account = names_recorded_next(account)) {
        uint64_t watermark = atomic_load(&account->watermark);
        if (atomic_load(&account->aside) == ASIDE_NOT ||
            watermark >= atomic_load_explicit(&account->sequence, memory_order_acquire))
            continue;
        pthread_mutex_lock(&ledger->names.lock);
        bool is_later = watermark >= account->tail_before && account->tail_segment > segment;
        pthread_mutex_unlock(&ledger->names.lock);
        if (!is_later)
            return true;
    }
    return false;
}

bool aside_needs(struct ledger *ledger, uint32_t segment)
{
    pthread_mutex_lock(&ledger->names.walk);
    bool result = needs(ledger, segment);
    pthread_mutex_unlock(&ledger->names.walk);
    return result;
}

bool aside_skips(const struct ledger_account *account)
{
    enum account_aside aside = atomic_load(&account->aside);
    return aside != ASIDE_NOT && aside != ASIDE_REPLAYING;
}

bool aside_placed(struct ledger_account *account, uint64_t watermark, uint64_t held)
{
    enum account_aside aside = atomic_load(&account->aside);
    if (aside == ASIDE_EMPTIED || aside == ASIDE_REPLAYING) {
        account->replay_to = held;
        (void)atomic_compare_exchange_strong(&account->aside, &aside,
                                             watermark < held ? ASIDE_REPLAYING : ASIDE_NOT);
    }
    return aside != ASIDE_NOT;
}

void aside_posted(struct poster *poster, struct ledger_account *account)
{
    enum account_aside replaying = ASIDE_REPLAYING;
    if (atomic_load(&account->watermark) >= account->replay_to)
        (void)atomic_compare_exchange_strong(&account->aside, &replaying, ASIDE_NOT);
    if (!account->was_aside || atomic_load(&account->aside) != ASIDE_NOT)
        return;
    account->was_aside = false;
    ledger_say(poster->ledger, LEDGER_EVENT_INFO, "account %.200s is set aside no longer",
               account->tag);
}

bool aside_has_any(struct ledger *ledger)
{
    if (atomic_load(&ledger->accounts_aside) > 0 || atomic_load(&ledger->releases))
        return true;
    if (!atomic_exchange(&ledger->empties, false))
        return false;
    struct ledger_account *account = names_recorded(&ledger->names);
    while (account != NULL && !aside_skips(account))
        account = names_recorded_next(account);
    if (account != NULL)
        atomic_store(&ledger->empties, true);
    return account != NULL;
}

void aside_try_again(struct poster *poster, bool is_new_connection)
{
    struct ledger *ledger = poster->ledger;
    bool any = atomic_exchange(&ledger->releases, false);
    struct ledger_account *account = names_recorded(&ledger->names);
    for (; account != NULL; account = names_recorded_next(account)) {
        enum account_aside aside = atomic_load(&account->aside);
        if (aside == ASIDE_DAMAGED || (aside == ASIDE_EMPTYING && is_new_connection))
            any |= atomic_compare_exchange_strong(&account->aside, &aside, ASIDE_EMPTIED);
    }
    atomic_store(&ledger->accounts_aside, 0);
    if (any)
        poster->placed = false; /* what was passed over meanwhile is read again */
}

/* ---- for other threads ---- */

bool ledger_account_is_set_aside(const struct ledger_account *account)
{
    return atomic_load_explicit(&account->aside, memory_order_relaxed) != ASIDE_NOT;
}

static void hear(struct ledger *ledger, const char *tag, size_t length, bool is_emptied)
{
    struct ledger_account *account = names_find_tag(&ledger->names, tag, length);
    enum account_aside emptying = ASIDE_EMPTYING;
    if (is_emptied && (account == NULL || !names_is_awake(account))) {
        atomic_store(&ledger->distrusts, true);
        ledger_release(ledger);
    }
    if (account == NULL)
        return;
    if (!is_emptied) {
        atomic_store(&account->aside, ASIDE_EMPTYING);
        atomic_store(&ledger->empties, true);
    } else if (atomic_load(&account->sequence) == 0) { /* the poster never looks at it */
        (void)atomic_compare_exchange_strong(&account->aside, &emptying, ASIDE_NOT);
    } else {
        (void)atomic_compare_exchange_strong(&account->aside, &emptying, ASIDE_EMPTIED);
        ledger_release(ledger);
    }
    ledger_account_drop(&account);
}

struct heard {
    const char *tag;
    size_t length;
    bool is_emptied;
};

static void hear_drain(void *context, struct ledger *drain)
{
    const struct heard *heard = context;
    hear(drain, heard->tag, heard->length, heard->is_emptied);
}

static bool is_word(const char *word, size_t length, const char *other)
{
    return length == strlen(other) && memcmp(word, other, length) == 0;
}

bool aside_hear(struct ledger *ledger, const char *tag, size_t tag_length, const char *word,
                size_t word_length)
{
    struct heard heard = {.tag = tag,
                          .length = tag_length,
                          .is_emptied = is_word(word, word_length, ASIDE_EMPTIED_WORD)};
    if (!heard.is_emptied && !is_word(word, word_length, ASIDE_EMPTYING_WORD))
        return false;
    hear(ledger, tag, tag_length, heard.is_emptied);
    drains_each(ledger, hear_drain, &heard);
    return true;
}

void ledger_release(struct ledger *ledger)
{
    atomic_store(&ledger->releases, true);
    ledger_wake_poster(ledger);
}

void ledger_each_set_aside(struct ledger *ledger, unsigned most,
                           void (*each)(void *context, const struct ledger_account *account),
                           void *context)
{
    if (atomic_load(&ledger->accounts_aside) == 0)
        return;
    pthread_mutex_lock(&ledger->names.walk);
    struct ledger_account *account = names_recorded(&ledger->names);
    for (; account != NULL && most > 0; account = names_recorded_next(account)) {
        if (!ledger_account_is_set_aside(account))
            continue;
        each(context, account);
        most--;
    }
    pthread_mutex_unlock(&ledger->names.walk);
}
