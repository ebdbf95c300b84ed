/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients may receive beyond what was paid: bytes that were lost with a process, a journal or a
 * copy of a directory, and those of funds that were void. Each excuse is as narrow as the promise in
 * storage/ledger/README.md. promises.c takes them off; it excuses what a Redis lost itself.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/simulation/leaving.h"
#include "tests/simulation/sim.h"
#include "tests/simulation/store.h"

/* ---- processes and their journals ---- */

uint64_t watch_lost_bytes(const struct sim *sim, unsigned account)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < SIM_NODES + SIM_COPIES; i++) {
        const struct sim_node *node = &sim->nodes[i];
        uint64_t kept = node->before[account].least, posted = node->posted[account];
        if (node->has_failed)
            sum += node->metered[account].all - node->metered[account].least;
        if (node->is_retired && kept > posted)
            sum += kept - posted;
    }
    return sum;
}

/* Bytes of an account that may go unpaid; of which of its links, nobody knows. */
static void excuse(struct sim *sim, unsigned account, uint64_t bytes)
{
    sim->accounts[account].excused += bytes;
    for (unsigned i = 0; i < SIM_LINKS; i++)
        sim->links[i].excused += sim->links[i].account == account ? bytes : 0;
}

void watch_ended(struct sim_node *node)
{
    struct sim *sim = node->sim;
    for (unsigned i = 0; i < SIM_ACCOUNTS; i++) {
        struct sim_metered *metered = &node->metered[i];
        uint64_t lost = metered->all - metered->least;
        if (lost > 0)
            sim_tell(sim, node->name, "%" PRIu64 " bytes of %s were not in its journal", lost,
                     sim->accounts[i].name);
        excuse(sim, i, lost);
        node->before[i].least += metered->least;
        node->before[i].most += metered->most;
        *metered = (struct sim_metered){0};
    }
    node->has_failed = false;
}

void watch_lost_segment(struct sim_node *node)
{
    for (unsigned i = 0; i < SIM_ACCOUNTS; i++) {
        uint64_t kept = node->before[i].least, posted = node->posted[i];
        excuse(node->sim, i, kept > posted ? kept - posted : 0);
    }
}

void watch_lacking(struct sim *sim)
{
    for (unsigned i = 0; i < SIM_ACCOUNTS; i++) {
        struct sim_account *account = &sim->accounts[i];
        if (!leaving_lacks_any(sim, i))
            continue;
        excuse(sim, i, account->gone_back);
        account->gone_back = 0;
        account->is_set_beside |= account->set_us >= sim->redis.lost_us;
    }
}

/* Redis has lost what a copy had posted, which only the copy's journal has. */
void watch_lost_of_copy(struct sim *sim, unsigned account)
{
    struct sim_node *copy = &sim->nodes[SIM_NODES];
    char field[LEDGER_HEX_SIZE + 2];
    snprintf(field, sizeof(field), "w:%s", copy->id);
    if (copy->original != NULL &&
        (uint64_t)redis_number(sim, sim->accounts[account].key, field) <= copy->found[account])
        copy->posted[account] = 0;
}

/* ---- funds ---- */

struct voided {
    struct sim *sim;
    const char *key;   /* of the fund's pools */
    const char *taken; /* the instance of which another process tells or takes over; NULL: none */
    uint64_t below;    /* of it, the pools that were told with a lower number of the lease */
    struct sim_excused *excused; /* by node */
    uint64_t *bytes;
};

/* A pool that a node has not told for twice the validity is void: what it held may be granted to others,
 * also where the node has delivered it and could not post it. */
static void excuse_void(void *context, const char *field, size_t field_length, const char *value,
                        size_t length)
{
    struct voided *voided = context;
    struct sim_pool pool;
    struct sim *sim = voided->sim;
    (void)field_length, (void)length;
    if (!sim_pool_of(sim, voided->key, field, value, &pool))
        return;
    for (unsigned i = 0; i < SIM_NODES; i++) {
        struct sim_excused *excused = &voided->excused[i];
        bool is_taken = voided->taken != NULL && strcmp(voided->taken, field) == 0 &&
                        pool.lease < voided->below;
        if (strcmp(sim->nodes[i].id, field) != 0 ||
            (pool.expires_ms > redis_real_ms(sim) && !is_taken) || pool.ceiling <= pool.posted ||
            (excused->lease == pool.lease && excused->count == pool.count))
            continue;
        *excused = (struct sim_excused){pool.lease, pool.count};
        *voided->bytes += pool.ceiling - pool.posted;
    }
}

static bool has_word(const struct message *message, const char *word)
{
    for (int i = 0; i < message->count; i++)
        if (strcmp(message->words[i], word) == 0)
            return true;
    return false;
}

/* Of all funds, or those that a command names. */
static void excuse_voids(struct sim *sim, const char *taken, uint64_t below,
                         const struct message *message)
{
    for (unsigned i = 0; i < SIM_ACCOUNTS; i++) {
        struct sim_account *account = &sim->accounts[i];
        struct voided voided = {sim,   account->grants_key, taken,
                                below, account->voided,     &account->excused};
        if (message == NULL || has_word(message, account->grants_key))
            store_each_field(sim->redis.store, account->grants_key, excuse_void, &voided);
    }
    for (unsigned i = 0; i < SIM_LINKS; i++) {
        struct sim_link *link = &sim->links[i];
        char key[sizeof(link->key) + sizeof(":grants")];
        snprintf(key, sizeof(key), "%s:grants", link->key);
        struct voided voided = {sim, key, taken, below, link->voided, &link->excused};
        if (message == NULL || has_word(message, key))
            store_each_field(sim->redis.store, key, excuse_void, &voided);
    }
}

void watch_voids(struct sim *sim, const char *taken)
{
    excuse_voids(sim, taken, UINT64_MAX, NULL);
}

/* An original that cannot renew its lease may be granted something until it hears that a copy has it. */
void watch_replaced(struct sim *sim, const struct message *message)
{
    const struct sim_node *copy = &sim->nodes[SIM_NODES], *node = message->connection->node;
    if (!copy->exists || (node != copy && copy->original != node) || message->count < 6 ||
        strcmp(message->words[0], "FCALL") != 0 ||
        (strcmp(message->words[1], "tollgate_admit") != 0 &&
         strcmp(message->words[1], "tollgate_tell") != 0))
        return;
    const char *const *arguments = message->words + 3 + atoi(message->words[2]);
    excuse_voids(sim, node->id, strtoull(arguments[1], NULL, 10), message);
}

/* A copy that has got the lease, or its original beside it, tells the pools again, and lacks what the other
 * has delivered and not posted: at most what its pools held. */
void watch_leased(struct sim_node *node)
{
    const struct sim_node *copy = &node->sim->nodes[SIM_NODES];
    if (ledger_lease_number(node->ledger) > 0 && copy->exists &&
        (node == copy || copy->original == node))
        watch_voids(node->sim, node->id);
}
