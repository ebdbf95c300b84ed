/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's lists of connections (worker.h): puts a connection into one, and takes it out.
 * Called wherever a connection begins or ends to wait. It decides nothing: who walks a list says
 * what becomes of the connections in it.
 */
#include "server/base/check.h"
#include "server/delivery/connection.h"

static struct connection_list *list_of(struct worker *worker, enum worker_list which)
{
    switch (which) {
    case LIST_OPEN:
        return &worker->open;
    case LIST_READY:
        return &worker->ready;
    case LIST_PARKED:
        return &worker->parked;
    case LIST_UNMETERED:
        return &worker->unmetered;
    case LIST_RATED:
        return &worker->rated;
    case LIST_HASHING:
        return &worker->hashing;
    case LIST_COUNT:
        break;
    }
    check(false);
    return NULL;
}

/* Makes `after` follow `before`; NULL is the list's end on that side. */
static void join(struct connection_list *list, struct connection *before, struct connection *after,
                 enum worker_list which)
{
    if (before != NULL)
        before->next[which] = connection_link(after);
    else
        list->first = after;
    if (after != NULL)
        after->previous[which] = connection_link(before);
    else
        list->last = before;
}

void connection_join(struct worker *worker, struct connection *connection, enum worker_list which)
{
    struct connection_list *list = list_of(worker, which);
    if (connection->listed[which])
        return;
    /* LIST_READY is a queue, so a connection joins at its end. The other lists are walked
     * whole: one that is put back during such a walk joins at the head, where the walk does not
     * meet it again. */
    struct connection *before = which == LIST_READY ? list->last : NULL;
    struct connection *after = which == LIST_READY ? NULL : list->first;
    connection->listed[which] = true;
    join(list, before, connection, which);
    join(list, connection, after, which);
}

void connection_leave(struct worker *worker, struct connection *connection, enum worker_list which)
{
    if (!connection->listed[which])
        return;
    connection->listed[which] = false;
    if (which == LIST_OPEN && worker->sweep_next == connection)
        worker->sweep_next = connection_next(worker, connection, which);
    struct connection_list *list = list_of(worker, which);
    join(list, connection_previous(worker, connection, which),
         connection_next(worker, connection, which), which);
}
