/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node must not do: post without the lease of its name, ask for grants before its journal is
 * replayed, serve from a directory that is older than Redis, send what Redis has not confirmed
 * lately or what its journal cannot bill, and keep room or windows that nobody uses. See
 * promises.c for what must hold of the accounts.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "server/grant/window_internal.h"
#include "tests/simulation/asleep.h"
#include "tests/simulation/leaving.h"
#include "tests/simulation/sim.h"
#include "tests/simulation/store.h"

#define CLOCK_US SIM_MS /* a node's clock counts whole milliseconds */

/* ---- a process begins ---- */

void watch_started(struct sim_node *node)
{
    struct sim *sim = node->sim;
    node->is_older = false;
    node->found_entries = node->ledger->journal.entries;
    for (unsigned i = 0; i < SIM_ACCOUNTS; i++) {
        char field[LEDGER_HEX_SIZE + 2], text[32];
        struct names_records found;
        snprintf(field, sizeof(field), "w:%s", node->ledger->instance);
        snprintf(text, sizeof(text), SIM_ISSUER "/%s", sim->accounts[i].name);
        (void)node_records(node, text, &found);
        node->found[i] = found.sequence;
        if ((uint64_t)redis_number(sim, sim->accounts[i].key, field) > node->found[i])
            node->is_older = true;
    }
}

/* ---- what it sends to Redis ---- */

void watch_posts(struct sim_node *node)
{
    struct sim *sim = node->sim;
    char key[64];
    snprintf(key, sizeof(key), "tg:lease:{%s}", node->id);
    /* What leaves at one time is looked at once; with the data of Redis, leases may be lost. */
    if (sim->has_lost_data || node->posts_us == sim->schedule.now_us)
        return;
    node->posts_us = sim->schedule.now_us;
    bool is_own = redis_number(sim, key, "number") == (int64_t)ledger_lease_number(node->ledger) &&
                  redis_number(sim, key, "inode") == (int64_t)node->place.inode;
    int64_t left_ms = redis_number(sim, key, "until") - (int64_t)redis_real_ms(sim);
    watch_looked(sim, SIM_PROMISE_leased);
    if (!is_own || left_ms < 0)
        sim_break(sim, SIM_PROMISE_leased,
                  "%s posts while its instance is leased to %s for %" PRId64 " ms", node->name,
                  is_own ? "it" : "another process", left_ms);
}

void watch_lease(struct sim_node *node)
{
    uint64_t number = ledger_lease_number(node->ledger);
    if (number == 0 || node->lease_of == node->starts)
        return;
    node->lease_of = node->starts;
    node->lease_first = number;
}

/* A process was granted funds of the account. Its number may have grown since it asked, where Redis
 * had lost it: only a lower one than its first is that of a process of before. */
static void check_reservation(struct sim_node *node, unsigned account, uint64_t lease)
{
    struct sim *sim = node->sim;
    if (node->ledger == NULL)
        return;
    watch_looked(sim, SIM_PROMISE_not_voided);
    if (lease == ledger_lease_number(node->ledger) ||
        (node->lease_of == node->starts && lease >= node->lease_first))
        node->reserves[account] = node->starts;
    else if (node->reserves[account] == node->starts)
        sim_break(sim, SIM_PROMISE_not_voided,
                  "what %s has reserved of account %s is voided by its process of before",
                  node->name, sim->accounts[account].name);
}

/* What a process had reserved is gone where Redis has lost that it ever asked: a question of a process of before
 * finds nothing there, and voids nothing. The next one of the process takes the place of what that tells. */
void watch_lost_reservations(struct sim *sim, unsigned account)
{
    for (unsigned i = 0; i < SIM_NODES + SIM_COPIES; i++) {
        struct sim_node *node = &sim->nodes[i];
        char field[LEDGER_HEX_SIZE + 2];
        snprintf(field, sizeof(field), "l:%s", node->id);
        if (node->lease_of == node->starts &&
            (uint64_t)redis_number(sim, sim->accounts[account].key, field) < node->lease_first)
            node->reserves[account] = 0;
    }
}

/* Whether Redis has what this node's journal held when its process began, and all that Redis ever had of
 * it. */
static void check_caught_up(struct sim_node *node, unsigned account)
{
    struct sim *sim = node->sim;
    char field[LEDGER_HEX_SIZE + 2];
    snprintf(field, sizeof(field), "w:%s", node->ledger->instance);
    uint64_t has = (uint64_t)redis_number(sim, sim->accounts[account].key, field);
    /* A copy does not have what its original has posted since, and Redis has lost. */
    bool is_known = node->original == NULL || !sim->has_lost_data;
    uint64_t least = is_known ? watch_most(sim, node->ledger->instance, account) : 0;
    least = node->found[account] > least ? node->found[account] : least;
    watch_looked(sim, SIM_PROMISE_caught_up);
    if (has < least && !node->is_kept_out)
        sim_break(sim, SIM_PROMISE_caught_up,
                  "%s asks for a grant of account %s, of which Redis has %" PRIu64
                  " records of %" PRIu64,
                  node->name, sim->accounts[account].name, has, least);
}

