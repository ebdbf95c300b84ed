/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking, renewing and giving back the lease of the node's name. Called by the poster's thread. It
 * decides nothing about accounts.
 */
#include "storage/ledger/lease.h"

#include <inttypes.h>
#include <stdio.h>

#include "server/base/clock.h"

#define LEASE_WAIT_MS_MIN 10
#define LEASE_WAIT_MS_MAX 200

/* How many keys a call has, as FCALL takes it. */
static const char keys[] = {'0' + LEDGER_COUNT(LEDGER_LEASE_KEYS), '\0'};

static enum lease_result foreign_epoch(struct lease *lease, long long until, uint64_t left,
                                       const struct ledger *ledger, char text[LEDGER_TEXT_MAX])
{
    bool renewed = lease->foreign_until != 0 && until > lease->foreign_until;
    if (lease->foreign_until == 0)
        lease->foreign_until = until;
    lease->foreign_left_ms = left;
    /* A lease that grew is held by a living process: one that was killed renews nothing. */
    if (renewed)
        snprintf(text, LEDGER_TEXT_MAX,
                 "node %s is run by another process with a copy of this state directory; stop one "
                 "of them, and "
                 "start the copy with an empty directory under another node name",
                 ledger->options.node);
    else
        snprintf(
            text, LEDGER_TEXT_MAX,
            "node %s: the lease of an earlier process of this state directory runs out in %" PRIu64
            " ms",
            ledger->options.node, left);
    return renewed ? LEASE_REFUSED : LEASE_WAIT;
}

/*
 * The records of usage and money, by which Redis tells a journal that lost some. START records do
 * not count: each try appends one, which must not make up for a loss. Until this process has held
 * the lease, neither do records that it journalled itself, such as revocations while Redis was out
 * of reach.
 */
static uint64_t records_on_disk(const struct lease *lease, const struct ledger *ledger)
{
    const struct journal *journal = &ledger->journal;
    return lease->was_held ? atomic_load_explicit(&journal->durable_entries, memory_order_acquire)
                           : journal->found_entries;
}

static enum lease_result understand(struct lease *lease, const redisReply *reply, uint64_t asked_ms,
                                    uint64_t records, const struct ledger *ledger,
                                    char text[LEDGER_TEXT_MAX])
{
    uint64_t left = (uint64_t)reply->element[1]->integer;
    switch (reply->element[0]->integer) {
    case 0:
        lease->held = lease->was_held = true;
        lease->until_ms = asked_ms + ledger->options.lease_ms;
        lease->due_ms = asked_ms + ledger->options.lease_ms / 3;
        lease->told = records;
        lease->foreign_until = 0;
        return reply->element[3]->integer == 1 ? LEASE_HELD : LEASE_NEW;
    case 1:
        lease->held = false;
        snprintf(
            text, LEDGER_TEXT_MAX,
            "node name %s belongs to another instance; give this node another name (`node`), or "
            "delete the "
            "Redis key tg:node:{%s} if that node is gone for good",
            ledger->options.node, ledger->options.node);
        return LEASE_REFUSED;
    case 3:
        lease->held = false;
        snprintf(
            text, LEDGER_TEXT_MAX,
            "the state directory is older than Redis: the journal in %.160s/journal holds %" PRIu64
            " records of usage and money, and %" PRIu64
            " were on disk when node %s last renewed its lease (restored, cloned, or is the newest "
            "segment lost?); bring the newest directory back, or start with an empty one under "
            "another node name",
            ledger->options.state_dir, records, left, ledger->options.node);
        return LEASE_REFUSED;
    default:
        lease->held = false;
        return foreign_epoch(lease, reply->element[2]->integer, left, ledger, text);
    }
}

enum lease_result lease_renew(struct lease *lease, struct redis_link *link,
                              const struct ledger *ledger, char text[LEDGER_TEXT_MAX])
{
    const char *instance = ledger->instance, *epoch = ledger->epoch;
    char name[LEDGER_NODE_MAX + 16], duration[16], records[24];
    uint64_t asked_ms = clock_monotonic_ms(), on_disk = records_on_disk(lease, ledger);
    snprintf(name, sizeof(name), "tg:node:{%s}", ledger->options.node);
    snprintf(duration, sizeof(duration), "%" PRIu32, ledger->options.lease_ms);
    snprintf(records, sizeof(records), "%" PRIu64, on_disk);
    const char *const words[] = {"FCALL", "tollgate_lease", keys,
                                 LEDGER_LEASE_KEYS(LEDGER_WORD)
                                     LEDGER_LEASE_ARGUMENTS(LEDGER_WORD)};
    redisReply *reply = redis_call(link, sizeof(words) / sizeof(words[0]), words);
    if (reply == NULL)
        return LEASE_LINK;
    bool shaped = reply->type == REDIS_REPLY_ARRAY && reply->elements == 4;
    for (size_t i = 0; shaped && i < 4; i++)
        shaped = reply->element[i]->type == REDIS_REPLY_INTEGER;
    enum lease_result result = LEASE_LINK;
    if (shaped)
        result = understand(lease, reply, asked_ms, on_disk, ledger, text);
    else
        snprintf(link->error, sizeof(link->error),
                 "Redis: tollgate_lease gave an answer of an unexpected form");
    freeReplyObject(reply);
    return result;
}

void lease_release(struct lease *lease, struct redis_link *link, const struct ledger *ledger)
{
    const char *instance = ledger->instance, *epoch = ledger->epoch;
    char name[LEDGER_NODE_MAX + 16], records[24];
    if (!lease->held)
        return;
    lease->held = false;
    snprintf(name, sizeof(name), "tg:node:{%s}", ledger->options.node);
    snprintf(records, sizeof(records), "%" PRIu64, records_on_disk(lease, ledger));
    const char *const words[] = {"FCALL", "tollgate_lease_release", keys,
                                 LEDGER_LEASE_KEYS(LEDGER_WORD)
                                     LEDGER_LEASE_RELEASE_ARGUMENTS(LEDGER_WORD)};
    redisReply *reply = redis_call(link, sizeof(words) / sizeof(words[0]), words);
    if (reply != NULL) /* otherwise the lease runs out by itself */
        freeReplyObject(reply);
}

bool lease_is_due(const struct lease *lease)
{
    return !lease->held || clock_monotonic_ms() >= lease->due_ms;
}

bool lease_has_told(const struct lease *lease, const struct ledger *ledger)
{
    return lease->told >= records_on_disk(lease, ledger);
}

uint64_t lease_left_ms(const struct lease *lease)
{
    uint64_t now = clock_monotonic_ms();
    return lease->due_ms > now ? lease->due_ms - now : 0;
}

uint64_t lease_wait_ms(const struct lease *lease)
{
    uint64_t left = lease->foreign_left_ms + 1;
    if (left < LEASE_WAIT_MS_MIN)
        return LEASE_WAIT_MS_MIN;
    return left > LEASE_WAIT_MS_MAX ? LEASE_WAIT_MS_MAX : left;
}
