/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A simulated node: opens the real ledger over a simulated disk, clock and Redis, and takes its
 * steps when they are due. A kill ends it between two steps, or within one where its disk says so.
 * See sim.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/check.h"
#include "storage/ledger/checkpoints.h"
#include "storage/ledger/poster_internal.h"
#include "storage/ledger/retention.h"
#include "tests/simulation/asleep.h"
#include "tests/simulation/leaving.h"
#include "tests/simulation/scratch.h"

#define CLOSE_MS 5000 /* how long a node that stops in good order posts */
#define LEAVE_MS 200  /* between two steps of retention, so that kills come between them */

/* ---- its clock ---- */

static uint64_t monotonic_ms(void *self)
{
    return node_monotonic_ms(self);
}

static uint64_t real_ms(void *self)
{
    const struct sim_node *node = self;
    return redis_real_ms(node->sim) + (uint64_t)node->clock_ms;
}

/* ---- steps ---- */

static void set_due(struct sim_node *node, struct timer *timer, uint64_t due_ms)
{
    struct schedule *schedule = &node->sim->schedule;
    uint64_t now_ms = node_monotonic_ms(node);
    if (due_ms == UINT64_MAX)
        return;
    uint64_t wait_ms = due_ms > now_ms ? due_ms - now_ms : 0;
    /* The clock counts whole milliseconds: the next one begins within this one. */
    timer_set(schedule, timer, (sim_now_ms(node->sim) + wait_ms) * SIM_MS);
}

static void finish(struct sim_node *node)
{
    (void)ledger_close(&node->ledger, 0);
    connection_drop(&node->poster);
    connection_drop(&node->push);
    connection_drop(&node->admin);
    timer_stop(&node->write);
    timer_stop(&node->post);
    timer_stop(&node->hear);
    timer_stop(&node->check);
    timer_stop(&node->leave);
    node->is_ending = false;
}

void node_replace_disk(struct sim_node *node)
{
    if (node->ledger != NULL && node->ledger->journal.failed)
        node_kill(node, "by its operator, since its disk failed");
}

static void replace_disk(void *object, uint64_t starts)
{
    struct sim_node *node = object;
    if (node->starts == starts)
        node_replace_disk(node);
}

static void write_step(void *object, uint64_t number)
{
    struct sim_node *node = object;
    (void)number;
    if (node->ledger == NULL)
        return;
    bool had_failed = node->has_failed;
    watch_marks(node);
    watch_lease(node);
    uint64_t due_ms = writer_step(node->ledger);
    watch_written(node);
    if (node->has_failed && !had_failed) {
        struct schedule *schedule = &node->sim->schedule;
        schedule_add(schedule, schedule->now_us + 3 * SIM_SECOND, replace_disk, node, node->starts);
    }
    if (node->disk.is_dead) {
        node_kill(node, "while it wrote its journal");
        return;
    }
    uint64_t late_ms = ledger_monotonic_ms(node->ledger) + SIM_TURN_MS;
    set_due(node, &node->write, due_ms > late_ms ? due_ms : late_ms);
    timer_set(&node->sim->schedule, &node->post, node->sim->schedule.now_us);
}

static void post_step(void *object, uint64_t number)
{
    struct sim_node *node = object;
    (void)number;
    if (node->ledger == NULL)
        return;
    enum poster_state before = node->ledger->poster->state;
    uint64_t due_ms = poster_step(node->ledger);
    enum poster_state now = node->ledger->poster->state;
    if (before != now && now == POSTER_RESYNCING)
        node->resynced_us = node->sim->schedule.now_us;
    watch_asleep(node);
    if (before != now && (now == POSTER_RESYNCING || now == POSTER_ENDING))
        sim_tell(node->sim, node->name, "poster: is %s",
                 now == POSTER_ENDING ? "ending" : "resyncing");
    if (due_ms == 0) {
        sim_tell(node->sim, node->name, "has stopped");
        watch_ended(node);
        finish(node);
        return;
    }
    if (ledger_lease_number(node->ledger) != node->lease) {
        watch_leased(node);
        node_write_now(node); /* the writer notes the lease */
    }
    node->lease = ledger_lease_number(node->ledger);
    set_due(node, &node->post, due_ms);
}

