/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judges Redis' birth id, and waits for the nodes that are remembered. See birth.h. birth_nodes.c
 * keeps them.
 */
#include "storage/ledger/birth.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "server/base/check.h"
#include "storage/ledger/birth_nodes.h"

struct birth {
    struct ledger *ledger; /* borrows */
    bool remembers;
    struct birth_nodes nodes;
    uint64_t met;      /* the id that Redis has while data is lost */
    uint64_t since_ms; /* likewise */
    uint64_t due_ms;   /* when to ask again, likewise */
    uint64_t list_ms;  /* when the nodes are to be listed */
    char run[64];      /* id of the Redis that was met last; "": none was */
    uint64_t run_ms;   /* when it was met */
    bool listed;       /* by the command that is under way */
    bool says;         /* and it said that this node has replayed to `said` */
    uint64_t said;
    bool is_noted;     /* Redis notes that it was asked, so that a later question finds it */
    uint64_t noted_ms; /* when that was last, by Redis' clock, also in a process before this one */
};

enum { IS_SET_NOW = 1, IS_OLDER, HAS_NO_ROOM }; /* what tollgate_birth returns in third place */

static const char birth_keys[] = {'0' + LEDGER_COUNT(LEDGER_BIRTH_KEYS), '\0'};

/* ---- what other threads ask ---- */

uint64_t ledger_losses(const struct ledger *ledger)
{
    return atomic_load_explicit(&ledger->losses, memory_order_acquire);
}

bool ledger_is_settled(const struct ledger *ledger)
{
    return !atomic_load_explicit(&ledger->unsettled, memory_order_acquire);
}

void ledger_birth_is_doubted(struct ledger *ledger)
{
    atomic_store(&ledger->birth_doubted, true);
    ledger_wake_poster(ledger);
}

void ledger_ceilings_are_told(struct ledger *ledger, unsigned worker, uint64_t losses)
{
    check(worker < LEDGER_WORKERS_MAX);
    atomic_store_explicit(&ledger->told[worker], losses + 1, memory_order_release);
}

void ledger_data_loss(struct ledger *ledger, struct ledger_data_loss *out)
{
    pthread_mutex_lock(&ledger->lock);
    *out = ledger->loss;
    pthread_mutex_unlock(&ledger->lock);
    out->is_lost = ledger_data_is_lost(ledger);
}

static bool are_ceilings_told(const struct ledger *ledger)
{
    uint64_t losses = ledger_losses(ledger);
    for (unsigned i = 0; i < LEDGER_WORKERS_MAX; i++) {
        uint64_t told = atomic_load_explicit(&ledger->told[i], memory_order_acquire);
        if (told != 0 && told != losses + 1) /* 0: there is no such worker */
            return false;
    }
    return true;
}

/* Tells which nodes are awaited, and how many. */
static void publish(struct birth *birth)
{
    struct ledger_data_loss loss = {.since_ms = birth->since_ms};
    for (size_t i = 0; i < birth->nodes.count; i++) {
        const struct birth_node *node = &birth->nodes.list[i];
        if (node->has_said)
            continue;
        if (loss.awaited < LEDGER_AWAITED_MAX)
            memcpy(loss.names[loss.awaited], node->name, sizeof(node->name));
        loss.awaited++;
    }
    pthread_mutex_lock(&birth->ledger->lock);
    birth->ledger->loss = loss;
    pthread_mutex_unlock(&birth->ledger->lock);
}

/* ---- the file ---- */

static void save(struct birth *birth)
{
    struct ledger *ledger = birth->ledger;
    if (!birth->remembers)
        return;
    int result = birth_nodes_save(&birth->nodes, ledger->lane.state);
    if (result != 0)
        ledger_say(
            ledger, LEDGER_EVENT_WARNING,
            "%s/nodes cannot be written: %s; if Redis loses its data, this node "
            "may not wait for nodes that it saw lately; make room, and check its permissions",
            ledger->options.state_dir, strerrordesc_np(-result));
}

static void load(struct birth *birth)
{
    struct ledger *ledger = birth->ledger;
    int result = birth->remembers ? birth_nodes_load(&birth->nodes, ledger->lane.state) : 0;
    if (result != 0 && result != -ENOENT)
        ledger_say(ledger, LEDGER_EVENT_WARNING,
                   "%s/nodes cannot be read: %s; if Redis has lost its data, this node "
                   "waits for no other; delete the file, which is made again",
                   ledger->options.state_dir, strerrordesc_np(-result));
}

int birth_create(struct birth **out, struct ledger *ledger, bool remembers)
{
    struct birth *birth = calloc(1, sizeof(*birth));
    if (birth == NULL)
        return -ENOMEM;
    birth->ledger = ledger;
    birth->remembers = remembers;
    load(birth);
    birth->noted_ms = holdings_noted_ms(ledger->holdings);
    atomic_store(&ledger->birth_id, birth->nodes.birth);
    *out = birth;
    return 0;
}

void birth_destroy(struct birth **pointer)
{
    if (*pointer != NULL)
        birth_nodes_free(&(*pointer)->nodes);
    free(*pointer);
    *pointer = NULL;
}

