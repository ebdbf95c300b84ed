/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold at any time, by the promises at the head of storage/ledger/ledger.h and in its
 * README.md: looked at after each step that could break it. What clients received is known here
 * from the clients themselves, and not from any node. What may go unpaid is in excuses.c, and what must
 * hold at rest in rest.c.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "tests/simulation/sim.h"
#include "tests/simulation/store.h"

/*
 * How long a revocation, once in Redis, may take until no response begins: where a response asked,
 * the answer may be as old as its question, and else push may be behind by what LEDGER_PUSH_LOST_MS
 * allows. SLACK is for ticks and messages.
 */
#define SLACK_US       (500 * SIM_MS)
#define BEGUN_LATE_US  (LEDGER_PUSH_LOST_MS * SIM_MS + SLACK_US)
#define ASKED_LATE_US  (SIM_TIMEOUT_MS * SIM_MS + SLACK_US)
#define SENT_LATE_US   (SIM_VALIDITY_MS * SIM_MS + ASKED_LATE_US)
#define PARKED_MOST_US (SIM_VALIDITY_MS * SIM_MS + 4 * SIM_TIMEOUT_MS * SIM_MS)

void watch_looked(struct sim *sim, enum sim_promise promise)
{
    sim->tally->looked[promise]++;
}

unsigned watch_account_of(const struct sim *sim, const char *key)
{
    static const char begin[] = "tg:{" SIM_ISSUER "/";
    if (strncmp(key, begin, sizeof(begin) - 1) != 0)
        return SIM_ACCOUNTS;
    const char *name = key + sizeof(begin) - 1;
    unsigned account = 0;
    for (; account < SIM_ACCOUNTS; account++) {
        size_t length = strlen(sim->accounts[account].name);
        if (strncmp(name, sim->accounts[account].name, length) == 0 && name[length] == '}')
            break;
    }
    return account;
}

/* ---- since when an account, or a link, is forbidden ---- */

static void look_at_link(struct sim *sim, struct sim_link *link)
{
    bool is_revoked = store_field(sim->redis.store, link->key, "revoked", NULL) != NULL;
    if (!is_revoked)
        link->revoked_us = 0;
    else if (link->revoked_us == 0)
        link->revoked_us = sim->schedule.now_us;
}

static void look_at_account(struct sim *sim, unsigned number)
{
    struct sim_account *account = &sim->accounts[number];
    const char *status = store_field(sim->redis.store, account->key, "status", NULL);
    bool is_suspended = status != NULL && strcmp(status, "suspended") == 0;
    if (!is_suspended)
        account->suspended_us = 0;
    else if (account->suspended_us == 0)
        account->suspended_us = sim->schedule.now_us;
}

static void look_at_all(struct sim *sim)
{
    for (unsigned i = 0; i < SIM_LINKS; i++)
        look_at_link(sim, &sim->links[i]);
    for (unsigned i = 0; i < SIM_ACCOUNTS; i++)
        look_at_account(sim, i);
}

/* ---- after each call of Redis ---- */

static void check_bill(struct sim *sim, unsigned account)
{
    int64_t used = redis_number(sim, sim->accounts[account].key, "used");
    watch_looked(sim, SIM_PROMISE_billed_not_more);
    if (used > (int64_t)sim->accounts[account].delivered)
        sim_break(sim, SIM_PROMISE_billed_not_more,
                  "account %s is billed %" PRId64 " bytes, and its clients received %" PRIu64,
                  sim->accounts[account].name, used, sim->accounts[account].delivered);
}

/* Whose records from `from` on are: a copy posts those of its original, too, which it found. */
static struct sim_node *recorder_of(struct sim_node *poster, unsigned account, uint64_t from)
{
    bool is_own = poster->original == NULL || from > poster->found[account];
    return is_own ? poster : poster->original;
}

/* Adds up what Redis takes from each node; `files` are the arguments of a post of usage behind the
 * first ones: file, bytes, responses, terms of each. */
static void add_posted(struct sim_node *node, unsigned account, int count,
                       const char *const files[])
{
    for (int i = 1; i < count; i += 4)
        node->posted[account] += strtoull(files[i], NULL, 10);
}

/* Reads `count` numbers with a space between them. All pools are read before each call, and strtoull took
 * a twentieth of a seed's time. */
static void numbers_of(const char *value, unsigned count, uint64_t numbers[])
{
    for (unsigned i = 0; i < count && *value != '\0'; value++) {
        if (*value == ' ')
            i++;
        else
            numbers[i] = 10 * numbers[i] + (uint64_t)(*value - '0');
    }
}

