/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the node grants, is ready, and lives. See readiness.h. It reads what the threads have noted,
 * and asks none of them.
 */
#include "server/delivery/readiness.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/base/log.h"
#include "server/delivery/node.h"
#include "server/delivery/worker.h"
#include "server/grant/outage.h"

/* How long ago; 0 for a time that another thread has read a moment later. */
static uint64_t since(uint64_t now_ms, uint64_t then_ms)
{
    return now_ms > then_ms ? now_ms - then_ms : 0;
}

/* ---- granting ---- */

static bool is_renewed(const struct node *node, uint64_t now_ms)
{
    uint64_t renewed_ms = ledger_renewed_ms(node->ledger);
    return renewed_ms != 0 && since(now_ms, renewed_ms) <= READINESS_RENEWED_MS;
}

/* The first worker that may not ask the Redis in force; worker_count: each may. */
static unsigned first_without_redis(const struct node *node)
{
    uint64_t served = ledger_redis_served(node->ledger);
    unsigned index = 0;
    while (index < node->worker_count && served != 0 &&
           atomic_load(&node->workers[index]->redis_generation) == served)
        index++;
    return index;
}

bool readiness_is_granting(const struct node *node, uint64_t now_ms)
{
    return ledger_redis_served(node->ledger) != 0 && is_renewed(node, now_ms) &&
           first_without_redis(node) == node->worker_count;
}

static void say_continued(const struct node *node, const char *why, uint64_t lasted_ms,
                          const struct outage_count *count)
{
    log_warning("%s; in %" PRIu64 " ms without Redis %" PRIu64 " responses and %" PRIu64
                " bytes went on",
                why, lasted_ms, count->responses - node->unasked.responses,
                count->bytes - node->unasked.bytes);
}

/* Says once when the node begins to go on without Redis, and when that ends. */
static void follow_outage(struct node *node, bool is_granting, uint64_t now_ms)
{
    uint64_t since_ms = atomic_load(&node->continues_ms);
    bool continues = !is_granting && outage_lets_on(node->windows, now_ms);
    if (continues == (since_ms != 0))
        return;
    struct outage_count count = outage_count_all(node->windows);
    if (continues)
        log_warning("Redis cannot be asked; accounts without a bound that it has confirmed go on "
                    "without it for %" PRIu64 " s at most (redis_down: continue)",
                    node->config->redis_down_ms_max / 1000);
    else
        say_continued(node,
                      is_granting ? "Redis can be asked again"
                                  : "nothing goes on without Redis any longer: redis_down_ms_max "
                                    "or redis_down_journal_bytes_max is reached",
                      now_ms - since_ms, &count);
    node->unasked = count;
    atomic_store(&node->continues_ms, continues ? now_ms : 0);
}

/* The metrics are sums over the workers, and worker 0 tells these, which are of no worker. */
static void tell_counts(struct node *node, uint64_t now_ms)
{
    const struct outage_count count = outage_counted(node->windows);
    struct worker_stats *stats = &node->workers[0]->stats;
    atomic_store(&node->continuable_ms, outage_left_ms(node->windows, now_ms));
    atomic_store_explicit(&stats->responses_unasked, count.responses, memory_order_relaxed);
    atomic_store_explicit(&stats->bytes_unasked, count.bytes, memory_order_relaxed);
}

void readiness_observe(struct node *node, uint64_t now_ms)
{
    bool is_granting = readiness_is_granting(node, now_ms);
    outage_observe(node->windows, is_granting, now_ms);
    follow_outage(node, is_granting, now_ms);
    tell_counts(node, now_ms);
    if (is_granting)
        atomic_store_explicit(&node->granted_ms, now_ms, memory_order_relaxed);
}

static void look_at_granting(struct node *node, uint64_t now_ms, struct node_readiness *out)
{
    char *text = out->granting_text;
    uint64_t renewed_ms = ledger_renewed_ms(node->ledger);
    out->granting = readiness_is_granting(node, now_ms);
    if (out->granting)
        return;
    ledger_state_text(node->ledger, text, READINESS_TEXT_SIZE);
    if (text[0] != '\0')
        return;
    if (ledger_redis_served(node->ledger) == 0 || renewed_ms == 0)
        snprintf(text, READINESS_TEXT_SIZE, "what the journal holds is not in Redis yet");
    else if (!is_renewed(node, now_ms))
        snprintf(text, READINESS_TEXT_SIZE,
                 "Redis has not renewed the node's lease for %" PRIu64 " ms",
                 since(now_ms, renewed_ms));
    else
        snprintf(text, READINESS_TEXT_SIZE, "worker %u has no connection to Redis",
                 first_without_redis(node));
}

