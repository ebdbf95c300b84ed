/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redis that has lost its data, played by the test: how a node sees it, whom it waits for and how
 * long, and what it remembers of other nodes. The functions in a real Redis: birth_redis_test.c.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/ledger/birth.h"
#include "storage/ledger/birth_nodes.h"
#include "tests/unit/ledger/poster_play.h"

TestSuite(ledger_birth, .init = setup, .fini = teardown, .timeout = 30);

#define WAIT_MS           15000
#define OTHER             "0000000000000000000000000000000b"
#define OTHERS_DIR        "000000000000000000000000000000bd"
#define NOW               ":1700000000500\r\n"
#define BORN(id)          "*3\r\n$2\r\n" id "\r\n" NOW ":0\r\n"
/* Beside the id, one other node is listed, which has replayed to `to` (two digits). */
#define BORN_WITH(id, to) BORN_AND_SAID(id, to, "1111111111")
/* Likewise, to the Redis of this run id (ten digits). */
#define BORN_AND_SAID(id, to, run)                                                                 \
    "*5\r\n$2\r\n" id "\r\n" NOW ":0\r\n$32\r\n" OTHER "\r\n$67\r\nnode-2 " OTHERS_DIR " " to      \
    " " run " 1700000000000\r\n"

static unsigned lease = 2; /* its number, which grows with each process */

static void open_with_wait(void)
{
    cr_assert_geq(ledger_close(&world.ledger, 0), 0);
    world.options.data_lost_wait_ms = WAIT_MS;
    world_open(&world);
}

/* Up to the question for the lease, and its answer: taken where `code` says so; Redis' birth is this. */
static void answer_renewal(enum lease_answer code, const char *birth)
{
    char protocol[64];
    snprintf(protocol, sizeof(protocol), "*4\r\n:%d\r\n:50\r\n:100\r\n:%u\r\n", (int)code, lease);
    answer("FCALL tollgate_name", ":0\r\n");
    answer("FCALL tollgate_lease", protocol);
    answer_time_and(birth);
    writer_step(world.ledger);
    step();
}

static void begin_with(const char *birth)
{
    connect_with(INFO);
    answer_renewal(TAKEN, birth);
    cr_assert_eq(ledger_state(world.ledger), LEDGER_READY);
}

/* A renewal that is due now. */
static void renew_with(const char *birth)
{
    world.now_ms += world.options.lease_ms / 3;
    step();
    answer_renewal(RENEWED, birth);
}

static bool is_lost(void)
{
    return ledger_data_is_lost(world.ledger);
}

static void restart(void)
{
    cr_assert_geq(ledger_close(&world.ledger, 0), 0);
    script_init(&world.poster);
    lease++;
    world_open(&world);
}

static unsigned awaited(void)
{
    struct ledger_data_loss loss;
    ledger_data_loss(world.ledger, &loss);
    return loss.awaited;
}

Test(ledger_birth, a_new_node_takes_the_birth_that_redis_has_and_waits_for_nobody)
{
    open_with_wait();
    begin_with(BORN("ab"));
    cr_assert_not(is_lost());
    cr_assert_eq(ledger_losses(world.ledger), 0);
    renew_with(BORN("ab"));
    cr_assert_not(is_lost());
}

/* The id that the node offers to a Redis that has none. */
static void take_proposal(char proposed[32])
{
    world.now_ms += world.options.lease_ms / 3;
    step();
    answer("FCALL tollgate_name", ":0\r\n");
    answer("FCALL tollgate_lease", "*4\r\n:0\r\n:50\r\n:100\r\n:2\r\n");
    answer("TIME", "*2\r\n$10\r\n1700000000\r\n$6\r\n500000\r\n");
    const char *command = script_next(&world.poster);
    cr_assert_eq(sscanf(command, "FCALL tollgate_birth 1 tg:birth %31s", proposed), 1);
    script_answer(&world.poster, BORN("ab"));
    step();
}