void watch_admitted(struct sim *sim, const struct message *message)
{
    struct sim_connection *connection = message->connection;
    struct sim_node *node = connection->node;
    if (message->count < 7 || strcmp(message->words[0], "FCALL") != 0 ||
        strcmp(message->words[1], "tollgate_admit") != 0 || message->life != connection->life ||
        node->ledger == NULL)
        return;
    unsigned account = watch_account_of(sim, message->words[3]);
    if (account < SIM_ACCOUNTS && !sim->is_emptied)
        check_caught_up(node, account);
}

/* A copy of a directory was granted something. */
static void check_copy(const struct sim_node *copy)
{
    struct sim *sim = copy->sim;
    char key[64];
    snprintf(key, sizeof(key), "tg:lease:{%s}", copy->id);
    watch_looked(sim, SIM_PROMISE_copy_waits);
    if (redis_number(sim, key, "inode") == (int64_t)copy->original->place.inode)
        sim_break(sim, SIM_PROMISE_copy_waits,
                  "%s, a copy of the directory of %s, is granted something beside it", copy->name,
                  copy->original->name);
}

void watch_granted(struct sim *sim, unsigned account, const struct message *message,
                   const char *const arguments[], const redisReply *reply)
{
    struct sim_node *node = message->connection->node;
    unsigned number = node->number;
    if (node->original != NULL)
        check_copy(node);
    struct sim_account *of = &sim->accounts[account];
    if (node->ledger == NULL || message->sent_us < node->started_us)
        sim->late_granted_us = sim->schedule.now_us;
    if (reply->element[7]->integer != LEDGER_BY_NOTHING && strcmp(arguments[5], "0") != 0)
        check_reservation(node, account, strtoull(arguments[1], NULL, 10));
    if (message->sent_us > of->confirmed_us[number])
        of->confirmed_us[number] = message->sent_us;
    for (unsigned i = 0; i < SIM_LINKS; i++) {
        struct sim_link *link = &sim->links[i];
        if (message->sent_us > link->confirmed_us[number] &&
            strcmp(message->words[5], link->key) == 0)
            link->confirmed_us[number] = message->sent_us;
    }
}

/* ---- what it sends to clients ---- */

void watch_handed(const struct sim_response *response)
{
    struct sim *sim = response->sim;
    const struct sim_node *node = response->worker->node;
    const struct sim_link *link = response->link;
    uint64_t age_us =
        sim->schedule.now_us - sim->accounts[link->account].confirmed_us[node->number];
    watch_looked(sim, SIM_PROMISE_confirmed);
    if (age_us > SIM_VALIDITY_MS * SIM_MS + CLOCK_US)
        sim_break(sim, SIM_PROMISE_confirmed,
                  "%s sends bytes of link %ld, of whose account it asked Redis %" PRIu64 " ms ago",
                  node->name, link - sim->links, age_us / SIM_MS);
    watch_looked(sim, SIM_PROMISE_metered);
    if (node->has_failed || node->ledger->writer.deferred != NULL || node->ledger->writer.starved)
        sim_break(sim, SIM_PROMISE_metered, "%s sends bytes, and its journal %s", node->name,
                  node->has_failed ? "has failed" : "has no room for what it sent before");
}

/* ---- what it keeps ---- */

void watch_kept(struct sim_node *node)
{
    struct sim *sim = node->sim;
    struct ledger *ledger = node->ledger;
    uint64_t open = 0, room = ledger->journal.end_room;
    for (const struct ledger_download *download = ledger->open; download != NULL;
         download = download->open_next) {
        open++;
        room += download->room;
    }
    watch_looked(sim, SIM_PROMISE_given_back);
    if (ledger->journal.reserved != room || atomic_load(&ledger->downloads) != open ||
        open > SIM_DOWNLOADS)
        sim_break(sim, SIM_PROMISE_given_back,
                  "%s has %" PRIu64 " downloads of %d, counts %" PRIu64
                  ", and keeps room for %" PRIu64 " records, not %" PRIu64,
                  node->name, open, SIM_DOWNLOADS, (uint64_t)atomic_load(&ledger->downloads),
                  (uint64_t)ledger->journal.reserved, room);
}

void watch_older(struct sim_node *node)
{
    struct sim *sim = node->sim;
    if (!node->is_older || node->ledger == NULL)
        return;
    watch_looked(sim, SIM_PROMISE_older_refused);
    if (atomic_load(&node->ledger->poster_state) == LEDGER_READY)
        sim_break(sim, SIM_PROMISE_older_refused,
                  "%s serves, and Redis has more records of its directory than it found there",
                  node->name);
}

bool watch_serves(const struct sim_node *node)
{
    for (unsigned i = 0; i < SIM_WORKERS; i++)
        if (decision_readiness(&node->workers[i].grants) != READINESS_SERVES)
            return false;
    if (!ledger_push_is_up(node->ledger, node_monotonic_ms(node)))
        return false;
    /* The funds of what cannot be posted, as the account is set aside, are told on. */
    for (unsigned i = 0; i < SIM_ACCOUNTS; i++)
        if (leaving_lacks(node, i))
            return true;
    return atomic_load(&node->windows->count) == 0 && atomic_load(&node->windows->groups) == 0;
}
