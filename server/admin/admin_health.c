/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /v1/health: whether this node may serve, why not, and its counters. Only the thread of
 * admin_peers.c calls it. It reads atomics, takes no worker's time, and takes no lock that anybody
 * holds while waiting for Redis, the disk or another thread.
 */
#include <stdio.h>
#include <time.h>

#include "server/access_log/access_log.h"
#include "server/admin/admin_internal.h"
#include "server/admin/admin_metrics.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/delivery/metrics.h"
#include "server/delivery/readiness.h"

#define LEDGER_STATES(X)                                                                           \
    X(LEDGER_CATCHING_UP, "catching_up")                                                           \
    X(LEDGER_READY, "ready")                                                                       \
    X(LEDGER_FULL, "full")                                                                         \
    X(LEDGER_EXHAUSTED, "exhausted")                                                               \
    X(LEDGER_FAILED, "failed")                                                                     \
    X(LEDGER_REFUSED, "refused")

const char *admin_ledger_state(enum ledger_state state)
{
    switch (state) {
#define X(value, name)                                                                             \
    case value:                                                                                    \
        return name;
        LEDGER_STATES(X)
#undef X
    }
    return "unknown";
}

#define NAMED_MAX 10 /* accounts that are set aside; the count is among the metrics */

static void name_one(void *context, const struct ledger_account *account)
{
    (void)json_array_append_new(context, json_string(ledger_account_tag(account)));
}

/* Whether Redis has lost data that not all nodes have replayed yet, and which of the others are awaited. */
static void tell_data_loss(struct ledger *ledger, json_t *out)
{
    struct ledger_data_loss loss;
    json_t *names = json_array();
    ledger_data_loss(ledger, &loss);
    for (unsigned i = 0; loss.is_lost && i < loss.awaited && i < LEDGER_AWAITED_MAX; i++)
        (void)json_array_append_new(names, json_string(loss.names[i]));
    (void)json_object_set_new(out, "data_lost", json_boolean(loss.is_lost));
    (void)json_object_set_new(out, "data_awaited_from", names);
}

void admin_ledger_troubles(struct ledger *ledger, json_t *out)
{
    json_t *aside = json_array();
    tell_data_loss(ledger, out);
    ledger_each_set_aside(ledger, NAMED_MAX, name_one, aside);
    (void)json_object_set_new(out, "set_aside", aside);
}

static json_t *ledger_health(struct ledger *ledger, enum ledger_state state, bool *redis_up)
{
    struct ledger_stats stats;
    char text[512] = "", retention[512];
    ledger_stats(ledger, &stats);
    ledger_retention_text(ledger, retention, sizeof(retention));
    *redis_up = stats.redis_up;
    if (state != LEDGER_READY) {
        ledger_state_text(ledger, text, sizeof(text));
    }
    json_t *out = json_pack("{s:s, s:s, s:s}", "state", admin_ledger_state(state), "text", text,
                            "retention", retention);
    metric_group_tell(out, METRIC_GROUP_ledger, &stats);
    (void)json_object_set_new(out, "push_up", json_boolean(stats.push_up));
    admin_ledger_troubles(ledger, out);
    return out;
}

static json_t *traffic(const struct node *node)
{
    struct node_stats stats;
    node_stats(node, &stats);
    json_t *out = json_object();
    metric_group_tell(out, METRIC_GROUP_traffic, &stats);
    return out;
}

static json_t *media_health(const struct media *media)
{
    struct media_hash_stats stats;
    media_stats(media, &stats);
    json_t *out = json_object();
    metric_group_tell(out, METRIC_GROUP_media, &stats);
    return out;
}

static json_t *access_health(const struct node *node)
{
    struct access_log_stats stats = {0};
    if (node->access_log != NULL)
        access_log_stats(node->access_log, &stats);
    json_t *out = json_pack("{s:b}", "on", node->access_log != NULL);
    metric_group_tell(out, METRIC_GROUP_access_log, &stats);
    return out;
}

