/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The question for the lease, with which the poster asks for all that it has to hear regularly: the name,
 * Redis' clock and its birth, and what Redis says it has (poster_proof.c). The poster's other parts call it.
 */
#include <errno.h>

#include "storage/ledger/birth.h"
#include "storage/ledger/poster_internal.h"

/* Takes what Redis says of its birth. Where it has lost its data, all is asked for again. */
static void take_birth(struct poster *poster, const redisReply *reply)
{
    if (poster->leased != LEASE_HELD && poster->leased != LEASE_NEW)
        return;
    switch (birth_take(poster->ledger->birth, reply, poster->run_id)) {
    case BIRTH_SAME:
        break;
    case BIRTH_OTHER:
        poster->leased = LEASE_NEW;
        poster_not_current(poster, "Redis has lost its data; the journal is being replayed to it");
        break;
    case BIRTH_UNKNOWN:
        poster->leased = LEASE_UNKNOWN;
        if (reply->type == REDIS_REPLY_ERROR)
            (void)poster_refused(poster, "FCALL", reply);
        else
            snprintf(poster->error, sizeof(poster->error),
                     "Redis: tollgate_birth gave an answer of an unexpected form");
        break;
    }
}

/* Takes the name's answer and the lease's, both of which the node needs, the time, the birth, and what Redis says
 * it has. */
static int take_lease(struct poster *poster, size_t index, const redisReply *reply)
{
    struct ledger *ledger = poster->ledger;
    if (index == 2) {
        redis_clock_take(ledger, poster->lease.asked_ms, reply);
        return 0;
    }
    if (index == 3) {
        take_birth(poster, reply);
        return 0;
    }
    if (index > 3) {
        poster_take_proof(poster, index == 4, reply);
        return 0;
    }
    if (index == 0)
        poster->leased = lease_take_name(ledger, reply, poster->lease_text, poster->error,
                                         sizeof(poster->error));
    else if (poster->leased == LEASE_HELD)
        poster->leased = lease_take(&poster->lease, ledger, reply, poster->lease_text,
                                    poster->error, sizeof(poster->error));
    if (atomic_exchange(&ledger->lease_number, poster->lease.number) != poster->lease.number)
        (void)writer_queue_mark(ledger); /* the journal notes it */
    if (index == 1 && (poster->leased == LEASE_HELD || poster->leased == LEASE_NEW))
        atomic_store(&ledger->renewed_ms, poster->lease.asked_ms);
    return 0;
}

int poster_ask_lease(struct poster *poster, enum lease_purpose purpose)
{
    static const char *const time[] = {"TIME"};
    struct lease_command command;
    struct birth_command birth;
    poster->purpose = purpose;
    poster_enter(poster, POSTER_LEASING, take_lease);
    lease_ask_name(poster->ledger, &command);
    int result = poster_send(poster, command.count, command.words);
    lease_ask(&poster->lease, poster->ledger, &command);
    if (result == 0)
        result = poster_send(poster, command.count, command.words);
    if (result == 0)
        result = poster_send(poster, 1, time);
    birth_ask(poster->ledger->birth, poster->lease.held, poster->current, poster->run_id, &birth);
    if (result == 0)
        result = poster_send(poster, birth.count, birth.words);
    return result == 0 && poster_needs_proof(poster) ? poster_ask_proof(poster) : result;
}
