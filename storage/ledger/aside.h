/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Setting accounts aside, as the poster does it; for other threads see ledger.h. Called by the
 * poster's thread alone.
 */
#ifndef TOLLGATE_LEDGER_ASIDE_H
#define TOLLGATE_LEDGER_ASIDE_H

#include "storage/ledger/poster_internal.h"

/* Sets the account aside, for what Redis has said. 0; -EAGAIN: there are too many of them. */
int aside_set(struct poster *poster, struct ledger_account *account, const char *said);
/* Redis has taken a post of the account. */
void aside_posted(struct poster *poster, struct ledger_account *account);
/* Nobody is set aside any more, until Redis says so again. The watermarks must be asked for next. */
void aside_try_again(struct poster *poster);

#endif