Test(ledger_birth, no_id_is_offered_twice_since_that_would_hide_a_loss)
{
    char one[32], other[32];
    begin_with(BORN("ab"));
    take_proposal(one);
    take_proposal(other);
    cr_assert_str_neq(one, other);
}

Test(ledger_birth, a_node_alone_waits_for_its_own_replay_and_no_longer)
{
    open_with_wait();
    begin_with(BORN("ab"));
    renew_with(BORN("cd"));
    cr_assert(is_lost());
    cr_assert_eq(world_said(&world, "Redis has lost its data"), 1);
    cr_assert_eq(ledger_state(world.ledger), LEDGER_READY, "there was nothing to replay");
    world.now_ms += 100;
    step();
    answer_renewal(RENEWED, BORN("cd"));
    cr_assert_not(is_lost());
    cr_assert_eq(ledger_losses(world.ledger), 2);
    cr_assert_eq(world_said(&world, "all nodes have replayed"), 1);
}

Test(ledger_birth, a_node_that_is_remembered_is_waited_for_until_it_says_that_it_has_replayed)
{
    struct ledger_data_loss loss;
    open_with_wait();
    begin_with(BORN_WITH("ab", "ab"));
    renew_with(BORN("cd"));
    cr_assert(is_lost());
    for (unsigned i = 0; i < 20; i++) {
        world.now_ms += 100;
        step();
        answer_renewal(RENEWED, i % 2 == 0 ? BORN("cd") : BORN_WITH("cd", "ab"));
        cr_assert(is_lost());
    }
    ledger_data_loss(world.ledger, &loss);
    cr_assert(loss.is_lost);
    cr_assert_eq(loss.awaited, 1);
    cr_assert_str_eq(loss.names[0], "node-2");
    world.now_ms += 100;
    step();
    answer_renewal(RENEWED, BORN_WITH("cd", "cd"));
    cr_assert_not(is_lost());
    cr_assert_eq(awaited(), 0);
}

Test(ledger_birth, a_node_that_never_comes_back_is_waited_for_as_long_as_the_key_says)
{
    open_with_wait();
    begin_with(BORN_WITH("ab", "ab"));
    renew_with(BORN("cd"));
    uint64_t begun_ms = world.now_ms;
    while (world.now_ms < begun_ms + WAIT_MS - 100) {
        world.now_ms += 100;
        step();
        answer_renewal(RENEWED, BORN("cd"));
        cr_assert(is_lost(), "after %d ms", (int)(world.now_ms - begun_ms));
    }
    world.now_ms = begun_ms + WAIT_MS;
    step();
    cr_assert_not(is_lost());
    cr_assert_eq(world_said(&world, "the wait for lost data is over after 15000 ms; 1 nodes have "
                                    "not replayed their journals: node-2"),
                 1);
}

Test(ledger_birth, a_worker_that_has_not_told_its_ceilings_is_waited_for)
{
    open_with_wait();
    begin_with(BORN("ab"));
    ledger_ceilings_are_told(world.ledger, 3, ledger_losses(world.ledger));
    renew_with(BORN("cd"));
    for (unsigned i = 0; i < 3; i++) {
        world.now_ms += 100;
        step();
        answer_renewal(RENEWED, BORN("cd"));
        cr_assert(is_lost());
    }
    ledger_ceilings_are_told(world.ledger, 3, ledger_losses(world.ledger));
    world.now_ms += 100;
    step();
    answer_renewal(RENEWED, BORN("cd"));
    cr_assert_not(is_lost());
}

Test(ledger_birth, what_is_remembered_outlives_the_process)
{
    open_with_wait();
    begin_with(BORN_WITH("ab", "ab"));
    restart();
    begin_with(BORN("cd"));
    cr_assert(is_lost());
    cr_assert_eq(awaited(), 1);
    restart();
    begin_with(BORN("cd"));
    cr_assert(is_lost(), "a process that ends while data is lost leaves it so");
    world.now_ms += 100;
    step();
    answer_renewal(RENEWED, BORN_WITH("cd", "cd"));
    cr_assert_not(is_lost());
    restart();
    begin_with(BORN("cd"));
    cr_assert_not(is_lost());
}

