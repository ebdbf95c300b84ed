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
#include "server/base/clock.h"
#include "server/base/log.h"

#define LEDGER_STATES(X)                                                                           \
    X(LEDGER_CATCHING_UP, "catching_up")                                                           \
    X(LEDGER_READY, "ready")                                                                       \
    X(LEDGER_FULL, "full")                                                                         \
    X(LEDGER_EXHAUSTED, "exhausted")                                                               \
    X(LEDGER_FAILED, "failed")                                                                     \
    X(LEDGER_REFUSED, "refused")

#define LEDGER_COUNTERS(X)                                                                         \
    X(records_written)                                                                             \
    X(bytes_written)                                                                               \
    X(syncs)                                                                                       \
    X(posts)                                                                                       \
    X(posts_replayed)                                                                              \
    X(records_posted)                                                                              \
    X(records_unposted)                                                                            \
    X(downloads_open)                                                                              \
    X(accounts)                                                                                    \
    X(segments)                                                                                    \
    X(refused_full)                                                                                \
    X(redis_connects)                                                                              \
    X(push_connects)                                                                               \
    X(revocations_heard)                                                                           \
    X(notices_lost)

#define NODE_COUNTERS(X)                                                                           \
    X(connections_accepted)                                                                        \
    X(connections_open)                                                                            \
    X(connections_refused)                                                                         \
    X(requests)                                                                                    \
    X(responses_2xx)                                                                               \
    X(responses_3xx)                                                                               \
    X(responses_4xx)                                                                               \
    X(responses_5xx)                                                                               \
    X(bytes_handed)                                                                                \
    X(bytes_acknowledged)                                                                          \
    X(admissions_asked)                                                                            \
    X(admissions_granted)                                                                          \
    X(admissions_refused)                                                                          \
    X(admissions_failed)                                                                           \
    X(tokens_verified)                                                                             \
    X(tokens_remembered)                                                                           \
    X(tokens_failed)                                                                               \
    X(tokens_unchecked)                                                                            \
    X(transfers_cut)                                                                               \
    X(tls_handshakes)                                                                              \
    X(tls_resumed)                                                                                 \
    X(tls_failed)                                                                                  \
    X(tls_kernel)                                                                                  \
    X(chunks_cold)                                                                                 \
    X(chunks_unread)

#define MEDIA_COUNTERS(X)                                                                          \
    X(files_hashed)                                                                                \
    X(bytes_hashed)                                                                                \
    X(queue_length)                                                                                \
    X(queue_refused)                                                                               \
    X(entries)

static const char *state_name(enum ledger_state state)
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

static json_t *ledger_health(struct ledger *ledger, enum ledger_state state, bool *redis_up)
{
    struct ledger_stats stats;
    char text[512] = "";
    ledger_stats(ledger, &stats);
    *redis_up = stats.redis_up;
    if (state != LEDGER_READY) {
        ledger_state_text(ledger, text, sizeof(text));
    }
    json_t *out = json_pack("{s:s, s:s}", "state", state_name(state), "text", text);
#define X(name) (void)json_object_set_new(out, #name, json_integer((json_int_t)stats.name));
    LEDGER_COUNTERS(X)
#undef X
    (void)json_object_set_new(out, "push_up", json_boolean(stats.push_up));
    return out;
}

static json_t *traffic(const struct node *node)
{
    struct node_stats stats;
    node_stats(node, &stats);
    json_t *out = json_object();
#define X(name) (void)json_object_set_new(out, #name, json_integer((json_int_t)stats.name));
    NODE_COUNTERS(X)
#undef X
#define X(name)                                                                                    \
    (void)json_object_set_new(out, "tls_failed_" #name,                                            \
                              json_integer((json_int_t)stats.tls_failures[TLS_FAILURE_##name]));
    TLS_FAILURES(X)
#undef X
    return out;
}

static json_t *media_health(const struct media *media)
{
    struct media_hash_stats stats;
    media_stats(media, &stats);
    json_t *out = json_object();
#define X(name) (void)json_object_set_new(out, #name, json_integer((json_int_t)stats.name));
    MEDIA_COUNTERS(X)
#undef X
    return out;
}

static json_t *access_health(const struct node *node)
{
    struct access_log_stats stats = {0};
    if (node->access_log != NULL)
        access_log_stats(node->access_log, &stats);
    return json_pack("{s:b, s:I, s:I}", "on", node->access_log != NULL, "lines",
                     (json_int_t)stats.lines, "dropped", (json_int_t)stats.dropped);
}

/* Adds what exists only while the phase is NODE_SERVING, which the caller holds. */
static void add_insides(struct node *node, json_t *value, bool *ready)
{
    bool redis_up = false;
    enum ledger_state state = ledger_state(node->ledger);
    *ready = *ready && node_is_ready(node);
    (void)json_object_set_new(value, "workers", json_integer(node->worker_count));
    (void)json_object_set_new(value, "ledger", ledger_health(node->ledger, state, &redis_up));
    (void)json_object_set_new(
        value, "redis", json_pack("{s:b, s:s}", "up", redis_up, "address", node->redis.address));
    (void)json_object_set_new(value, "traffic", traffic(node));
    (void)json_object_set_new(value, "media", media_health(node->media));
    (void)json_object_set_new(value, "access_log", access_health(node));
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
    bool ready = phase == NODE_SERVING && !stopping;
    struct log_stats log;
    log_stats(&log);
    json_t *value = json_pack("{s:b, s:b, s:b, s:s, s:s, s:I, s:{s:I}}", "ready", false, "starting",
                              phase == NODE_STARTING, "stopping", stopping, "node",
                              node->config->node, "version", TOLLGATE_VERSION, "uptime_s",
                              (json_int_t)uptime_s, "log", "left_out", (json_int_t)log.left_out);
    if (phase == NODE_SERVING) {
        add_insides(node, value, &ready);
    }
    node_phase_release(node);
    (void)json_object_set_new(
        value, "admin",
        json_pack("{s:I, s:I}", "unauthorized", (json_int_t)atomic_load(&node->admin_unauthorized),
                  "forbidden", (json_int_t)atomic_load(&node->admin_forbidden)));
    (void)json_object_set_new(value, "ready", json_boolean(ready));
    answer->retry_after_s = ready ? 0 : 1;
    admin_answer_json(answer, ready ? 200 : 503, value);
}
