/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the workers and the admin threads count, each metric once. From these tables come the
 * counters, their sums, the members of GET /v1/health and the section METRICS of the manual. A new
 * one needs a row here, and count() where the thing happens.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_METRICS_H
#define TOLLGATE_SERVER_DELIVERY_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "server/base/metric.h"
#include "server/transport/tls_failure.h"

struct node;

/* What the workers count; the columns are explained in server/base/metric.h. */
#define METRICS(X)                                                                                 \
    X(connections_accepted, COUNTER, "connections", "", connections_accepted,                      \
      "Connections of clients that were accepted.")                                                \
    X(connections_open, GAUGE, "connections", "", connections_open,                                \
      "Connections of clients that are open now.")                                                 \
    X(connections_refused, COUNTER, "connections", "", connections_refused,                        \
      "Connections that were turned away at connections_max or connections_per_address_max.")      \
    X(requests, COUNTER, "requests", "", requests,                                                 \
      "Requests whose head was read, those that were refused included.")                           \
    X(responses, COUNTER, "responses", "class=\"2xx\"", responses_2xx,                             \
      "Responses with a status of 200 to 299.")                                                    \
    X(responses, COUNTER, "responses", "class=\"3xx\"", responses_3xx,                             \
      "Responses with a status of 300 to 399.")                                                    \
    X(responses, COUNTER, "responses", "class=\"4xx\"", responses_4xx,                             \
      "Responses with a status of 400 to 499.")                                                    \
    X(responses, COUNTER, "responses", "class=\"5xx\"", responses_5xx,                             \
      "Responses with a status of 500 to 599.")                                                    \
    X(bytes_handed, COUNTER, "bytes", "", bytes_handed,                                            \
      "Bytes of bodies that were handed to the kernel.")                                           \
    X(bytes_acknowledged, COUNTER, "bytes", "", bytes_acknowledged,                                \
      "Bytes of bodies that the clients' kernels have acknowledged, which are billed.")            \
    X(admissions_asked, COUNTER, "questions", "", admissions_asked,                                \
      "Questions to Redis whether a response may begin or go on.")                                 \
    X(admissions_granted, COUNTER, "answers", "", admissions_granted,                              \
      "Responses that began or went on because Redis said so.")                                    \
    X(admissions_refused, COUNTER, "answers", "", admissions_refused,                              \
      "Responses that were refused because of the account or the link.")                           \
    X(admissions_failed, COUNTER, "answers", "", admissions_failed,                                \
      "Responses that were answered 503, because Redis or the journal could not say.")             \
    X(responses_unasked, COUNTER, "responses", "", responses_unasked,                              \
      "Responses that began or went on while Redis could not be asked (redis_down: continue).")    \
    X(bytes_unasked, COUNTER, "bytes", "", bytes_unasked,                                          \
      "Bytes that their accounts were handed until Redis was asked about them again.")             \
    X(tokens_verified, COUNTER, "tokens", "", tokens_verified,                                     \
      "Tokens whose signature was verified and is good.")                                          \
    X(tokens_remembered, COUNTER, "tokens", "", tokens_remembered,                                 \
      "Tokens that the worker had verified before.")                                               \
    X(tokens_failed, COUNTER, "tokens", "", tokens_failed, "Tokens whose signature was wrong.")    \
    X(tokens_unchecked, COUNTER, "tokens", "", tokens_unchecked,                                   \
      "Tokens that were refused without a look at their signature, because their address had "     \
      "used up failed_checks_max.")                                                                \
    X(transfers_cut, COUNTER, "transfers", "", transfers_cut,                                      \
      "Responses that were ended by the node before their last byte.")                             \
    X(tls_handshakes, COUNTER, "handshakes", "", tls_handshakes, "TLS handshakes that were done.") \
    X(tls_resumed, COUNTER, "handshakes", "", tls_resumed,                                         \
      "TLS handshakes that resumed an earlier session.")                                           \
    X(tls_failed, COUNTER, "sessions", "", tls_failed,                                             \
      "TLS handshakes and sessions that failed, of all kinds.")                                    \
    X(tls_kernel, COUNTER, "sessions", "", tls_kernel,                                             \
      "TLS sessions whose records the kernel encrypts.")                                           \
    X(chunks_cold, COUNTER, "chunks", "", chunks_cold,                                             \
      "Times that a transfer waited until the ring had brought a chunk of its file into memory.")  \
    X(chunks_unread, COUNTER, "chunks", "", chunks_unread,                                         \
      "Times that a transfer stopped waiting for memory and read from the disk itself.")           \
    TLS_FAILURES(METRIC_OF_TLS_FAILURE, X)

#define METRIC_OF_TLS_FAILURE(X, kind, help)                                                       \
    X(tls_failures, COUNTER, "sessions", "kind=\"" #kind "\"", tls_failed_##kind, help)

/* Each worker writes its own, with relaxed atomics. */
struct worker_stats {
#define X(name, kind, unit, labels, field, help) atomic_ullong field;
    METRICS(X)
#undef X
};

/* The sums over the workers. */
struct node_stats {
    METRICS(METRIC_FIELD)
};

/* What the admin threads count. */
#define ADMIN_METRICS(X)                                                                           \
    X(unauthorized, COUNTER, "requests", "", unauthorized,                                         \
      "Requests to the admin interface that were answered 401.")                                   \
    X(forbidden, COUNTER, "requests", "", forbidden,                                               \
      "Requests to the admin interface that were answered 403.")

/* Any admin thread adds to them. */
struct admin_counters {
#define X(name, kind, unit, labels, field, help) atomic_ullong field;
    ADMIN_METRICS(X)
#undef X
};

struct admin_stats {
    ADMIN_METRICS(METRIC_FIELD)
};

/* Reads what the admin threads have counted. From any thread. */
void admin_stats(const struct node *node, struct admin_stats *out);
/* Sums what the node's workers have counted. From any thread, while there are workers. */
void node_stats(const struct node *node, struct node_stats *out);

/* Adds to a worker's counter; only that worker calls it. */
static inline void count(atomic_ullong *counter, uint64_t by)
{
    /* One writer: no locked instruction is needed, only no torn read. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by,
                          memory_order_relaxed);
}
/* Counts a response by the class of its status. */
void count_response(struct worker_stats *stats, unsigned status);
/* Counts a failed TLS handshake or session, by its kind and in the sum. */
void count_tls_failure(struct worker_stats *stats, enum tls_failure kind);

#endif