Test(ledger_birth, a_failover_is_replayed_to_and_no_data_is_lost)
{
    open_with_wait();
    begin_with(BORN_WITH("ab", "ab"));
    script_cut(&world.poster, "Redis at unix:/nowhere: Server closed the connection");
    world.now_ms = step();
    connect_with("$74\r\nrun_id:3333333333\r\nmaster_replid:4444444444\r\nmaxmemory_policy:"
                 "noeviction\r\n\r\n");
    cr_assert_eq(ledger_state(world.ledger), LEDGER_CATCHING_UP);
    answer_renewal(RENEWED, BORN("ab"));
    cr_assert_eq(ledger_state(world.ledger), LEDGER_READY);
    cr_assert_not(is_lost());
    cr_assert_eq(ledger_losses(world.ledger), 0);
}

/* Redis comes back with another run id, and the birth id that the node knows. */
static void come_back(const char *birth)
{
    begin_with(BORN_WITH("ab", "ab"));
    cr_assert(ledger_is_settled(world.ledger));
    script_cut(&world.poster, "Redis at unix:/nowhere: Server closed the connection");
    world.now_ms = step();
    connect_with("$74\r\nrun_id:3333333333\r\nmaster_replid:4444444444\r\nmaxmemory_policy:"
                 "noeviction\r\n\r\n");
    answer_renewal(RENEWED, birth);
    cr_assert_eq(ledger_state(world.ledger), LEDGER_READY);
}

Test(ledger_birth, a_redis_that_comes_back_is_settled_once_each_node_has_replayed_to_it)
{
    come_back(BORN_WITH("ab", "ab"));
    cr_assert_not(ledger_is_settled(world.ledger), "the other node spoke to the one before");
    world.now_ms += 100;
    step();
    answer_renewal(RENEWED, BORN_AND_SAID("ab", "--", "3333333333"));
    cr_assert_not(ledger_is_settled(world.ledger), "it is there, and replays");
    world.now_ms += 100;
    step();
    answer_renewal(RENEWED, BORN("ab"));
    cr_assert_not(ledger_is_settled(world.ledger));
    world.now_ms += 100;
    step();
    answer_renewal(RENEWED, BORN_AND_SAID("ab", "ab", "3333333333"));
    cr_assert(ledger_is_settled(world.ledger));
    cr_assert_not(is_lost());
}

Test(ledger_birth, a_redis_that_comes_back_is_settled_after_2_s_without_a_node_that_is_away)
{
    come_back(BORN_WITH("ab", "ab"));
    uint64_t met_ms = world.now_ms;
    while (world.now_ms + 100 < met_ms + BIRTH_SETTLES_MS) {
        world.now_ms += 100;
        step();
        answer_renewal(RENEWED, BORN_WITH("ab", "ab"));
        cr_assert_not(ledger_is_settled(world.ledger));
    }
    world.now_ms = met_ms + BIRTH_SETTLES_MS;
    step();
    cr_assert(ledger_is_settled(world.ledger));
}

Test(ledger_birth, a_redis_that_comes_back_is_settled_at_once_where_this_node_is_alone)
{
    begin_with(BORN("ab"));
    cr_assert(ledger_is_settled(world.ledger));
}

/* Its birth id is the same, but what the node said there last is missing. */
Test(ledger_birth, an_older_file_of_the_same_redis_is_a_loss)
{
    open_with_wait();
    begin_with(BORN_WITH("ab", "ab"));
    renew_with(BORN("ab"));
    cr_assert_not(is_lost());
    renew_with("*3\r\n$2\r\nab\r\n" NOW ":2\r\n");
    cr_assert(is_lost());
    cr_assert_eq(ledger_losses(world.ledger), 1);
    cr_assert_eq(awaited(), 1);
    restart();
    begin_with(BORN("ab"));
    cr_assert(is_lost(), "a process that ends while it waits leaves it to the next one");
    cr_assert_eq(awaited(), 1);
    world.now_ms += 100;
    step();
    answer_renewal(RENEWED, BORN_WITH("ab", "ab"));
    cr_assert_not(is_lost());
}

