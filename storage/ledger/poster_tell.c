/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a killed process held of accounts' funds: once all that it had delivered is posted, Redis is
 * told that nothing of it is held any more, before the node is ready. poster.c calls it.
 */
#include <errno.h>
#include <stdio.h>

#include "storage/ledger/poster_internal.h"
#include "storage/ledger/wake.h"

#define TELL_VALIDITY_MS 1000 /* of a ceiling with nothing above what is posted */
#define TELL_COUNT       1    /* a worker's first question has a higher one */

static int take_told(struct poster *poster, size_t index, const redisReply *reply)
{
    struct ledger_credit credit;
    int result = ledger_tell_reply(reply, &credit);
    if (result == -EPROTO && !ledger_reply_is_damage(reply))
        return poster_refused(poster, "FCALL", reply);
    holdings_forget(poster->ledger->holdings, poster->told[index]);
    return 0;
}

static int tell(struct poster *poster, const struct holding *holding)
{
    struct ledger *ledger = poster->ledger;
    struct ledger_command command;
    struct ledger_told told = {.count = TELL_COUNT, .is_new = true};
    struct ledger_name *name;
    int result = names_get(&ledger->names, JOURNAL_ACCOUNT, holding->text, holding->length, &name);
    if (result != 0)
        return result == -EINVAL ? 0 : result; /* not a name: the table was damaged */
    struct ledger_account *account = names_account(name);
    if (account_wake(ledger, account) != 0) {
        snprintf(poster->error, sizeof(poster->error), "the checkpoint cannot be read");
        names_drop(name);
        return -EAGAIN;
    }
    if (!holding->of_link) { /* all that the journal holds is posted by now */
        told.is_new = false;
        told.ceiling = told.least = atomic_load(&account->handed);
    }
    ledger_tell_command(ledger, account, holding->of_link ? holding->link_id : NULL, &told,
                        TELL_VALIDITY_MS, &command);
    ledger_account_drop(&account);
    return poster_send(poster, command.argc, command.argv);
}

int poster_tell(struct poster *poster)
{
    struct holding holding;
    poster_enter(poster, POSTER_TELLING, take_told);
    for (int place = holdings_left(poster->ledger->holdings, 0, &holding);
         place >= 0 && poster->asked < POSTER_PIPELINE;
         place = holdings_left(poster->ledger->holdings, place + 1, &holding)) {
        size_t asked = poster->asked;
        poster->told[asked] = place;
        int result = tell(poster, &holding);
        if (result != 0)
            return result;
        if (poster->asked == asked)
            holdings_forget(poster->ledger->holdings, place);
    }
    return 0;
}