bool sim_pool_of(struct sim *sim, const char *key, const char *field, const char *value,
                 struct sim_pool *pool)
{
    uint64_t numbers[5] = {0}, posted = 0;
    char of_posts[48];
    if (strncmp(field, "p:", 2) == 0)
        return false;
    numbers_of(value, 5, numbers);
    snprintf(of_posts, sizeof(of_posts), "p:%s", field);
    const char *known = store_field(sim->redis.store, key, of_posts, NULL);
    if (known != NULL)
        numbers_of(known, 1, &posted);
    *pool = (struct sim_pool){posted, numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]};
    return true;
}

struct reserved {
    struct sim *sim;
    const char *key;
    uint64_t now_ms, sum;
};

static void add_pool(void *context, const char *field, size_t field_length, const char *value,
                     size_t length)
{
    struct reserved *reserved = context;
    struct sim_pool pool;
    (void)field_length, (void)length;
    if (!sim_pool_of(reserved->sim, reserved->key, field, value, &pool))
        return;
    if (pool.expires_ms > reserved->now_ms && pool.ceiling > pool.posted)
        reserved->sum += pool.ceiling - pool.posted;
}

/* What all nodes have reserved of an account. */
static int64_t reserved_of(struct sim *sim, const struct sim_account *account)
{
    struct reserved reserved = {sim, account->grants_key, redis_real_ms(sim), 0};
    store_each_field(sim->redis.store, account->grants_key, add_pool, &reserved);
    return (int64_t)reserved.sum;
}

static void check_reserved(struct sim *sim, const struct sim_account *account)
{
    int64_t reserved = reserved_of(sim, account),
            balance = redis_number(sim, account->key, "balance");
    watch_looked(sim, SIM_PROMISE_reserved_is_covered);
    if (reserved > 0 && reserved > balance + (int64_t)account->excused)
        sim_break(sim, SIM_PROMISE_reserved_is_covered,
                  "account %s has %" PRId64 " reserved, and a balance of %" PRId64, account->name,
                  reserved, balance);
}

/* An adjustment took money away. What was reserved, or delivered, between its hold and its post may
 * take the balance below zero (storage/README.md). */
static void take_away(struct sim *sim, struct sim_account *account, int64_t amount,
                      const char *transaction)
{
    if (amount >= 0 || !shop_counts_once(sim, transaction))
        return;
    int64_t beyond = reserved_of(sim, account) - redis_number(sim, account->key, "balance");
    account->money_most += amount;
    account->excused += beyond > 0 ? (uint64_t)beyond : 0;
}

/* Redis took a node's post, whose arguments these are. */
static void check_post(struct sim_node *node, unsigned account, int count,
                       const char *const arguments[])
{
    struct sim *sim = node->sim;
    const char *const *files = arguments + LEDGER_COUNT(LEDGER_POST_ARGUMENTS);
    uint64_t from = strtoull(arguments[2], NULL, 10);
    check(count > (int)LEDGER_COUNT(LEDGER_POST_ARGUMENTS));
    watch_takes(sim, account, arguments[0], from, strtoull(arguments[3], NULL, 10));
    check_bill(sim, account);
    if (strcmp(arguments[4], "usage") == 0) {
        files += LEDGER_COUNT(LEDGER_POST_USAGE_ARGUMENTS);
        add_posted(recorder_of(node, account, from), account, count - (int)(files - arguments),
                   files);
    } else {
        look_at_all(sim);
        take_away(sim, &sim->accounts[account], strtoll(files[1], NULL, 10), files[4]);
    }
}

/* Redis was called to fill an account. Behind the arguments stand the dates, and rows of usage, of uses and
 * of operations. */
static void check_fill(struct sim_node *node, unsigned account, int count,
                       const char *const arguments[], const redisReply *reply)
{
    struct sim *sim = node->sim;
    int at = (int)LEDGER_COUNT(LEDGER_FILL_ARGUMENTS);
    check(count >= at);
    int usages = atoi(arguments[at - 3]), uses = atoi(arguments[at - 2]);
    at += atoi(arguments[at - 5]);
    if (!fills_take(node, account, arguments, reply))
        return;
    for (int i = 0; i < usages; i++, at += (int)LEDGER_COUNT(LEDGER_ROW_ARGUMENTS))
        recorder_of(node, account, 1)->posted[account] += strtoull(arguments[at + 2], NULL, 10);
    at += uses * (int)LEDGER_COUNT(LEDGER_USE_ARGUMENTS);
    for (; at < count; at += (int)(LEDGER_COUNT(LEDGER_MONEY_ARGUMENTS) +
                                   LEDGER_COUNT(LEDGER_FILL_MONEY_ARGUMENTS)))
        take_away(sim, &sim->accounts[account], strtoll(arguments[at + 1], NULL, 10),
                  arguments[at + 4]);
    check_bill(sim, account);
    look_at_all(sim);
}