static void hear_step(void *object, uint64_t number)
{
    struct sim_node *node = object;
    (void)number;
    if (node->ledger != NULL)
        set_due(node, &node->hear, push_step(node->ledger));
}

static void check_step(void *object, uint64_t number)
{
    struct sim_node *node = object;
    (void)number;
    if (node->ledger == NULL)
        return;
    set_due(node, &node->check, checkpoints_step(node->ledger));
    watch_checkpoint(node);
    if (node->disk.is_dead)
        node_kill(node, "while it made a checkpoint");
}

static void leave_step(void *object, uint64_t number)
{
    struct sim_node *node = object;
    (void)number;
    if (node->ledger == NULL)
        return;
    bool was_packed = leaving_is_packed(node);
    node->is_leaving = true;
    uint64_t due_ms = retention_step(node->ledger);
    node->is_leaving = false;
    if (node->spoils_archive && !was_packed) /* it is read back with the next step */
        leaving_spoil(node);
    uint64_t late_ms = node_monotonic_ms(node) + LEAVE_MS;
    set_due(node, &node->leave, due_ms > late_ms ? due_ms : late_ms);
    watch_left(node);
}

static void poster_moved(struct sim_connection *connection)
{
    struct sim_node *node = connection->node;
    timer_set(&node->sim->schedule, &node->post, node->sim->schedule.now_us);
}

static void push_moved(struct sim_connection *connection)
{
    struct sim_node *node = connection->node;
    timer_set(&node->sim->schedule, &node->hear, node->sim->schedule.now_us);
}

static void admin_moved(struct sim_connection *connection)
{
    if (connection->state == CONNECTION_BROKEN)
        connection->table.close(connection);
}

struct sim_connection *node_connection(struct sim_node *node, unsigned number)
{
    struct sim_connection *const own[] = {&node->poster, &node->push, &node->admin};
    const unsigned others = sizeof(own) / sizeof(own[0]);
    return number < others ? own[number] : &node->workers[number - others].connection;
}

void node_write_now(struct sim_node *node)
{
    timer_set(&node->sim->schedule, &node->write, node->sim->schedule.now_us);
}

/* ---- what the ledger says ---- */

static void said(void *context, enum ledger_event event, const char *kind, const char *text)
{
    struct sim_node *node = context;
    (void)event, (void)kind;
    if (node->ledger != NULL)
        watch_marks(node);
    leaving_hear(node, text);
    if (!node->disk.is_dead)
        sim_tell(node->sim, node->name, "says: %s", text);
}

static void pushed(void *context, const struct ledger_account *account)
{
    struct sim_node *node = context;
    (void)account;
    if (!node->is_up)
        return;
    for (unsigned i = 0; i < SIM_WORKERS; i++)
        worker_look(&node->workers[i], true);
}

static void recalled(void *context, const struct ledger_account *account)
{
    struct sim_node *node = context;
    (void)account;
    for (unsigned i = 0; i < SIM_WORKERS && node->is_up; i++)
        grants_give_back(&node->workers[i].grants, node_monotonic_ms(node));
}

/* ---- start and end ---- */

/* Writes its ids: a copy has those of its original. */
static void write_ids(const struct sim_node *node)
{
    static const char *const files[] = {"lane-a/instance", "directory"};
    char path[128], text[LEDGER_HEX_SIZE + 1];
    int length = snprintf(text, sizeof(text), "%s\n", node->id);
    (void)mkdir(node->directory, 0700);
    snprintf(path, sizeof(path), "%s/lane-a", node->directory);
    (void)mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/lane-a/pools", node->directory);
    (void)unlink(path); /* of another run, or of a copy before */
    snprintf(path, sizeof(path), "%s/nodes", node->directory);
    (void)unlink(path);
    for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", node->directory, files[i]);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        check(fd >= 0 && write(fd, text, (size_t)length) == length);
        close(fd);
    }
}

void node_copy(struct sim_node *to, struct sim_node *from, const char *name)
{
    to->original = from;
    memcpy(to->id, from->id, sizeof(to->id));
    snprintf(to->name, sizeof(to->name), "%s", name);
    write_ids(to);
    disk_copy(&to->disk, &from->disk);
    memcpy(to->left, from->left, sizeof(to->left));
    to->exists = true;
}