/* The node tells Redis with its next question when it was noted last, by Redis' clock. */
static void expect_noted(enum lease_answer code, const char *noted)
{
    char protocol[64];
    snprintf(protocol, sizeof(protocol), "*4\r\n:%d\r\n:50\r\n:100\r\n:%u\r\n", (int)code, lease);
    answer("FCALL tollgate_name", ":0\r\n");
    answer("FCALL tollgate_lease", protocol);
    answer("TIME", "*2\r\n$10\r\n1700000000\r\n$6\r\n500000\r\n");
    const char *command = script_next(&world.poster);
    char end[48];
    int length = snprintf(end, sizeof(end), " %s %d", noted, LEDGER_FUNCTIONS_FORMAT);
    cr_expect(strcmp(command + strlen(command) - (size_t)length, end) == 0, "%s", command);
    script_answer(&world.poster, BORN("ab"));
    step();
}

static void renew_and_expect_noted(const char *noted)
{
    world.now_ms += world.options.lease_ms / 3;
    step();
    expect_noted(RENEWED, noted);
}

Test(ledger_birth, when_a_node_was_noted_last_is_looked_for_with_the_next_question)
{
    begin_with(BORN("ab"));
    renew_and_expect_noted("0"); /* it had no lease yet when it asked first */
    renew_and_expect_noted("1700000000500");
}

/* Else a node that is restarted beside a Redis that comes back older would take that one for its own. */
Test(ledger_birth, when_a_node_was_noted_last_is_known_to_the_next_process)
{
    begin_with(BORN("ab"));
    renew_with(BORN("ab"));
    restart();
    connect_with(INFO);
    expect_noted(TAKEN, "1700000000500");
}

/* Else the empty Redis that it meets would count as two losses: the second for want of that note. */
Test(ledger_birth, when_a_node_was_noted_last_is_forgotten_with_a_redis_that_is_new)
{
    open_with_wait();
    begin_with(BORN("ab"));
    renew_with(BORN("ab"));
    restart();
    connect_with(INFO);
    answer_renewal(TAKEN, "*3\r\n$2\r\ncd\r\n" NOW ":1\r\n");
    cr_expect_eq(ledger_losses(world.ledger), 1);
    world.now_ms += 100;
    step();
    expect_noted(RENEWED, "0");
}

Test(ledger_birth, another_loss_begins_the_wait_anew)
{
    open_with_wait();
    begin_with(BORN_WITH("ab", "ab"));
    renew_with(BORN("cd"));
    world.now_ms += WAIT_MS / 2;
    step();
    answer_renewal(RENEWED, BORN("ef"));
    cr_assert_eq(ledger_losses(world.ledger) % 2, 1);
    cr_assert_eq(ledger_losses(world.ledger), 3);
    world.now_ms += WAIT_MS / 2 + 1;
    step();
    answer_renewal(RENEWED, BORN("ef"));
    cr_assert(is_lost());
}

Test(ledger_birth, an_answer_that_is_none_is_refused)
{
    connect_with(INFO);
    answer_renewal(TAKEN, "*3\r\n$2\r\nxy\r\n" NOW ":0\r\n");
    cr_assert_eq(state(), POSTER_DOWN);
    cr_assert_eq(world_said(&world, "tollgate_birth gave an answer of an unexpected form"), 0,
                 "within the first second nothing is told");
    cr_assert_eq(ledger_state(world.ledger), LEDGER_CATCHING_UP);
}

/* ---- what is remembered ---- */

