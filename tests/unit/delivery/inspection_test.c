/* SPDX-License-Identifier: Apache-2.0 */
/* What an inspection has of a worker's lists: which connections, in which order, how many. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "server/delivery/connection.h"
#include "server/delivery/inspection.h"

#define COUNT (INSPECTION_MAX + 10)

static struct worker worker;
static struct connection *connections;

static void begin(void)
{
    connections = calloc(COUNT, sizeof(*connections));
    cr_assert_not_null(connections);
    worker = (struct worker){.now_ms = 5000, .connections = connections};
}

static void end(void)
{
    free(connections);
}

TestSuite(inspection, .init = begin, .fini = end);

/* A connection that was accepted `index` ms after those before. */
static struct connection *add(uint32_t index, enum connection_state state, enum worker_list list)
{
    struct connection *connection = &connections[index];
    connection->index = index;
    connection->began_ms = index;
    connection->state = (uint8_t)state;
    connection_join(&worker, connection, list);
    worker.open_count++;
    return connection;
}

Test(inspection, has_the_oldest_connections_and_counts_all)
{
    for (uint32_t i = 0; i < COUNT; i++)
        add(i, STATE_HEAD, LIST_OPEN)->exchange.waiting = WAIT_HEAD;
    struct inspection *inspection = inspection_create();
    inspection_fill(inspection, &worker);
    cr_expect_eq(inspection->open, COUNT);
    cr_assert_eq(inspection->count, INSPECTION_MAX);
    for (uint32_t i = 0; i < INSPECTION_MAX; i++) {
        cr_assert_eq(inspection->rows[i].connection, i);
        cr_assert_eq(inspection->rows[i].age_ms, 5000 - i);
        cr_assert_eq(inspection->rows[i].waits_for, WAIT_HEAD);
    }
    free(inspection);
}

/* The open ones among the unmetered stand in the list of the open ones already. */
Test(inspection, has_closing_connections_behind_and_none_twice)
{
    add(0, STATE_SEND, LIST_OPEN)->exchange.waiting = WAIT_RATE;
    connection_join(&worker, &connections[0], LIST_UNMETERED);
    add(1, STATE_CLOSE, LIST_UNMETERED);
    add(2, STATE_LINGER, LIST_OPEN)->exchange.waiting = WAIT_PEER;
    struct inspection *inspection = inspection_create();
    inspection_fill(inspection, &worker);
    static const struct {
        uint32_t connection;
        enum connection_state state;
        enum wait wait;
    } wanted[] = {{0, STATE_SEND, WAIT_RATE},
                  {2, STATE_LINGER, WAIT_PEER},
                  {1, STATE_CLOSE, WAIT_ACKNOWLEDGED}};
    cr_expect_eq(inspection->open, 3);
    cr_assert_eq(inspection->count, 3);
    for (unsigned i = 0; i < 3; i++) {
        cr_expect_eq(inspection->rows[i].connection, wanted[i].connection);
        cr_expect_eq(inspection->rows[i].state, wanted[i].state);
        cr_expect_eq(inspection->rows[i].waits_for, wanted[i].wait);
    }
    free(inspection);
}

Test(inspection, ends_at_the_bound_among_closing_connections_too)
{
    for (uint32_t i = 0; i < COUNT; i++)
        add(i, STATE_CLOSE, LIST_UNMETERED);
    struct inspection *inspection = inspection_create();
    inspection_fill(inspection, &worker);
    cr_expect_eq(inspection->count, INSPECTION_MAX);
    cr_expect_eq(inspection->open, COUNT);
    free(inspection);
}