/* ---- ready ---- */

/* Writes why the node is not ready although it may be granting; "" where nothing is wrong. */
static void look_at_faults(struct node *node, char *text)
{
    int64_t ahead_ms = ledger_clock_ahead_ms(node->ledger);
    text[0] = '\0';
    switch (ledger_state(node->ledger)) {
    case LEDGER_FULL:
    case LEDGER_EXHAUSTED:
    case LEDGER_FAILED:
    case LEDGER_REFUSED:
        ledger_state_text(node->ledger, text, READINESS_TEXT_SIZE);
        if (text[0] == '\0')
            snprintf(text, READINESS_TEXT_SIZE, "the journal takes no more downloads");
        return;
    case LEDGER_READY:
    case LEDGER_CATCHING_UP:
        break;
    }
    if (atomic_load(&node->draining)) {
        snprintf(text, READINESS_TEXT_SIZE,
                 "the node is being drained and takes no new download; take that back with "
                 "`tollgate node drain --cancel`");
        return;
    }
    if (ahead_ms != LEDGER_CLOCK_UNKNOWN && llabs(ahead_ms) > READINESS_CLOCK_MS)
        snprintf(text, READINESS_TEXT_SIZE,
                 "this node's clock is %lld s %s that of Redis; set both by a time service",
                 llabs(ahead_ms) / 1000, ahead_ms > 0 ? "ahead of" : "behind");
}

static void look_at_ready(struct node *node, uint64_t now_ms, struct node_readiness *out)
{
    uint64_t granted_ms = atomic_load(&node->granted_ms);
    look_at_faults(node, out->ready_text);
    bool graced = granted_ms != 0 && since(now_ms, granted_ms) < node->config->ready_grace_ms;
    out->ready = out->ready_text[0] == '\0' && (out->granting || graced || out->continues_ms > 0);
    if (!out->ready && out->ready_text[0] == '\0')
        snprintf(out->ready_text, READINESS_TEXT_SIZE, "%s", out->granting_text);
}

/* ---- alive ---- */

static void look_at_alive(const struct node *node, uint64_t now_ms, struct node_readiness *out)
{
    static const char *const names[LEDGER_THREADS] = {
        [LEDGER_WRITER] = "writer", [LEDGER_POSTER] = "poster", [LEDGER_PUSH] = "push"};
    char *text = out->alive_text;
    for (unsigned i = 0; i < node->worker_count && text[0] == '\0'; i++) {
        uint64_t still_ms = since(now_ms, atomic_load(&node->workers[i]->turned_ms));
        if (still_ms > READINESS_TURN_MS)
            snprintf(text, READINESS_TEXT_SIZE, "worker %u has not turned for %" PRIu64 " ms", i,
                     still_ms);
    }
    for (unsigned i = 0; i < LEDGER_THREADS && text[0] == '\0'; i++) {
        uint64_t still_ms = since(now_ms, ledger_turned_ms(node->ledger, (enum ledger_thread)i));
        if (still_ms > READINESS_TURN_MS)
            snprintf(text, READINESS_TEXT_SIZE, "the ledger's %s has not turned for %" PRIu64 " ms",
                     names[i], still_ms);
    }
    out->alive = text[0] == '\0';
}

void readiness_look(struct node *node, uint64_t now_ms, struct node_readiness *out)
{
    *out = (struct node_readiness){0};
    look_at_granting(node, now_ms, out);
    uint64_t continues_ms = atomic_load(&node->continues_ms);
    if (continues_ms != 0)
        out->continues_ms = since(now_ms, continues_ms) + 1;
    out->continues_left_ms = atomic_load(&node->continuable_ms);
    look_at_ready(node, now_ms, out);
    look_at_alive(node, now_ms, out);
}
