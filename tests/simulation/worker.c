/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A simulated worker: it finds and keeps its connection to the ledger's Redis by the rules of
 * server/delivery/redis_connection*.c, and looks each tick at what waits. Its grants are the real
 * ones (server/grant/). Responses are in response.c.
 */
#include <errno.h>
#include <string.h>

#include "tests/simulation/sim.h"

/* ---- its connection ---- */

static void tried(void *context, const redisReply *reply)
{
    struct sim_worker *worker = context;
    worker->is_trying = false;
    if (reply == NULL)
        return;
    if (reply->type == REDIS_REPLY_ERROR)
        worker->is_refused = true;
    else if (worker->introduction == INTRODUCTION_TRYING)
        worker->introduction = INTRODUCTION_READY;
}

static void try(struct sim_worker *worker)
{
    struct ledger_command command;
    ledger_try_command(&command);
    struct sim_connection *connection = &worker->connection;
    if (!worker->is_trying)
        worker->is_trying = connection->table.send(connection, command.argc, command.argv,
                                                   command.lengths, tried, NULL, worker) == 0;
}

/* Follows the ledger to the Redis that it uses. */
static void follow(struct sim_worker *worker)
{
    struct ledger *ledger = worker->node->ledger;
    if (ledger_redis_is_other(ledger, worker->belongs_to, worker->run_id)) {
        worker->is_refused = true;
    } else if (worker->introduction < INTRODUCTION_KNOWN) {
        return;
    } else if (!ledger_redis_is_current(ledger, worker->belongs_to, worker->run_id)) {
        worker->introduction = INTRODUCTION_KNOWN;
    } else if (worker->introduction == INTRODUCTION_KNOWN) {
        worker->introduction = INTRODUCTION_TRYING;
        try(worker);
    }
}

static void informed(void *context, const redisReply *reply)
{
    struct sim_worker *worker = context;
    if (reply == NULL || !redis_run_id(reply, worker->run_id))
        return;
    worker->introduction = INTRODUCTION_KNOWN;
    follow(worker);
}

static void introduce(struct sim_worker *worker)
{
    static const char *const words[] = {"INFO", "server"};
    static const size_t lengths[] = {4, 6};
    struct sim_connection *connection = &worker->connection;
    worker->introduction = INTRODUCTION_ASKED;
    connection->table.introduced(connection);
    (void)connection->table.send(connection, 2, words, lengths, informed, NULL, worker);
}

static void give_up(struct sim_worker *worker)
{
    struct sim *sim = worker->node->sim;
    struct sim_connection *connection = &worker->connection;
    worker->introduction = INTRODUCTION_NONE;
    worker->is_refused = connection->is_doubtful = false;
    connection->table.close(connection);
    worker->retry_us = sim->schedule.now_us + LEDGER_REDIS_BACKOFF_LEAST_MS * SIM_MS +
                       random_mix(sim->seed, connection->number, connection->life) %
                           (LEDGER_REDIS_BACKOFF_MOST_MS * SIM_MS);
}

static void moved(struct sim_connection *connection)
{
    struct sim_node *node = connection->node;
    struct sim_worker *worker = &node->workers[0];
    while (&worker->connection != connection)
        worker++;
    if (!node->is_up)
        return;
    if (connection->state == CONNECTION_BROKEN || worker->is_refused)
        give_up(worker);
    else if (connection->state == CONNECTION_OPEN && worker->introduction == INTRODUCTION_NONE)
        introduce(worker);
    else if (connection->is_doubtful && worker->introduction == INTRODUCTION_READY)
        try(worker); /* an error was answered: is Redis at fault, or that command? */
    connection->is_doubtful = false;
}

static bool is_ready(const void *self)
{
    const struct sim_worker *worker = self;
    return worker->introduction == INTRODUCTION_READY &&
           worker->connection.state == CONNECTION_OPEN &&
           worker->belongs_to == ledger_redis_served(worker->node->ledger);
}

static int send_command(void *self, int count, const char *const words[], const size_t lengths[],
                        ledger_redis_done *done, ledger_redis_late *late, void *context)
{
    struct sim_worker *worker = self;
    if (!is_ready(worker))
        return -ENOTCONN;
    return worker->connection.table.send(&worker->connection, count, words, lengths, done, late,
                                         context);
}