/* What was known of the process before. */
static void forget_process(struct sim_node *node)
{
    node->lease = node->marks_by_ms = node->checkpoints = node->first_segment = node->asleep = 0;
    memset(node->told_aside, 0, sizeof(node->told_aside));
    node->resynced_us = 0;
}

void node_start(struct sim_node *node)
{
    struct sim *sim = node->sim;
    char error[600];
    if (node->ledger != NULL || node->is_retired || sim->is_broken)
        return;
    node->exists = true;
    node->starts++;
    node->started_us = sim->schedule.now_us;
    forget_process(node);
    disk_revive(&node->disk);
    sim_entropy_seed(random_mix(sim->seed, 1000 + node->number, node->starts));
    const struct ledger_options options = {
        .state_dir = node->directory,
        .node = node->name,
        .redis = "unix:/simulated",
        /* Some worlds have many segments: each is as small as SIM_DOWNLOADS allows. */
        .segment_bytes = sim->seed % 4 == 1 || sim->lets_go || sim->quiet_ms != 0 ? 32768 : 65536,
        /* Where segments leave, there are more of them. */
        .mark_ms = sim->lets_go ? SIM_MARK_MS / 4 : SIM_MARK_MS,
        .post_interval_ms = SIM_POST_MS,
        .downloads_max = SIM_DOWNLOADS,
        .accounts_max = 100,
        .checkpoint_records = sim->quiet_ms != 0 ? 1 : SIM_CHECKPOINT_RECORDS,
        .fill_rows = SIM_FILL_ROWS,
        .keep_bytes = sim->lets_go && !sim->reads_archives ? 1 : 0,
        .reads_archive = sim->reads_archives,
        .archive = sim->has_archive ? node->archive : NULL,
        .lease_ms = SIM_LEASE_MS,
        .data_lost_wait_ms = SIM_LOST_MS,
        .quiet_ms = sim->quiet_ms,
        .event = said,
        .event_context = node,
        .pushed = pushed,
        .recalled = recalled,
        .pushed_context = node,
    };
    int result = ledger_open_stepped(&node->ledger, &options, &node->outside, error, sizeof(error));
    watch_looked(sim, SIM_PROMISE_opens);
    if (result != 0) {
        if (!node->has_lost_segment && !node->disk.is_full)
            sim_break(sim, SIM_PROMISE_opens, "%s does not start: %s", node->name, error);
        node->ledger = NULL;
        if (node->disk.is_full)
            node_start_later(node, SIM_SECOND);
        return;
    }
    story_name(sim, node->ledger->instance, "directory-%u", node->number + 1);
    sim_tell(sim, node->name, "has started");
    watch_started(node);
    watch_opened(node);
    check(windows_create(&node->windows, node->ledger, 64) == 0);
    node->is_up = true;
    for (unsigned i = 0; i < SIM_WORKERS; i++)
        worker_start(&node->workers[i]);
    uint64_t now_us = sim->schedule.now_us;
    timer_set(&sim->schedule, &node->write, now_us + SIM_MARK_MS * SIM_MS);
    timer_set(&sim->schedule, &node->post, now_us + 100);
    timer_set(&sim->schedule, &node->hear, now_us + 200);
    timer_set(&sim->schedule, &node->check, now_us + 300);
    if (sim->lets_go)
        timer_set(&sim->schedule, &node->leave, now_us + 400);
}

static void start_again(void *object, uint64_t number)
{
    (void)number;
    node_start(object);
}

void node_start_later(struct sim_node *node, uint64_t delay_us)
{
    struct schedule *schedule = &node->sim->schedule;
    schedule_add(schedule, schedule->now_us + delay_us, start_again, node, 0);
}

/* Ends all of its responses. */
static void end_responses(struct sim_node *node, void (*end)(struct sim_response *response))
{
    struct sim *sim = node->sim;
    for (unsigned i = 0; i < SIM_RESPONSES; i++)
        if (sim->responses[i].state != RESPONSE_FREE && sim->responses[i].worker->node == node)
            end(&sim->responses[i]);
}