static bool see(struct birth_nodes *nodes, unsigned number, const char *name, const char *directory,
                uint64_t seen_ms)
{
    const struct birth_self self = {"000000000000000000000000000000aa",
                                    "000000000000000000000000000000ad", "node-1"};
    char instance[LEDGER_HEX_SIZE], entry[160];
    snprintf(instance, sizeof(instance), "%032x", number);
    snprintf(entry, sizeof(entry), "%s %s ab 22 %llu", name, directory,
             (unsigned long long)seen_ms);
    return birth_nodes_see(nodes, &self, instance, entry, 0xab, "22");
}

Test(ledger_birth, no_more_than_a_thousand_nodes_are_remembered)
{
    struct birth_nodes nodes = {0};
    char name[24];
    for (unsigned i = 1; i <= LEDGER_NODES_MAX + 10; i++) {
        snprintf(name, sizeof(name), "n-%u", i);
        cr_assert_eq(see(&nodes, i + 1000, name, OTHERS_DIR, 1000), i <= LEDGER_NODES_MAX);
    }
    cr_assert_eq(nodes.count, LEDGER_NODES_MAX);
    birth_nodes_free(&nodes);
}

Test(ledger_birth, a_node_without_a_lease_for_thirty_days_is_forgotten)
{
    struct birth_nodes nodes = {0};
    see(&nodes, 1, "node-2", OTHERS_DIR, 1000);
    see(&nodes, 2, "node-3", "000000000000000000000000000000bc", 5000);
    cr_assert_not(birth_nodes_forget(&nodes, 1000 + LEDGER_NODES_KEPT_MS));
    cr_assert(birth_nodes_forget(&nodes, 1001 + LEDGER_NODES_KEPT_MS));
    cr_assert_eq(nodes.count, 1);
    cr_assert_str_eq(nodes.list[0].name, "node-3");
    birth_nodes_free(&nodes);
}

Test(ledger_birth, whoever_had_a_name_before_is_retired)
{
    struct birth_nodes nodes = {0};
    see(&nodes, 1, "node-2", OTHERS_DIR, 1000);
    see(&nodes, 2, "node-2", OTHERS_DIR, 1000); /* another lane of the same directory */
    cr_assert_eq(nodes.count, 2);
    cr_assert(see(&nodes, 3, "node-2", "000000000000000000000000000000bc", 2000));
    cr_assert_eq(nodes.count, 1);
    see(&nodes, 4, "node-1", OTHERS_DIR, 1000); /* it had the name that this node has now */
    cr_assert(see(&nodes, 0xaa, "node-1", "000000000000000000000000000000ad", 2000));
    cr_assert_eq(nodes.count, 1);
    cr_assert_str_eq(nodes.list[0].directory, "000000000000000000000000000000bc");
    birth_nodes_free(&nodes);
}

Test(ledger_birth, the_file_is_read_as_it_was_written_and_a_damaged_one_is_not_believed)
{
    struct birth_nodes nodes = {.birth = 0xfedcba9876543210}, read = {0};
    int directory = world.ledger->lane.state;
    see(&nodes, 1, "node-2", OTHERS_DIR, 1000);
    see(&nodes, 2, "node-3", OTHERS_DIR, 2000);
    cr_assert_eq(birth_nodes_save(&nodes, directory), 0);
    cr_assert_eq(birth_nodes_load(&read, directory), 0);
    cr_assert_eq(read.birth, nodes.birth);
    cr_assert_eq(read.count, 2);
    cr_assert_str_eq(read.list[1].name, "node-3");
    cr_assert_str_eq(read.list[1].directory, OTHERS_DIR);
    cr_assert_eq(read.list[1].seen_ms, 2000);
    cr_assert_not(read.list[1].has_said);
    birth_nodes_free(&read);
    char path[128];
    snprintf(path, sizeof(path), "%s/nodes", world.state);
    FILE *file = fopen(path, "a");
    cr_assert_not_null(file);
    fputs("node 12\n", file);
    fclose(file);
    cr_assert_eq(birth_nodes_load(&read, directory), -EBADMSG);
    cr_assert_eq(read.count, 0);
    cr_assert_eq(read.birth, 0);
    birth_nodes_free(&nodes);
}
