/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claiming the node's name; taking, renewing and giving back the lease of its instance: the
 * commands, and what their replies mean. The poster sends them. It decides nothing about accounts.
 */
#include "storage/ledger/lease.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LEASE_WAIT_MS_MIN 10
#define LEASE_WAIT_MS_MAX 200

/* How many keys a call has, as FCALL takes it. */
static const char name_keys[] = {'0' + LEDGER_COUNT(LEDGER_NAME_KEYS), '\0'};
static const char lease_keys[] = {'0' + LEDGER_COUNT(LEDGER_LEASE_KEYS), '\0'};

static char *put(struct lease_command *command, int slot, uint64_t number)
{
    snprintf(command->numbers[slot], sizeof(command->numbers[slot]), "%" PRIu64, number);
    return command->numbers[slot];
}

static enum lease_result misunderstand(const struct ledger *ledger, const char *function,
                                       const redisReply *reply, char *error, size_t error_size)
{
    if (reply->type == REDIS_REPLY_ERROR)
        (void)ledger_redis_explain("FCALL", reply->str, ledger->options.redis_user, error,
                                   error_size);
    else
        snprintf(error, error_size, "Redis: %s gave an answer of an unexpected form", function);
    return LEASE_UNKNOWN;
}

/* ---- the name ---- */

void lease_ask_name(const struct ledger *ledger, struct lease_command *out)
{
    const char *name = out->key, *directory = ledger->lane.state_id, *instance = ledger->named;
    const char *const words[] = {"FCALL", "tollgate_name", name_keys,
                                 LEDGER_NAME_KEYS(LEDGER_KEY_WORD)
                                     LEDGER_NAME_ARGUMENTS(LEDGER_WORD)};
    _Static_assert(sizeof(words) <= sizeof(out->words), "a name's command has room for its words");
    snprintf(out->key, sizeof(out->key), "tg:node:{%s}", ledger->options.node);
    out->count = sizeof(words) / sizeof(words[0]);
    memcpy(out->words, words, sizeof(words));
}

enum lease_result lease_take_name(const struct ledger *ledger, const redisReply *reply,
                                  char text[LEDGER_TEXT_MAX], char *error, size_t error_size)
{
    if (reply->type != REDIS_REPLY_INTEGER)
        return misunderstand(ledger, "tollgate_name", reply, error, error_size);
    if (reply->integer == 0)
        return LEASE_HELD;
    snprintf(text, LEDGER_TEXT_MAX,
             "node name %s belongs to another state directory; give this node another name "
             "(`node`), or delete the Redis key tg:node:{%s} if that node is gone for good",
             ledger->options.node, ledger->options.node);
    return LEASE_REFUSED;
}

/* ---- the lease ---- */

/* How long another process' lease may still last, if nobody renews it. */
static uint64_t foreign_left_ms(const struct lease *lease, const struct ledger *ledger)
{
    uint64_t over_ms = lease->foreign_since_ms + ledger->options.lease_ms;
    uint64_t now_ms = ledger_monotonic_ms(ledger);
    return over_ms > now_ms ? over_ms - now_ms : 0;
}

static enum lease_result meet_another(struct lease *lease, uint64_t until,
                                      const struct ledger *ledger, char text[LEDGER_TEXT_MAX])
{
    lease->held = false;
    /* A lease with another end is held by a living process: one that was killed renews nothing. */
    if (lease->foreign_until != 0 && until != lease->foreign_until)
        lease->foreign_renews = true;
    if (until != lease->foreign_until)
        lease->foreign_since_ms = ledger_monotonic_ms(ledger);
    lease->foreign_until = until;
    if (lease->foreign_renews)
        snprintf(
            text, LEDGER_TEXT_MAX,
            "another process runs with a copy of the state directory %.160s; stop one of them, "
            "and start the copy with an empty directory under another node name",
            ledger->options.state_dir);
    else
        snprintf(
            text, LEDGER_TEXT_MAX,
            "node %s: the lease of a process of this state directory, on another machine, disk "
            "or boot, runs out in %" PRIu64 " ms",
            ledger->options.node, foreign_left_ms(lease, ledger));
    return lease->foreign_renews ? LEASE_REFUSED : LEASE_WAIT;
}

/* The records of usage and money, by which Redis tells a journal that lost some. */
static uint64_t records_on_disk(const struct ledger *ledger)
{
    return atomic_load_explicit(&ledger->journal.durable_vouched, memory_order_acquire);
}

/* For whoever lists the nodes. The poster alone moves `posted`, and it is who asks. */
static uint64_t records_unposted(const struct ledger *ledger)
{
    uint64_t durable = atomic_load(&ledger->journal.durable_records);
    return durable > ledger->posted ? durable - ledger->posted : 0;
}

