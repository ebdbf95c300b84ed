/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/delivery/chance.h"

#include <fcntl.h>

#include "server/grant/address_table.h"

#define STEADY 18 /* connections, from where new ones are rare: most of the time some are free */

static uint64_t state;
static unsigned begun;

void chance_seed(uint64_t seed)
{
    state = seed * 0x9e3779b97f4a7c15ULL + 1;
}

/* SplitMix64. */
uint32_t chance(uint32_t bound)
{
    uint64_t mixed = state += 0x9e3779b97f4a7c15ULL;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9ULL;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebULL;
    return (uint32_t)((mixed ^ mixed >> 31) >> 32) % bound;
}

/* ---- clients ---- */

/* One of some addresses, of which the first is a proxy that names its clients in each head. */
static struct client_address client_of(uint32_t number)
{
    struct client_address client = {.port = 4711};
    char text[32];
    snprintf(text, sizeof(text), "192.0.2.%u", 8 + number);
    cr_assert(client_address_read(text, strlen(text), &client));
    return client;
}

struct connection *chance_connect(void)
{
    const struct client_address client = client_of(chance(4));
    struct worker *worker = stage.worker;
    if (worker->open_count == STAGE_PLACES) {
        cr_assert_null(driver_begin(worker, -1), "there is no place");
        return NULL;
    }
    bool is_proxy = client.ip[15] == 8;
    if (worker->stopping || (worker->open_count >= STEADY && chance(8) != 0) ||
        (!is_proxy && !address_table_enter(stage.node.addresses, &client)))
        return NULL;
    struct connection *connection = stage_connect();
    connection_client_begin(&stage.node, connection, &client);
    cr_assert_eq(connection->counted, !is_proxy);
    cr_assert_eq(connection->forwards, is_proxy);
    begun++;
    return connection;
}

unsigned chance_begun(void)
{
    return begun;
}

struct connection *chance_connection(void)
{
    if (stage.worker->taken == 0)
        return NULL;
    struct connection *connection = &stage.worker->connections[chance(stage.worker->taken)];
    return driver_is_open(connection) ? connection : NULL;
}

/* ---- the kernel ---- */

static int result_of(enum operation operation)
{
    static const int failures[] = {-EIO, -ENOMEM, -EAGAIN, -EINTR, -ECANCELED};
    if (operation == OPERATION_OPEN)
        return chance(2) == 0 ? -ENOENT : open(stage_path("/music/a.mp3"), O_RDONLY | O_CLOEXEC);
    if (operation == OPERATION_RECEIVE)
        return chance(2) == 0 ? -ENOBUFS : chance(2) == 0 ? 0 : -ECONNRESET;
    return chance(4) > 0 ? 4 : failures[chance(5)];
}

void chance_completion(void)
{
    stage_check(); /* takes the operations */
    if (stage.pending_count == 0)
        return;
    uint32_t number = chance(stage.pending_count);
    const struct stage_operation *of = &stage.pending[number];
    struct connection *connection = &stage.worker->connections[of->index];
    bool is_cancelled = of->is_cancelled;
    if (of->operation == OPERATION_RECEIVE && !is_cancelled && chance(8) > 0)
        stage_receive(connection, "0123456789", 1 + chance(10)); /* and goes on */
    else
        stage_complete_number(number, is_cancelled && of->operation != OPERATION_OPEN
                                          ? -ECANCELED
                                          : result_of(of->operation));
}

void chance_acknowledgement(void)
{
    struct stage_peer *peer = &stage.peers[chance(STAGE_PLACES)];
    switch (chance(8)) {
    case 0:
        peer->acknowledges_all = true;
        break;
    case 1:
        peer->is_dead = chance(8) == 0;
        break;
    case 2:
        peer->measure = chance(8) == 0 ? -EIO : 0;
        break;
    default:
        peer->acknowledged += chance(4000);
    }
}

/* ---- time, and ends ---- */

void chance_time(void)
{
    static const uint64_t steps_ms[] = {1, 100, 100, 100, 300, 1100, 6000, 61000};
    stage_pass(steps_ms[chance(chance(4) == 0 ? 8 : 5)]);
    switch (chance(4)) {
    case 0:
        ticks_run_ready(stage.worker, 1 + chance(20000));
        break;
    case 1:
        ticks_look_again(stage.worker);
        break;
    default:
        ticks_run(stage.worker);
    }
}

void chance_end(void)
{
    struct connection *connection = chance_connection();
    if (connection == NULL)
        return;
    switch (chance(4)) {
    case 0:
        driver_cut(stage.worker, connection, "a test has cut it");
        driver_cut(stage.worker, connection, "and once more");
        break;
    case 1:
        driver_apply(stage.worker, connection, STEP_CLOSE);
        driver_apply(stage.worker, connection, STEP_CUT);
        break;
    default:
        if (stage_has(connection, OPERATION_RECEIVE))
            stage_complete(connection, OPERATION_RECEIVE, 0);
    }
}

void chance_stop(void)
{
    struct worker *worker = stage.worker;
    worker->stopping = true;
    worker->stopped_ms = worker->now_ms;
    ticks_stop_idle(worker);
    stage_check();
    for (unsigned i = 0; i < 50; i++) {
        chance_completion();
        chance_acknowledgement();
        chance_time();
    }
    ticks_cut_all(worker);
    stage_finish();
    worker->stopping = false;
}

void chance_expect_all_freed(void)
{
    uint64_t freed = 0;
    cr_assert_eq(stage.worker->open_count, 0);
    stage_check();
    for (uint32_t i = 0; i < stage.worker->taken; i++)
        freed += stage.worker->connections[i].generation;
    cr_assert_eq(freed, begun, "%llu of %u", (unsigned long long)freed, begun);
    /* The table of addresses has room for as many clients as there are places. */
    for (uint32_t i = 0; i < STAGE_PLACES; i++) {
        const struct client_address client = client_of(1 + i % 3);
        cr_assert(address_table_enter(stage.node.addresses, &client), "a client is still counted");
    }
    for (uint32_t i = 0; i < STAGE_PLACES; i++) {
        const struct client_address client = client_of(1 + i % 3);
        address_table_leave(stage.node.addresses, &client);
    }
}
