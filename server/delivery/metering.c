/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bills what the peer's kernel acknowledged, and nothing else. Each connection keeps a bounded
 * queue of deliveries (where a body starts in the stream, how much of it was handed to the kernel);
 * tcpi_bytes_acked of TCP_INFO (RFC 4898, tcpEStatsAppHCThruOctetsAcked) tells how far the peer's
 * acknowledgements have come. The node's FIN counts as one byte there; it lies behind every body,
 * so clamping at the body's end leaves it out. Over TLS the peer acknowledges records; the
 * transport says how much of the stream has come with them. Called by connection*.c, transfer.c and
 * the transports. It sends nothing.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "server/access_log/access_log.h"
#include "server/base/check.h"
#include "server/base/log.h"
#include "server/delivery/acknowledged.h"
#include "server/delivery/connection.h"

#define TCP_STATE_CLOSE  7 /* TCP_CLOSE of the kernel's net/tcp_states.h: the socket is dead */
/*
 * After CLOSING_WAIT_MS without an acknowledgement, a closing connection is taken to have nothing
 * on its way to its peer. Where the socket's queue is empty, CLOSING_QUIET_MS are enough: by then
 * kTLS has handed on the bytes that it held.
 */
#define CLOSING_WAIT_MS  1000
#define CLOSING_QUIET_MS 200

int metering_begin(struct worker *worker, struct connection *connection, size_t head_length)
{
    struct delivery *delivery = worker->deliveries_free;
    if (delivery != NULL)
        worker->deliveries_free = delivery->next;
    else if ((delivery = malloc(sizeof(*delivery))) == NULL)
        return -ENOMEM;
    *delivery =
        (struct delivery){.window = connection->window, .start = connection->sent + head_length};
    delivery->use = window_use_hold(delivery->window);
    delivery->access = access_hold(connection, ledger_download_id(delivery->use->download));
    window_hold(delivery->window);
    delivery->of_link = connection->claim.of_link;
    delivery->promised = connection->left;
    window_use_promise(delivery->use, delivery->promised);
    delivery_facts_begin(worker, connection, delivery);
    if (connection->deliveries == NULL)
        connection->deliveries = delivery;
    else
        connection->deliveries_last->next = delivery;
    connection->deliveries_last = delivery;
    if (connection->delivery_count++ == 0) {
        connection->progress_ms = worker->now_ms;
        connection_join(worker, connection, LIST_UNMETERED);
    }
    return 0;
}

void metering_handed(struct worker *worker, struct connection *connection, uint64_t bytes,
                     uint64_t body)
{
    connection->sent += bytes;
    if (body > 0) {
        check(connection->deliveries_last != NULL);
        claim_hand(&connection->claim, body);
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
    if (connection->deliveries == NULL)
        connection->deliveries_last = NULL;
    connection->delivery_count--;
    delivery->next = worker->deliveries_free;
    worker->deliveries_free = delivery;
}

static void delivery_credit(struct worker *worker, struct connection *connection,
                            struct delivery *delivery)
{
    uint64_t reached =
        acknowledged_of_body(connection->acknowledged, delivery->start, delivery->handed);
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

static int read_acknowledged(const struct worker *worker, struct connection *connection,
                             struct tcp_info *info)
{
    socklen_t size = sizeof(*info);
    memset(info, 0, sizeof(*info));
    if (getsockopt(connection->fd, IPPROTO_TCP, TCP_INFO, info, &size) != 0)
        return -errno;
    /* Acknowledged bytes of a record that is not whole yet count as progress, too: the peer may
     * just be slow. */
    if (info->tcpi_bytes_acked > connection->tcp_acknowledged)
        connection->progress_ms = worker->now_ms;
    connection->tcp_acknowledged = info->tcpi_bytes_acked;
    connection->acknowledged =
        connection->transport->acknowledged(worker, connection, info->tcpi_bytes_acked);
    return 0;
}

bool metering_has_progress(const struct worker *worker, struct connection *connection)
{
    struct tcp_info info;
    uint64_t before = connection->tcp_acknowledged;
    return read_acknowledged(worker, connection, &info) == 0 &&
           connection->tcp_acknowledged > before;
}

bool metering_read(struct worker *worker, struct connection *connection)
{
    if (connection->deliveries == NULL)
        return false;
    struct tcp_info info;
    if (read_acknowledged(worker, connection, &info) != 0)
        return false;
    for (struct delivery *delivery = connection->deliveries; delivery != NULL;
         delivery = delivery->next)
        delivery_credit(worker, connection, delivery);
    while (connection->deliveries != NULL && connection->deliveries->done &&
           connection->deliveries->acknowledged == connection->deliveries->handed)
        delivery_settle(worker, connection);
    if (connection->deliveries == NULL)
        connection_leave(worker, connection, LIST_UNMETERED);
    return connection->deliveries != NULL && info.tcpi_state != TCP_STATE_CLOSE;
}

void metering_end(struct worker *worker, struct connection *connection)
{
    (void)metering_read(worker, connection);
    while (connection->deliveries != NULL)
        delivery_settle(worker, connection);
    connection_leave(worker, connection, LIST_UNMETERED);
}

/*
 * Whether a closing connection has bytes on their way to the peer. It has none where the kernel
 * holds none, or where the peer acknowledges none.
 */
static bool is_arriving(const struct worker *worker, const struct connection *connection)
{
    int queued = 0;
    uint64_t quiet_ms = worker->now_ms - connection->progress_ms;
    if (quiet_ms < CLOSING_QUIET_MS)
        return true;
    return quiet_ms < CLOSING_WAIT_MS && ioctl(connection->fd, SIOCOUTQ, &queued) == 0 &&
           queued > 0;
}

static void tick_one(struct worker *worker, struct connection *connection)
{
    bool owed = metering_read(worker, connection);
    enum connection_state state = (enum connection_state)connection->state;
    if (state == CONNECTION_CLOSING) {
        if (!owed || !is_arriving(worker, connection))
            connection_settle(worker, connection);
    } else if (owed &&
               worker->now_ms - connection->progress_ms > worker->node->config->stall_timeout_ms) {
        transfer_cut(worker, connection, TRANSFER_STALLED);
    } else if (!owed && (state == CONNECTION_LINGERING || connection->deliveries != NULL)) {
        /* All is acknowledged, or the socket is dead (then deliveries are left). Where the peer of
         * a lingering connection has ended its side, too, there is nothing more to wait for. */
        if (connection->peer_ended || connection->deliveries != NULL)
            connection_close(worker, connection, false);
    } else if (state == CONNECTION_READING && connection->input_length > 0) {
        connection_resume(worker, connection);
    }
}

void metering_tick(struct worker *worker)
{
    struct connection *connection = worker->unmetered.first;
    while (connection != NULL) {
        struct connection *next = connection->next[LIST_UNMETERED];
        tick_one(worker, connection);
        connection = next;
    }
}
