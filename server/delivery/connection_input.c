/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a client that wait because they cannot be handled yet. Called by the driver and the
 * framing. It reads none of them.
 */
#include <stdlib.h>
#include <string.h>

#include "server/delivery/connection.h"

/* Accounts for `input`, which has `size` bytes allocated now. */
static void resized(struct worker *worker, struct connection *connection, size_t size)
{
    worker->input_bytes += size - connection->input_size;
    connection->input_size = (uint32_t)size;
}

bool connection_input_append(struct worker *worker, struct connection *connection, const char *data,
                             size_t length)
{
    size_t needed = connection->input_length + length;
    if (needed > connection->input_size) {
        size_t size = connection->input_size == 0 ? 1024 : connection->input_size;
        while (size < needed)
            size *= 2;
        char *input = worker->input_bytes + size - connection->input_size > WORKER_INPUT_MAX
                          ? NULL
                          : realloc(connection->input, size);
        if (input == NULL)
            return false;
        connection->input = input;
        resized(worker, connection, size);
    }
    memcpy(connection->input + connection->input_length, data, length);
    connection->input_length += (uint32_t)length;
    return true;
}

void connection_input_drop(struct worker *worker, struct connection *connection, size_t length)
{
    connection->input_length -= (uint32_t)length;
    if (connection->input_length > 0) {
        memmove(connection->input, connection->input + length, connection->input_length);
        return;
    }
    free(connection->input); /* an idle connection keeps no buffer */
    connection->input = NULL;
    resized(worker, connection, 0);
}

bool connection_has_input_enough(const struct worker *worker, const struct connection *connection)
{
    return connection->input_length > worker->node->config->head_bytes_max;
}
