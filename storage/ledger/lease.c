/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking, renewing and giving back the lease of the node's name: the commands, and what their
 * replies mean. The poster sends them. It decides nothing about accounts.
 */
#include "storage/ledger/lease.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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

static void begin_command(const struct lease *lease, const struct ledger *ledger,
                          struct lease_command *out)
{
    snprintf(out->key, sizeof(out->key), "tg:node:{%s}", ledger->options.node);
    snprintf(out->duration, sizeof(out->duration), "%" PRIu32, ledger->options.lease_ms);
    snprintf(out->records, sizeof(out->records), "%" PRIu64, records_on_disk(lease, ledger));
}

void lease_ask(struct lease *lease, const struct ledger *ledger, struct lease_command *out)
{
    lease->asked_ms = ledger_monotonic_ms(ledger);
    lease->asked_records = records_on_disk(lease, ledger);
    begin_command(lease, ledger, out);
    const char *name = out->key, *instance = ledger->instance, *epoch = ledger->epoch;
    const char *duration = out->duration, *records = out->records;
    const char *const words[] = {"FCALL", "tollgate_lease", keys,
                                 LEDGER_LEASE_KEYS(LEDGER_KEY_WORD)
                                     LEDGER_LEASE_ARGUMENTS(LEDGER_WORD)};
    _Static_assert(sizeof(words) <= sizeof(out->words), "a lease's command has room for its words");
    out->count = sizeof(words) / sizeof(words[0]);
    memcpy(out->words, words, sizeof(words));
}

enum lease_result lease_take(struct lease *lease, const struct ledger *ledger,
                             const redisReply *reply, char text[LEDGER_TEXT_MAX], char *error,
                             size_t error_size)
{
    bool shaped = reply->type == REDIS_REPLY_ARRAY && reply->elements == 4;
    for (size_t i = 0; shaped && i < 4; i++)
        shaped = reply->element[i]->type == REDIS_REPLY_INTEGER;
    if (shaped)
        return understand(lease, reply, lease->asked_ms, lease->asked_records, ledger, text);
    if (reply->type == REDIS_REPLY_ERROR)
        (void)ledger_redis_explain("FCALL", reply->str, ledger->options.redis_user, error,
                                   error_size);
    else
        snprintf(error, error_size, "Redis: tollgate_lease gave an answer of an unexpected form");
    return LEASE_UNKNOWN;
}

void lease_release(struct lease *lease, const struct ledger *ledger, struct lease_command *out)
{
    lease->held = false;
    begin_command(lease, ledger, out);
    const char *name = out->key, *instance = ledger->instance, *epoch = ledger->epoch;
    const char *records = out->records;
    const char *const words[] = {"FCALL", "tollgate_lease_release", keys,
                                 LEDGER_LEASE_KEYS(LEDGER_KEY_WORD)
                                     LEDGER_LEASE_RELEASE_ARGUMENTS(LEDGER_WORD)};
    out->count = sizeof(words) / sizeof(words[0]);
    memcpy(out->words, words, sizeof(words));
}

bool lease_is_due(const struct lease *lease, const struct ledger *ledger)
{
    return !lease->held || ledger_monotonic_ms(ledger) >= lease->due_ms;
}

bool lease_has_told(const struct lease *lease, const struct ledger *ledger)
{
    return lease->told >= records_on_disk(lease, ledger);
}

uint64_t lease_wait_ms(const struct lease *lease)
{
    uint64_t left = lease->foreign_left_ms + 1;
    if (left < LEASE_WAIT_MS_MIN)
        return LEASE_WAIT_MS_MIN;
    return left > LEASE_WAIT_MS_MAX ? LEASE_WAIT_MS_MAX : left;
}
