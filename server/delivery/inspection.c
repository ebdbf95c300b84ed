/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes down what a worker's connections do. See inspection.h. It changes none of them, and makes no
 * system call.
 */
#include "server/delivery/inspection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "server/delivery/connection.h"
#include "server/delivery/delivery.h"
#include "server/grant/window.h"
#include "server/link/token_cache.h"

struct inspection *inspection_create(void)
{
    /* The kernel gives memory for the rows that are written, and for no others. */
    return calloc(1, sizeof(struct inspection));
}

/* Whose bytes are sent, or else those of whom are still to be acknowledged. */
static const struct ledger_account *account_of(const struct connection *connection)
{
    if (connection->exchange.link != NULL)
        return connection->exchange.link->account;
    return connection->deliveries != NULL ? connection->deliveries->window->account : NULL;
}

static void write_account(const struct connection *connection, struct inspection_row *row)
{
    const struct ledger_account *account = account_of(connection);
    if (account == NULL)
        return;
    (void)snprintf(row->issuer, sizeof(row->issuer), "%s", ledger_account_issuer(account));
    (void)snprintf(row->account, sizeof(row->account), "%s", ledger_account_name(account));
}

/* A closing connection has no exchange any more, which could say what it waits for. */
static enum wait wait_of(const struct connection *connection)
{
    return connection->state == STATE_CLOSE ? WAIT_ACKNOWLEDGED
                                            : (enum wait)connection->exchange.waiting;
}

static void add(struct inspection *inspection, const struct worker *worker,
                const struct connection *connection)
{
    const struct exchange *exchange = &connection->exchange;
    const struct stream *stream = &connection->stream;
    check(inspection->count < INSPECTION_MAX);
    struct inspection_row *row = &inspection->rows[inspection->count++];
    row->connection = connection->index;
    row->state = (enum connection_state)connection->state;
    row->waits_for = wait_of(connection);
    row->age_ms = worker->now_ms - connection->began_ms;
    row->is_inquiry = connection->inquiry != NULL;
    row->client = connection->client;
    write_account(connection, row);
    if (exchange->file != NULL)
        memcpy(row->path, exchange->file->path, exchange->file->path_length + 1);
    row->status = exchange->status;
    row->body_bytes = exchange->body_length;
    row->left_bytes = exchange_need(exchange);
    row->handed_bytes = stream->sent;
    row->acknowledged_bytes = stream->acknowledged;
    row->tls = stream->tls != NULL ? stream_tls_version(stream) : NULL;
}

void inspection_fill(struct inspection *inspection, const struct worker *worker)
{
    const struct connection *connection = worker->open.last; /* the first to have joined */
    inspection->open = worker->open_count;
    for (; connection != NULL && inspection->count < INSPECTION_MAX;
         connection = connection_previous(worker, connection, LIST_OPEN))
        add(inspection, worker, connection);
    for (connection = worker->unmetered.last;
         connection != NULL && inspection->count < INSPECTION_MAX;
         connection = connection_previous(worker, connection, LIST_UNMETERED)) {
        if (connection->state == STATE_CLOSE)
            add(inspection, worker, connection);
    }
}