/* ---- ticks ---- */

static void look(void *object, uint64_t number)
{
    struct sim_worker *worker = object;
    struct sim *sim = worker->node->sim;
    (void)number;
    bool again = worker->look_again;
    worker->look_again = false;
    for (unsigned i = 0; i < SIM_RESPONSES && worker->node->is_up; i++) {
        struct sim_response *response = &sim->responses[i];
        if (response->worker != worker || response->state == RESPONSE_FREE)
            continue;
        if (response->is_parked)
            response_retry(response);
        else if (again && response->state == RESPONSE_SENDING)
            response_look_again(response);
    }
}

void worker_look(struct sim_worker *worker, bool again)
{
    struct sim *sim = worker->node->sim;
    worker->look_again |= again;
    timer_set(&sim->schedule, &worker->look, sim->schedule.now_us);
}

static void connect_again(struct sim_worker *worker)
{
    struct ledger_redis_address address;
    char error[256];
    (void)ledger_redis_address(worker->node->ledger, &address, error, sizeof(error));
    worker->belongs_to = address.generation;
    worker->run_id[0] = '\0';
    (void)worker->connection.table.open(&worker->connection);
}

static void tick(void *object, uint64_t number)
{
    struct sim_worker *worker = object;
    struct sim *sim = worker->node->sim;
    struct sim_connection *connection = &worker->connection;
    (void)number;
    if (connection->state == CONNECTION_CLOSED && sim->schedule.now_us >= worker->retry_us)
        connect_again(worker);
    connection_tell_late(connection, SIM_TIMEOUT_MS * SIM_MS);
    if (connection->state == CONNECTION_OPEN)
        follow(worker);
    if (worker->is_refused)
        give_up(worker);
    grants_sweep(&worker->grants, node_monotonic_ms(worker->node), worker->node->is_ending);
    worker_look(worker, false);
    timer_set(&sim->schedule, &worker->tick, sim->schedule.now_us + SIM_TICK_MS * SIM_MS);
}

static uint64_t monotonic_ms(void *self)
{
    const struct sim_worker *worker = self;
    return node_monotonic_ms(worker->node);
}

static void wake(void *self, uint64_t workers)
{
    struct sim_worker *worker = self;
    for (unsigned i = 0; i < SIM_WORKERS; i++)
        if (workers >> i & 1)
            worker_look(&worker->node->workers[i], false);
}

void worker_init(struct sim_node *node, unsigned number)
{
    struct sim_worker *worker = &node->workers[number];
    unsigned first = (node->number + 1) * SIM_CONNECTIONS - SIM_WORKERS;
    *worker = (struct sim_worker){
        .node = node,
        .number = number,
        .clock = {.self = worker, .monotonic_ms = monotonic_ms},
        .redis = {.self = worker, .is_ready = is_ready, .send = send_command},
        .tick = {.fire = tick, .object = worker},
        .look = {.fire = look, .object = worker},
    };
    connection_init(&worker->connection, node, first + number, "worker", moved);
}

void worker_start(struct sim_worker *worker)
{
    struct sim_node *node = worker->node;
    struct sim *sim = node->sim;
    worker->introduction = INTRODUCTION_NONE;
    worker->is_refused = worker->is_trying = worker->look_again = false;
    worker->retry_us = 0;
    worker->grants = (struct grants){
        .windows = node->windows,
        .ledger = node->ledger,
        .redis = &worker->redis,
        .clock = &worker->clock,
        .worker = {.self = worker, .answered = response_answered, .wake = wake},
        .settings = {.validity_ms = SIM_VALIDITY_MS,
                     .slice_bytes = SIM_SLICE_BYTES,
                     .use_period_ms = SIM_PERIOD_MS,
                     .link_lifetime_ms = 7 * 86400000ull},
        .number = worker->number,
    };
    timer_set(&sim->schedule, &worker->tick,
              sim->schedule.now_us + SIM_MS * (1 + worker->number + 7 * node->number));
}

void worker_stop(struct sim_worker *worker)
{
    timer_stop(&worker->tick);
    timer_stop(&worker->look);
    worker->introduction = INTRODUCTION_NONE;
    connection_drop(&worker->connection);
}
