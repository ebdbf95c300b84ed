/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of an exchange: all that it holds is given back. See exchange.h. The driver calls it, when
 * a response is over and when a connection ends.
 */
#include "server/delivery/exchange.h"

#include <stdlib.h>
#include <string.h>

#include "server/access_log/access_log.h"
#include "server/delivery/connection.h"
#include "server/delivery/limits.h"
#include "server/link/token_cache.h"

void exchange_end(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    if (exchange->file != NULL)
        media_file_drop(worker->files, &exchange->file);
    if (exchange->window != NULL)
        claim_end(&exchange->claim, exchange->window);
    limits_leave(exchange);
    connection_client_release(worker->node, connection);
    window_drop(&exchange->window, worker->now_ms);
    token_entry_drop(&exchange->link);
    access_drop(worker, &exchange->access);
    free(exchange->kept);
    free(exchange->parts);
    free(exchange->output);
    memset(exchange, 0, sizeof(*exchange));
}