void watch_executed(struct sim *sim, const struct message *message, const redisReply *reply)
{
    const char *const *words = message->words;
    if (message->count < 4 || strcmp(words[0], "FCALL") != 0)
        return;
    unsigned account = watch_account_of(sim, words[3]);
    int behind = 3 + atoi(words[2]); /* the first argument's index */
    if (account == SIM_ACCOUNTS || reply->type != REDIS_REPLY_ARRAY)
        return;
    if (strcmp(words[1], "tollgate_post") == 0 && reply->element[0]->integer == 0)
        check_post(message->connection->node, account, message->count - behind, words + behind);
    if (strcmp(words[1], "tollgate_fill") == 0)
        check_fill(message->connection->node, account, message->count - behind, words + behind,
                   reply);
    if (strcmp(words[1], "tollgate_admit") == 0 && reply->element[0]->integer == LEDGER_GRANTED)
        fills_forbid(sim, account, "granted");
    if (strcmp(words[1], "tollgate_admit") == 0 && reply->element[0]->integer == LEDGER_GRANTED)
        watch_granted(sim, account, message, words + behind, reply);
    if (sim->accounts[account].is_prepaid && !sim->has_lost_data)
        check_reserved(sim, &sim->accounts[account]);
}

void watch_lost_data(struct sim *sim)
{
    sim->has_lost_data = true;
    sim->redis.lost_us = sim->schedule.now_us;
    for (unsigned i = 0; i < SIM_NODES + SIM_COPIES; i++)
        sim->nodes[i].is_older = false;
    look_at_all(sim);
    fills_look(sim);
    for (unsigned i = 0; i < SIM_ACCOUNTS; i++) {
        watch_lost_watermarks(sim, i);
        watch_lost_of_copy(sim, i);
        watch_lost_reservations(sim, i);
    }
    watch_lacking(sim);
    /* What a node holds for its account is lost with the Redis that reserved it. */
    for (unsigned i = 0; i < SIM_RESPONSES; i++) {
        struct sim_response *response = &sim->responses[i];
        if (response->state == RESPONSE_FREE)
            continue;
        uint64_t held = response->left + response->handed - response->received;
        sim->accounts[response->link->account].excused += held + SIM_SLICE_BYTES;
        response->link->excused += held + SIM_SLICE_BYTES;
    }
}

/* ---- what clients receive ---- */

void watch_received(struct sim_response *response, uint64_t bytes)
{
    struct sim *sim = response->sim;
    struct sim_link *link = response->link;
    struct sim_account *account = &sim->accounts[link->account];
    account->delivered += bytes;
    link->delivered += bytes;
    if (account->is_prepaid) {
        uint64_t excused = account->excused + watch_lost_bytes(sim, link->account);
        watch_looked(sim, SIM_PROMISE_not_overspent);
        if (account->delivered > (uint64_t)account->money_most + excused)
            sim_break(sim, SIM_PROMISE_not_overspent,
                      "clients of account %s received %" PRIu64 " bytes, and %" PRId64
                      " were paid for (%" PRIu64 " excused)",
                      account->name, account->delivered, account->money_most, excused);
    }
    if (link->max_bytes > 0) {
        uint64_t excused = link->excused + watch_lost_bytes(sim, link->account);
        watch_looked(sim, SIM_PROMISE_link_not_overspent);
        if (link->delivered > link->max_bytes + excused)
            sim_break(sim, SIM_PROMISE_link_not_overspent,
                      "clients of link %ld received %" PRIu64 " bytes of %" PRIu64 " (%" PRIu64
                      " excused)",
                      link - sim->links, link->delivered, link->max_bytes, excused);
    }
}

/* For how long Redis has known that nothing may begin for the response; 0: it may. */
static uint64_t forbidden_us(const struct sim_response *response)
{
    const struct sim *sim = response->sim;
    uint64_t revoked = response->link->revoked_us;
    uint64_t suspended = sim->accounts[response->link->account].suspended_us;
    uint64_t since = revoked != 0 && (suspended == 0 || revoked < suspended) ? revoked : suspended;
    return since != 0 ? sim->schedule.now_us - since : 0;
}

void watch_begun(struct sim_response *response)
{
    struct sim *sim = response->sim;
    uint64_t late_us = forbidden_us(response);
    watch_looked(sim, SIM_PROMISE_revoked_not_begun);
    if (late_us > (response->parked_us == 0 ? BEGUN_LATE_US : ASKED_LATE_US))
        sim_break(sim, SIM_PROMISE_revoked_not_begun,
                  "a response of link %ld begins %" PRIu64 " ms after it was revoked or suspended",
                  response->link - sim->links, late_us / SIM_MS);
}

void watch_sent(struct sim_response *response)
{
    struct sim *sim = response->sim;
    uint64_t late_us = forbidden_us(response);
    watch_looked(sim, SIM_PROMISE_revoked_not_sent);
    if (late_us > SENT_LATE_US)
        sim_break(sim, SIM_PROMISE_revoked_not_sent,
                  "a transfer of link %ld goes on %" PRIu64 " ms after it was revoked or suspended",
                  response->link - sim->links, late_us / SIM_MS);
    watch_handed(response);
}

