/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bills what the peer's kernel acknowledged, and nothing else. Each connection keeps a bounded
 * queue of deliveries (where a body starts in the stream, how much of it was handed to the kernel);
 * tcpi_bytes_acked of TCP_INFO (RFC 4898, tcpEStatsAppHCThruOctetsAcked) tells how far the peer's
 * acknowledgements have come. The node's FIN counts as one byte there; it lies behind every body,
 * so clamping at the body's end leaves it out. Over TLS the peer acknowledges records; the
 * transport says how much of the stream has come with them. Called by the driver, its ticks and the
 * steps. It sends nothing, and ends no connection.
 */
#include <errno.h>
#include <stdlib.h>

#include "server/access_log/access_log.h"
#include "server/base/check.h"
#include "server/delivery/acknowledged.h"
#include "server/delivery/connection.h"
#include "server/delivery/delivery.h"

int metering_begin(struct worker *worker, struct connection *connection, size_t head_length)
{
    const struct exchange *exchange = &connection->exchange;
    struct delivery *delivery = worker->deliveries_free;
    if (delivery != NULL)
        worker->deliveries_free = delivery->next;
    else if ((delivery = malloc(sizeof(*delivery))) == NULL)
        return -ENOMEM;
    *delivery = (struct delivery){.window = exchange->window,
                                  .start = connection->stream.sent + head_length};
    delivery->use = window_use_hold(delivery->window);
    delivery->access = access_hold(exchange, ledger_download_id(delivery->use->download));
    window_hold(delivery->window);
    delivery->of_link = exchange->claim.of_link;
    delivery->promised = exchange->left;
    window_use_promise(delivery->use, delivery->promised);
    delivery_facts_begin(worker, connection, delivery);
    if (connection->deliveries == NULL)
        connection->deliveries = delivery;
    else
        connection->deliveries_last->next = delivery;
    connection->deliveries_last = delivery;
    if (connection->delivery_count++ == 0) {
        connection->stream.progress_ms = worker->now_ms;
        connection->stream.is_owed = true;
        connection_join(worker, connection, LIST_UNMETERED);
    }
    return 0;
}

void metering_handed(struct worker *worker, struct connection *connection, uint64_t bytes,
                     uint64_t body)
{
    connection->stream.sent += bytes;
    if (body > 0) {
        check(connection->deliveries_last != NULL);
        claim_hand(&connection->exchange.claim, body);
        connection->deliveries_last->handed += body;
        count(&worker->stats.bytes_handed, body);
    }
}

void metering_done(struct connection *connection)
{
    check(connection->deliveries_last != NULL);
    connection->deliveries_last->done = true;
}

/* A client that never acknowledges could read the bytes in flight again and again without being
 * billed. Past an allowance, a use of its link is taken, and limits_enter refuses with 429. */
static void count_unacknowledged(const struct worker *worker, const struct delivery *delivery)
{
    uint64_t allowance = worker->node->config->unacknowledged_max;
    const struct window *window = delivery->window;
    (void)quota_count_unacknowledged(&window->account_group->quota, worker->now_ms);
    if (quota_count_unacknowledged(&window->link_group->quota, worker->now_ms) > allowance)
        ledger_download_take(delivery->use->download);
}

/* Settles the first delivery: the bytes of it that were not acknowledged go back to the pools that
 * paid for them. */
static void delivery_settle(struct worker *worker, struct connection *connection)
{
    struct delivery *delivery = connection->deliveries;
    check(delivery->acknowledged <= delivery->handed);
    uint64_t lost = delivery->handed - delivery->acknowledged;
    claim_return(delivery->window, delivery->of_link, lost);
    window_use_promise_end(delivery->use, delivery->promised);
    if (acknowledged_the_lesser_part(delivery->acknowledged, delivery->handed))
        count_unacknowledged(worker, delivery);
    delivery_facts_end(delivery);
    window_use_drop(&delivery->use);
    window_drop(&delivery->window, worker->now_ms);
    access_settled(worker, &delivery->access, delivery->handed, delivery->acknowledged);
    connection->deliveries = delivery->next;
    if (connection->deliveries == NULL) {
        connection->deliveries_last = NULL;
        connection->stream.is_owed = false;
    }
    connection->delivery_count--;
    delivery->next = worker->deliveries_free;
    worker->deliveries_free = delivery;
}

static void delivery_credit(struct worker *worker, struct connection *connection,
                            struct delivery *delivery)
{
    uint64_t reached =
        acknowledged_of_body(connection->stream.acknowledged, delivery->start, delivery->handed);
    if (reached <= delivery->acknowledged)
        return;
    uint64_t fresh = reached - delivery->acknowledged;
    delivery->acknowledged = reached;
    check(fresh <= delivery->promised);
    delivery->promised -= fresh;
    window_use_promise_end(delivery->use, fresh);
    ledger_download_add(delivery->use->download, fresh, 0);
    if (window_use_arrived(delivery->use) >= delivery->window->size &&
        !atomic_load_explicit(&delivery->window->completed, memory_order_relaxed) &&
        !atomic_exchange(&delivery->window->completed, true))
        node_notify(worker->node, delivery->window, LEDGER_COMPLETED);
    count(&worker->stats.bytes_acknowledged, fresh);
}

static int measure(struct worker *worker, struct connection *connection, bool *is_dead)
{
    struct stream *stream = &connection->stream;
    return stream->transport->measure(&worker->streams, stream, is_dead);
}

bool metering_has_progress(struct worker *worker, struct connection *connection)
{
    bool is_dead;
    uint64_t before = connection->stream.tcp_acknowledged;
    return measure(worker, connection, &is_dead) == 0 &&
           connection->stream.tcp_acknowledged > before;
}

bool metering_read(struct worker *worker, struct connection *connection)
{
    bool is_dead;
    if (connection->deliveries == NULL || measure(worker, connection, &is_dead) != 0)
        return false;
    for (struct delivery *delivery = connection->deliveries; delivery != NULL;
         delivery = delivery->next)
        delivery_credit(worker, connection, delivery);
    while (connection->deliveries != NULL && connection->deliveries->done &&
           connection->deliveries->acknowledged == connection->deliveries->handed)
        delivery_settle(worker, connection);
    if (connection->deliveries == NULL)
        connection_leave(worker, connection, LIST_UNMETERED);
    return connection->deliveries != NULL && !is_dead;
}

void metering_end(struct worker *worker, struct connection *connection)
{
    (void)metering_read(worker, connection);
    while (connection->deliveries != NULL)
        delivery_settle(worker, connection);
    connection_leave(worker, connection, LIST_UNMETERED);
}
