/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Setting accounts aside: because what Redis holds of one is damaged, or because it is being rebuilt
 * from the journals. Nothing of such an account is granted, and the others go on. For other threads
 * see ledger.h.
 *
 *   NOT --Redis says so--> DAMAGED --tried again--> EMPTIED --its watermark--> (REPLAYING -->) NOT
 *    '----it is to be rebuilt----> EMPTYING --its keys are gone--^
 */
#ifndef TOLLGATE_STORAGE_LEDGER_ASIDE_H
#define TOLLGATE_STORAGE_LEDGER_ASIDE_H

#include "storage/ledger/poster_internal.h"

/* ---- of the poster's thread ---- */

/* Sets the account aside, for what Redis has said. 0; -EAGAIN: there are too many of them. */
int aside_set(struct poster *poster, struct ledger_account *account, const char *said);
/* The same where Redis lacks records that have left the journal. */
int aside_gone(struct poster *poster, struct ledger_account *account);
/* Whether nothing of the account is read or posted now. */
bool aside_skips(const struct ledger_account *account);
/* Redis has told the account's watermark: one that went back is not a loss of data where it was set
 * aside. Returns whether it was. */
bool aside_placed(struct ledger_account *account, uint64_t watermark, uint64_t held);
/* Redis has taken a post of the account. */
void aside_posted(struct poster *poster, struct ledger_account *account);
/*
 * Those that are set aside are tried again, until Redis says so once more: the watermarks must be
 * asked for next. Behind a new connection also those whose emptying nobody has ended.
 */
void aside_try_again(struct poster *poster, bool is_new_connection);

/* Whether there may be any of which nothing is read or posted now. */
bool aside_has_any(struct ledger *ledger);

/* ---- of any thread ---- */

/* Whether an account that is set aside has records in this segment, or before it, that Redis lacks. */
bool aside_needs(struct ledger *ledger, uint32_t segment);

/* The words of tg:revocations by which nodes hear that an account's keys are about to be deleted, and
 * that they are. */
#define ASIDE_EMPTYING_WORD "empty"
#define ASIDE_EMPTIED_WORD  "replay"
/* Takes such a word: of the node's own lane, and of those that it drains. False: it is no such word. */
bool aside_hear(struct ledger *ledger, const char *tag, size_t tag_length, const char *word,
                size_t word_length);

#endif