static json_t *log_health(void)
{
    struct log_stats stats;
    log_stats(&stats);
    json_t *out = json_object();
    metric_group_tell(out, METRIC_GROUP_log, &stats);
    return out;
}

static json_t *own_health(const struct node *node)
{
    struct admin_stats stats;
    admin_stats(node, &stats);
    json_t *out = json_object();
    metric_group_tell(out, METRIC_GROUP_admin, &stats);
    return out;
}

/* Adds what exists only while the phase is NODE_SERVING, which the caller holds. */
static void add_insides(struct node *node, json_t *value)
{
    bool redis_up = false;
    enum ledger_state state = ledger_state(node->ledger);
    (void)json_object_set_new(value, "workers", json_integer(node->worker_count));
    (void)json_object_set_new(value, "ledger", ledger_health(node->ledger, state, &redis_up));
    (void)json_object_set_new(
        value, "redis", json_pack("{s:b, s:s}", "up", redis_up, "address", node->redis.address));
    (void)json_object_set_new(value, "traffic", traffic(node));
    (void)json_object_set_new(value, "media", media_health(node->media));
    (void)json_object_set_new(value, "access_log", access_health(node));
}

/* Adds whether it is so, and why not. */
static void add_verdict(json_t *value, const char *name, bool is_so, const char *text)
{
    char text_name[32];
    (void)snprintf(text_name, sizeof(text_name), "%s_text", name);
    (void)json_object_set_new(value, name, json_boolean(is_so));
    (void)json_object_set_new(value, text_name, json_string(text));
}

/* A node that starts or stops serves all the same, but is not to be sent clients. */
static void look(struct node *node, bool stopping, struct node_readiness *out)
{
    *out = (struct node_readiness){.alive = true};
    const char *why = stopping ? "the node is stopping" : "the node is starting";
    if (node->phase == NODE_SERVING)
        readiness_look(node, clock_monotonic_ms(), out);
    else
        (void)snprintf(out->granting_text, sizeof(out->granting_text), "%s", why);
    if (stopping || node->phase != NODE_SERVING) {
        out->ready = false;
        (void)snprintf(out->ready_text, sizeof(out->ready_text), "%s", why);
    }
}

void admin_health(struct node *node, const struct admin_request *request,
                  struct admin_answer *answer)
{
    (void)request;
    uint64_t now_ms = clock_real_ms();
    /* The wall clock may have been set back since the start: the difference must not wrap. */
    uint64_t uptime_s = now_ms > node->started_ms ? (now_ms - node->started_ms) / 1000 : 0;
    enum node_phase phase = node_phase_hold(node);
    bool stopping = phase == NODE_ENDING || atomic_load(&node->stopping);
    struct node_readiness readiness;
    look(node, stopping, &readiness);
    bool ready = readiness.ready;
    json_t *value = json_pack("{s:b, s:b, s:b, s:s, s:s, s:I, s:o}", "ready", false, "starting",
                              phase == NODE_STARTING, "stopping", stopping, "node",
                              node->config->node, "version", TOLLGATE_VERSION, "uptime_s",
                              (json_int_t)uptime_s, "log", log_health());
    if (phase == NODE_SERVING) {
        add_insides(node, value);
    }
    node_phase_release(node);
    (void)json_object_set_new(value, "admin", own_health(node));
    add_verdict(value, "ready", ready, readiness.ready_text);
    add_verdict(value, "granting", readiness.granting, readiness.granting_text);
    (void)json_object_set_new(value, "continues", json_boolean(readiness.continues_ms > 0));
    (void)json_object_set_new(value, "continues_s",
                              json_integer((json_int_t)(readiness.continues_ms / 1000)));
    (void)json_object_set_new(
        value, "continues_left_s",
        json_integer((json_int_t)((readiness.continues_left_ms + 999) / 1000)));
    add_verdict(value, "alive", readiness.alive, readiness.alive_text);
    answer->retry_after_s = ready ? 0 : 1;
    admin_answer_json(answer, ready ? 200 : 503, value);
}
