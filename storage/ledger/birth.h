/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether Redis has lost its data, and which nodes have still to replay theirs. The node remembers
 * the birth id of its Redis, and the nodes that it saw there, in a file of the state directory: where
 * Redis has another id, or an older file, which lacks what this process said there last, the data is
 * lost until each of these nodes says, as this one does, that it has replayed its journal and told its
 * ceilings, or until data_lost_wait_ms have passed. Meanwhile what Redis denies counts for nothing, and
 * no ceiling is raised.
 *
 * A Redis with another run id may also lack what *others* said there last, which this node cannot see:
 * it is *settled* when each of the nodes has replayed to it, or BIRTH_SETTLES_MS after it was met, by
 * when those that are up have. Until then it gives no number to an order, since one that is lost, and
 * comes back, may have the same.
 *
 * The poster alone calls it, with each renewal of its lease. What other threads may ask is in ledger.h.
 * It writes the file where something changes, which waits for the disk.
 */
#ifndef TOLLGATE_LEDGER_BIRTH_H
#define TOLLGATE_LEDGER_BIRTH_H

#include "storage/ledger/ledger_internal.h"
#include "storage/ledger/redis_talk.h"

#define BIRTH_LIST_MS                                                                              \
    500 /* the nodes are listed so often, and so much less often for each of them */
#define BIRTH_EACH_MS    10
#define BIRTH_POLL_MS    100 /* how often they are listed while data is lost, or Redis not settled */
#define BIRTH_SETTLES_MS 2000
#define BIRTH_ID_BYTES   17 /* 16 hexadecimal digits */

/* Reads what the state directory remembers; a drain, which decides nothing, remembers nothing. 0 or
 * -ENOMEM. */
int birth_create(struct birth **out, struct ledger *ledger, bool remembers);
void birth_destroy(struct birth **birth);

/* A command whose words lead into itself, so it must not be copied. */
struct birth_command {
    int count;
    const char *words[15];
    char proposed[BIRTH_ID_BYTES], replayed[BIRTH_ID_BYTES], known[BIRTH_ID_BYTES], seen[24];
    char version[12];
};

/* Writes the command that asks for the birth id; with `holds_lease` it says what this node has replayed
 * to: with `is_current` to the Redis of this run id. */
void birth_ask(struct birth *birth, bool holds_lease, bool is_current, const char *run_id,
               struct birth_command *out);

enum birth_result {
    BIRTH_SAME,
    BIRTH_OTHER,  /* data was lost, which was not known yet: the journal is to be replayed */
    BIRTH_UNKNOWN /* Redis gave no answer that says */
};
/* Takes the reply to it. */
enum birth_result birth_take(struct birth *birth, const redisReply *reply, const char *run_id);
/* Ends the waits whose time is over. */
void birth_look(struct birth *birth);
/* The monotonic time at which Redis is to be asked again, or the wait is over. */
uint64_t birth_due_ms(const struct birth *birth);

#endif