/* ---- the question ---- */

/* Another id each time: one that Redis has had before would hide that it lost its data since. */
static uint64_t propose(const struct ledger *ledger)
{
    uint64_t id = 0;
    if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id) || id == 0)
        id = ledger_real_ms(ledger);
    return id;
}

void birth_ask(struct birth *birth, bool holds_lease, bool is_current, const char *run_id,
               struct birth_command *out)
{
    struct ledger *ledger = birth->ledger;
    uint64_t id = atomic_load(&ledger->birth_id);
    bool is_lost = ledger_data_is_lost(ledger);
    atomic_store(&ledger->birth_doubted, false);
    birth->due_ms = ledger_monotonic_ms(ledger) + BIRTH_POLL_MS;
    bool waits = is_lost || !ledger_is_settled(ledger) || strcmp(birth->run, run_id) != 0;
    birth->listed = birth->remembers && (waits || ledger_monotonic_ms(ledger) >= birth->list_ms);
    birth->says = holds_lease && is_current && id != 0 && (!is_lost || are_ceilings_told(ledger));
    birth->said = id;
    birth->is_noted = holds_lease;
    snprintf(out->seen, sizeof(out->seen), "%" PRIu64, birth->noted_ms);
    snprintf(out->proposed, sizeof(out->proposed), "%" PRIx64, propose(ledger));
    snprintf(out->replayed, sizeof(out->replayed), "%" PRIx64, id);
    snprintf(out->known, sizeof(out->known), "%" PRIx64, id);
    snprintf(out->version, sizeof(out->version), "%d", LEDGER_FUNCTIONS_FORMAT);
    const char *key = "tg:birth", *proposed = out->proposed, *lists = birth->listed ? "1" : "0";
    const char *instance = holds_lease ? ledger->instance : "", *name = ledger->options.node;
    const char *directory = ledger->lane.state_id, *replayed = birth->says ? out->replayed : "-";
    const char *run = run_id[0] != '\0' ? run_id : "-";
    const char *own = ledger->instance, *seen = out->seen, *known = id != 0 ? out->known : "-";
    const char *version = out->version;
    const char *const words[] = {"FCALL", "tollgate_birth", birth_keys, key,
                                 LEDGER_BIRTH_ARGUMENTS(LEDGER_WORD)};
    _Static_assert(sizeof(words) <= sizeof(out->words), "a command has room for its words");
    out->count = sizeof(words) / sizeof(words[0]);
    memcpy(out->words, words, sizeof(words));
}

/* ---- the answer ---- */

static void begin(struct birth *birth, uint64_t id)
{
    struct ledger *ledger = birth->ledger;
    birth->met = id;
    birth->since_ms = ledger_monotonic_ms(ledger);
    birth->says = false;
    for (size_t i = 0; i < birth->nodes.count; i++)
        birth->nodes.list[i].has_said = false;
    publish(birth);
    /* Until the wait is over, the file has another birth than Redis: a process that ends before
     * leaves it to the next one, also where Redis was restored and has the same. */
    if (birth->nodes.birth == id)
        birth->nodes.birth = ~id != 0 ? ~id : 1;
    save(birth);
    atomic_store(&ledger->birth_id, id);
    atomic_store_explicit(&ledger->losses, (ledger_losses(ledger) + 1) | 1, memory_order_release);
    if (birth->remembers)
        ledger_say(ledger, LEDGER_EVENT_WARNING,
                   "Redis has lost its data: until this node and the %zu others that it remembers "
                   "have replayed their journals, for %" PRIu32
                   " ms at most, what Redis denies is answered 503",
                   birth->nodes.count, ledger->options.data_lost_wait_ms);
}

static void end(struct birth *birth, bool is_over)
{
    struct ledger *ledger = birth->ledger;
    struct ledger_data_loss loss;
    uint64_t took_ms = ledger_monotonic_ms(ledger) - birth->since_ms;
    char names[LEDGER_AWAITED_MAX * (LEDGER_NODE_MAX + 2) + 1] = "";
    publish(birth);
    ledger_data_loss(ledger, &loss);
    for (unsigned i = 0; i < loss.awaited && i < LEDGER_AWAITED_MAX; i++)
        snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", i > 0 ? ", " : "",
                 loss.names[i]);
    birth->nodes.birth = birth->met;
    birth->met = 0;
    save(birth);
    atomic_store_explicit(&ledger->losses, ledger_losses(ledger) + 1, memory_order_release);
    if (!birth->remembers)
        return;
    if (!is_over)
        ledger_say(ledger, LEDGER_EVENT_INFO,
                   "all nodes have replayed their journals to Redis, %" PRIu64
                   " ms after this one saw that its data was lost",
                   took_ms);
    else
        ledger_say(ledger, LEDGER_EVENT_WARNING,
                   "the wait for lost data is over after %" PRIu64
                   " ms; %u nodes have not replayed their journals: %s%s; start them again, since "
                   "what they hold is not in Redis",
                   took_ms, loss.awaited, names[0] != '\0' ? names : "this one",
                   loss.awaited > LEDGER_AWAITED_MAX ? " and others" : "");
}

