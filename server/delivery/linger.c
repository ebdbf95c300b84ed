/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The step LINGER, RFC 9112 9.6: our side of the connection is shut, and the client's is awaited. To
 * close at once could cause a reset, which destroys what the client has not read yet; and the last
 * bytes must be acknowledged before they are billed.
 */
#include "server/delivery/connection.h"
#include "server/delivery/delivery.h"

#define LINGER_MS 5000

enum step_outcome step_linger(struct worker *worker, struct connection *connection)
{
    struct stream *stream = &connection->stream;
    bool is_owed = metering_read(worker, connection);
    if (connection->peer_ended && !is_owed)
        return STEP_CLOSE;
    if (connection->exchange.waiting == WAIT_NONE) {
        /* A peer that has ended may be gone: it would answer with a reset, after which kTLS could not
         * tell any more what has arrived. */
        if (!connection->peer_ended) {
            stream->transport->end(&worker->streams, stream);
            stream_shut(stream);
        }
        connection->exchange.waiting = WAIT_PEER;
        connection->deadline_ms = worker->now_ms + LINGER_MS;
    }
    return STEP_WAIT;
}