/* ---- the journal ---- */

void watch_marks(struct sim_node *node)
{
    uint64_t by_ms = ledger_monotonic_ms(node->ledger) + marks_interval_ms(node->ledger);
    if (by_ms > node->marks_by_ms)
        node->marks_by_ms = by_ms;
}

/* What is not marked belongs to a download that moves, and is marked soon. */
static void watch_unmarked(struct sim_node *node, const struct ledger_download *download)
{
    uint64_t unmarked = atomic_load(&download->bytes) - download->marked_bytes;
    watch_looked(node->sim, SIM_PROMISE_marked);
    if (unmarked == 0)
        return;
    uint64_t now_ms = ledger_monotonic_ms(node->ledger);
    bool is_under_way = atomic_load(&download->under_way) > 0;
    if (!download->waits || !is_under_way || download->due_ms <= now_ms ||
        download->due_ms > node->marks_by_ms)
        sim_break(node->sim, SIM_PROMISE_marked, "%s: %" PRIu64 " bytes were not marked%s",
                  node->name, unmarked, is_under_way ? "" : ", and nothing is under way");
    for (unsigned i = 0; i < SIM_ACCOUNTS; i++)
        if (strcmp(download->account->account, node->sim->accounts[i].name) == 0)
            node->metered[i].least -= unmarked;
}

void watch_written(struct sim_node *node)
{
    struct sim *sim = node->sim;
    struct ledger *ledger = node->ledger;
    /* A copy that took the place of its original, while that did not run, tells Redis of records, and
     * posts them, which the original lacks: it is older now, or has others in their place. */
    if (node->original != NULL && ledger_lease_number(ledger) > 0) {
        node->vouched_for = node->found_entries;
        if (ledger->journal.entries > node->found_entries)
            node->original->is_kept_out = true;
    }
    bool has_failed = node->has_failed;
    node->has_failed |= ledger->journal.failed || node->disk.is_dead || node->disk.has_failed;
    watch_looked(sim, SIM_PROMISE_closing_has_room);
    if (node->disk.is_overrun)
        sim_break(sim, SIM_PROMISE_closing_has_room, "%s writes beyond the end of a segment",
                  node->name);
    for (const struct ledger_download *download = ledger->writer.deferred; download != NULL;
         download = download->next)
        if ((atomic_load(&download->flags) & DOWNLOAD_CLOSING) != 0)
            sim_break(sim, SIM_PROMISE_closing_has_room, "%s has no room for a closing record",
                      node->name);
    if ((ledger->writer.deferred != NULL || ledger->writer.starved) && !node->has_failed) {
        for (unsigned i = 0; i < SIM_ACCOUNTS; i++) /* it lacks room, and says so */
            node->metered[i].most = node->metered[i].all;
        return;
    }
    if (node->has_failed) {
        /* What this turn wrote may be on disk; what comes after it is not. */
        for (unsigned i = 0; i < SIM_ACCOUNTS && !has_failed; i++)
            node->metered[i].most = node->metered[i].all;
        return;
    }
    for (unsigned i = 0; i < SIM_ACCOUNTS; i++)
        node->metered[i].least = node->metered[i].most = node->metered[i].all;
    for (const struct ledger_download *download = ledger->open; download != NULL;
         download = download->open_next)
        watch_unmarked(node, download);
    watch_kept(node);
}

/* ---- each tick ---- */

/* A copy that got the lease vouches for what its original had written without one. To the original that
 * does not count (it may have written something else there), so that Redis has more of its journal. */
static void watch_vouched(struct sim_node *copy)
{
    struct sim_node *original = copy->original;
    if (original != NULL && original->ledger != NULL &&
        atomic_load(&original->ledger->journal.durable_vouched) < copy->vouched_for)
        original->is_kept_out = true;
}

void watch_tick(struct sim *sim)
{
    watch_voids(sim, NULL);
    for (unsigned i = 0; i < SIM_NODES + SIM_COPIES; i++) {
        watch_older(&sim->nodes[i]);
        watch_vouched(&sim->nodes[i]);
    }
    for (unsigned i = 0; i < SIM_RESPONSES; i++) {
        const struct sim_response *response = &sim->responses[i];
        if (response->state == RESPONSE_FREE || !response->is_parked)
            continue;
        watch_looked(sim, SIM_PROMISE_answered);
        if (sim->schedule.now_us - response->parked_us > PARKED_MOST_US)
            sim_break(sim, SIM_PROMISE_answered, "response %u.%u has waited for %" PRIu64 " ms",
                      response->index, response->generation,
                      (sim->schedule.now_us - response->parked_us) / SIM_MS);
    }
}