void lease_ask(struct lease *lease, const struct ledger *ledger, struct lease_command *out)
{
    const struct ledger_place *place = &ledger->place;
    lease->asked_ms = ledger_monotonic_ms(ledger);
    lease->asked_records = records_on_disk(ledger);
    bool is_over = lease->foreign_until != 0 && foreign_left_ms(lease, ledger) == 0;
    const char *number = put(out, 0, lease->number);
    const char *least = put(out, 1, atomic_load(&ledger->lease_least));
    const char *duration = put(out, 2, ledger->options.lease_ms);
    const char *records = put(out, 3, lease->asked_records);
    const char *boot = place->boot;
    const char *device = put(out, 4, place->device), *inode = put(out, 5, place->inode);
    const char *key = out->key, *met = put(out, 6, is_over ? 0 : lease->foreign_until);
    const char *over = put(out, 7, is_over ? lease->foreign_until : 0);
    const char *begun = put(out, 8, lease->begun_ms);
    const char *unposted = put(out, 9, records_unposted(ledger));
    const char *aside = put(out, 10, atomic_load(&ledger->accounts_aside));
    const char *const words[] = {"FCALL", "tollgate_lease", lease_keys,
                                 LEDGER_LEASE_KEYS(LEDGER_KEY_WORD)
                                     LEDGER_LEASE_ARGUMENTS(LEDGER_WORD)};
    _Static_assert(sizeof(words) <= sizeof(out->words), "a lease's command has room for its words");
    snprintf(out->key, sizeof(out->key), "tg:lease:{%s}", ledger->instance);
    out->count = sizeof(words) / sizeof(words[0]);
    memcpy(out->words, words, sizeof(words));
}

static enum lease_result understand(struct lease *lease, const redisReply *reply,
                                    const struct ledger *ledger, char text[LEDGER_TEXT_MAX])
{
    uint64_t lease_ms = ledger->options.lease_ms;
    switch (reply->element[0]->integer) {
    case 0:
    case 1:
        lease->held = true;
        lease->number = (uint64_t)reply->element[3]->integer;
        lease->until_ms = lease->asked_ms + lease_ms;
        lease->due_ms = lease->asked_ms + lease_ms / 3;
        lease->told = lease->asked_records;
        lease->foreign_until = 0;
        lease->foreign_renews = false;
        return reply->element[0]->integer == 0 ? LEASE_HELD : LEASE_NEW;
    case 3:
        lease->held = false;
        snprintf(
            text, LEDGER_TEXT_MAX,
            "the state directory is older than Redis: the journal in %.150s/%s/journal holds "
            "%" PRIu64
            " records of usage and money, and %lld were on disk when node %s last renewed its "
            "lease (restored, cloned, or is the newest segment lost?); bring the newest directory "
            "back, or start with an empty one under another node name",
            ledger->options.state_dir, ledger->lane.name, lease->asked_records,
            reply->element[1]->integer, ledger->options.node);
        return LEASE_REFUSED;
    default:
        return meet_another(lease, (uint64_t)reply->element[2]->integer, ledger, text);
    }
}

enum lease_result lease_take(struct lease *lease, const struct ledger *ledger,
                             const redisReply *reply, char text[LEDGER_TEXT_MAX], char *error,
                             size_t error_size)
{
    bool shaped = reply->type == REDIS_REPLY_ARRAY && reply->elements >= 4;
    for (size_t i = 0; shaped && i < 4; i++)
        shaped = reply->element[i]->type == REDIS_REPLY_INTEGER;
    return shaped ? understand(lease, reply, ledger, text)
                  : misunderstand(ledger, "tollgate_lease", reply, error, error_size);
}

void lease_release(struct lease *lease, const struct ledger *ledger, struct lease_command *out)
{
    lease->held = false;
    const char *key = out->key, *number = put(out, 0, lease->number);
    const char *records = put(out, 1, records_on_disk(ledger));
    const char *unposted = put(out, 2, records_unposted(ledger));
    const char *aside = put(out, 3, atomic_load(&ledger->accounts_aside));
    const char *const words[] = {"FCALL", "tollgate_lease_release", lease_keys,
                                 LEDGER_LEASE_KEYS(LEDGER_KEY_WORD)
                                     LEDGER_LEASE_RELEASE_ARGUMENTS(LEDGER_WORD)};
    snprintf(out->key, sizeof(out->key), "tg:lease:{%s}", ledger->instance);
    out->count = sizeof(words) / sizeof(words[0]);
    memcpy(out->words, words, sizeof(words));
}

bool lease_is_due(const struct lease *lease, const struct ledger *ledger)
{
    return !lease->held || ledger_monotonic_ms(ledger) >= lease->due_ms ||
           atomic_load_explicit(&ledger->lease_least, memory_order_relaxed) >= lease->number;
}

bool lease_has_told(const struct lease *lease, const struct ledger *ledger)
{
    return lease->told >= atomic_load(&ledger->journal.durable_entries);
}

uint64_t lease_wait_ms(const struct lease *lease, const struct ledger *ledger)
{
    uint64_t left = foreign_left_ms(lease, ledger) + 1;
    if (left < LEASE_WAIT_MS_MIN)
        return LEASE_WAIT_MS_MIN;
    return left > LEASE_WAIT_MS_MAX ? LEASE_WAIT_MS_MAX : left;
}
