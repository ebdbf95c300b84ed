/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's lists of connections (worker.h): puts a connection into one, and takes it out.
 * Called wherever a connection begins or ends to wait. It decides nothing: who walks a list says
 * what becomes of the connections in it.
 */
#include "server/base/check.h"
#include "server/delivery/connection.h"

static struct connection_list *list_of(struct worker *worker, enum connection_link link)
{
    switch (link) {
    case LINK_OPEN:
        return &worker->open;
    case LINK_READY:
        return &worker->ready;
    case LINK_PARKED:
        return &worker->parked;
    case LINK_UNMETERED:
        return &worker->unmetered;
    case LINK_RATED:
        return &worker->rated;
    case LINK_HASHING:
        return &worker->hashing;
    case LINK_COUNT:
        break;
    }
    check(false);
    return NULL;
}

void connection_link(struct worker *worker, struct connection *connection,
                     enum connection_link link)
{
    struct connection_list *list = list_of(worker, link);
    if (connection->linked[link])
        return;
    /* LINK_READY is a queue, so a connection joins at its end. The other lists are walked
     * whole: one that is put back during such a walk joins at the head, where the walk does not
     * meet it again. */
    struct connection *before = link == LINK_READY ? list->last : NULL;
    struct connection *after = link == LINK_READY ? NULL : list->first;
    connection->linked[link] = true;
    connection->previous[link] = before;
    connection->next[link] = after;
    *(before != NULL ? &before->next[link] : &list->first) = connection;
    *(after != NULL ? &after->previous[link] : &list->last) = connection;
}

void connection_unlink(struct worker *worker, struct connection *connection,
                       enum connection_link link)
{
    if (!connection->linked[link])
        return;
    connection->linked[link] = false;
    if (link == LINK_OPEN && worker->sweep_next == connection)
        worker->sweep_next = connection->next[link];
    struct connection_list *list = list_of(worker, link);
    struct connection *before = connection->previous[link], *after = connection->next[link];
    *(before != NULL ? &before->next[link] : &list->first) = after;
    *(after != NULL ? &after->previous[link] : &list->last) = before;
}