static bool read_id(const redisReply *reply, uint64_t *out)
{
    char *rest;
    if (reply->type != REDIS_REPLY_STRING || reply->len < 1 || reply->len > 16)
        return false;
    *out = strtoull(reply->str, &rest, 16);
    return *rest == '\0' && *out != 0;
}

static bool is_shaped(const redisReply *reply)
{
    bool shaped = reply->type == REDIS_REPLY_ARRAY && reply->elements >= 3 &&
                  reply->elements % 2 == 1 && reply->element[1]->type == REDIS_REPLY_INTEGER &&
                  reply->element[2]->type == REDIS_REPLY_INTEGER;
    for (size_t i = 3; shaped && i < reply->elements; i++)
        shaped = reply->element[i]->type == REDIS_REPLY_STRING;
    return shaped;
}

/* Takes the nodes that Redis knows. True where the file is to be written. */
static bool take_nodes(struct birth *birth, const redisReply *reply, const char *run)
{
    struct ledger *ledger = birth->ledger;
    const struct birth_self self = {ledger->instance, ledger->lane.state_id, ledger->options.node};
    uint64_t now_ms = (uint64_t)reply->element[1]->integer;
    bool changed = birth_nodes_forget(&birth->nodes, now_ms);
    for (size_t i = 3; i + 1 < reply->elements; i += 2)
        changed |= birth_nodes_see(&birth->nodes, &self, reply->element[i]->str,
                                   reply->element[i + 1]->str, atomic_load(&ledger->birth_id), run);
    birth->list_ms =
        ledger_monotonic_ms(ledger) + BIRTH_LIST_MS + BIRTH_EACH_MS * birth->nodes.count;
    return changed;
}

static void settle(struct birth *birth)
{
    atomic_store_explicit(&birth->ledger->unsettled, false, memory_order_release);
}

/* What the nodes said to the Redis before counts for nothing in this one. */
static void meet(struct birth *birth, const char *run_id)
{
    struct ledger *ledger = birth->ledger;
    if (strcmp(birth->run, run_id) == 0)
        return;
    snprintf(birth->run, sizeof(birth->run), "%s", run_id);
    birth->run_ms = ledger_monotonic_ms(ledger);
    for (size_t i = 0; i < birth->nodes.count; i++)
        birth->nodes.list[i].has_said = false;
    atomic_store_explicit(&ledger->unsettled, birth->remembers, memory_order_release);
}

/* Notes it for the next question: after `begin`, so that a process that is killed between the two leaves
 * the loss to the next one. */
static void keep_noted(struct birth *birth, uint64_t noted_ms)
{
    birth->noted_ms = noted_ms;
    holdings_keep_noted(birth->ledger->holdings, noted_ms);
}

enum birth_result birth_take(struct birth *birth, const redisReply *reply, const char *run_id)
{
    struct ledger *ledger = birth->ledger;
    uint64_t id;
    if (!is_shaped(reply) || !read_id(reply->element[0], &id))
        return BIRTH_UNKNOWN;
    meet(birth, run_id);
    bool is_new = birth->nodes.birth == 0 && birth->met == 0;
    long long state = reply->element[2]->integer;
    bool is_older = state == IS_OLDER;
    /* Redis has the note of this question, or that of an earlier one, or none. */
    bool has_none = is_older || state == HAS_NO_ROOM || (state == IS_SET_NOW && !birth->is_noted);
    uint64_t noted_ms = has_none          ? 0
                        : birth->is_noted ? (uint64_t)reply->element[1]->integer
                                          : birth->noted_ms;
    if (is_new) {
        birth->nodes.birth = id;
        atomic_store(&ledger->birth_id, id);
    } else if (is_older || id != atomic_load(&ledger->birth_id)) {
        begin(birth, id);
        keep_noted(birth, noted_ms);
        return BIRTH_OTHER;
    }
    keep_noted(birth, noted_ms);
    bool changed = birth->listed && take_nodes(birth, reply, run_id);
    if (is_new || (changed && birth->met == 0))
        save(birth);
    if (birth->listed && birth_nodes_have_said(&birth->nodes))
        settle(birth);
    if (birth->met != 0 && (birth->listed || !birth->remembers)) {
        publish(birth);
        if (birth->says && birth->said == id && birth_nodes_have_said(&birth->nodes))
            end(birth, false);
    }
    return BIRTH_SAME;
}

uint64_t birth_due_ms(const struct birth *birth)
{
    const struct ledger *ledger = birth->ledger;
    if (atomic_load_explicit(&ledger->birth_doubted, memory_order_relaxed))
        return 0;
    return birth->met != 0 || !ledger_is_settled(ledger) ? birth->due_ms : UINT64_MAX;
}

void birth_look(struct birth *birth)
{
    const struct ledger *ledger = birth->ledger;
    uint64_t now_ms = ledger_monotonic_ms(ledger);
    if (birth->met != 0 && now_ms >= birth->since_ms + ledger->options.data_lost_wait_ms)
        end(birth, true);
    if (!ledger_is_settled(ledger) && now_ms >= birth->run_ms + BIRTH_SETTLES_MS)
        settle(birth);
}