/* Ends the workers and what they hold. */
static void stop_serving(struct sim_node *node)
{
    if (!node->is_up)
        return;
    node->is_up = false;
    for (unsigned i = 0; i < SIM_WORKERS; i++)
        worker_stop(&node->workers[i]);
    windows_destroy(&node->windows);
}

/* Ends what serves, of a process that reaches its disk no more. */
static void die(struct sim_node *node)
{
    node->disk.is_dead = true;
    end_responses(node, response_vanish);
    stop_serving(node);
}

static void stop_response(struct sim_response *response)
{
    response_end(response, "the node stops");
}

void node_kill(struct sim_node *node, const char *why)
{
    struct sim *sim = node->sim;
    if (node->ledger == NULL)
        return;
    sim_tell(sim, node->name, "is killed %s", why);
    die(node);
    watch_ended(node);
    finish(node);
    if (node->loses_power) {
        struct random random = {random_mix(sim->seed, 2000 + node->number, node->starts)};
        disk_lose_power(&node->disk, &random);
        sim_tell(sim, node->name, "has lost its power");
    }
    node->loses_power = false;
    disk_revive(&node->disk);
    node_start_later(node, 200 * SIM_MS + random_mix(sim->seed, 3000 + node->number, node->starts) %
                                              (3 * SIM_SECOND));
}

void node_stop(struct sim_node *node)
{
    struct sim *sim = node->sim;
    if (node->ledger == NULL || node->is_ending)
        return;
    sim_tell(sim, node->name, "is told to stop");
    end_responses(node, stop_response);
    for (unsigned i = 0; i < SIM_WORKERS; i++)
        grants_sweep(&node->workers[i].grants, node_monotonic_ms(node), true);
    node->is_ending = true;
    stop_serving(node);
    node_write_now(node);
    poster_end(node->ledger, node_monotonic_ms(node) + CLOSE_MS);
    node_start_later(node, (CLOSE_MS + 2000) * SIM_MS);
}

void node_init(struct sim *sim, unsigned number, const char *directory)
{
    struct sim_node *node = &sim->nodes[number];
    unsigned first = number * SIM_CONNECTIONS;
    *node = (struct sim_node){
        .sim = sim,
        .number = number,
        .place = {.boot = "00000000-0000-0000-0000-000000000000", .device = 1, .inode = number + 1},
        .clock = {.self = node, .monotonic_ms = monotonic_ms, .real_ms = real_ms},
        .write = {.fire = write_step, .object = node},
        .post = {.fire = post_step, .object = node},
        .hear = {.fire = hear_step, .object = node},
        .check = {.fire = check_step, .object = node},
        .leave = {.fire = leave_step, .object = node},
    };
    snprintf(node->name, sizeof(node->name), "node-%u", number + 1);
    snprintf(node->directory, sizeof(node->directory), "%s/%u", directory, number);
    snprintf(node->archive, sizeof(node->archive), "%s/%u/archive", directory, number);
    disk_init(&node->disk);
    node->disk.removes = leaving_watch;
    node->disk.removes_self = node;
    connection_init(&node->poster, node, first, "poster", poster_moved);
    connection_init(&node->push, node, first + 1, "push", push_moved);
    connection_init(&node->admin, node, first + 2, "admin", admin_moved);
    for (unsigned i = 0; i < SIM_WORKERS; i++)
        worker_init(node, i);
    node->outside = (struct ledger_outside){.clock = &node->clock,
                                            .disk = &node->disk.table,
                                            .poster = &node->poster.table,
                                            .push = &node->push.table,
                                            .place = &node->place};
    struct random random = {random_mix(sim->seed, 4000, number)};
    random_hex(&random, node->id, LEDGER_HEX_SIZE - 1);
    node->id[LEDGER_HEX_SIZE - 1] = '\0';
    write_ids(node);
    (void)mkdir(node->archive, 0700);
}

void node_free(struct sim_node *node)
{
    die(node);
    char archive[128];
    snprintf(archive, sizeof(archive), "%s/archive", node->directory);
    scratch_remove(archive);
    if (node->ledger != NULL)
        finish(node);
    for (unsigned i = 0; i < SIM_CONNECTIONS; i++)
        connection_free(node_connection(node, i));
    disk_free(&node->disk);
}
