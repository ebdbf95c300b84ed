/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a killed process held of accounts' and links' funds: the poster of the next one tells Redis
 * that nothing of it is held any more, once all is posted and before the node is ready. One thread
 * calls its step, with a Redis that the test plays.
 */
#include <criterion/criterion.h>

#include "tests/unit/ledger/poster_play.h"

TestSuite(ledger_poster_tell, .init = setup, .fini = teardown, .timeout = 30);

#define LINK_ID "0707070707070707070707070707070707070707070707070707070707070707"

static void hold(const char *name, bool of_link)
{
    unsigned char link_id[LEDGER_LINK_ID_BYTES];
    struct ledger_account *account;
    memset(link_id, 7, sizeof(link_id));
    cr_assert_eq(ledger_account_get(world.ledger, "shop", name, strlen(name), &account), 0);
    cr_assert_geq(ledger_holding_note(world.ledger, account, of_link ? link_id : NULL), 0);
    ledger_account_drop(&account);
}

/* The process ends, and another one has connected and has a lease of this number. */
static void end_and_connect(unsigned lease)
{
    open_again();
    connect_with(INFO);
    answer_lease_with(TAKEN, 100, lease);
}

/* Answers the next command, which is to tell this pool with these words behind the instance. */
static void answer_tell(const char *pool, const char *words, const char *protocol)
{
    char begin[160];
    snprintf(begin, sizeof(begin), "FCALL tollgate_tell 1 tg:{shop/%s ", pool);
    expect(begin);
    const char *instance = script_next(&world.poster) + strlen(begin);
    cr_expect_eq(strncmp(instance, world.ledger->instance, 32), 0, "%s", instance);
    cr_expect_str_eq(instance + 32, words);
    script_answer(&world.poster, protocol);
}

#define TAKEN_TOLD "*3\r\n:0\r\n:120\r\n:120\r\n"

Test(ledger_poster_tell, what_was_held_is_told_to_be_free_before_the_node_is_ready)
{
    hold("alice", false);
    hold("alice", true);
    hold("bob", false);
    end_and_connect(2);
    step();
    cr_expect_neq(ledger_state(world.ledger), LEDGER_READY);
    cr_assert_eq(world.poster.count, 3);
    /* lease, validity, count, is_new, ceiling, least */
    answer_tell("alice}:grants", " 2 1000 1 0 0 0", TAKEN_TOLD);
    answer_tell("alice}:link:" LINK_ID ":grants", " 2 1000 1 1 0 0", TAKEN_TOLD);
    cr_expect_neq(ledger_state(world.ledger), LEDGER_READY);
    answer_tell("bob}:grants", " 2 1000 1 0 0 0",
                "*3\r\n:1\r\n:0\r\n:0\r\n"); /* a later one told */
    step();
    cr_expect_eq(ledger_state(world.ledger), LEDGER_READY);
    end_and_connect(3);
    step();
    cr_expect_eq(ledger_state(world.ledger), LEDGER_READY, "it is told once");
    cr_expect_eq(world.poster.count, 0);
}

Test(ledger_poster_tell, an_accounts_figures_are_what_the_journal_has_and_come_behind_its_posts)
{
    deliver("alice", 100);
    deliver("alice", 20);
    hold("alice", false);
    end_and_connect(2);
    answer("HGET tg:{shop/alice}:account w:", "$1\r\n1\r\n");
    step();
    answer_post("alice", 0, 2);
    cr_expect_eq(world.poster.count, 0);
    step();
    cr_expect_neq(ledger_state(world.ledger), LEDGER_READY);
    answer_tell("alice}:grants", " 2 1000 1 0 120 120", TAKEN_TOLD);
    step();
    cr_expect_eq(ledger_state(world.ledger), LEDGER_READY);
}

Test(ledger_poster_tell, what_was_not_answered_is_told_again)
{
    hold("alice", false);
    hold("bob", false);
    end_and_connect(2);
    step();
    answer_tell("alice}:grants", " 2 1000 1 0 0 0", TAKEN_TOLD);
    script_cut(&world.poster, "Redis at unix:/nowhere: Server closed the connection");
    world.now_ms = step();
    connect_ready();
    step();
    cr_expect_eq(world.poster.count, 1, "alice is known");
    answer_tell("bob}:grants", " 2 1000 1 0 0 0", TAKEN_TOLD);
    step();
    cr_expect_eq(ledger_state(world.ledger), LEDGER_READY);
}

Test(ledger_poster_tell, more_than_a_pipeline_is_told_by_pipelines)
{
    char name[16];
    for (unsigned i = 0; i < POSTER_PIPELINE + 2; i++) {
        snprintf(name, sizeof(name), "a%u", i);
        hold(name, false);
    }
    end_and_connect(2);
    step();
    cr_assert_eq(world.poster.count, POSTER_PIPELINE);
    for (unsigned i = 0; i < POSTER_PIPELINE; i++)
        answer("FCALL tollgate_tell", TAKEN_TOLD);
    cr_expect_neq(ledger_state(world.ledger), LEDGER_READY);
    step();
    cr_assert_eq(world.poster.count, 2);
    for (unsigned i = 0; i < 2; i++)
        answer("FCALL tollgate_tell", TAKEN_TOLD);
    step();
    cr_expect_eq(ledger_state(world.ledger), LEDGER_READY);
}

Test(ledger_poster_tell, damaged_keys_of_an_account_keep_nobody_from_being_ready)
{
    hold("alice", false);
    end_and_connect(2);
    step();
    answer("FCALL tollgate_tell", "-DAMAGED tollgate: stored pool is malformed\r\n");
    step();
    cr_expect_eq(ledger_state(world.ledger), LEDGER_READY);
}

Test(ledger_poster_tell, what_is_not_a_name_in_a_damaged_table_is_forgotten)
{
    struct holding holding = {.length = 5, .text = "/\xff\x01/ "};
    cr_assert_geq(holdings_note(world.ledger->holdings, &holding), 0);
    hold("alice", false);
    end_and_connect(2);
    step();
    cr_expect_eq(world.poster.count, 1);
    answer_tell("alice}:grants", " 2 1000 1 0 0 0", TAKEN_TOLD);
    step();
    cr_expect_eq(ledger_state(world.ledger), LEDGER_READY);
    cr_expect_eq(holdings_left(world.ledger->holdings, 0, &holding), -1);
}

Test(ledger_poster_tell, a_refusal_of_redis_is_told_and_what_it_refused_comes_again)
{
    hold("alice", false);
    world.now_ms += POSTER_PATIENCE_MS;
    end_and_connect(2);
    step();
    answer("FCALL tollgate_tell", "-READONLY You can't write against a read only replica.\r\n");
    world.now_ms = step();
    cr_expect_eq(world_said(&world, "READONLY"), 1, "%s", world.events);
    cr_expect_neq(ledger_state(world.ledger), LEDGER_READY);
    connect_ready();
    step();
    answer_tell("alice}:grants", " 2 1000 1 0 0 0", TAKEN_TOLD);
    step();
    cr_expect_eq(ledger_state(world.ledger), LEDGER_READY);
}
